//! The settings of any model, for models that are named in a file.

use std::any::Any;
use std::ops::{Deref, DerefMut};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{
    AsymmetricConfig, CgcConfig, CrossStitchConfig, CustomizedConfig, MlMmoeConfig, MmoeConfig, MoeConfig, MranConfig,
    NetConfig, PepnetConfig, PleConfig, PooledConfig, SharedBottomConfig, SingleConfig, SluiceConfig, StarConfig,
};
use crate::data::Layout;
use crate::{Error, ErrorKind, Result};

/// The settings of a model whose kind is known only at run time, for example because a file names it. In a file, the key `kind` names the
/// model; the other keys are the settings of this model.
///
/// Make one from the settings of a model by `into()`, or from a JSON object by [`AnyConfig::from_settings`]. You can call all methods of
/// [`NetConfig`] on it. [`AnyConfig::get`] returns the settings as their own type.
///
/// ```
/// # use starple::data::Layout;
/// use starple::{AnyConfig, PleConfig, StarConfig};
/// # let layout = Layout::new(["home"], ["click"]).field("item", 9);
///
/// let config = AnyConfig::from_settings(serde_json::json!({ "kind": "star", "hidden": [64, 32] }), &layout, 7)?;
/// assert_eq!((config.kind(), config.seed()), ("star", 7));
/// assert_eq!(config.get::<StarConfig>(), Some(&StarConfig::builder(&layout).hidden([64, 32]).seed(7).build()?));
/// assert_eq!(config.get::<StarConfig>().unwrap().hidden(), &[64, 32]);
/// assert!(config.get::<PleConfig>().is_none());
/// # Ok::<(), starple::Error>(())
/// ```
#[derive(Debug)]
pub struct AnyConfig(Box<dyn NetConfig>);

/// A function that reads the settings of one kind.
type Read = fn(Value) -> serde_json::Result<AnyConfig>;

macro_rules! kinds {
    ($($kind:literal => $config:ty),* $(,)?) => {
        impl AnyConfig {
            /// The names of the kinds of model in this crate: `"star"`, `"ple"`, …. In a file, the key `kind` has one of these names.
            /// [`NetConfig::kind`] returns one of them for each model of this crate.
            pub const KINDS: &[&str] = &[$($kind),*];
        }

        const READERS: &[Read] = &[$(AnyConfig::read::<$config>),*];
    };
}

kinds! {
    "single" => SingleConfig,
    "pooled" => PooledConfig,
    "star" => StarConfig,
    "shared_bottom" => SharedBottomConfig,
    "asymmetric" => AsymmetricConfig,
    "customized" => CustomizedConfig,
    "cross_stitch" => CrossStitchConfig,
    "sluice" => SluiceConfig,
    "moe" => MoeConfig,
    "mmoe" => MmoeConfig,
    "ml_mmoe" => MlMmoeConfig,
    "cgc" => CgcConfig,
    "ple" => PleConfig,
    "pepnet" => PepnetConfig,
    "mran" => MranConfig,
}

impl AnyConfig {
    /// The settings as the type `C`, such as [`StarConfig`]. `None` if they are the settings of another model, that is, of another type
    /// than `C`.
    pub fn get<C: NetConfig>(&self) -> Option<&C> {
        let any: &dyn Any = &*self.0;
        any.downcast_ref()
    }

    fn read<C: NetConfig + DeserializeOwned>(settings: Value) -> serde_json::Result<Self> {
        serde_json::from_value::<C>(settings).map(Self::from)
    }

    /// Reads the settings of a kind of this crate, which do not contain the key `kind`.
    pub(crate) fn of_kind(kind: &str, settings: Value) -> serde_json::Result<Self> {
        let known = Self::KINDS.iter().position(|&known| known == kind);
        known.map_or_else(|| Err(serde_json::Error::unknown_variant(kind, Self::KINDS)), |i| READERS[i](settings))
    }

    /// The kind of model that `settings` belong to. `settings` are a JSON object, for example from a file; the result is the value of their
    /// key `kind`, one of [`AnyConfig::KINDS`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if `settings` have no key `kind`, or if its value is not one of [`AnyConfig::KINDS`]. The message lists the
    /// kinds.
    pub fn kind_of(settings: &Value) -> Result<&'static str> {
        let kind = settings.get("kind");
        let known = Self::KINDS.iter().find(|&&known| kind.and_then(Value::as_str) == Some(known));
        known.copied().ok_or_else(|| {
            let found = kind.map_or("expected `kind`".into(), |kind| format!("unknown kind {kind}, expected"));
            let comma = if kind.is_some() { "" } else { "," };
            Error::new(ErrorKind::Config, format!("{found}{comma} one of {}", Self::KINDS.join(", ")))
        })
    }

    /// Reads the settings of a model from a JSON object, as a run file has them. The object has the key `kind`, which names the model, and
    /// any settings of this model. Settings that it does not have get their default values.
    ///
    /// The object must not have the key `layout`: the model gets the argument `layout`. If the object has no key `seed`, the model gets the
    /// argument `seed`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the key `kind` is missing or names no model of this crate, if the object has the key `layout` or an unknown
    /// key, or if a setting is invalid. The message names all invalid settings.
    pub fn from_settings(mut settings: Value, layout: &Layout, seed: u64) -> Result<Self> {
        Self::kind_of(&settings)?;
        let wrong = |message: String| Error::new(ErrorKind::Config, message);
        let Value::Object(keys) = &mut settings else { unreachable!("what has a `kind` has keys") };
        if keys.contains_key("layout") {
            return Err(wrong("unknown key `layout`: it is fitted on the data".into()));
        }
        keys.insert("layout".into(), serde_json::to_value(layout).map_err(|error| wrong(error.to_string()))?);
        keys.entry("seed").or_insert_with(|| seed.into());
        serde_json::from_value(settings).map_err(|error| wrong(error.to_string()))
    }
}

impl<C: NetConfig> From<C> for AnyConfig {
    fn from(config: C) -> Self {
        Self(Box::new(config))
    }
}

impl From<Box<dyn NetConfig>> for AnyConfig {
    fn from(config: Box<dyn NetConfig>) -> Self {
        Self(config)
    }
}

impl Deref for AnyConfig {
    type Target = dyn NetConfig;

    fn deref(&self) -> &dyn NetConfig {
        &*self.0
    }
}

impl DerefMut for AnyConfig {
    fn deref_mut(&mut self) -> &mut dyn NetConfig {
        &mut *self.0
    }
}

impl Clone for AnyConfig {
    fn clone(&self) -> Self {
        Self(self.0.boxed())
    }
}

impl PartialEq for AnyConfig {
    fn eq(&self, other: &Self) -> bool {
        let other: &dyn Any = &*other.0;
        self.0.equals(other)
    }
}

impl Serialize for AnyConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Tagged<'a> {
            kind: &'static str,
            #[serde(flatten)]
            settings: &'a dyn NetConfig,
        }
        Tagged { kind: self.kind(), settings: &**self }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AnyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let mut settings = Value::deserialize(deserializer)?;
        let kind = Self::kind_of(&settings).map_err(D::Error::custom)?;
        if let Value::Object(keys) = &mut settings {
            keys.remove("kind");
        }
        Self::of_kind(kind, settings).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DomainId;

    fn layout(domains: usize, tasks: usize) -> Layout {
        Layout::new((0..domains).map(|d| format!("d{d}")), (0..tasks).map(|t| format!("t{t}"))).field("item", 3)
    }

    /// Whether an untrained model gives one row different scores in different domains.
    fn tells_domains_apart(config: &AnyConfig) -> bool {
        let (model, layout) = (crate::Model::new(config.clone()), config.layout());
        let labels = ndarray::Array2::zeros((1, layout.tasks.len()));
        let ids = vec![crate::data::Ids::One(vec![1])];
        let numeric = ndarray::Array2::zeros((1, 0));
        let row = crate::data::Batch {
            ids,
            numeric,
            labels,
            domains: vec![DomainId::new(0)],
            ..crate::data::Batch::default()
        };
        model.forward(&row, DomainId::new(0)) != model.forward(&row, DomainId::new(1))
    }

    #[test]
    fn with_one_task_every_kind_reads_the_domain_unless_told_otherwise() {
        for &kind in AnyConfig::KINDS {
            let of = |mut settings: Value, domains, tasks| {
                if kind == "pepnet" {
                    // Otherwise an untrained model gives all domains the same scores.
                    settings["gates_from_zero"] = false.into();
                }
                AnyConfig::from_settings(settings, &layout(domains, tasks), 7).unwrap()
            };
            let config = of(serde_json::json!({ "kind": kind, "embedding_std": 1.0 }), 3, 1);
            assert!(config.reads_domain() && config.warnings(None).is_empty(), "{kind}");
            assert!(tells_domains_apart(&config), "{kind}");
            if ["star", "pooled", "pepnet"].contains(&kind) {
                continue;
            }
            let mut tasks = serde_json::json!({ "kind": kind, "branches": "tasks", "embedding_std": 1.0 });
            for (domains, count) in [(3, 1), (3, 2)] {
                let config = of(tasks.clone(), domains, count);
                assert!(!tells_domains_apart(&config), "{kind}");
                let [warning] = &config.warnings(None)[..] else { panic!("one warning") };
                assert!(warning.contains("ignores the domain") && warning.contains("3 domains"), "{warning}");
            }
            assert!(of(tasks.clone(), 1, 2).warnings(None).is_empty());
            // By default: the paper's branches where there are several tasks, and a warning.
            let (single, written) =
                (kind == "single", |config: &AnyConfig| serde_json::to_value(config).unwrap()["branches"].clone());
            let by_default = |domains, tasks| of(serde_json::json!({ "kind": kind }), domains, tasks);
            for (domains, tasks, chosen) in [(3, 1, "domains"), (1, 2, "tasks"), (3, 2, "tasks"), (1, 1, "tasks")] {
                let config = by_default(domains, tasks);
                assert_eq!(
                    written(&config),
                    if single { "domains_and_tasks" } else { chosen },
                    "{kind}, {domains}, {tasks}"
                );
                assert_eq!(config.warnings(None).len(), usize::from(!single && domains > 1 && tasks > 1));
                // What was chosen is what a file has; an explicit choice stays.
                assert_eq!(
                    serde_json::from_value::<AnyConfig>(serde_json::to_value(&config).unwrap()).unwrap(),
                    config
                );
            }
            tasks["branches"] = "auto".into();
            assert_eq!(written(&of(tasks, 3, 1)), "domains");
        }
    }

    #[test]
    fn pepnet_without_epnet_leaves_the_domain_unread() {
        let settings = serde_json::json!({
            "kind": "pepnet", "epnet": false, "priors": ["item"], "gates_from_zero": false, "embedding_std": 1.0,
        });
        let of = |domains| AnyConfig::from_settings(settings.clone(), &layout(domains, 2), 7).unwrap();
        let config = of(3);
        assert!(!config.reads_domain() && !tells_domains_apart(&config));
        let [warning] = &config.warnings(None)[..] else { panic!("one warning") };
        assert!(warning.starts_with("epnet = false ignores the domain"), "{warning}");
        assert!(warning.contains("set epnet = true, or list the domain's column"), "{warning}");
        assert!(of(1).warnings(None).is_empty());
    }

    #[test]
    fn a_domain_that_is_a_feature_too_is_read() {
        let schema =
            |builder: crate::data::SchemaBuilder| builder.domain("scene").label("t0").label("t1").build().unwrap();
        let ple = serde_json::json!({ "kind": "ple" });
        let config = AnyConfig::from_settings(ple, &layout(3, 2), 7).unwrap();
        let without = schema(crate::data::Schema::builder().categorical("item"));
        assert_eq!(config.warnings(Some(&without)).len(), 1);
        let place = crate::data::Categorical::new("place").column("scene");
        let with = schema(crate::data::Schema::builder().categorical("item").feature(place));
        assert!(config.warnings(Some(&with)).is_empty());
    }

    #[test]
    fn every_kind_is_read_by_its_name_and_says_it() {
        let layout = Layout::new(["search", "feed"], ["click", "buy"]).field("item", 3);
        for &kind in AnyConfig::KINDS {
            let config = AnyConfig::from_settings(serde_json::json!({ "kind": kind }), &layout, 7).unwrap();
            assert_eq!((config.kind(), config.seed(), config.layout()), (kind, 7, &layout));
            let written = serde_json::to_value(&config).unwrap();
            assert_eq!(written["kind"], kind);
            assert_eq!(serde_json::from_value::<AnyConfig>(written).unwrap(), config);
            let wrong = serde_json::json!({ "kind": kind, "embeding_dim": 3 });
            let error = AnyConfig::from_settings(wrong, &layout, 7).unwrap_err().to_string();
            assert!(error.contains("embeding_dim"), "{kind}: {error}");
        }
        for (settings, expected) in [
            (serde_json::json!({ "kind": "stra" }), "unknown kind \"stra\", expected one of single, pooled, star"),
            (serde_json::json!({}), "expected `kind`, one of single, pooled, star"),
            (serde_json::json!(3), "expected `kind`, one of single"),
            (serde_json::json!({ "kind": "star", "layout": {} }), "unknown key `layout`: it is fitted on the data"),
        ] {
            let error = AnyConfig::from_settings(settings, &layout, 7).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
