//! Which weighting, with what settings.

use serde::{Deserialize, Serialize};

use crate::error::Problems;

/// The method by which training computes the factor `v_k` of each unit k. The loss of a unit is multiplied by `v_k`, in addition to the weight that
/// the settings of the [`Objective`](crate::loss::Objective) give the unit.
///
/// A unit is a task, a domain, or a pair of both: [`Units`](crate::loss::Units). [The module](super) has the equations and the cost of each method.
/// In a file, `kind` selects one; a setting of another kind is an error:
///
/// | `kind` | settings and defaults |
/// |---|---|
/// | `"fixed"` | none |
/// | `"uncertainty"` | `lr = 0.01` |
/// | `"dwa"` | `temperature = 2` |
/// | `"gradnorm"` | `alpha = 1.5`, `lr = 0.025`, `shared` (default: all shared dense tensors) |
/// | `"pcgrad"` | none |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Weighting {
    /// No method, the default: every factor `v_k` is 1, so the loss of a unit has only the weight from the settings of the
    /// [`Objective`](crate::loss::Objective).
    Fixed {},
    /// Uncertainty weighting: `v_k = 1/σ_k²`, with a variance `σ_k²` for each unit k, which starts at 1 and is learned in every step. The loss of the
    /// step gets the term `½ ln σ_k²` for each unit, multiplied by the unit's weight. A unit with a small loss gets a large factor.
    Uncertainty(UncertaintyConfig),
    /// Dynamic weight average: `v_k = K·softmax(r_k/T)` over the K units, where `r_k` is the mean loss of unit k in the last epoch, divided by that
    /// in the epoch before, and T the temperature. The factors change after every epoch. A unit whose loss falls more slowly than the losses of
    /// others gets a larger factor in the next epoch. In the first two epochs all factors are 1.
    Dwa(DwaConfig),
    /// `GradNorm`: changes the factors `v_k` after every step, so that the norms of the units' gradients `‖∇_W v_k L_k‖` become similar; W are the
    /// parameters shared by the units, and `L_k` is the loss of unit k. A unit whose loss has fallen less than the losses of others since its first
    /// step is to get a larger norm. All factors start at 1 and sum to the number of units. A step costs more time: one backward pass for each unit.
    GradNorm(GradNormConfig),
    /// PCGrad: if the gradients of two units conflict (their inner product is negative), removes the conflicting component of each gradient, and then
    /// sums the gradients. It learns nothing from step to step. A step costs more time and memory: one backward pass and one gradient of the model
    /// for each unit.
    PcGrad {},
}

crate::settings! {
    /// The settings of [`Weighting::Uncertainty`], which learns a factor for the loss of each unit from a variance.
    #[derive(Default)]
    UncertaintyConfig, UncertaintyConfigBuilder, in files {
        /// The learning rate of the log variances `ln σ_k²`, which are learned by gradient descent in every step: finite and above 0; otherwise
        /// `build` returns an error. Default 0.01. The learning rate of the model has no effect on them.
        lr: f64 = 0.01;
    }
    check(this, problems) {
        require_positive("lr", this.lr, problems);
    }
}

crate::settings! {
    /// The settings of [`Weighting::Dwa`], which computes a factor for the loss of each unit after every epoch.
    #[derive(Default)]
    DwaConfig, DwaConfigBuilder, in files {
        /// The temperature `T` of the softmax that computes the factors: finite and above 0; otherwise `build` returns an error. Default 2. A larger
        /// temperature makes the factors of the units more equal.
        temperature: f64 = 2.0;
    }
    check(this, problems) {
        require_positive("temperature", this.temperature, problems);
    }
}

crate::settings! {
    /// The settings of [`Weighting::GradNorm`], which changes the factors `v_k` of the units so that their gradients come to have similar
    /// norms.
    #[derive(Default)]
    GradNormConfig, GradNormConfigBuilder, in files {
        /// The exponent α: finite and at least 0; otherwise `build` returns an error. Default 1.5. It decides how much larger the gradient norm of a
        /// unit is to be if its loss has fallen less than the losses of other units. With 0, all units are to have the same norm; with a larger α,
        /// norms differ more.
        alpha: f64 = 1.5;
        /// The learning rate with which gradient descent changes the factors `v_k` in every step: finite and above 0; otherwise `build` returns an
        /// error. Default 0.025. The learning rate of the model has no effect on them.
        lr: f64 = 0.025;
        /// Selects the tensors (parameters) whose gradients are measured. It is the first parts of their dotted names, for example
        /// `net.levels.0.shared`; `*` stands for any one part. Among the tensors whose names start so, `GradNorm` measures only those that belong to
        /// no single domain or branch (a task, a domain, or one task in one domain) and are neither frozen nor embedding tables. If none is left,
        /// training returns an error at its start; an empty text is an error of `build`. Default `None`: all such tensors of the model.
        shared: Option<String> = None, some impl Into<String>, as Option<&str>;
    }
    check(this, problems) {
        let alpha = this.alpha;
        require_positive("lr", this.lr, problems);
        problems.require(alpha.is_finite() && alpha >= 0.0, || {
            format!("alpha: a finite number, at least 0, found {alpha}")
        });
        problems.require(this.shared.as_deref() != Some(""), || {
            "shared: the start of a dotted name, such as \"net.levels.0.shared\", found \"\"".into()
        });
    }
}

fn require_positive(name: &str, value: f64, problems: &mut Problems) {
    problems.require(value.is_finite() && value > 0.0, || format!("{name}: a finite number above 0, found {value}"));
}

impl Default for Weighting {
    fn default() -> Self {
        Self::Fixed {}
    }
}

impl Weighting {
    /// The number of gradients of the model that are kept beside the step's, with this number of units.
    pub(crate) fn gradients(&self, units: usize) -> usize {
        match self {
            Self::Fixed {} | Self::Uncertainty(_) | Self::Dwa(_) => 0,
            Self::GradNorm(_) => 1,
            Self::PcGrad {} => units,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_in_code_and_file() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(UncertaintyConfig::builder().lr(bad).build().is_err());
            assert!(DwaConfig::builder().temperature(bad).build().is_err());
        }
        let error = GradNormConfig::builder().alpha(-0.5).lr(0.0).shared("").build().unwrap_err().to_string();
        assert_eq!(
            error,
            "GradNormConfig: lr: a finite number above 0, found 0; alpha: a finite number, at least 0, found -0.5; \
             shared: the start of a dotted name, such as \"net.levels.0.shared\", found \"\""
        );

        let read = |text: &str| toml::from_str::<Weighting>(text);
        let gradnorm = GradNormConfig::builder().alpha(0.12).lr(0.1).shared("net.mlp").build().unwrap();
        for (text, expected) in [
            ("kind = 'fixed'", Weighting::default()),
            ("kind = 'uncertainty'", Weighting::Uncertainty(UncertaintyConfig::builder().lr(0.01).build().unwrap())),
            ("kind = 'dwa'", Weighting::Dwa(DwaConfig::builder().temperature(2.0).build().unwrap())),
            ("kind = 'gradnorm'\nalpha = 0.12\nlr = 0.1\nshared = 'net.mlp'", Weighting::GradNorm(gradnorm)),
            ("kind = 'pcgrad'", Weighting::PcGrad {}),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
            assert_eq!(read(&toml::to_string(&expected).unwrap()).unwrap(), expected, "{text}");
        }
        for (text, part) in [
            ("kind = 'fixd'", "unknown variant `fixd`"),
            ("kind = 'fixed'\nlr = 1", "lr"),
            ("kind = 'pcgrad'\nlr = 1", "lr"),
            ("kind = 'dwa'\ntemp = 1", "unknown field `temp`, expected `temperature`"),
            ("kind = 'dwa'\ntemperature = 0", "temperature: a finite number above 0, found 0"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
