//! Platt scaling by Newton's method.

use super::curve::Curve;
use super::observed::Observed;
use crate::loss::{bce_with_logits, sigmoid};

/// The most steps of Newton's method. It needs about ten, on hard data a few dozen.
const STEPS: usize = 200;
/// It ends when the components of the gradient are below this, with weights that sum to 1.
const TOLERANCE: f64 = 1e-12;

/// The problem: `min Σ w_i [softplus(f_i) − t_i f_i]` with `f_i = a·x_i + b`, where x is the standardised logit.
struct Problem<'a> {
    rows: &'a [Observed],
    mean: f64,
    deviation: f64,
    /// Smoothed targets: of no click, and of a click.
    targets: [f64; 2],
    weight: f64,
}

/// Slope and intercept of the smoothed maximum likelihood; if that slope is not above 0, slope 1 and the best intercept for it.
pub(super) fn fit(rows: &[Observed]) -> Curve {
    let weight: f64 = rows.iter().map(Observed::weight).sum();
    let clicks: f64 = rows.iter().map(Observed::clicks).sum();
    let mean_of =
        |value: &dyn Fn(&Observed) -> f64| rows.iter().map(|row| row.weight() * value(row)).sum::<f64>() / weight;
    let mean = mean_of(&|row| f64::from(row.logit));
    let variance = mean_of(&|row| (f64::from(row.logit) - mean).powi(2));
    let targets = [1.0 / (weight - clicks + 2.0), (clicks + 1.0) / (clicks + 2.0)];
    let problem = Problem { rows, mean, deviation: variance.sqrt(), targets, weight };
    // Equal scores determine no slope.
    let alike = rows.iter().all(|row| row.logit == rows[0].logit);
    let [scaled, intercept] = if alike { [0.0; 2] } else { problem.solve([0.0; 2], true) };
    let slope = scaled / problem.deviation;
    if slope.is_finite() && slope > 0.0 {
        return Curve::Platt { slope, intercept: intercept - slope * mean };
    }
    let problem = Problem { deviation: 1.0, ..problem };
    let [_, intercept] = problem.solve([1.0, 0.0], false);
    Curve::Platt { slope: 1.0, intercept: intercept - mean }
}

impl Problem<'_> {
    /// The best `[a, b]`; without `slope`, the best b for the given a.
    fn solve(&self, start: [f64; 2], slope: bool) -> [f64; 2] {
        let mut at = start;
        let mut value = self.value(at);
        for _ in 0..STEPS {
            let (gradient, hessian) = self.derivatives(at, slope);
            if gradient.iter().all(|g| g.abs() <= TOLERANCE) {
                break;
            }
            let step = newton(gradient, hessian);
            let descent = gradient[0] * step[0] + gradient[1] * step[1];
            let mut length = 1.0;
            let moved = loop {
                let next = [at[0] + length * step[0], at[1] + length * step[1]];
                let next_value = self.value(next);
                if next_value <= value + 1e-4 * length * descent {
                    break Some((next, next_value));
                }
                length /= 2.0;
                if length < 1e-10 {
                    break None;
                }
            };
            // No step lowers the value: this is the minimum, to f64 precision.
            let Some(moved) = moved else { break };
            (at, value) = moved;
        }
        at
    }

    fn x(&self, row: &Observed) -> f64 {
        (f64::from(row.logit) - self.mean) / self.deviation
    }

    fn value(&self, [a, b]: [f64; 2]) -> f64 {
        let loss = |row: &Observed| {
            row.weight() * bce_with_logits(a * self.x(row) + b, self.targets[usize::from(row.positive)])
        };
        self.rows.iter().map(loss).sum::<f64>() / self.weight
    }

    /// Gradient and Hessian `[aa, ab, bb]`; without `slope`, those of a are 0.
    fn derivatives(&self, [a, b]: [f64; 2], slope: bool) -> ([f64; 2], [f64; 3]) {
        let (mut gradient, mut hessian) = ([0.0; 2], [0.0; 3]);
        for row in self.rows {
            let (share, x) = (row.weight() / self.weight, self.x(row));
            let p = sigmoid(a * x + b);
            let (first, second) = (share * (p - self.targets[usize::from(row.positive)]), share * p * (1.0 - p));
            gradient[1] += first;
            hessian[2] += second;
            if slope {
                gradient[0] += first * x;
                hessian[0] += second * x * x;
                hessian[1] += second * x;
            }
        }
        (gradient, hessian)
    }
}

/// `−H⁻¹ g` with a small ridge on the diagonal of H: H may vanish far from the minimum, and is 0 for a slope that is held fixed.
fn newton(gradient: [f64; 2], [aa, ab, bb]: [f64; 3]) -> [f64; 2] {
    const RIDGE: f64 = 1e-12;
    let (aa, bb) = (aa + RIDGE, bb + RIDGE);
    let determinant = aa * bb - ab * ab;
    [-(bb * gradient[0] - ab * gradient[1]) / determinant, -(aa * gradient[1] - ab * gradient[0]) / determinant]
}
