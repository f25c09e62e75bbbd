//! Which optimizer, with what settings: in code, or in a file.

use serde::{Deserialize, Serialize};

use super::{
    Accumulator, Adagrad, AdagradConfig, Adam, AdamConfig, Momentum, Optimizer, RowUpdates, Sgd, SgdConfig, WeightDecay,
};
use crate::{Error, Result};

/// An optimizer and its settings, checked.
///
/// In a file, `kind` says which, `lr` is required, and every other setting has a default. Unknown keys and values out
/// of range are errors.
///
/// | `kind` | settings and defaults |
/// |---|---|
/// | `"sgd"` | `momentum = 0`, `nesterov = false`, `weight_decay = 0` |
/// | `"adam"` | `beta1 = 0.9`, `beta2 = 0.999`, `eps = 1e-8`, `weight_decay = 0` (L2) |
/// | `"adamw"` | the same with `weight_decay = 0.01` (decoupled) |
/// | `"adagrad"` | `initial_accumulator = 0`, `eps = 1e-10`, `weight_decay = 0` |
/// | `"rowwise_adagrad"` | the same, with one accumulator for each table row |
///
/// All take `row_updates = "lazy"` (the default) or `"exact"`: see [`RowUpdates`].
///
/// ```
/// use starple::optim::{AdamConfig, OptimizerConfig, WeightDecay};
///
/// let text = r#"{"kind": "adamw", "lr": 0.001, "beta1": 0.8}"#;
/// let from_file: OptimizerConfig = serde_json::from_str(text)?;
/// let in_code = AdamConfig::builder(0.001).betas(0.8, 0.999).weight_decay(WeightDecay::Decoupled(0.01)).build()?;
/// assert_eq!(from_file, in_code.into());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "File", into = "File")]
pub enum OptimizerConfig {
    /// Stochastic gradient descent.
    Sgd(SgdConfig),
    /// Adam, or `AdamW` when its weight decay is decoupled.
    Adam(AdamConfig),
    /// Adagrad, for each value or row-wise.
    Adagrad(AdagradConfig),
}

impl OptimizerConfig {
    /// SGD with its defaults and this learning rate.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if `lr` is not a finite number above 0; so in all of these.
    pub fn sgd(lr: f64) -> Result<Self> {
        SgdConfig::builder(lr).build().map(Self::Sgd)
    }

    /// Adam with its defaults and this learning rate.
    ///
    /// # Errors
    /// As [`OptimizerConfig::sgd`].
    pub fn adam(lr: f64) -> Result<Self> {
        AdamConfig::builder(lr).build().map(Self::Adam)
    }

    /// `AdamW` with a decoupled weight decay of 0.01, and this learning rate.
    ///
    /// # Errors
    /// As [`OptimizerConfig::sgd`].
    pub fn adamw(lr: f64) -> Result<Self> {
        AdamConfig::builder(lr).weight_decay(WeightDecay::Decoupled(ADAMW_DECAY)).build().map(Self::Adam)
    }

    /// Adagrad with its defaults and this learning rate.
    ///
    /// # Errors
    /// As [`OptimizerConfig::sgd`].
    pub fn adagrad(lr: f64) -> Result<Self> {
        AdagradConfig::builder(lr).build().map(Self::Adagrad)
    }

    /// Row-wise Adagrad with its defaults and this learning rate.
    ///
    /// # Errors
    /// As [`OptimizerConfig::sgd`].
    pub fn rowwise_adagrad(lr: f64) -> Result<Self> {
        AdagradConfig::builder(lr).accumulator(Accumulator::Row).build().map(Self::Adagrad)
    }

    /// The base learning rate, which a [`LrSchedule`](super::LrSchedule) scales.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Sgd(config) => config.lr,
            Self::Adam(config) => config.lr,
            Self::Adagrad(config) => config.lr,
        }
    }

    /// How many numbers it remembers for each value, and beside them for each row of a table.
    pub(crate) fn remembers(&self) -> (f64, f64) {
        match self {
            Self::Sgd(config) => (if config.momentum == Momentum::None { 0.0 } else { 1.0 }, 0.0),
            Self::Adam(_) => (2.0, 0.0),
            // Dense tensors have one for each value whatever tables have; those are few beside the tables.
            Self::Adagrad(config) if config.accumulator == Accumulator::Row => (0.0, 1.0),
            Self::Adagrad(_) => (1.0, 0.0),
        }
    }

    /// The optimizer, remembering nothing yet.
    pub fn build(&self) -> Box<dyn Optimizer> {
        match *self {
            Self::Sgd(config) => Box::new(Sgd::new(config)),
            Self::Adam(config) => Box::new(Adam::new(config)),
            Self::Adagrad(config) => Box::new(Adagrad::new(config)),
        }
    }
}

impl From<SgdConfig> for OptimizerConfig {
    fn from(config: SgdConfig) -> Self {
        Self::Sgd(config)
    }
}

impl From<AdamConfig> for OptimizerConfig {
    fn from(config: AdamConfig) -> Self {
        Self::Adam(config)
    }
}

impl From<AdagradConfig> for OptimizerConfig {
    fn from(config: AdagradConfig) -> Self {
        Self::Adagrad(config)
    }
}

const ADAMW_DECAY: f64 = 0.01;

/// The settings as a file has them.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum File {
    Sgd(SgdFile),
    Adam(AdamFile),
    // The decay's default is the one thing in which the two differ.
    #[serde(rename = "adamw")]
    AdamW(AdamWFile),
    Adagrad(AdagradFile),
    RowwiseAdagrad(AdagradFile),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SgdFile {
    lr: f64,
    #[serde(default)]
    momentum: f64,
    #[serde(default)]
    nesterov: bool,
    #[serde(default)]
    weight_decay: f64,
    #[serde(default)]
    row_updates: RowUpdates,
}

/// Writes a file's form of Adam's settings; a macro, because `flatten` and `deny_unknown_fields` exclude each other.
macro_rules! adam_file {
    ($name:ident, $weight_decay:literal) => {
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            lr: f64,
            #[serde(default = "defaults::beta1")]
            beta1: f64,
            #[serde(default = "defaults::beta2")]
            beta2: f64,
            #[serde(default = "defaults::adam_eps")]
            eps: f64,
            #[serde(default = $weight_decay)]
            weight_decay: f64,
            #[serde(default)]
            row_updates: RowUpdates,
        }

        impl $name {
            fn new(config: &AdamConfig, weight_decay: f64) -> Self {
                let AdamConfig { lr, beta1, beta2, eps, weight_decay: _, row_updates } = *config;
                Self { lr, beta1, beta2, eps, weight_decay, row_updates }
            }

            fn check(self, weight_decay: WeightDecay) -> Result<OptimizerConfig> {
                let builder = AdamConfig::builder(self.lr).betas(self.beta1, self.beta2).eps(self.eps);
                builder.weight_decay(weight_decay).row_updates(self.row_updates).build().map(OptimizerConfig::Adam)
            }
        }
    };
}

adam_file!(AdamFile, "defaults::no_decay");
adam_file!(AdamWFile, "defaults::adamw_decay");

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdagradFile {
    lr: f64,
    #[serde(default)]
    initial_accumulator: f64,
    #[serde(default = "defaults::adagrad_eps")]
    eps: f64,
    #[serde(default)]
    weight_decay: f64,
    #[serde(default)]
    row_updates: RowUpdates,
}

mod defaults {
    pub(super) fn beta1() -> f64 {
        0.9
    }
    pub(super) fn beta2() -> f64 {
        0.999
    }
    pub(super) fn adam_eps() -> f64 {
        1e-8
    }
    pub(super) fn no_decay() -> f64 {
        0.0
    }
    pub(super) fn adamw_decay() -> f64 {
        super::ADAMW_DECAY
    }
    pub(super) fn adagrad_eps() -> f64 {
        1e-10
    }
}

impl SgdFile {
    fn check(self) -> Result<OptimizerConfig> {
        let momentum = match (self.momentum, self.nesterov) {
            (0.0, false) => Momentum::None,
            (mu, false) => Momentum::Classical(mu),
            // Nesterov's momentum of 0 is refused by the builder, which names it.
            (mu, true) => Momentum::Nesterov(mu),
        };
        let builder = SgdConfig::builder(self.lr).momentum(momentum).weight_decay(self.weight_decay);
        builder.row_updates(self.row_updates).build().map(OptimizerConfig::Sgd)
    }
}

impl AdagradFile {
    fn check(self, accumulator: Accumulator) -> Result<OptimizerConfig> {
        let builder = AdagradConfig::builder(self.lr).accumulator(accumulator).eps(self.eps);
        let builder = builder.initial_accumulator(self.initial_accumulator).weight_decay(self.weight_decay);
        builder.row_updates(self.row_updates).build().map(OptimizerConfig::Adagrad)
    }
}

impl TryFrom<File> for OptimizerConfig {
    type Error = Error;

    fn try_from(file: File) -> Result<Self> {
        match file {
            File::Sgd(file) => file.check(),
            File::Adam(file) => {
                let decay =
                    if file.weight_decay == 0.0 { WeightDecay::None } else { WeightDecay::L2(file.weight_decay) };
                file.check(decay)
            }
            File::AdamW(file) => {
                let decay = WeightDecay::Decoupled(file.weight_decay);
                file.check(decay)
            }
            File::Adagrad(file) => file.check(Accumulator::Element),
            File::RowwiseAdagrad(file) => file.check(Accumulator::Row),
        }
    }
}

impl From<OptimizerConfig> for File {
    fn from(config: OptimizerConfig) -> Self {
        match config {
            OptimizerConfig::Sgd(SgdConfig { lr, momentum, weight_decay, row_updates }) => {
                let (momentum, nesterov) = match momentum {
                    Momentum::None => (0.0, false),
                    Momentum::Classical(mu) => (mu, false),
                    Momentum::Nesterov(mu) => (mu, true),
                };
                Self::Sgd(SgdFile { lr, momentum, nesterov, weight_decay, row_updates })
            }
            OptimizerConfig::Adam(config) => match config.weight_decay {
                WeightDecay::None => Self::Adam(AdamFile::new(&config, 0.0)),
                WeightDecay::L2(strength) => Self::Adam(AdamFile::new(&config, strength)),
                WeightDecay::Decoupled(strength) => Self::AdamW(AdamWFile::new(&config, strength)),
            },
            OptimizerConfig::Adagrad(config) => {
                let AdagradConfig { lr, accumulator, initial_accumulator, eps, weight_decay, row_updates } = config;
                let file = AdagradFile { lr, initial_accumulator, eps, weight_decay, row_updates };
                match accumulator {
                    Accumulator::Element => Self::Adagrad(file),
                    Accumulator::Row => Self::RowwiseAdagrad(file),
                }
            }
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
            assert_eq!(read(&format!("kind = {kind:?}\nlr = 0.5")), Ok(expected), "{kind}");
            assert_eq!(expected.lr(), 0.5, "{kind}");
        }
    }

    #[test]
    fn every_option_reads_and_survives_writing() {
        let exact = RowUpdates::Exact;
        let sgd =
            SgdConfig::builder(1.0).momentum(Momentum::Nesterov(0.9)).weight_decay(0.1).row_updates(exact).build();
        let classical = SgdConfig::builder(1.0).momentum(Momentum::Classical(0.9)).build();
        let adam = AdamConfig::builder(0.1).betas(0.8, 0.9).eps(1e-6).row_updates(exact);
        let l2 = adam.clone().weight_decay(WeightDecay::L2(0.2)).build();
        let decoupled = adam.weight_decay(WeightDecay::Decoupled(0.3)).build();
        let adagrad =
            AdagradConfig::builder(0.1).eps(1e-3).initial_accumulator(0.1).weight_decay(0.4).row_updates(exact);
        let rowwise = adagrad.clone().accumulator(Accumulator::Row).build();
        let adam_options = "beta1 = 0.8\nbeta2 = 0.9\neps = 1e-6\nrow_updates = 'exact'\n";
        let adagrad_options =
            "lr = 0.1\neps = 1e-3\ninitial_accumulator = 0.1\nweight_decay = 0.4\nrow_updates = 'exact'";
        let cases: [(String, OptimizerConfig); 6] = [
            (
                "kind = 'sgd'\nlr = 1\nmomentum = 0.9\nnesterov = true\nweight_decay = 0.1\nrow_updates = 'exact'"
                    .into(),
                sgd.unwrap().into(),
            ),
            ("kind = 'sgd'\nlr = 1\nmomentum = 0.9".into(), classical.unwrap().into()),
            (format!("kind = 'adam'\nlr = 0.1\nweight_decay = 0.2\n{adam_options}"), l2.unwrap().into()),
            (format!("kind = 'adamw'\nlr = 0.1\nweight_decay = 0.3\n{adam_options}"), decoupled.unwrap().into()),
            (format!("kind = 'adagrad'\n{adagrad_options}"), adagrad.build().unwrap().into()),
            (format!("kind = 'rowwise_adagrad'\n{adagrad_options}"), rowwise.unwrap().into()),
        ];
        for (text, expected) in cases {
            assert_eq!(read(&text), Ok(expected), "{text}");
            assert_eq!(read(&toml::to_string(&expected).unwrap()), Ok(expected), "{text}");
            assert_eq!(expected.lr(), if text.contains("sgd") { 1.0 } else { 0.1 });
        }
    }

    #[test]
    fn bad_files_name_the_key() {
        for (text, parts) in [
            ("kind = 'adamm'\nlr = 1", &["adamm", "rowwise_adagrad"][..]),
            ("lr = 1", &["kind"]),
            ("kind = 'adam'", &["lr"]),
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
