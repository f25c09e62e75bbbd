//! Which weighting, with what settings.

use serde::{Deserialize, Serialize};

use crate::error::Problems;

/// How training finds the factors `v_k` by which the losses of the units are weighted, in addition to the fixed weights of the
/// [`Objective`](crate::loss::Objective).
///
/// A unit is a task, a domain, or a pair of both: [`Units`](crate::loss::Units). [The module](super) has the equations and the cost of each
/// kind. In a file, `kind` selects one:
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
    /// Only the weights of the [`Objective`](crate::loss::Objective): every factor `v_k` is 1. The default.
    Fixed {},
    /// Uncertainty weighting: learns a variance for each unit. Units with a small loss get a large weight.
    Uncertainty(UncertaintyConfig),
    /// Dynamic weight average: units whose loss falls more slowly get more weight in the next epoch.
    Dwa(DwaConfig),
    /// `GradNorm`: changes the factors in every step, so that the gradient norms of the units become similar and slower units get larger
    /// norms.
    GradNorm(GradNormConfig),
    /// PCGrad: where the gradients of two units conflict (a negative inner product), removes the conflicting part before it sums them.
    PcGrad {},
}

crate::settings! {
    /// The settings of [`Weighting::Uncertainty`].
    #[derive(Default)]
    UncertaintyConfig, UncertaintyConfigBuilder, in files {
        /// The learning rate of the log variances, above 0; default 0.01.
        lr: f64 = 0.01;
    }
    check(this, problems) {
        require_positive("lr", this.lr, problems);
    }
}

crate::settings! {
    /// The settings of [`Weighting::Dwa`].
    #[derive(Default)]
    DwaConfig, DwaConfigBuilder, in files {
        /// The temperature `T` of the softmax, above 0; default 2. A larger temperature makes the factors of the units more equal.
        temperature: f64 = 2.0;
    }
    check(this, problems) {
        require_positive("temperature", this.temperature, problems);
    }
}

crate::settings! {
    /// The settings of [`Weighting::GradNorm`].
    #[derive(Default)]
    GradNormConfig, GradNormConfigBuilder, in files {
        /// The exponent `α`, at least 0; default 1.5. With a larger value, a unit whose loss falls more slowly than the others' gets a
        /// larger gradient norm. With 0, all units get the same norm.
        alpha: f64 = 1.5;
        /// The learning rate of the factors `v_k`, above 0; default 0.025.
        lr: f64 = 0.025;
        /// Selects the tensors over which gradient norms are measured, by the first parts of their dotted names, for example
        /// `net.levels.0.shared`; `*` stands for any one part. Of the tensors with such names, only shared ones are used: no
        /// domain or task owns them, and they are neither frozen nor embedding tables. There must be at least one. Default: all shared
        /// tensors.
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
