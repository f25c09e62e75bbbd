//! Which optimizer, with what settings: in code, or in a file.

use serde::{Deserialize, Serialize};

use super::{Adagrad, AdagradConfig, Adam, AdamConfig, Optimizer, RowUpdates, Sgd, SgdConfig};
use crate::Result;

/// Which optimizer to use, with its settings. The settings are valid, because they were checked when they were built or read from a file.
///
/// In a file, `kind` names the optimizer, and every setting has a default. Unknown keys and values out of range are errors.
///
/// | `kind` | settings and defaults |
/// |---|---|
/// | `"sgd"` | `lr = 0.001`, `momentum = 0`, `nesterov = false`, `weight_decay = 0` |
/// | `"adam"` | `lr = 0.001`, `beta1 = 0.9`, `beta2 = 0.999`, `eps = 1e-8`, `weight_decay = 0` (added to the gradient) |
/// | `"adamw"` | those of `"adam"`, with `weight_decay = 0.01` (moves the values directly) |
/// | `"adagrad"` | `lr = 0.01`, `initial_accumulator = 0`, `eps = 1e-10`, `weight_decay = 0` |
/// | `"rowwise_adagrad"` | those of `"adagrad"`; each table row has one accumulator |
///
/// All of them also have the setting `row_updates`: `"lazy"` (the default) or `"exact"`, see [`RowUpdates`](super::RowUpdates).
///
/// ```
/// use starple::optim::{AdamConfig, OptimizerConfig};
///
/// let text = r#"{"kind": "adamw", "lr": 0.002, "beta1": 0.8}"#;
/// let in_code = AdamConfig::builder().lr(0.002).beta1(0.8).build()?;
/// assert_eq!(serde_json::from_str::<OptimizerConfig>(text)?, OptimizerConfig::AdamW(in_code));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OptimizerConfig {
    /// Stochastic gradient descent ([`Sgd`]): `w ← w − lr·g` for a value w with gradient g, where `lr` is the learning rate; optionally with
    /// momentum.
    Sgd(SgdConfig),
    /// [`Adam`]: `w ← w − lr·m̂/(√v̂ + ε)`, where m̂ and v̂ are moving averages of the gradient and of its square. Weight decay is added to
    /// the gradient.
    Adam(AdamConfig),
    /// `AdamW` ([`Adam::decoupled`]): Adam, but weight decay moves the values directly instead of being added to the gradient.
    #[serde(rename = "adamw")]
    AdamW(AdamConfig),
    /// [`Adagrad`]: `w ← w − lr·g/(√s + ε)`, where s, the accumulator, is the sum of the squared gradients of the value w so far.
    Adagrad(AdagradConfig),
    /// [`Adagrad::rowwise`]: Adagrad with one accumulator of squared gradients for each row of an embedding table, so that the state of a
    /// table needs little memory. Other tensors have one for each value.
    RowwiseAdagrad(AdagradConfig),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam(AdamConfig::default())
    }
}

impl OptimizerConfig {
    /// Stochastic gradient descent without momentum and weight decay, with the base learning rate `lr` and the default of every other
    /// setting (see the table of [`OptimizerConfig`]).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if `lr` is not a number above 0 that f32 can represent (1.2e-38 to 3.4e38).
    pub fn sgd(lr: f64) -> Result<Self> {
        SgdConfig::builder().lr(lr).build().map(Self::Sgd)
    }

    /// Adam, with the base learning rate `lr` and the default of every other setting (see the table of [`OptimizerConfig`]).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if `lr` is not a number above 0 that f32 can represent (1.2e-38 to 3.4e38).
    pub fn adam(lr: f64) -> Result<Self> {
        AdamConfig::builder().lr(lr).build().map(Self::Adam)
    }

    /// `AdamW`, with the base learning rate `lr` and the default of every other setting (see the table of [`OptimizerConfig`]).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if `lr` is not a number above 0 that f32 can represent (1.2e-38 to 3.4e38).
    pub fn adamw(lr: f64) -> Result<Self> {
        AdamConfig::builder().lr(lr).build().map(Self::AdamW)
    }

    /// Adagrad with one accumulator for each value, with the base learning rate `lr` and the default of every other setting (see the table
    /// of [`OptimizerConfig`]).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if `lr` is not a number above 0 that f32 can represent (1.2e-38 to 3.4e38).
    pub fn adagrad(lr: f64) -> Result<Self> {
        AdagradConfig::builder().lr(lr).build().map(Self::Adagrad)
    }

    /// Adagrad with one accumulator for each table row, with the base learning rate `lr` and the default of every other setting (see the
    /// table of [`OptimizerConfig`]).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if `lr` is not a number above 0 that f32 can represent (1.2e-38 to 3.4e38).
    pub fn rowwise_adagrad(lr: f64) -> Result<Self> {
        AdagradConfig::builder().lr(lr).build().map(Self::RowwiseAdagrad)
    }

    /// The base learning rate. An [`LrSchedule`](super::LrSchedule) multiplies it by a factor in each step.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Sgd(config) => config.lr(),
            Self::Adam(config) | Self::AdamW(config) => config.lr(),
            Self::Adagrad(config) | Self::RowwiseAdagrad(config) => config.lr(),
        }
    }

    /// What the optimizer does in a step with the rows of embedding tables that the step did not read: [`RowUpdates::Lazy`], the default, or
    /// [`RowUpdates::Exact`].
    pub fn row_updates(&self) -> RowUpdates {
        match self {
            Self::Sgd(config) => config.row_updates(),
            Self::Adam(config) | Self::AdamW(config) => config.row_updates(),
            Self::Adagrad(config) | Self::RowwiseAdagrad(config) => config.row_updates(),
        }
    }

    /// The number of state values for each value, and in addition for each row of a table.
    pub(crate) fn remembers(&self) -> (f64, f64) {
        match self {
            Self::Sgd(config) => (if config.momentum() == 0.0 { 0.0 } else { 1.0 }, 0.0),
            Self::Adam(_) | Self::AdamW(_) => (2.0, 0.0),
            Self::Adagrad(_) => (1.0, 0.0),
            // Dense tensors have one for each value too; those are few beside the tables.
            Self::RowwiseAdagrad(_) => (0.0, 1.0),
        }
    }

    /// Makes an optimizer with these settings. It has no state yet: no step has been taken. Its learning rate is [`OptimizerConfig::lr`].
    pub fn build(&self) -> Box<dyn Optimizer> {
        match self.clone() {
            Self::Sgd(config) => Box::new(Sgd::new(config)),
            Self::Adam(config) => Box::new(Adam::new(config)),
            Self::AdamW(config) => Box::new(Adam::decoupled(config)),
            Self::Adagrad(config) => Box::new(Adagrad::new(config)),
            Self::RowwiseAdagrad(config) => Box::new(Adagrad::rowwise(config)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<OptimizerConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_reads_with_its_defaults_and_is_what_code_makes() {
        for (kind, expected) in [
            ("sgd", OptimizerConfig::sgd(0.5)),
            ("adam", OptimizerConfig::adam(0.5)),
            ("adamw", OptimizerConfig::adamw(0.5)),
            ("adagrad", OptimizerConfig::adagrad(0.5)),
            ("rowwise_adagrad", OptimizerConfig::rowwise_adagrad(0.5)),
        ] {
            let expected = expected.unwrap();
            assert_eq!(read(&format!("kind = {kind:?}\nlr = 0.5")).as_ref(), Ok(&expected), "{kind}");
            assert_eq!(expected.lr(), 0.5, "{kind}");
        }
    }

    #[test]
    fn every_option_reads_and_survives_writing() {
        let exact = RowUpdates::Exact;
        let sgd = SgdConfig::builder().lr(1.0).momentum(0.9);
        let classical = OptimizerConfig::Sgd(sgd.clone().build().unwrap());
        let sgd = OptimizerConfig::Sgd(sgd.nesterov(true).weight_decay(0.1).row_updates(exact).build().unwrap());
        let adam = AdamConfig::builder().lr(0.1).beta1(0.8).beta2(0.9).eps(1e-6).weight_decay(0.2).row_updates(exact);
        let adam = adam.build().unwrap();
        let adagrad = AdagradConfig::builder().lr(0.1).eps(1e-3).initial_accumulator(0.1).weight_decay(0.4);
        let adagrad = adagrad.row_updates(exact).build().unwrap();
        let sgd_options = "momentum = 0.9\nnesterov = true\nweight_decay = 0.1\nrow_updates = 'exact'";
        let adam_options =
            "lr = 0.1\nbeta1 = 0.8\nbeta2 = 0.9\neps = 1e-6\nweight_decay = 0.2\nrow_updates = 'exact'\n";
        let adagrad_options =
            "lr = 0.1\neps = 1e-3\ninitial_accumulator = 0.1\nweight_decay = 0.4\nrow_updates = 'exact'";
        let cases = [
            (format!("kind = 'sgd'\nlr = 1\n{sgd_options}"), sgd),
            ("kind = 'sgd'\nlr = 1\nmomentum = 0.9".into(), classical),
            (format!("kind = 'adam'\n{adam_options}"), OptimizerConfig::Adam(adam.clone())),
            (format!("kind = 'adamw'\n{adam_options}"), OptimizerConfig::AdamW(adam)),
            (format!("kind = 'adagrad'\n{adagrad_options}"), OptimizerConfig::Adagrad(adagrad.clone())),
            (format!("kind = 'rowwise_adagrad'\n{adagrad_options}"), OptimizerConfig::RowwiseAdagrad(adagrad)),
        ];
        for (text, expected) in cases {
            assert_eq!(read(&text).as_ref(), Ok(&expected), "{text}");
            assert_eq!(read(&toml::to_string(&expected).unwrap()).as_ref(), Ok(&expected), "{text}");
            assert_eq!(expected.lr(), if text.contains("sgd") { 1.0 } else { 0.1 });
        }
    }

    #[test]
    fn bad_files_name_the_key() {
        for (text, parts) in [
            ("kind = 'adamm'\nlr = 1", &["adamm", "rowwise_adagrad"][..]),
            ("lr = 1", &["kind"]),
            ("kind = 'adam'\nlr = 1\nmomentum = 0.9", &["momentum", "beta1"]),
            ("kind = 'adam'\nlr = -1\nbeta2 = 1.5", &["lr", "-1", "beta2", "1.5"]),
            ("kind = 'adam'\nlr = 1\nweight_decay = -0.5", &["weight_decay", "-0.5"]),
            ("kind = 'sgd'\nlr = 1\nnesterov = true", &["momentum: above 0"]),
            ("kind = 'sgd'\nlr = 1\nrow_updates = 'sparse'", &["sparse", "lazy", "exact"]),
            ("kind = 'adagrad'\nlr = 1\neps = 1e-60", &["eps"]),
        ] {
            let error = read(text).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        }
    }
}
