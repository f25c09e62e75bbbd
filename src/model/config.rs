//! The settings of models: the traits that they implement, and the macro that writes their types.

use std::any::Any;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Branches, InteractionsConfig};
use crate::data::{Feature, InputColumns, Layout, Schema};
use crate::net::Describe;

/// The settings of a model. The settings of the models in this crate are always valid, because they are checked when they are built or read
/// from a file.
///
/// Implement this trait and [`Describe`] for a model of your own; [`Describe`] lists the steps of its net. The crate adds embeddings,
/// training, prediction, serving and ONNX export. See [`net`](crate::net) for an example.
///
/// Derive `Clone`, `PartialEq`, `Serialize` and `Deserialize`; the type then implements [`ConfigObject`] too.
pub trait NetConfig: Describe + ConfigObject + std::fmt::Debug + Send + Sync {
    /// The name of the kind of model, as in run files and model files: `"star"`, for example. [`AnyConfig::KINDS`](super::AnyConfig::KINDS)
    /// lists the names that this crate uses; give a model of your own another name.
    fn kind(&self) -> &'static str;

    /// The shape of the rows that the model reads: fields and their tables, numeric inputs, domains and tasks.
    fn layout(&self) -> &Layout;

    /// The layout, which the crate may change: [`Model::add_domain`](super::Model::add_domain) and [`Model::grow`](super::Model::grow) add
    /// domains and table rows to it.
    fn layout_mut(&mut self) -> &mut Layout;

    /// The width of embeddings (the number of values in each row of an embedding table), at least 1. It holds for the tables that set no
    /// width of their own ([`EmbeddingTable::dim`](crate::data::EmbeddingTable::dim)).
    fn embedding_dim(&self) -> usize;

    /// The standard deviation of the initial values of embedding tables, which are normally distributed around 0; default 0.01.
    fn embedding_std(&self) -> f32 {
        0.01
    }

    /// The probability p with which training drops a field from a row, 0 ≤ p < 1; default 0: no field is dropped. It is drawn for each row
    /// and each field. In this row, the embedding of a dropped field is 0, and the embeddings of the other fields are multiplied by
    /// `1/(1 − p)`. Numeric inputs stay as they are.
    fn field_dropout(&self) -> f32 {
        0.0
    }

    /// The number of nets of an ensemble, at least 1; default 1. All of them read the same embeddings, and the logits of the model are the
    /// mean of their logits. If there are several nets, the names of the layers of net i, from 0, begin with `members.i`, and its initial
    /// values differ.
    fn members(&self) -> usize {
        1
    }

    /// The seed of all random initial values, of embeddings and of layers. Any number; default 0.
    fn seed(&self) -> u64 {
        0
    }

    /// The cross layers and the factorization machine that the crate adds before the net; default `None`: neither. The crate adds their steps
    /// when the net reads its row ([`Builder::row`](crate::net::Builder::row)).
    fn interactions(&self) -> Option<&InteractionsConfig> {
        None
    }

    /// The number of values of an embedded row ([`Embeddings`](super::Embeddings)): the embeddings of all fields and the numeric inputs,
    /// side by side. An embedded row is the input of the net. [`Layout::columns`] computes the number.
    fn width(&self) -> usize {
        self.layout().columns(self.embedding_dim())
    }

    /// `None`, the default, means that all branches share the embedding tables of the layout. `Some` means that every branch has its own
    /// copy of all tables, as in [`Single`](super::Single); the value says whether branches are tasks, domains, or tasks in domains. The
    /// net then reads the row of each branch by [`Builder::row_of`](crate::net::Builder::row_of).
    ///
    /// With tables per branch, a row of the batch is embedded once for each branch that predicts for it. The input `x` of the net then
    /// holds blocks of embedded rows:
    ///
    /// * If branches are tasks, each branch has one block, with all rows of the batch.
    /// * Otherwise the rows of each domain have one block for each branch of this domain. Rows of no known domain have one block for each
    ///   of the first [`tables_built_with`](NetConfig::tables_built_with) branches. Blocks are ordered by domain (no known domain last),
    ///   then by branch.
    fn own_tables(&self) -> Option<Branches> {
        None
    }

    /// If every branch has its own tables ([`NetConfig::own_tables`]): the number of branches that the model had before any domain was
    /// added. Rows of no known domain are embedded by the tables of these first branches only. `None`, the default, means all branches.
    fn tables_built_with(&self) -> Option<usize> {
        None
    }

    /// Stores in the settings how many branches the model was built with. [`Model::add_domain`](super::Model::add_domain) calls this
    /// method; `branches` is the number of branches before the domain is added.
    ///
    /// A model with branches must store `branches`, so that [`BranchedConfig::built_with`](super::BranchedConfig::built_with) returns it.
    /// If an earlier call has stored a number, it must keep that number. The default does nothing, which is right for a model without
    /// branches.
    fn keep_built_with(&mut self, branches: usize) {
        let _ = branches;
    }

    /// Whether the net's scores depend on a row's domain; default true. If false, a row gets the same scores in every domain.
    fn reads_domain(&self) -> bool {
        true
    }

    /// Two settings that the warning of [`NetConfig::warnings`] names, written as in a run file. With the first setting the net ignores the
    /// domain, with the second it reads the domain. The default is right for a net with branches: `branches = "tasks"` and
    /// `branches = "domains_and_tasks"`.
    fn domain_setting(&self) -> [&'static str; 2] {
        ["branches = \"tasks\"", "branches = \"domains_and_tasks\""]
    }

    /// Warnings about settings that are valid but probably a mistake, one sentence each. Show them before training.
    ///
    /// By default there is one warning: if the layout has several domains, and the net ignores the domain ([`NetConfig::reads_domain`] is
    /// false). `schema` is the schema of the rows, if you have one. If it lists the domain's column among the features too, the net can
    /// read the domain, and there is no warning.
    fn warnings(&self, schema: Option<&Schema>) -> Vec<String> {
        let column = schema.and_then(Schema::domain);
        let fed = schema
            .is_some_and(|schema| schema.features().iter().flat_map(Feature::columns).any(|c| Some(&**c) == column));
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

    /// The number of values of an embedded row ([`Embeddings`](super::Embeddings)), computed as an f64. [`NetConfig::width`] computes the
    /// same number as a `usize`, which can overflow if the widths are extremely large; an f64 cannot. So use this method for settings that
    /// are not checked yet.
    fn width_f64(&self) -> f64 {
        InputColumns::width_f64(self.layout(), self.embedding_dim())
    }
}

/// Operations on a `dyn NetConfig`: copy, compare, change one setting, serialize.
///
/// Every [`NetConfig`] that is `Clone + PartialEq + Serialize + DeserializeOwned` implements it; do not implement it yourself.
pub trait ConfigObject: Any + erased_serde::Serialize {
    /// A copy of these settings in a box.
    fn boxed(&self) -> Box<dyn NetConfig>;

    /// Whether `other` has the same type and the same values.
    fn equals(&self, other: &dyn Any) -> bool;

    /// Returns a copy of these settings in which the setting with the name `key` has the value `value`, both written as in a run file.
    /// Returns `None` if the changed settings are invalid; for models of this crate, also if there is no setting of this name.
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
/// The list has the model's own settings. The macro adds the settings that all models have (`layout`, `seed`, `embedding_dim`,
/// `embedding_std`, `field_dropout`, `members`, `activation`, `norm`, `dropout`, `init`, `interactions`). With `branches: DEFAULT` it also
/// adds the settings `branches` and `built_with`, and implements [`BranchedConfig`](super::BranchedConfig). With `domain: FLAG`, the net
/// reads the domain if the setting `FLAG` is true.
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
                /// The shape of the rows that the model reads: fields and their embedding tables, numeric inputs, domains and tasks.
                /// [`Encoder::layout`](crate::data::Encoder::layout) gives it.
                layout: $crate::data::Layout = $crate::data::Layout::default(), as &$crate::data::Layout;
                /// The seed of all random initial values, of embeddings and of layers. Any number; default 0.
                seed: u64 = 0;
                /// The width of embeddings, that is, the number of values in each row of an embedding table; from 1 to 65536, default 16.
                /// It holds for all tables that set no width of their own ([`EmbeddingTable::dim`](crate::data::EmbeddingTable::dim)).
                embedding_dim: usize = 16;
                /// The standard deviation of the initial values of embedding tables, which are normally distributed around 0. A finite
                /// number of at least 0; default 0.01.
                embedding_std: f32 = 0.01;
                /// The probability p with which training drops a field from a row, 0 ≤ p < 1; default 0: no field is dropped. It is drawn
                /// for each row and each field. In this row, the embedding of a dropped field is 0, and the embeddings of the other fields
                /// are multiplied by `1/(1 − p)`. Numeric inputs stay as they are.
                field_dropout: f32 = 0.0;
                /// The number of nets of a small ensemble, 1 to 256; default 1. All of them read the embedding tables, and the logits are the
                /// mean of their logits, in training and in inference. They differ in their initial weights. If there are several, the names
                /// of the tensors of net i, from 0, begin with `net.members.i`.
                members: usize = 1;
                /// The activation function of hidden layers; default ReLU. Output layers and softmax gates have none.
                activation: $crate::nn::ActivationKind = $crate::nn::ActivationKind::default();
                /// The normalisation of hidden layers, which comes after their affine map and before their activation; default none.
                norm: $crate::nn::NormKind = $crate::nn::NormKind::default();
                /// In training, each output of a hidden layer is set to 0 with this probability. At least 0 and below 1; default 0: no
                /// dropout.
                dropout: f32 = 0.0;
                /// The distribution of the initial weights of hidden layers; default uniform in `±√(1 / in)`, where `in` is the number of
                /// inputs of the layer.
                init: $crate::nn::Init = $crate::nn::Init::default();
                /// The products of inputs that are added to the model: cross layers and a factorization machine
                /// ([`InteractionsConfig`](crate::model::InteractionsConfig)); default none.
                interactions: $crate::model::InteractionsConfig = $crate::model::InteractionsConfig::default(),
                    as &$crate::model::InteractionsConfig;
                $(
                    #[doc = concat!(
                        "Whether there is one branch for each task, for each domain, or for each task in each domain; default `",
                        stringify!($branches),
                        "`. A branch is a part of the net with its own output.",
                    )]
                    ///
                    /// `build` replaces [`Branches::Auto`](crate::model::Branches::Auto) by `Branches::Domains` if the layout has several
                    /// domains and one task, otherwise by `Branches::Tasks`.
                    branches: $crate::model::Branches = $branches;
                    /// The number of branches that the model had before any domain was added. Default `None`: all branches. It is at least 1
                    /// and at most the number of branches. If branches are domains, or tasks in domains, it must be a multiple of the number
                    /// of branches of one domain. If branches are tasks, it must be the number of tasks.
                    ///
                    /// Rows of no known domain use only these first branches. Shared gates, and the cross-stitch units, sluice units and
                    /// attention of these branches, also read only these branches. So an added domain does not change the scores of the other
                    /// domains. You rarely set this number yourself, because [`Model::add_domain`](crate::model::Model::add_domain) sets it.
                    built_with: Option<usize> = None, from impl Into<Option<usize>>;
                )?
                $($list)*
            }
            check($this, $problems) {
                let style = $this.style();
                $crate::model::check::check_common(
                    &$this.layout, $this.embedding_dim, $this.embedding_std, style, $problems,
                );
                $problems.require((1..=256).contains(&$this.members), || {
                    format!("members: 1 to 256, found {}", $this.members)
                });
                $crate::model::check::check_rate("field_dropout", $this.field_dropout, $problems);
                if $problems.is_empty() {
                    $this.interactions.check(&$this.layout, $this.embedding_dim, $problems);
                }
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
            /// Returns a builder in which the layout is `layout` and all other settings have their default values.
            /// [`Encoder::layout`](crate::data::Encoder::layout) returns the layout of your rows.
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

            fn field_dropout(&self) -> f32 {
                self.0.field_dropout
            }

            fn members(&self) -> usize {
                self.0.members
            }

            fn seed(&self) -> u64 {
                self.0.seed
            }

            fn interactions(&self) -> Option<&$crate::model::InteractionsConfig> {
                Some(&self.0.interactions)
            }

            $(fn reads_domain(&self) -> bool {
                let _: $crate::model::Branches = $branches;
                // The term of a factorization machine has a weight and a bias for each domain.
                self.0.branches != $crate::model::Branches::Tasks || self.0.interactions.fm()
            }

            fn keep_built_with(&mut self, branches: usize) {
                self.0.built_with.get_or_insert(branches);
            })?

            $(fn reads_domain(&self) -> bool {
                self.0.$flag || self.0.interactions.fm()
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
            #[doc = concat!("The default of the setting `branches` is `", stringify!($branches), "`.")]
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
