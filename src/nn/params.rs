//! Parameters as plain data, and the walks over them that name, count, zero, update and save them.
//!
//! A layer is a struct of tensors and of smaller layers. Its gradient is **another value of the same type**, so a walk
//! can visit parameters and gradients side by side. [`params!`](crate::params!) writes the walks from the list of
//! fields:
//!
//! ```
//! use ndarray::{Array1, Array2};
//! use starple::nn::{Decay, Params};
//!
//! #[derive(Clone)]
//! struct Linear {
//!     weight: Array2<f32>,
//!     bias: Array1<f32>,
//! }
//!
//! starple::params!(Linear { weight: Decay::Towards(0.0), bias: Decay::None });
//!
//! let layer = Linear { weight: Array2::ones((3, 2)), bias: Array1::zeros(2) };
//! assert_eq!(layer.count(), 8);
//! let grad = layer.zeros_like();
//! assert_eq!(grad.weight, Array2::<f32>::zeros((3, 2)));
//! ```

use std::fmt::Write as _;

use ndarray::{Array, Dimension};

use super::{Branch, MovingAverage};
use crate::data::{DomainId, Layout};

/// What weight decay does to a tensor: nothing, or pull its values towards a number. A layer names it for each tensor in
/// [`params!`](crate::params!).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decay {
    /// Weight decay does not change the tensor. Biases and shifts have this value.
    None,
    /// Weight decay pulls each value w of the tensor towards this number c: it adds `λ·(w − c)` to the gradient, or moves w directly,
    /// depending on the [optimizer](crate::optim). λ is the strength of the weight decay. c is 0 for weights, and 1 for factors, such as
    /// those by which [`Factor`](super::Factor) multiplies the shared weights.
    Towards(f32),
}

/// One part of the dotted name of a parameter. For example, `layers` and `0` are parts of `layers.0.weight`. [`Path::name`] joins the
/// parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A fixed word, usually the name of a field of a struct, such as `weight`.
    Field(&'static str),
    /// The position in a list, from 0. It is written as a number.
    Index(usize),
    /// An embedding table, by its position in [`Layout::tables`], from 0. It is written as the name of the table.
    Table(usize),
    /// A sequence with target attention ([`TargetAttention`](super::TargetAttention)), by its position in [`Layout::sequences`], from 0. It
    /// is written as the name of the sequence.
    Sequence(usize),
    /// A domain. It is written as the name of the domain. A parameter whose name has this part belongs to this domain.
    Domain(DomainId),
    /// A branch. It is written as [`Branch::name`]. A parameter whose name has this part belongs to this branch.
    Branch(Branch),
}

/// The largest number of parts of a name; the longest names of PLE have 9.
const MAX_DEPTH: usize = 16;

/// The current position of a walk over parameters: the name and the number of the current tensor. A *walk* is a call of a `visit` method of
/// [`Params`] or of [`Model::visit`](crate::Model::visit). It passes each tensor to a function, together with its path.
#[derive(Debug, Clone)]
pub struct Path {
    /// A fixed array, so that a walk allocates nothing.
    parts: [Part; MAX_DEPTH],
    depth: usize,
    slot: usize,
    present: bool,
}

impl Path {
    /// The path at the start of a walk. `slot` is the number of the first tensor of the walk. Pass 0, unless other tensors come before: in
    /// a model, the embedding tables have the first numbers.
    pub fn starting_at(slot: usize) -> Self {
        Self { parts: [Part::Index(0); MAX_DEPTH], depth: 0, slot, present: true }
    }

    /// The number of the current tensor in the walk. It is the tensor's *slot* in an [`Optimizer`](crate::optim::Optimizer), which keeps a
    /// state for each slot. The mean, the variance and the count of one [`MovingAverage`] have the same number.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// On a walk over a gradient: whether the domain or branch to which the current tensor belongs had rows or labels in this step. It is
    /// always true for tensors that all domains and branches share. [`Model::apply`](crate::Model::apply) does not change a tensor that is
    /// not present, nor its optimizer state.
    pub fn present(&self) -> bool {
        self.present
    }

    /// Whether the current tensor belongs to one domain or one branch. If false, all domains and branches share it.
    pub fn owned(&self) -> bool {
        self.parts[..self.depth].iter().any(|part| matches!(part, Part::Domain(_) | Part::Branch(_)))
    }

    /// Appends `part` to the name, calls `inside` with this longer path, and removes the part again. Returns what `inside` returns. Use it
    /// if you write a walk by hand.
    ///
    /// # Panics
    /// If the longer name has more than 16 parts.
    pub fn within<R>(&mut self, part: Part, inside: impl FnOnce(&mut Self) -> R) -> R {
        self.parts[self.depth] = part;
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    /// Appends all parts of a name while `inside` runs.
    pub(crate) fn enter<R>(&mut self, name: &[Part], inside: impl FnOnce(&mut Self) -> R) -> R {
        match name {
            [] => inside(self),
            [part, rest @ ..] => self.within(*part, |path| path.enter(rest, inside)),
        }
    }

    /// Moves on to the next slot.
    pub(super) fn advance(&mut self) {
        self.slot += 1;
    }

    /// [`Path::within`] for a member; `present` says whether it had rows or labels in this step.
    pub(crate) fn within_member<R>(&mut self, part: Part, present: bool, inside: impl FnOnce(&mut Self) -> R) -> R {
        let outer = self.present;
        self.present = outer && present;
        let result = self.within(part, inside);
        self.present = outer;
        result
    }

    /// The dotted name of the current tensor, such as `layers.0.domain.search.weight`. `layout` must be that of the model: it has the names
    /// of tables, domains and tasks. In these names, `.`, `/` and `%` are replaced by `%2E`, `%2F` and `%25`.
    ///
    /// # Panics
    /// If `layout` does not have a table, domain or task of the path.
    pub fn name(&self, layout: &Layout) -> String {
        let mut name = String::new();
        for (i, part) in self.parts[..self.depth].iter().enumerate() {
            if i > 0 {
                name.push('.');
            }
            let written = match part {
                Part::Field(field) => write!(name, "{field}"),
                Part::Index(index) => write!(name, "{index}"),
                Part::Table(table) => write!(name, "{}", escape(&layout.tables[*table].name)),
                Part::Sequence(sequence) => write!(name, "{}", escape(&layout.sequences[*sequence].name)),
                Part::Domain(domain) => write!(name, "{}", Branch::Domain(*domain).name(layout)),
                Part::Branch(branch) => write!(name, "{}", branch.name(layout)),
            };
            written.expect("writing to a String does not fail");
        }
        name
    }
}

/// A user's name as a part of a dotted name: separators are percent-encoded, so that different names stay different.
pub(crate) fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('.', "%2E").replace('/', "%2F")
}

/// A tensor or a count, as [`Params::visit`] passes it to the caller's function. All walks of one value pass the same leaves in the same
/// order.
#[derive(Debug, Clone, Copy)]
pub enum Leaf<'a> {
    /// A tensor of learned values: the values in row-major order, the shape, and what weight decay does to the values.
    Tensor(&'a [f32], &'a [usize], Decay),
    /// The mean or the variance of a [`MovingAverage`], which training does not learn by gradients: the values and the shape.
    Average(&'a [f32], &'a [usize]),
    /// The count of a [`MovingAverage`]: [`MovingAverage::steps`], the number of training steps whose statistics it contains.
    Count(&'a u64),
}

/// A tensor or a count, as [`Params::visit_mut`] passes it to the caller's function, which may change it.
#[derive(Debug)]
pub enum LeafMut<'a> {
    /// A tensor of learned values: the values in row-major order, the shape, and what weight decay does to the values.
    Tensor(&'a mut [f32], &'a [usize], Decay),
    /// The mean or the variance of a [`MovingAverage`], which training does not learn by gradients: the values and the shape.
    Average(&'a mut [f32], &'a [usize]),
    /// The count of a [`MovingAverage`]: [`MovingAverage::steps`], the number of training steps whose statistics it contains.
    Count(&'a mut u64),
}

/// A parameter and its gradient, as [`Params::visit_pair`] passes them to the caller's function, which may change both.
#[derive(Debug)]
pub enum Pair<'a> {
    /// A tensor of learned values: the values, their gradient, and what weight decay does to the values.
    Tensor(&'a mut [f32], &'a mut [f32], Decay),
    /// The moving averages of a normalisation, and the statistics of this step's batches. The gradient of the layer holds these statistics,
    /// in the same type.
    Average(&'a mut MovingAverage, &'a mut MovingAverage),
}

/// A value that holds parameters: a layer or a net. The gradient of the parameters is another value of the same type, in which each number
/// is the gradient of the parameter in the same place.
///
/// The macro [`params!`](crate::params!) implements this trait for a struct. The `visit` methods *walk* over all tensors: they pass each
/// tensor to the function `see`, together with its name and number ([`Path`]). The order is always the same. A *member* is what a
/// [`Per`](super::Per) holds for one domain or branch.
pub trait Params: Clone {
    /// Passes each tensor to `see`. To start a walk, pass [`Path::starting_at`] as `path`.
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>));

    /// Passes each tensor to `see`, which may change it. To start a walk, pass [`Path::starting_at`] as `path`.
    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>));

    /// Passes each parameter of `self`, together with its gradient in `grad`, to `see`. An optimizer's step does this, for example. To
    /// start a walk, pass [`Path::starting_at`] as `path`.
    ///
    /// It also merges presence: a member that is present in `grad` becomes present in `self`. This matters if `self` is a gradient too, for
    /// example a sum of gradients.
    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>));

    /// For a gradient. Passes to `see`, for each member, whether the member is present in the step: whether it had rows or labels. `see` may
    /// change the value. A *member* is what a [`Per`](super::Per) holds for one domain or branch. The order is the same for all gradients of
    /// a model.
    fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool));

    /// For a gradient. Sets all values to 0 and marks all members as not present. A member that is not present is skipped, because its
    /// values are 0 already.
    fn zero(&mut self);

    /// Does what [`Params::zero`] does, but faster, for a gradient whose learned values are all 0 already, as an optimizer's step leaves
    /// them. It sets the statistics of batches to 0 and marks all members as not present, without another pass over the values.
    fn dismiss(&mut self) {
        self.zero();
    }

    /// Makes a gradient for these parameters: the same shapes, all values 0, no member present.
    fn zeros_like(&self) -> Self {
        let mut grad = self.clone();
        grad.zero();
        grad
    }

    /// The number of learned values. Moving averages do not count.
    fn count(&self) -> usize {
        let mut count = 0;
        self.visit(&mut Path::starting_at(0), &mut |_, leaf| {
            if let Leaf::Tensor(values, ..) = leaf {
                count += values.len();
            }
        });
        count
    }
}

/// Implements [`Params`](crate::nn::Params) for a struct from the list of its fields.
///
/// In the list, `field` alone is a layer or a list of layers. `field: decay` is a tensor (`ndarray::Array`), and `decay` is its
/// [`Decay`](crate::nn::Decay). Fields that are not listed are settings, not parameters.
///
/// For an enum, write `params!(enum Norm { Batch, Layer })`, for example. List the variants that hold a layer; each holds exactly one. The
/// other variants have no parameters. The name of the variant is not a part of parameter names.
#[macro_export]
macro_rules! params {
    (enum $type:ident { $($variant:ident),* $(,)? }) => {
        // Where every variant is listed, no other is left.
        #[allow(unreachable_patterns)]
        impl $crate::nn::Params for $type {
            fn visit<'a>(
                &'a self,
                path: &mut $crate::nn::Path,
                see: &mut dyn FnMut(&$crate::nn::Path, $crate::nn::Leaf<'a>),
            ) {
                match self {
                    $(Self::$variant(layer) => $crate::nn::Params::visit(layer, path, see),)*
                    _ => {}
                }
            }

            fn visit_mut(
                &mut self,
                path: &mut $crate::nn::Path,
                see: &mut dyn FnMut(&$crate::nn::Path, $crate::nn::LeafMut<'_>),
            ) {
                match self {
                    $(Self::$variant(layer) => $crate::nn::Params::visit_mut(layer, path, see),)*
                    _ => {}
                }
            }

            fn visit_pair(
                &mut self,
                grad: &mut Self,
                path: &mut $crate::nn::Path,
                see: &mut dyn FnMut(&$crate::nn::Path, $crate::nn::Pair<'_>),
            ) {
                let same = std::mem::discriminant(self) == std::mem::discriminant(grad);
                assert!(same, "a gradient has the type of its parameters");
                match (self, grad) {
                    $((Self::$variant(layer), Self::$variant(grad)) => {
                        $crate::nn::Params::visit_pair(layer, grad, path, see);
                    })*
                    _ => {}
                }
            }

            fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool)) {
                match self {
                    $(Self::$variant(layer) => $crate::nn::Params::visit_presence(layer, see),)*
                    _ => {}
                }
            }

            fn zero(&mut self) {
                match self {
                    $(Self::$variant(layer) => $crate::nn::Params::zero(layer),)*
                    _ => {}
                }
            }

            fn dismiss(&mut self) {
                match self {
                    $(Self::$variant(layer) => $crate::nn::Params::dismiss(layer),)*
                    _ => {}
                }
            }
        }
    };
    (impl[$($generics:tt)*] $type:ty { $($field:ident $(: $decay:expr)?),* $(,)? }) => {
        impl<$($generics)*> $crate::nn::Params for $type {
            fn visit<'a>(
                &'a self,
                path: &mut $crate::nn::Path,
                see: &mut dyn FnMut(&$crate::nn::Path, $crate::nn::Leaf<'a>),
            ) {
                $(path.within($crate::nn::Part::Field(stringify!($field)), |path| {
                    $crate::params!(@visit self.$field, path, see $(, $decay)?);
                });)*
            }

            fn visit_mut(
                &mut self,
                path: &mut $crate::nn::Path,
                see: &mut dyn FnMut(&$crate::nn::Path, $crate::nn::LeafMut<'_>),
            ) {
                $(path.within($crate::nn::Part::Field(stringify!($field)), |path| {
                    $crate::params!(@visit_mut self.$field, path, see $(, $decay)?);
                });)*
            }

            fn visit_pair(
                &mut self,
                grad: &mut Self,
                path: &mut $crate::nn::Path,
                see: &mut dyn FnMut(&$crate::nn::Path, $crate::nn::Pair<'_>),
            ) {
                $(path.within($crate::nn::Part::Field(stringify!($field)), |path| {
                    $crate::params!(@visit_pair self.$field, grad.$field, path, see $(, $decay)?);
                });)*
            }

            // A layer may have tensors alone.
            #[allow(unused_variables)]
            fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool)) {
                $($crate::params!(@visit_presence self.$field, see $(, $decay)?);)*
            }

            fn zero(&mut self) {
                $($crate::params!(@zero self.$field $(, $decay)?);)*
            }

            fn dismiss(&mut self) {
                $($crate::params!(@dismiss self.$field $(, $decay)?);)*
            }
        }
    };
    ($type:ident { $($fields:tt)* }) => { $crate::params!(impl[] $type { $($fields)* }); };
    (@visit $field:expr, $path:ident, $see:ident) => { $crate::nn::Params::visit(&$field, $path, $see) };
    (@visit $field:expr, $path:ident, $see:ident, $decay:expr) => {
        $crate::nn::tensor::visit(&$field, $decay, $path, $see)
    };
    (@visit_mut $field:expr, $path:ident, $see:ident) => { $crate::nn::Params::visit_mut(&mut $field, $path, $see) };
    (@visit_mut $field:expr, $path:ident, $see:ident, $decay:expr) => {
        $crate::nn::tensor::visit_mut(&mut $field, $decay, $path, $see)
    };
    (@visit_pair $field:expr, $grad:expr, $path:ident, $see:ident) => {
        $crate::nn::Params::visit_pair(&mut $field, &mut $grad, $path, $see)
    };
    (@visit_pair $field:expr, $grad:expr, $path:ident, $see:ident, $decay:expr) => {
        $crate::nn::tensor::visit_pair(&mut $field, &mut $grad, $decay, $path, $see)
    };
    (@visit_presence $field:expr, $see:ident) => { $crate::nn::Params::visit_presence(&mut $field, $see) };
    (@visit_presence $field:expr, $see:ident, $decay:expr) => {};
    (@zero $field:expr) => { $crate::nn::Params::zero(&mut $field) };
    (@zero $field:expr, $decay:expr) => { $field.fill(0.0) };
    (@dismiss $field:expr) => { $crate::nn::Params::dismiss(&mut $field) };
    (@dismiss $field:expr, $decay:expr) => {};
}

/// The functions that [`params!`](crate::params!) calls for a field that is a tensor.
pub mod tensor {
    use super::{Array, Decay, Dimension, Leaf, LeafMut, Pair, Path};

    const ROW_MAJOR: &str = "parameters are kept in standard layout";

    /// Passes `tensor` to `see`, with `path` as its name and number, and moves `path` on to the next [slot](Path::slot). `decay` says what
    /// weight decay does to the tensor.
    ///
    /// # Panics
    /// If `tensor` is not in standard layout (row-major and contiguous).
    pub fn visit<'a, D: Dimension>(
        tensor: &'a Array<f32, D>,
        decay: Decay,
        path: &mut Path,
        see: &mut dyn FnMut(&Path, Leaf<'a>),
    ) {
        see(path, Leaf::Tensor(tensor.as_slice().expect(ROW_MAJOR), tensor.shape(), decay));
        path.advance();
    }

    /// Passes `tensor` to `see`, which may change its values, with `path` as its name and number. Then moves `path` on to the next
    /// [slot](Path::slot). `decay` says what weight decay does to the tensor.
    ///
    /// # Panics
    /// If `tensor` is not in standard layout (row-major and contiguous).
    pub fn visit_mut<D: Dimension>(
        tensor: &mut Array<f32, D>,
        decay: Decay,
        path: &mut Path,
        see: &mut dyn FnMut(&Path, LeafMut<'_>),
    ) {
        let shape = tensor.raw_dim();
        see(path, LeafMut::Tensor(tensor.as_slice_mut().expect(ROW_MAJOR), shape.slice(), decay));
        path.advance();
    }

    /// Passes `tensor` and its gradient `grad` to `see`, with `path` as their name and number. Then moves `path` on to the next
    /// [slot](Path::slot). `decay` says what weight decay does to the tensor.
    ///
    /// # Panics
    /// If `tensor` or `grad` is not in standard layout (row-major and contiguous).
    pub fn visit_pair<D: Dimension>(
        tensor: &mut Array<f32, D>,
        grad: &mut Array<f32, D>,
        decay: Decay,
        path: &mut Path,
        see: &mut dyn FnMut(&Path, Pair<'_>),
    ) {
        let (values, grad) = (tensor.as_slice_mut().expect(ROW_MAJOR), grad.as_slice_mut().expect(ROW_MAJOR));
        see(path, Pair::Tensor(values, grad, decay));
        path.advance();
    }
}

impl<T: Params> Params for Vec<T> {
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        for (i, item) in self.iter().enumerate() {
            path.within(Part::Index(i), |path| item.visit(path, see));
        }
    }

    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        for (i, item) in self.iter_mut().enumerate() {
            path.within(Part::Index(i), |path| item.visit_mut(path, see));
        }
    }

    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
        for (i, (item, grad)) in self.iter_mut().zip(grad).enumerate() {
            path.within(Part::Index(i), |path| item.visit_pair(grad, path, see));
        }
    }

    fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool)) {
        for item in self {
            item.visit_presence(see);
        }
    }

    fn zero(&mut self) {
        self.iter_mut().for_each(Params::zero);
    }

    fn dismiss(&mut self) {
        self.iter_mut().for_each(Params::dismiss);
    }
}

impl<T: Params> Params for Option<T> {
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        if let Some(item) = self {
            item.visit(path, see);
        }
    }

    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        if let Some(item) = self {
            item.visit_mut(path, see);
        }
    }

    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
        if let (Some(item), Some(grad)) = (self, grad) {
            item.visit_pair(grad, path, see);
        }
    }

    fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool)) {
        if let Some(item) = self {
            item.visit_presence(see);
        }
    }

    fn zero(&mut self) {
        self.iter_mut().for_each(Params::zero);
    }

    fn dismiss(&mut self) {
        self.iter_mut().for_each(Params::dismiss);
    }
}
