//! Means, spreads and paired tests over a few seeds.

use std::fmt;

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// The most differences of [`sign_flip`].
const MOST_FLIPS: usize = 20;

/// The mean and the spread of a value over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The mean.
    pub mean: f64,
    /// The sample standard deviation, `√(Σ (x − mean)² / (n − 1))`; `None` for one value.
    pub std: Option<f64>,
    /// The number of seeds, n.
    pub seeds: usize,
}

impl Summary {
    /// The summary of these values; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let std = || (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let std = (values.len() > 1).then(std);
        (!values.is_empty()).then_some(Self { mean, std, seeds: values.len() })
    }
}

/// `mean ± std`, or the mean alone for one value: with four decimals by default. `{:+}` shows the sign of the mean.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self { mean, std, .. }, decimals) = (self, f.precision().unwrap_or(4));
        if f.sign_plus() {
            write!(f, "{mean:+.decimals$}")?;
        } else {
            write!(f, "{mean:.decimals$}")?;
        }
        std.map_or(Ok(()), |std| write!(f, " ± {std:.decimals$}"))
    }
}

/// A two-sided test of whether paired differences have the mean 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Test {
    /// [`sign_flip`]: exact, without an assumption about the distribution of the differences.
    SignFlip,
    /// [`student_t`]: assumes differences from a normal distribution.
    StudentT,
}

impl Test {
    /// The test for a family of cells; `seeds` is the number of seeds of each cell. The smallest p must be able to be below `level / cells`.
    ///
    /// The sign-flip test cannot give a p below `2^(1 − seeds)`: .0625 for 5 seeds, .0078 for 8. It is chosen if that is
    /// low enough in the cell with the fewest seeds, and no cell has more than 20; otherwise Student's t is chosen. Cells of one seed
    /// are not tested and do not count; `None` if there are no others.
    pub fn choose(seeds: &[usize], level: f64) -> Option<Self> {
        let tested = || seeds.iter().copied().filter(|&seeds| seeds > 1);
        let (fewest, most) = (tested().min()?, tested().max()?);
        let smallest = 0.5_f64.powi(fewest.min(MOST_FLIPS) as i32 - 1) * tested().count() as f64;
        Some(if most <= MOST_FLIPS && smallest < level { Self::SignFlip } else { Self::StudentT })
    }

    /// The p-value of these differences; `None` if they cannot be tested.
    pub fn p(self, differences: &[f64]) -> Option<f64> {
        match self {
            Self::SignFlip => sign_flip(differences),
            Self::StudentT => student_t(differences),
        }
    }

    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SignFlip => "exact paired sign-flip test",
            Self::StudentT => "paired Student's t-test",
        }
    }
}

/// The summary of differences that can be tested: at least two, all finite, and not all equal.
///
/// Equal differences (of a coarse AUC over few positives) do not show the noise, so that a p-value would have no basis.
pub(super) fn testable(differences: &[f64]) -> Option<Summary> {
    // If a difference is not finite, the standard deviation is NaN and the comparison false.
    Summary::of(differences).filter(|summary| summary.std.is_some_and(|std| std > 1e-12 * summary.mean.abs()))
}

/// The p-value of the exact paired sign-flip test: of the 2ⁿ ways to sign the differences, the share whose sum is at least as far
/// from 0 as the observed sum.
///
/// It is two-sided, and assumes only that without an effect each difference has either sign with equal probability.
/// `None` for fewer than two differences, for one that is not finite, and if all are equal.
///
/// ```
/// use starple_lab::compare::sign_flip;
///
/// // Of 8 ways, only + + + and − − − are as far from 0.
/// assert_eq!(sign_flip(&[0.01, 0.03, 0.02]), Some(0.25));
/// ```
///
/// # Panics
/// If there are more than 20 differences: 2ⁿ ways would take too long.
pub fn sign_flip(differences: &[f64]) -> Option<f64> {
    let n = differences.len();
    assert!(n <= MOST_FLIPS, "{n} differences: signs of at most {MOST_FLIPS} are flipped in all ways");
    testable(differences)?;
    // Sums that are equal in exact arithmetic may differ in their last bits.
    let tolerance = 1e-12 * differences.iter().map(|difference| difference.abs()).sum::<f64>();
    let observed = differences.iter().sum::<f64>().abs();
    let ways = 1_u32 << n;
    let far = (0..ways).filter(|way| {
        let signed = differences.iter().enumerate().map(|(i, d)| if way >> i & 1 == 1 { -d } else { *d });
        signed.sum::<f64>().abs() >= observed - tolerance
    });
    Some(far.count() as f64 / f64::from(ways))
}

/// The p-value of the two-sided paired Student's t-test: `t = mean / (std / √n)` with `n − 1` degrees of freedom.
///
/// It assumes normally distributed differences. `None` as for [`sign_flip`]: fewer than two differences, one that is not finite, or all
/// equal.
///
/// ```
/// use starple_lab::compare::student_t;
///
/// let p = student_t(&[0.01, 0.02, 0.03]).unwrap(); // t = 3.46 with 2 degrees of freedom
/// assert!((p - 0.0742).abs() < 1e-4);
/// ```
pub fn student_t(differences: &[f64]) -> Option<f64> {
    let Summary { mean, std, seeds } = testable(differences)?;
    let n = seeds as f64;
    // It exists: there are at least two values.
    let distribution = StudentsT::new(0.0, 1.0, n - 1.0).ok()?;
    Some(2.0 * distribution.sf(mean.abs() / (std? / n.sqrt())))
}

/// Holm's correction of the p-values of one family (Scandinavian Journal of Statistics 6, 1979): in ascending order
/// `p̃_i = max_{j ≤ i} min(1, (m − j + 1)·p_j)`, with m p-values.
///
/// If `p̃ < α` is called significant, the chance of *any* false call in the family is below α, also for dependent tests.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max(((p.len() - rank) as f64 * p[i]).min(1.0));
        adjusted[i] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use approx::assert_abs_diff_eq;

    use super::*;

    #[test]
    fn summaries_by_hand() {
        let summary = Summary::of(&[1.0, 2.0, 6.0]).unwrap();
        assert_eq!((summary.mean, summary.std, summary.seeds), (3.0, Some(7.0_f64.sqrt()), 3));
        assert_eq!(Summary::of(&[4.0]), Some(Summary { mean: 4.0, std: None, seeds: 1 }));
        assert_eq!(Summary::of(&[]), None);
        assert_eq!((format!("{summary}"), format!("{summary:+.2}")), ("3.0000 ± 2.6458".into(), "+3.00 ± 2.65".into()));
        assert_eq!(Summary::of(&[4.0]).unwrap().to_string(), "4.0000");
    }

    #[test]
    fn sign_flips_counted_by_hand() {
        // Sums of ±1 ±2 ±4 are all different: |7| twice; at least |5| four times; at least |3| six times.
        assert_eq!(sign_flip(&[1.0, 2.0, 4.0]), Some(0.25));
        assert_eq!(sign_flip(&[-1.0, 2.0, 4.0]), Some(0.5));
        assert_eq!(sign_flip(&[1.0, -2.0, 4.0]), Some(0.75));
        assert_eq!(sign_flip(&[1.0, 2.0, -4.0]), Some(1.0));
        // Ties on paper: 0.1 + 0.2 − 0.3 is not 0 in binary, and must count as the 0 it is.
        assert_eq!(sign_flip(&[0.1, 0.2, -0.3]), Some(1.0));
        let eight: Vec<f64> = (8..16).map(f64::from).collect();
        assert_eq!(sign_flip(&eight), Some(2.0 / 256.0));
    }

    #[test]
    fn no_test_makes_up_a_p() {
        let cases: [&[f64]; 7] = [
            &[],
            &[0.1],
            &[0.0; 6],
            &[0.1; 3],
            &[0.1, f64::NAN, 0.2],
            &[0.1, f64::INFINITY, 0.2],
            &[f64::NEG_INFINITY, f64::INFINITY],
        ];
        for differences in cases {
            for test in [Test::SignFlip, Test::StudentT] {
                assert_eq!(test.p(differences), None, "{test:?} of {differences:?}");
            }
        }
    }

    #[test]
    fn student_agrees_with_the_printed_table() {
        // Two-sided .05 and .01 points of Student's t, as tables print them: with three decimals.
        let table = [(1, 12.706, 0.05), (1, 63.657, 0.01), (2, 4.303, 0.05), (3, 3.182, 0.05), (4, 4.604, 0.01)];
        for (freedom, t, p) in table.into_iter().chain([(9, 2.262, 0.05), (29, 2.045, 0.05)]) {
            // Differences whose mean is 1 and whose standard error is 1/t, half above and half below.
            let n = freedom + 1;
            let mut sample: Vec<f64> = (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
            if n % 2 == 1 {
                sample[n - 1] = 0.0;
            }
            let std = Summary::of(&sample).unwrap().std.unwrap();
            let wanted = (n as f64).sqrt() / t;
            let sample: Vec<f64> = sample.iter().map(|x| 1.0 + x * wanted / std).collect();
            assert_abs_diff_eq!(student_t(&sample).unwrap(), p, epsilon = 5e-5);
            let mirrored: Vec<f64> = sample.iter().map(|x| -x).collect();
            assert_abs_diff_eq!(student_t(&mirrored).unwrap(), p, epsilon = 5e-5);
        }
        assert_eq!(student_t(&[1.0, -1.0]), Some(1.0));
    }

    #[test]
    fn holm_by_hand() {
        // 4·.01, 3·.02, then 2·.03 = .06 and 1·.04, which may not come below what stands before it.
        let adjusted = holm(&[0.04, 0.01, 0.03, 0.02]);
        for (found, expected) in adjusted.iter().zip([0.06, 0.04, 0.06, 0.06]) {
            assert_abs_diff_eq!(*found, expected, epsilon = 1e-12);
        }
        assert_eq!(holm(&[0.7, 0.6]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn flipping_is_chosen_where_it_can_find_anything() {
        let choose = |seeds: &[usize]| Test::choose(seeds, 0.05);
        assert_eq!((choose(&[]), choose(&[1, 0])), (None, None));
        assert_eq!(choose(&[2]), Some(Test::StudentT));
        // 2 / 2⁵ = .0625 cannot be below .05; 2 / 2⁶ can, but not for two cells.
        assert_eq!(choose(&[5]), Some(Test::StudentT));
        assert_eq!(choose(&[6]), Some(Test::SignFlip));
        assert_eq!(choose(&[6, 1]), Some(Test::SignFlip));
        assert_eq!(choose(&[6, 6]), Some(Test::StudentT));
        assert_eq!(choose(&[9; 12]), Some(Test::SignFlip));
        assert_eq!(choose(&[21; 12]), Some(Test::StudentT));
        // The cell with the most seeds has to bear the test as well.
        assert_eq!(choose(&[15, 20]), Some(Test::SignFlip));
        assert_eq!(choose(&[15, 25]), Some(Test::StudentT));
        // A p that can only reach the level is not below it.
        assert_eq!(Test::choose(&[5], 0.0625), Some(Test::StudentT));
        assert_eq!(Test::choose(&[5], 0.0626), Some(Test::SignFlip));
    }
}
