//! PCGrad: gradients of units that conflict are projected onto each other's normal planes.

use rand::RngCore as _;

use crate::random::{Purpose, keyed};

/// Algorithm 1 of the paper, in the span of the units' gradients.
///
/// Whatever the algorithm makes of `g_i` is a sum `Σ_j c_ij g_j`, so it needs no more than the inner products
/// `⟨g_i, g_j⟩`: the gradients themselves are read once to find those, and once to be added up with the factors
/// `v_j = Σ_i c_ij`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Projection {
    /// `⟨g_i, g_j⟩` of the units with labels in the step, row by row.
    gram: Vec<f64>,
    order: Vec<(u64, usize)>,
    /// `c_ij` of one i.
    coefficients: Vec<f64>,
    factors: Vec<f64>,
}

impl Projection {
    /// Makes room for `units` gradients, and gives the place of `⟨g_i, g_j⟩`, which is asked for each pair `j ≤ i`.
    pub(crate) fn measure(&mut self, units: usize, mut product: impl FnMut(usize, usize) -> f64) {
        self.gram.clear();
        self.gram.resize(units * units, 0.0);
        for i in 0..units {
            for j in 0..=i {
                let value = product(i, j);
                self.gram[i * units + j] = value;
                self.gram[j * units + i] = value;
            }
        }
    }

    /// The factors `v_j` of these units' gradients, whose products were measured.
    ///
    /// The order in which unit i meets the others is that of numbers drawn for them, one for each unit of the
    /// objective; the draws are a function of seed, step and i. Products that are not finite project nothing.
    pub(crate) fn factors(&mut self, seed: u64, step: u64, units: &[usize]) -> &[f64] {
        let count = units.len();
        assert_eq!(self.gram.len(), count * count, "a product for each pair of units");
        let finite = self.gram.iter().all(|product| product.is_finite());
        self.factors.clear();
        self.factors.resize(count, if finite { 0.0 } else { 1.0 });
        if !finite {
            return &self.factors;
        }
        for (i, &unit) in units.iter().enumerate() {
            let mut draws = keyed(seed, Purpose::Projection, step, unit as u64);
            self.order.clear();
            let mut drawn = 0;
            for (j, &other) in units.iter().enumerate() {
                // One draw for each unit up to this one, taking part or not.
                let mut draw = 0;
                while drawn <= other {
                    draw = draws.next_u64();
                    drawn += 1;
                }
                if j != i {
                    self.order.push((draw, j));
                }
            }
            self.order.sort_unstable();
            self.project(i);
            self.factors.iter_mut().zip(&self.coefficients).for_each(|(factor, c)| *factor += c);
        }
        &self.factors
    }

    /// For every other j in order: where `⟨g, g_j⟩ < 0`, `g ← g − (⟨g, g_j⟩ / ‖g_j‖²)·g_j`, with `g = g_i` at first.
    fn project(&mut self, i: usize) {
        let count = self.factors.len();
        self.coefficients.clear();
        self.coefficients.resize(count, 0.0);
        self.coefficients[i] = 1.0;
        for &(_, j) in &self.order {
            let row = &self.gram[j * count..][..count];
            let product: f64 = self.coefficients.iter().zip(row).map(|(c, product)| c * product).sum();
            if product < 0.0 {
                self.coefficients[j] -= product / row[j];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Vectors = Vec<Vec<f64>>;

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn measured(gradients: &Vectors) -> Projection {
        let mut projection = Projection::default();
        projection.measure(gradients.len(), |i, j| dot(&gradients[i], &gradients[j]));
        projection
    }

    fn sum(factors: &[f64], gradients: &Vectors) -> Vec<f64> {
        let entry = |at: usize| factors.iter().zip(gradients).map(|(factor, g)| factor * g[at]).sum();
        (0..gradients[0].len()).map(entry).collect()
    }

    /// Algorithm 1 as it is printed, on the gradients themselves.
    fn algorithm(gradients: &Vectors, orders: &[Vec<usize>]) -> Vec<f64> {
        let mut total = vec![0.0; gradients[0].len()];
        for (g, order) in gradients.iter().zip(orders) {
            let mut projected = g.clone();
            for &j in order {
                let product = dot(&projected, &gradients[j]);
                if product < 0.0 {
                    let share = product / dot(&gradients[j], &gradients[j]);
                    projected.iter_mut().zip(&gradients[j]).for_each(|(p, g)| *p -= share * g);
                }
            }
            total.iter_mut().zip(&projected).for_each(|(total, p)| *total += p);
        }
        total
    }

    fn gradients(units: std::ops::Range<usize>) -> impl Strategy<Value = Vectors> {
        prop::collection::vec(prop::collection::vec(-2.0..2.0_f64, 5), units)
    }

    proptest! {
        #[test]
        fn two_units_do_not_conflict_after_projection(gradients in gradients(2..3)) {
            let mut projection = measured(&gradients);
            projection.factors(1, 2, &[0, 1]);
            for (i, other) in [(0, 1), (1, 0)] {
                projection.order = vec![(0, other)];
                projection.project(i);
                let projected = sum(&projection.coefficients, &gradients);
                prop_assert!(dot(&projected, &gradients[other]) >= -1e-9);
                // The part that is taken away lies along the other: across it nothing changes.
                let across = |g: &[f64]| {
                    let share = dot(g, &gradients[other]) / dot(&gradients[other], &gradients[other]);
                    g.iter().zip(&gradients[other]).map(|(g, o)| g - share * o).collect::<Vec<_>>()
                };
                for (a, b) in across(&projected).iter().zip(across(&gradients[i])) {
                    prop_assert!((a - b).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn a_gradient_without_conflict_stays(gradients in gradients(1..6)) {
            // In the positive orthant no two conflict.
            let gradients: Vectors = gradients.iter().map(|g| g.iter().map(|x| x.abs()).collect()).collect();
            let units: Vec<usize> = (0..gradients.len()).collect();
            let mut projection = measured(&gradients);
            prop_assert_eq!(projection.factors(1, 2, &units), vec![1.0; units.len()]);
        }

        #[test]
        fn the_sum_is_that_of_the_algorithm(gradients in gradients(1..6), step in 0..9_u64) {
            // The units with labels are 1, 3, 5 …
            let units: Vec<usize> = (0..gradients.len()).map(|i| 2 * i + 1).collect();
            let order = |&unit: &usize| {
                let mut draws = keyed(7, Purpose::Projection, step, unit as u64);
                let drawn: Vec<u64> = (0..12).map(|_| draws.next_u64()).collect();
                let mut others: Vec<usize> = (0..units.len()).filter(|&j| units[j] != unit).collect();
                others.sort_by_key(|&j| drawn[units[j]]);
                others
            };
            let orders: Vec<_> = units.iter().map(order).collect();
            let mut projection = measured(&gradients);
            let ours = sum(projection.factors(7, step, &units), &gradients);
            for (ours, theirs) in ours.iter().zip(algorithm(&gradients, &orders)) {
                prop_assert!((ours - theirs).abs() < 1e-9, "{} is not {}", ours, theirs);
            }
        }
    }

    #[test]
    fn the_order_is_random_and_every_unit_has_its_own() {
        let mut projection = measured(&vec![vec![1.0]; 5]);
        let mut orders = std::collections::BTreeSet::new();
        for step in 0..200 {
            projection.factors(1, step, &[0, 1, 2, 3, 4]);
            orders.insert(projection.order.iter().map(|&(_, j)| j).collect::<Vec<_>>());
        }
        // The last unit met the four others in all 24 orders.
        assert_eq!(orders.len(), 24);
    }

    #[test]
    fn products_that_are_not_finite_project_nothing() {
        let mut projection = Projection::default();
        projection.measure(2, |i, j| if i == j { f64::INFINITY } else { -1.0 });
        assert_eq!(projection.factors(1, 2, &[0, 1]), [1.0, 1.0]);
    }
}
