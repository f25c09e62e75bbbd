//! The settings of models: the traits that they implement, and the macro that writes their types.

use std::any::Any;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Branches;
use crate::data::{InputColumns, Layout, Schema};
use crate::net::Describe;

/// The settings of a model. In this crate, a value of such a type is always valid: it is checked when it is built or read from a file.
///
/// Implement this trait and [`Describe`] for a model of your own; [`Describe`] lists the steps of its net. The crate adds embeddings,
/// training, prediction, serving and ONNX export. See [`net`](crate::net) for an example.
///
/// Derive `Clone`, `PartialEq`, `Serialize` and `Deserialize`; the type then implements [`ConfigObject`] too.
pub trait NetConfig: Describe + ConfigObject + std::fmt::Debug + Send + Sync {
    /// The name of the model in run files and model files.
    fn kind(&self) -> &'static str;

    /// The fields, numeric inputs, domains and tasks.
    fn layout(&self) -> &Layout;

    /// The fields, numeric inputs, domains and tasks, mutably. A model that grows adds domains and table rows here.
    fn layout_mut(&mut self) -> &mut Layout;

    /// The width of embedding tables that do not set their own width.
    fn embedding_dim(&self) -> usize;

    /// The standard deviation of the initial embeddings; default 0.01.
    fn embedding_std(&self) -> f32 {
        0.01
    }

    /// The seed of all initial values; default 0.
    fn seed(&self) -> u64 {
        0
    }

    /// The width of an embedded row; see [`Layout::columns`].
    fn width(&self) -> usize {
        self.layout().columns(self.embedding_dim())
    }

    /// `Some` if every branch has its own embedding tables; the value says what the branches are. `None`, the default, means one table per
    /// field, shared by all branches.
    ///
    /// With tables per branch, the net's input `x` holds one block of rows for each (segment, branch) pair in which the branch predicts for
    /// the segment's domain. Blocks are ordered by segment, then by branch. A segment of no known domain has one block for each of the first
    /// [`tables_built_with`](NetConfig::tables_built_with) branches.
    fn own_tables(&self) -> Option<Branches> {
        None
    }

    /// With tables per branch: rows of no known domain use the first n branches. `None`, the default, means all branches.
    fn tables_built_with(&self) -> Option<usize> {
        None
    }

    /// Called before a domain is added: stores how many branches the model had until now, unless a number is stored already. By default it
    /// does nothing.
    fn keep_built_with(&mut self, branches: usize) {
        let _ = branches;
    }

    /// Whether the net's scores depend on a row's domain; default true. If false, a row gets the same scores in every domain.
    fn reads_domain(&self) -> bool {
        true
    }

    /// For warnings: a setting with which the net ignores the domain, and one with which it reads the domain, as in a run file. The default
    /// is for a net with branches.
    fn domain_setting(&self) -> [&'static str; 2] {
        ["branches = \"tasks\"", "branches = \"domains_and_tasks\""]
    }

    /// Warnings about settings that are valid but probably a mistake, one sentence each. Show them before training.
    ///
    /// `schema` is the schema of the rows, if it is known. A net can read the domain if the domain's column is a feature too.
    fn warnings(&self, schema: Option<&Schema>) -> Vec<String> {
        let column = schema.and_then(Schema::domain);
        let fed = schema.is_some_and(|schema| schema.features().iter().any(|f| Some(f.column()) == column));
        let domains = self.layout().domains.len();
        if self.reads_domain() || fed || domains < 2 {
            return Vec::new();
        }
        let [unread, read] = self.domain_setting();
        vec![format!(
            "{unread} ignores the domain: a row gets the same scores in each of the {domains} domains; set {read}, or list the domain's \
             column among the features too"
        )]
    }

    /// [`NetConfig::width`] as an f64, which cannot overflow.
    fn width_f64(&self) -> f64 {
        InputColumns::width_f64(self.layout(), self.embedding_dim())
    }
}

/// Operations on a `dyn NetConfig`: copy, compare, change one setting, serialize.
///
/// Every [`NetConfig`] that is `Clone + PartialEq + Serialize + DeserializeOwned` implements it; do not implement it yourself.
pub trait ConfigObject: Any + erased_serde::Serialize {
    /// A boxed copy.
    fn boxed(&self) -> Box<dyn NetConfig>;

    /// Whether `other` has the same type and the same values.
    fn equals(&self, other: &dyn Any) -> bool;

    /// A copy with one setting changed; `None` if the result is invalid.
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

/// Writes the settings type of a model and its builder with [`settings!`](crate::settings!).
///
/// The list has the model's own settings. The macro adds the settings that all models have (`layout`, `seed`, `embedding_dim`, `embedding_std`,
/// `activation`, `norm`, `dropout`, `init`). With `branches: DEFAULT` it also adds the settings `branches` and `built_with`, and implements
/// [`BranchedConfig`](super::BranchedConfig). With `domain: FLAG`, the net reads the domain if the setting `FLAG` is true.
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
                /// The fields, numeric inputs, domains and tasks of the rows.
                layout: $crate::data::Layout = $crate::data::Layout::default(), as &$crate::data::Layout;
                /// The seed of all initial values; default 0.
                seed: u64 = 0;
                /// The width of embedding tables that have none of their own, at least 1; default 16.
                embedding_dim: usize = 16;
                /// The standard deviation of the initial embeddings, at least 0; default 0.01.
                embedding_std: f32 = 0.01;
                /// The activation of hidden layers; default ReLU.
                activation: $crate::nn::ActivationKind = $crate::nn::ActivationKind::default();
                /// The normalisation between the affine map and the activation of hidden layers; default none.
                norm: $crate::nn::NormKind = $crate::nn::NormKind::default();
                /// The dropout rate of hidden layers in training, in [0, 1); default 0.
                dropout: f32 = 0.0;
                /// How the weights of hidden layers are initialised; default by the fan-in rule.
                init: $crate::nn::Init = $crate::nn::Init::default();
                $(
                    #[doc = concat!("What the branches are; default `", stringify!($branches), "`.")]
                    /// `build` replaces [`Branches::Auto`](crate::model::Branches::Auto) by the choice for this layout.
                    branches: $crate::model::Branches = $branches;
                    /// The number of branches before any domain was added, at least 1 and a multiple of the branches per domain; default all.
                    /// Only these first branches are used for rows of no known domain and by parts that mix branches (shared gates, the units of
                    /// cross-stitch and sluice, attention among branches). So an added domain does not change the scores of the others. You
                    /// rarely set this: [`Model::add_domain`](crate::model::Model::add_domain) does.
                    built_with: Option<usize> = None, from impl Into<Option<usize>>;
                )?
                $($list)*
            }
            check($this, $problems) {
                let style = $this.style();
                $crate::model::check::check_common(
                    &$this.layout, $this.embedding_dim, $this.embedding_std, style, $problems,
                );
                $(
                    let _: $crate::model::Branches = $branches;
                    $this.branches = $this.branches.resolve(&$this.layout);
                    $this.branches.check(&$this.layout, $this.built_with, $problems);
                )?
                $check
                // Invalid settings have no size.
                if $problems.is_empty()
                    && let Some(why) = $config($this.clone()).too_large()
                {
                    $problems.require(false, || why);
                }
            }
        }
        $crate::settings!(@files $config $builder);

        impl $config {
            /// A builder with the default settings, for rows of this layout.
            pub fn builder(layout: &$crate::data::Layout) -> $builder {
                $builder { layout: layout.clone(), ..$builder::default() }
            }

            /// An error text if the model does not fit into memory.
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
            /// The settings of hidden layers.
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
