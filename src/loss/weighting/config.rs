//! Which weighting, with what settings.

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::{Error, Result};

/// How the weights of units are found while training; see [the module](super) for the equations.
///
/// In a file, `kind` says which:
///
/// | `kind` | settings and defaults |
/// |---|---|
/// | `"fixed"` | none |
/// | `"uncertainty"` | `lr = 0.01` |
/// | `"dwa"` | `temperature = 2` |
/// | `"gradnorm"` | `alpha = 1.5`, `lr = 0.025`, `shared` (default: all shared dense tensors) |
/// | `"pcgrad"` | none |
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "File", into = "File")]
pub struct Weighting(pub(super) Kind);

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Kind {
    #[default]
    Fixed,
    Uncertainty {
        lr: f64,
    },
    Dwa {
        temperature: f64,
    },
    GradNorm {
        alpha: f64,
        lr: f64,
        shared: Option<String>,
    },
    PcGrad,
}

impl Weighting {
    /// How many gradients of the model are kept beside the step's, with this many units.
    pub(crate) fn gradients(&self, units: usize) -> usize {
        match self.0 {
            Kind::Fixed | Kind::Uncertainty { .. } | Kind::Dwa { .. } => 0,
            Kind::GradNorm { .. } => 1,
            Kind::PcGrad => units,
        }
    }

    /// No weights but those of the [`Objective`](crate::loss::Objective).
    pub fn fixed() -> Self {
        Self(Kind::Fixed)
    }

    /// Uncertainty weighting: log variances learned with the rate `lr > 0`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming every setting that is out of range; so in all of these.
    pub fn uncertainty(lr: f64) -> Result<Self> {
        Self(Kind::Uncertainty { lr }).checked()
    }

    /// Dynamic weight average: the larger the `temperature > 0`, the more equal the weights.
    ///
    /// # Errors
    /// As [`Weighting::uncertainty`].
    pub fn dwa(temperature: f64) -> Result<Self> {
        Self(Kind::Dwa { temperature }).checked()
    }

    /// GradNorm: `alpha ≥ 0` says how strongly units that lag are pulled along (0: all gradients get one norm),
    /// `lr > 0` is the rate of the weights.
    ///
    /// # Errors
    /// As [`Weighting::uncertainty`].
    pub fn gradnorm(alpha: f64, lr: f64) -> Result<Self> {
        Self(Kind::GradNorm { alpha, lr, shared: None }).checked()
    }

    /// Measures GradNorm's norms over the tensors under this dotted name alone, such as `net.levels.0.shared`: those
    /// of them that are shared. It must stand for whole parts of the name, of which `*` is any one, and for one tensor at least.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if it is empty, or this is no [`Weighting::gradnorm`].
    pub fn with_shared(self, prefix: impl Into<String>) -> Result<Self> {
        match self.0 {
            Kind::GradNorm { alpha, lr, .. } => {
                Self(Kind::GradNorm { alpha, lr, shared: Some(prefix.into()) }).checked()
            }
            _ => Err(Error::new(crate::ErrorKind::Config, "weighting: shared is a setting of gradnorm alone")),
        }
    }

    /// PCGrad: no unit's gradient pulls against another's.
    pub fn pcgrad() -> Self {
        Self(Kind::PcGrad)
    }

    fn checked(self) -> Result<Self> {
        let mut problems = Problems::default();
        let mut positive = |name: &str, value: f64| {
            problems.require(value.is_finite() && value > 0.0, || {
                format!("{name}: a finite number above 0, found {value}")
            });
        };
        match &self.0 {
            Kind::Fixed | Kind::PcGrad => {}
            Kind::Uncertainty { lr } => positive("lr", *lr),
            Kind::Dwa { temperature } => positive("temperature", *temperature),
            Kind::GradNorm { alpha, lr, shared } => {
                positive("lr", *lr);
                problems.require(alpha.is_finite() && *alpha >= 0.0, || {
                    format!("alpha: a finite number, at least 0, found {alpha}")
                });
                problems.require(shared.as_deref() != Some(""), || {
                    "shared: the start of a dotted name, such as \"net.levels.0.shared\", found \"\"".into()
                });
            }
        }
        problems.into_result("weighting")?;
        Ok(self)
    }
}

/// The settings as a file has them.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum File {
    Fixed {},
    Uncertainty {
        #[serde(default = "defaults::uncertainty_lr")]
        lr: f64,
    },
    Dwa {
        #[serde(default = "defaults::temperature")]
        temperature: f64,
    },
    GradNorm {
        #[serde(default = "defaults::alpha")]
        alpha: f64,
        #[serde(default = "defaults::gradnorm_lr")]
        lr: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shared: Option<String>,
    },
    PcGrad {},
}

mod defaults {
    pub(super) fn uncertainty_lr() -> f64 {
        0.01
    }

    pub(super) fn temperature() -> f64 {
        2.0
    }

    pub(super) fn alpha() -> f64 {
        1.5
    }

    pub(super) fn gradnorm_lr() -> f64 {
        0.025
    }
}

impl TryFrom<File> for Weighting {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        let kind = match file {
            File::Fixed {} => Kind::Fixed,
            File::Uncertainty { lr } => Kind::Uncertainty { lr },
            File::Dwa { temperature } => Kind::Dwa { temperature },
            File::GradNorm { alpha, lr, shared } => Kind::GradNorm { alpha, lr, shared },
            File::PcGrad {} => Kind::PcGrad,
        };
        Self(kind).checked()
    }
}

impl From<Weighting> for File {
    fn from(Weighting(kind): Weighting) -> Self {
        match kind {
            Kind::Fixed => Self::Fixed {},
            Kind::Uncertainty { lr } => Self::Uncertainty { lr },
            Kind::Dwa { temperature } => Self::Dwa { temperature },
            Kind::GradNorm { alpha, lr, shared } => Self::GradNorm { alpha, lr, shared },
            Kind::PcGrad => Self::PcGrad {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_in_code_and_file() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Weighting::uncertainty(bad).is_err() && Weighting::dwa(bad).is_err());
        }
        let error = Weighting::gradnorm(-0.5, 0.0).unwrap_err().to_string();
        assert_eq!(
            error,
            "weighting: lr: a finite number above 0, found 0; alpha: a finite number, at least 0, found -0.5"
        );
        assert!(Weighting::gradnorm(0.0, 0.1).unwrap().with_shared("").is_err());
        assert!(Weighting::pcgrad().with_shared("net").unwrap_err().to_string().contains("gradnorm alone"));

        let read = |text: &str| toml::from_str::<Weighting>(text);
        for (text, expected) in [
            ("kind = 'fixed'", Weighting::fixed()),
            ("kind = 'uncertainty'", Weighting::uncertainty(0.01).unwrap()),
            ("kind = 'dwa'", Weighting::dwa(2.0).unwrap()),
            ("kind = 'gradnorm'", Weighting::gradnorm(1.5, 0.025).unwrap()),
            (
                "kind = 'gradnorm'\nalpha = 0.12\nlr = 0.1\nshared = 'net.mlp'",
                Weighting::gradnorm(0.12, 0.1).unwrap().with_shared("net.mlp").unwrap(),
            ),
            ("kind = 'pcgrad'", Weighting::pcgrad()),
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
