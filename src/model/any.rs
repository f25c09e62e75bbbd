//! One type over all models, for a model that a file names.

use ndarray::ArrayRef2;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Branches, GateView, Input, Net, NetConfig, Plan};
use crate::data::{DomainId, Layout};
use crate::nn::{Leaf, LeafMut, Mode, Pair, Params, Path, Size, Train};
use crate::{Error, ErrorKind, Result};

/// Writes the three enums over all models, and passes every call on.
macro_rules! any {
    ($($kind:literal => $model:ident($net:ident, $config:ident)),* $(,)?) => {
        $(use super::{$net, $config};)*

        /// The settings of any model. In a file, `kind` says which, beside the model's own settings.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        #[non_exhaustive]
        pub enum AnyConfig {
            $(
                #[doc = concat!("[`", stringify!($model), "`](super::", stringify!($model), ").")]
                #[serde(rename = $kind)]
                $model($config),
            )*
        }

        /// The dense part of any model, chosen by its [`AnyConfig`].
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum AnyNet {
            $(
                #[doc = concat!("[`", stringify!($model), "`](super::", stringify!($model), ").")]
                $model(Box<$net>),
            )*
        }

        /// What an [`AnyNet`] keeps from forward to backward.
        #[derive(Debug, Default)]
        #[non_exhaustive]
        pub enum AnyCache {
            /// Before its first pass.
            #[default]
            Unused,
            $(
                #[doc = concat!("[`", stringify!($model), "`](super::", stringify!($model), ").")]
                $model(Box<<$net as Net>::Cache>),
            )*
        }

        $(
            impl From<$config> for AnyConfig {
                fn from(config: $config) -> Self {
                    Self::$model(config)
                }
            }
        )*

        impl AnyConfig {
            /// The kinds there are, as files name them.
            pub const KINDS: &[&str] = &[$($kind),*];
        }

        impl NetConfig for AnyConfig {
            fn kind(&self) -> &'static str {
                match self { $(Self::$model(config) => config.kind(),)* }
            }

            fn kinds() -> &'static [&'static str] {
                Self::KINDS
            }

            fn to_json(&self) -> serde_json::Result<String> {
                match self { $(Self::$model(config) => config.to_json(),)* }
            }

            fn from_json(kind: &str, json: &str) -> serde_json::Result<Self> {
                match kind {
                    $($kind => serde_json::from_str(json).map(Self::$model),)*
                    _ => Err(serde::de::Error::unknown_variant(kind, Self::KINDS)),
                }
            }

            fn layout(&self) -> &Layout {
                match self { $(Self::$model(config) => config.layout(),)* }
            }

            fn layout_mut(&mut self) -> &mut Layout {
                match self { $(Self::$model(config) => config.layout_mut(),)* }
            }

            fn embedding_dim(&self) -> usize {
                match self { $(Self::$model(config) => config.embedding_dim(),)* }
            }

            fn embedding_std(&self) -> f32 {
                match self { $(Self::$model(config) => config.embedding_std(),)* }
            }

            fn seed(&self) -> u64 {
                match self { $(Self::$model(config) => config.seed(),)* }
            }

            fn own_tables(&self) -> Option<Branches> {
                match self { $(Self::$model(config) => config.own_tables(),)* }
            }

            fn tables_built_with(&self) -> Option<usize> {
                match self { $(Self::$model(config) => config.tables_built_with(),)* }
            }

            fn reads_domain(&self) -> bool {
                match self { $(Self::$model(config) => config.reads_domain(),)* }
            }

            fn domain_setting(&self) -> [&'static str; 2] {
                match self { $(Self::$model(config) => config.domain_setting(),)* }
            }
        }

        impl Net for AnyNet {
            type Config = AnyConfig;
            type Cache = AnyCache;

            fn new(config: &AnyConfig) -> Self {
                match config { $(AnyConfig::$model(config) => Self::$model(Box::new(Net::new(config))),)* }
            }

            fn size(config: &AnyConfig) -> Option<Size> {
                match config { $(AnyConfig::$model(config) => $net::size(config),)* }
            }

            fn row(config: &AnyConfig) -> Option<f64> {
                match config { $(AnyConfig::$model(config) => $net::row(config),)* }
            }

            fn forward<M: Mode>(&self, input: Input<'_>, mode: M, cache: &mut AnyCache, logits: &mut ArrayRef2<f32>) {
                match self {
                    $(Self::$model(net) => {
                        if !matches!(cache, AnyCache::$model(_)) {
                            *cache = AnyCache::$model(Box::default());
                        }
                        let AnyCache::$model(cache) = cache else { unreachable!("it was just made") };
                        net.forward(input, mode, cache, logits);
                    })*
                }
            }

            fn backward(
                &self,
                input: Input<'_>,
                dlogits: &ArrayRef2<f32>,
                mode: Train,
                cache: &mut AnyCache,
                grad: &mut Self,
                dx: &mut ArrayRef2<f32>,
            ) {
                match (self, cache, grad) {
                    $((Self::$model(net), AnyCache::$model(cache), Self::$model(grad)) => {
                        net.backward(input, dlogits, mode, cache, grad, dx);
                    })*
                    _ => panic!("{MIXED}"),
                }
            }

            fn note_statistics(&self, input: Input<'_>, grad: &mut Self) -> bool {
                match (self, grad) {
                    $((Self::$model(net), Self::$model(grad)) => net.note_statistics(input, grad),)*
                    _ => panic!("{MIXED}"),
                }
            }

            fn visit_gates(&self, cache: &AnyCache, see: &mut dyn FnMut(GateView<'_>)) {
                match (self, cache) {
                    $((Self::$model(net), AnyCache::$model(cache)) => net.visit_gates(cache, see),)*
                    (_, AnyCache::Unused) => {}
                    _ => panic!("{MIXED}"),
                }
            }

            fn plan(&self, domains: usize) -> Plan<'_> {
                match self {
                    $(Self::$model(net) => net.plan(domains),)*
                }
            }

            fn penalize(&self, cache: &mut AnyCache, grad: &mut Self) -> f64 {
                match (self, cache, grad) {
                    $((Self::$model(net), AnyCache::$model(cache), Self::$model(grad)) => net.penalize(cache, grad),)*
                    _ => panic!("{MIXED}"),
                }
            }

            fn add_domain(&mut self, config: &mut AnyConfig, domain: DomainId) {
                match (self, config) {
                    $((Self::$model(net), AnyConfig::$model(config)) => net.add_domain(config, domain),)*
                    _ => panic!("{MIXED}"),
                }
            }
        }

        impl Params for AnyNet {
            fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
                match self { $(Self::$model(net) => net.visit(path, see),)* }
            }

            fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
                match self { $(Self::$model(net) => net.visit_mut(path, see),)* }
            }

            fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
                match (self, grad) {
                    $((Self::$model(net), Self::$model(grad)) => net.visit_pair(grad, path, see),)*
                    _ => panic!("{MIXED}"),
                }
            }

            fn zero(&mut self) {
                match self { $(Self::$model(net) => net.zero(),)* }
            }

            fn dismiss(&mut self) {
                match self { $(Self::$model(net) => net.dismiss(),)* }
            }
        }
    };
}

const MIXED: &str = "a configuration, a cache and a gradient are of the model they are used with";

any! {
    "single" => Single(SingleNet, SingleConfig),
    "pooled" => Pooled(PooledNet, PooledConfig),
    "star" => Star(StarNet, StarConfig),
    "shared_bottom" => SharedBottom(SharedBottomNet, SharedBottomConfig),
    "asymmetric" => Asymmetric(AsymmetricNet, AsymmetricConfig),
    "customized" => Customized(CustomizedNet, CustomizedConfig),
    "cross_stitch" => CrossStitch(CrossStitchNet, CrossStitchConfig),
    "sluice" => Sluice(SluiceNet, SluiceConfig),
    "moe" => Moe(MoeNet, MoeConfig),
    "mmoe" => Mmoe(MmoeNet, MmoeConfig),
    "ml_mmoe" => MlMmoe(MlMmoeNet, MlMmoeConfig),
    "cgc" => Cgc(CgcNet, CgcConfig),
    "ple" => Ple(PleNet, PleConfig),
    "pepnet" => Pepnet(PepnetNet, PepnetConfig),
    "mran" => Mran(MranNet, MranConfig),
}

impl AnyConfig {
    /// The kind that settings name.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that names those there are, if they name none or one that there is not.
    pub fn kind_of(settings: &Value) -> Result<&'static str> {
        let kind = settings.get("kind");
        let known = Self::KINDS.iter().find(|&&known| kind.and_then(Value::as_str) == Some(known));
        known.copied().ok_or_else(|| {
            let found = kind.map_or("expected `kind`".into(), |kind| format!("unknown kind {kind}, expected"));
            let comma = if kind.is_some() { "" } else { "," };
            Error::new(ErrorKind::Config, format!("{found}{comma} one of {}", Self::KINDS.join(", ")))
        })
    }

    /// Reads settings that name no layout, as run files have them: `kind`, and the settings of that model. The layout is
    /// put in, and `seed` where they have none.
    ///
    /// # Errors
    /// As [`AnyConfig::kind_of`]; [`ErrorKind::Config`] also for an unknown setting, and for invalid settings, all named.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Field;

    fn layout(domains: usize, tasks: usize) -> Layout {
        Layout {
            fields: vec![Field { name: "item".into(), rows: 3, bag: None }],
            domains: (0..domains).map(|d| format!("d{d}")).collect(),
            tasks: (0..tasks).map(|t| format!("t{t}")).collect(),
            ..Layout::default()
        }
    }

    /// Whether a model at its start gives one row different scores in its domains.
    fn tells_domains_apart(config: &AnyConfig) -> bool {
        let (model, layout) = (crate::AnyModel::new(config.clone()), config.layout());
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
                    // Otherwise an untrained one gives all domains the same.
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
                assert!(warning.contains("leaves the domain unread") && warning.contains("3 domains"), "{warning}");
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
        assert!(warning.starts_with("epnet = false leaves the domain unread"), "{warning}");
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
        let layout = Layout {
            fields: vec![Field { name: "item".into(), rows: 3, bag: None }],
            domains: vec!["search".into(), "feed".into()],
            tasks: vec!["click".into(), "buy".into()],
            ..Layout::default()
        };
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
