//! The equations of target statistics.

/// Labels of some rows: their weight, and the weight of those that are 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Sum {
    pub(super) labelled: f64,
    pub(super) positive: f64,
}

impl Sum {
    pub(super) fn new(labelled: f64, positive: f64) -> Self {
        Self { labelled, positive }
    }

    pub(super) fn add(&mut self, labelled: f64, positive: f64) {
        self.labelled += labelled;
        self.positive += positive;
    }
}

/// The prior strengths of one field and task, in rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Strengths {
    /// Of a value.
    pub(super) value: f64,
    /// Of a value in one domain; `None`: what the value says of all domains is all that is said of one.
    pub(super) domain: Option<f64>,
}

/// `r`: the rate of all rows.
fn rate_of_all(all: Sum) -> f64 {
    (all.positive + 0.5) / (all.labelled + 1.0)
}

/// `r_d`: the rate of a domain, from its rows and all rows.
pub(super) fn rate(domain: Sum, all: Sum) -> f64 {
    let r = rate_of_all(all);
    let strength = 1.0 / (r * (1.0 - r));
    (domain.positive + strength * r) / (domain.labelled + strength)
}

/// `δ_v`: how far the log-odds of a value are above those that `expected` labels of 1 among its rows would have.
pub(super) fn lift(value: Sum, expected: f64, strengths: Strengths) -> f64 {
    let Sum { labelled, positive } = value;
    if labelled <= 0.0 {
        return 0.0;
    }
    let (r, b) = (expected / labelled, strengths.value);
    let odds = (positive + b * r) / (labelled - positive + b * (1.0 - r));
    (odds * (1.0 - r) / r).ln()
}

/// `x_dv`: how far the log-odds of a value in a domain are above those of the domain, whose rate is `rate`.
pub(super) fn lift_in_domain(pair: Sum, rate: f64, lift: f64, strengths: Strengths) -> f64 {
    let Some(a) = strengths.domain.filter(|_| pair.labelled > 0.0) else { return lift };
    let of_domain = rate / (1.0 - rate);
    let odds = of_domain * lift.exp();
    // q = odds/(1 + odds), and 1 − q without the difference.
    let (q, rest) = (odds / (1.0 + odds), 1.0 / (1.0 + odds));
    ((pair.positive + a * q) / (pair.labelled - pair.positive + a * rest) / of_domain).ln()
}

/// The rate that a lift makes of another rate: `σ(logit(r) + δ)`.
pub(super) fn lifted(rate: f64, lift: f64) -> f64 {
    let odds = rate / (1.0 - rate) * lift.exp();
    odds / (1.0 + odds)
}
