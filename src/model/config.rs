//! Configurations of models: what each has, and the macro that writes them alike.

use std::any::Any;
use std::collections::HashSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Branches;
use crate::data::{Field, InputColumns, Layout, Pooling, Schema, listed};
use crate::error::Problems;
use crate::metrics::SHARED_DOMAIN;
use crate::net::Describe;
use crate::nn::HiddenSettings;

/// The widest that a layer or embedding may be. Nothing a log needs comes near it, and no size overflows below it.
pub(crate) const MAX_WIDTH: usize = 1 << 16;

/// The most experts, heads or subspaces that a setting may ask for.
pub(crate) const MAX_COUNT: usize = 1 << 12;

/// The most levels or layers.
pub(crate) const MAX_DEPTH: usize = 1 << 8;

/// The settings of a model. A value is valid: it was checked when it was built or read from a file.
///
/// Every model in this crate has such a type, and a model of your own is one more: implement this trait and [`Describe`], which writes
/// the net. Embeddings, training, prediction, serving and ONNX come from the crate; see [`net`](crate::net) for an example.
///
/// `Clone`, `PartialEq` and serde give the rest of what is needed, [`ConfigObject`].
pub trait NetConfig: Describe + ConfigObject + std::fmt::Debug + Send + Sync {
    /// The name of the model in run files and model files.
    fn kind(&self) -> &'static str;

    /// The fields, numeric inputs, domains and tasks.
    fn layout(&self) -> &Layout;

    /// The fields, numeric inputs, domains and tasks, for changes: a model that grows adds domains and table rows.
    fn layout_mut(&mut self) -> &mut Layout;

    /// The width of embedding tables that have none of their own.
    fn embedding_dim(&self) -> usize;

    /// The standard deviation of the embeddings at the start; 0.01 by default.
    fn embedding_std(&self) -> f32 {
        0.01
    }

    /// The seed that all starting values are drawn from; 0 by default.
    fn seed(&self) -> u64 {
        0
    }

    /// How many values an embedded row has: see [`Layout::columns`].
    fn width(&self) -> usize {
        self.layout().columns(self.embedding_dim())
    }

    /// Whether every branch has embedding tables of its own, and what the branches then stand for; `None`, the default, is
    /// one table for each field.
    ///
    /// With own tables an embedded row stands in the net's input once for each branch that answers for it: one block of rows for
    /// each segment and branch that answers for it, segment by segment, the branches in their order. A segment of no known domain
    /// has a block for each of the first `tables_built_with` branches.
    fn own_tables(&self) -> Option<Branches> {
        None
    }

    /// Of branches with own tables, how many, the first ones, rows of no known domain read; `None` is all.
    fn tables_built_with(&self) -> Option<usize> {
        None
    }

    /// Notes, before a domain is added, what the model was built with: `branches` is how many it has. By default nothing.
    fn keep_built_with(&mut self, branches: usize) {
        let _ = branches;
    }

    /// Whether the net's scores depend on a row's domain; true by default. Where they do not, all domains get the same.
    fn reads_domain(&self) -> bool {
        true
    }

    /// The setting that leaves the domain unread, and the one that reads it, as a file has them; by default those of a net with branches.
    fn domain_setting(&self) -> [&'static str; 2] {
        ["branches = \"tasks\"", "branches = \"domains_and_tasks\""]
    }

    /// What is probably not meant, though it is valid: sentences to show before a model is trained.
    ///
    /// `schema` is that of the rows, if it is known: a domain's column that is a feature too is read.
    fn warnings(&self, schema: Option<&Schema>) -> Vec<String> {
        let column = schema.and_then(Schema::domain);
        let fed = schema.is_some_and(|schema| schema.features().iter().any(|f| Some(f.column()) == column));
        let domains = self.layout().domains.len();
        if self.reads_domain() || fed || domains < 2 {
            return Vec::new();
        }
        let [unread, read] = self.domain_setting();
        vec![format!(
            "{unread} leaves the domain unread: a row gets the same scores in each of the {domains} domains; set {read}, or list the \
             domain's column among the features too"
        )]
    }

    /// [`NetConfig::width`] as an f64, which does not overflow for any settings.
    fn width_f64(&self) -> f64 {
        InputColumns::width_f64(self.layout(), self.embedding_dim())
    }
}

/// What every [`NetConfig`] can do that is `Clone`, `PartialEq`, serializable and deserializable: be copied, compared and written without
/// its type being known.
pub trait ConfigObject: Any + erased_serde::Serialize {
    /// A copy.
    fn boxed(&self) -> Box<dyn NetConfig>;

    /// Whether `other` has the same type and the same values.
    fn equals(&self, other: &dyn Any) -> bool;

    /// A copy with another value of one setting; `None` if that is invalid.
    fn with(&self, key: &str, value: Value) -> Option<Box<dyn NetConfig>>;
}

impl<C: NetConfig + Clone + PartialEq + Serialize + DeserializeOwned> ConfigObject for C {
    fn boxed(&self) -> Box<dyn NetConfig> {
        Box::new(self.clone())
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }

    fn with(&self, key: &str, value: Value) -> Option<Box<dyn NetConfig>> {
        let mut settings = serde_json::to_value(self).ok()?;
        settings[key] = value;
        Some(Box::new(serde_json::from_value::<C>(settings).ok()?))
    }
}

erased_serde::serialize_trait_object!(NetConfig);

/// Notes what cannot be in the settings that all models share.
pub(crate) fn check_common(layout: &Layout, dim: usize, std: f32, style: HiddenSettings, problems: &mut Problems) {
    let Layout { tables, fields, numeric, domains, tasks } = layout;
    problems.require(!fields.is_empty() || !numeric.is_empty(), || "layout: at least one field or number".into());
    problems.require(!domains.is_empty(), || "layout.domains: at least one".into());
    problems.require(!tasks.is_empty(), || "layout.tasks: at least one".into());
    check_tables(layout, problems);
    let lists: [(&str, Vec<&String>); 5] = [
        ("tables", tables.iter().map(|table| &table.name).collect()),
        ("fields", fields.iter().map(|field| &field.name).collect()),
        ("numeric", numeric.iter().collect()),
        ("domains", domains.iter().collect()),
        ("tasks", tasks.iter().collect()),
    ];
    problems.require(!domains.iter().any(|name| name == SHARED_DOMAIN), || {
        format!("layout.domains: {SHARED_DOMAIN:?} names the rows of no known domain")
    });
    for (what, mut names) in lists {
        problems.require(names.iter().all(|name| !name.is_empty()), || format!("layout.{what}: no name may be empty"));
        names.sort_unstable();
        for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
            problems.require(false, || format!("layout.{what}: {:?} is listed twice", pair[0]));
        }
    }
    problems.require(dim >= 1, || format!("embedding_dim: at least 1, found {dim}"));
    problems.require(dim <= MAX_WIDTH, || format!("embedding_dim: at most {MAX_WIDTH}, found {dim}"));
    problems.require(std.is_finite() && std >= 0.0, || format!("embedding_std: finite and at least 0, found {std}"));
    let dropout = style.dropout;
    problems.require((0.0..1.0).contains(&dropout), || format!("dropout: 0 <= dropout < 1, found {dropout}"));
}

/// Notes invalid tables, and fields that read none.
fn check_tables(layout: &Layout, problems: &mut Problems) {
    for table in &layout.tables {
        let (name, rows, most) = (&table.name, table.rows, u32::MAX);
        problems.require(rows > 0, || format!("layout.tables.{name}: at least one row"));
        problems.require(rows <= most as usize, || format!("layout.tables.{name}: at most {most} rows, found {rows}"));
        let dim = table.dim.unwrap_or(1);
        problems.require((1..=MAX_WIDTH).contains(&dim), || {
            format!("layout.tables.{name}: 1 <= dim <= {MAX_WIDTH}, found {dim}")
        });
    }
    let names: HashSet<&str> = layout.tables.iter().map(|table| &*table.name).collect();
    let read: HashSet<&str> = layout.fields.iter().map(|field| &*field.table).collect();
    for table in layout.tables.iter().filter(|table| !read.contains(&*table.name)) {
        problems.require(false, || format!("layout.tables.{}: no field reads it", table.name));
    }
    for Field { name, table, bag } in &layout.fields {
        problems.require(names.contains(&**table), || {
            let known: Vec<&String> = layout.tables.iter().map(|table| &table.name).collect();
            format!("layout.fields.{name}: unknown table {table:?}; the tables are {}", listed(&known))
        });
        if let Some(problem) = bag.and_then(Pooling::problem) {
            problems.require(false, || format!("layout.fields.{name}: {problem}"));
        }
    }
}

/// The first widths of a list, for an error.
pub(crate) fn shown(widths: &[usize]) -> String {
    let more = if widths.len() > 16 { ", …" } else { "" };
    let first: Vec<String> = widths.iter().take(16).map(usize::to_string).collect();
    format!("[{}{more}]", first.join(", "))
}

/// Notes an invalid list of layer widths.
pub(crate) fn check_widths(name: &str, widths: &[usize], problems: &mut Problems) {
    let count = widths.len();
    if count > MAX_DEPTH {
        return problems.require(false, || format!("{name}: at most {MAX_DEPTH} layers, found {count}"));
    }
    problems.require(!widths.contains(&0), || format!("{name}: every width at least 1, found {}", shown(widths)));
    problems.require(widths.iter().all(|&width| width <= MAX_WIDTH), || {
        format!("{name}: every width at most {MAX_WIDTH}, found {}", shown(widths))
    });
}

/// Notes a number that is above what it may be.
pub(crate) fn check_most(name: &str, number: usize, most: usize, problems: &mut Problems) {
    problems.require(number <= most, || format!("{name}: at most {most}, found {number}"));
}

/// Notes invalid experts: `count` is how many a gate chooses from, as the settings `keys` say.
pub(crate) fn check_experts(hidden: &[usize], keys: &str, count: usize, problems: &mut Problems) {
    check_widths("expert_hidden", hidden, problems);
    problems.require(!hidden.is_empty(), || "expert_hidden: at least one layer".into());
    problems.require(count >= 1, || format!("{keys}: at least one expert for a gate to choose, found 0"));
    check_most(keys, count, MAX_COUNT, problems);
}

/// Notes the invalid widths of a bottom.
pub(crate) fn check_bottoms(hidden: &[usize], problems: &mut Problems) {
    check_widths("bottom_hidden", hidden, problems);
    problems.require(!hidden.is_empty(), || "bottom_hidden: at least one layer".into());
}

/// Notes invalid widths of stitched stacks, and an invalid `own_weight`.
pub(crate) fn check_stacks(hidden: &[usize], own_weight: f32, problems: &mut Problems) {
    check_widths("hidden", hidden, problems);
    problems.require(!hidden.is_empty(), || "hidden: at least one layer".into());
    problems
        .require((0.0..=1.0).contains(&own_weight), || format!("own_weight: 0 <= own_weight <= 1, found {own_weight}"));
}

/// Writes a model's [settings](crate::settings!) from the list of its own.
///
/// The settings that all models have (`layout`, `seed`, `embedding_dim`, `embedding_std`, `activation`, `norm`, `dropout`, `init`) are
/// added; with `branches: DEFAULT` those of a net with branches too (`branches`, `built_with`), and [`BranchedConfig`](super::BranchedConfig).
/// With `domain: FLAG` the net reads the domain where this setting is true.
macro_rules! model_config {
    (
        $(#[$doc:meta])*
        $config:ident, $builder:ident, $kind:literal $(, branches: $branches:expr $(, own_tables: $own:literal)?)?
        $(, domain: $flag:ident)? => { $($list:tt)* }
        check($this:ident, $problems:ident) $check:block
    ) => {
        $crate::settings! {
            @types
            $(#[$doc])*
            #[derive(PartialEq)]
            $config,
            #[derive(PartialEq, serde::Serialize, serde::Deserialize)]
            #[serde(default, deny_unknown_fields)]
            $builder {
                /// The fields, domains and tasks of the rows.
                layout: $crate::data::Layout = $crate::data::Layout::default(), as &$crate::data::Layout;
                /// The seed of all starting values; default 0.
                seed: u64 = 0;
                /// The width of every embedding, at least 1; default 16.
                embedding_dim: usize = 16;
                /// The standard deviation of the embeddings at the start, at least 0; default 0.01.
                embedding_std: f32 = 0.01;
                /// The activation of hidden layers; default ReLU.
                activation: $crate::nn::ActivationKind = $crate::nn::ActivationKind::default();
                /// The normalisation between the affine map and the activation of hidden layers; default none.
                norm: $crate::nn::NormKind = $crate::nn::NormKind::default();
                /// The share of hidden values silenced in training, in [0, 1); default 0.
                dropout: f32 = 0.0;
                /// The distribution of the starting weights of hidden layers; default the fan-in rule.
                init: $crate::nn::Init = $crate::nn::Init::default();
                $(
                    #[doc = concat!("What the branches stand for; default `", stringify!($branches), "`.")]
                    /// [`Branches::Auto`](crate::model::Branches::Auto) is replaced by what it chooses when the settings are built.
                    branches: $crate::model::Branches = $branches;
                    /// How many branches, the first ones and of whole domains, are read by rows of no known domain, and by what mixes branches
                    /// (shared gates, the units of stitched stacks, attention among branches); at least 1, default all. Adding a domain keeps
                    /// this at what the model was built with, so that the scores of other domains stay as they are.
                    built_with: Option<usize> = None, from impl Into<Option<usize>>;
                )?
                $($list)*
            }
            check($this, $problems) {
                let style = $this.style();
                $crate::model::config::check_common(
                    &$this.layout, $this.embedding_dim, $this.embedding_std, style, $problems,
                );
                $(
                    let _: $crate::model::Branches = $branches;
                    $this.branches = $this.branches.resolve(&$this.layout);
                    $this.branches.check(&$this.layout, $this.built_with, $problems);
                )?
                $check
                // No size can be known of settings that are wrong.
                if $problems.is_empty()
                    && let Some(why) = $config($this.clone()).too_large()
                {
                    $problems.require(false, || why);
                }
            }
        }
        $crate::settings!(@files $config $builder);

        impl $config {
            /// Starts from the defaults, for rows of this layout.
            pub fn builder(layout: &$crate::data::Layout) -> $builder {
                $builder { layout: layout.clone(), ..$builder::default() }
            }

            /// Why the model does not fit into memory, if it does not.
            fn too_large(&self) -> Option<String> {
                let settings = || serde_json::to_value($builder { layout: Default::default(), ..self.0.clone() });
                let with = |key: &str, value| {
                    let mut settings = settings().ok()?;
                    settings[key] = value;
                    let settings: $builder = serde_json::from_value(settings).ok()?;
                    Some($config($builder { layout: self.0.layout.clone(), ..settings }))
                };
                $crate::model::fits::too_large(self, || settings().unwrap_or_default(), with)
            }
        }

        impl $builder {
            /// How hidden layers are made.
            pub(crate) fn style(&self) -> $crate::nn::HiddenSettings {
                let Self { activation, norm, dropout, init, .. } = *self;
                $crate::nn::HiddenSettings { activation, norm, dropout, init }
            }
        }

        impl $crate::model::NetConfig for $config {
            fn kind(&self) -> &'static str {
                $kind
            }

            fn layout(&self) -> &$crate::data::Layout {
                &self.0.layout
            }

            fn layout_mut(&mut self) -> &mut $crate::data::Layout {
                &mut self.0.layout
            }

            fn embedding_dim(&self) -> usize {
                self.0.embedding_dim
            }

            fn embedding_std(&self) -> f32 {
                self.0.embedding_std
            }

            fn seed(&self) -> u64 {
                self.0.seed
            }

            $(fn reads_domain(&self) -> bool {
                let _: $crate::model::Branches = $branches;
                self.0.branches != $crate::model::Branches::Tasks
            }

            fn keep_built_with(&mut self, branches: usize) {
                self.0.built_with.get_or_insert(branches);
            })?

            $(fn reads_domain(&self) -> bool {
                self.0.$flag
            }

            fn domain_setting(&self) -> [&'static str; 2] {
                [concat!(stringify!($flag), " = false"), concat!(stringify!($flag), " = true")]
            })?

            $($(fn own_tables(&self) -> Option<$crate::model::Branches> {
                let own: bool = $own;
                own.then_some(self.0.branches)
            }

            fn tables_built_with(&self) -> Option<usize> {
                self.0.built_with
            })?)?
        }

        $(
            #[doc = concat!("By default ", stringify!($branches), ".")]
            impl $crate::model::BranchedConfig for $config {
                fn branches(&self) -> $crate::model::Branches {
                    self.0.branches
                }

                fn built_with(&self) -> Option<usize> {
                    self.0.built_with
                }
            }
        )?
    };
}
pub(crate) use model_config;
