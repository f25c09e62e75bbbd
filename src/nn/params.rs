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

/// The value that weight decay pulls a tensor towards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decay {
    /// Weight decay does not change the tensor. Used for biases and shifts.
    None,
    /// Weight decay pulls all values of the tensor towards this value: 0 for weights, 1 for factors, such as STAR's of a domain.
    Towards(f32),
}

/// One part of the dotted name of a parameter, such as `layers` in `layers.0.weight`. See [`Path::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A word, such as the name of a field of a struct: `weight`, for example.
    Field(&'static str),
    /// A number: the position in a list, from 0.
    Index(usize),
    /// An embedding table, by its position in [`Layout::tables`], from 0.
    Table(usize),
    /// A domain. The parameters whose names have this part belong to this domain.
    Domain(DomainId),
    /// A branch. The parameters whose names have this part belong to this branch.
    Branch(Branch),
}

/// The largest number of parts of a name; the longest names of PLE have 9.
const MAX_DEPTH: usize = 16;

/// The current position of a walk over parameters: name and number of the current tensor. A *walk* is a call of a `visit` method of
/// [`Params`] or of [`Model::visit`](crate::Model::visit): it passes each tensor, with its path, to a function.
#[derive(Debug, Clone)]
pub struct Path {
    /// A fixed array, so that a walk allocates nothing.
    parts: [Part; MAX_DEPTH],
    depth: usize,
    slot: usize,
    present: bool,
}

impl Path {
    /// The start of a walk whose first tensor gets the number `slot`. Pass 0, unless other tensors come first: in a model, the embedding
    /// tables have the first numbers.
    pub fn starting_at(slot: usize) -> Self {
        Self { parts: [Part::Index(0); MAX_DEPTH], depth: 0, slot, present: true }
    }

    /// The number of the current tensor in the walk. It is the tensor's *slot* in an [`Optimizer`](crate::optim::Optimizer), which keeps a
    /// state for each slot. All parts of a moving average have one number.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// On a walk over a gradient: whether the domain or branch that the current tensor belongs to had rows (or labels) in this step.
    /// Always true for shared tensors. [`Model::apply`](crate::Model::apply) leaves a tensor that is not present, and its optimizer state,
    /// as they are.
    pub fn present(&self) -> bool {
        self.present
    }

    /// Whether the current tensor belongs to one domain or branch. If not, all share it.
    pub fn owned(&self) -> bool {
        self.parts[..self.depth].iter().any(|part| matches!(part, Part::Domain(_) | Part::Branch(_)))
    }

    /// Calls `inside` with this path, to whose name `part` is appended, then removes the part. Use it to write a walk by hand.
    ///
    /// # Panics
    /// If the name then has more than 16 parts.
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

    /// The dotted name, such as `layers.0.domain.search.weight`; `layout` gives fields, domains and tasks their names, in
    /// which `.`, `/` and `%` are written `%2E`, `%2F` and `%25`.
    ///
    /// # Panics
    /// If `layout` lacks a table, domain or task that the path names: it must be the layout of the model that is walked.
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

/// A tensor that a read-only walk ([`Params::visit`]) shows.
#[derive(Debug, Clone, Copy)]
pub enum Leaf<'a> {
    /// A tensor that gradient descent learns: its values in row-major order, its shape, and what weight decay does to it.
    Tensor(&'a [f32], &'a [usize], Decay),
    /// The mean or the variance of a [`MovingAverage`]: its values and its shape.
    Average(&'a [f32], &'a [usize]),
    /// The number of batches that a moving average has taken in ([`MovingAverage::steps`]).
    Count(&'a u64),
}

/// A tensor that a walk which may change it ([`Params::visit_mut`]) shows.
#[derive(Debug)]
pub enum LeafMut<'a> {
    /// A tensor that gradient descent learns: its values in row-major order, its shape, and what weight decay does to it.
    Tensor(&'a mut [f32], &'a [usize], Decay),
    /// The mean or the variance of a [`MovingAverage`]: its values and its shape.
    Average(&'a mut [f32], &'a [usize]),
    /// The number of batches that a moving average has taken in ([`MovingAverage::steps`]).
    Count(&'a mut u64),
}

/// A parameter and its gradient, as [`Params::visit_pair`] shows them.
#[derive(Debug)]
pub enum Pair<'a> {
    /// A tensor that gradient descent learns: its values, their gradient, and what weight decay does to the values.
    Tensor(&'a mut [f32], &'a mut [f32], Decay),
    /// The moving averages of a normalisation, and the statistics of this step's batches, which the gradient holds in the same type.
    Average(&'a mut MovingAverage, &'a mut MovingAverage),
}

/// A layer or a net: a value that holds parameters, or their gradient. The gradient of a layer is another value of the same type.
///
/// The macro [`params!`](crate::params!) implements this trait for a struct from the list of its fields. The `visit` methods *walk* over
/// all tensors: they pass each to the function `see`, always in the same order, with its name and number ([`Path`]). A *member* is what a
/// [`Per`](super::Per) holds for one domain or branch.
pub trait Params: Clone {
    /// Passes each tensor to `see`. `path` is [`Path::starting_at`] at the start of a walk.
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>));

    /// Passes each tensor to `see`, which may change it. `path` is [`Path::starting_at`] at the start of a walk.
    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>));

    /// Passes each parameter with its gradient to `see`: an optimizer's step, for example. Also merges presence: a member that is present
    /// in `grad` becomes present in `self`, which matters where `self` is a gradient too.
    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>));

    /// For a gradient: passes to `see`, for each member, whether it is present in the step; `see` may change that. The order is the same
    /// for all gradients of a model.
    fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool));

    /// For a gradient: sets all values to 0 and marks all members as not present. Members that are not present already have the value 0:
    /// they are skipped.
    fn zero(&mut self);

    /// [`Params::zero`] for a gradient whose values, except batch statistics, are 0 already, as after an optimizer's step. It marks all
    /// members as not present without another pass over the values.
    fn dismiss(&mut self) {
        self.zero();
    }

    /// A new gradient for these parameters: the same shapes, all values 0, no member present.
    fn zeros_like(&self) -> Self {
        let mut grad = self.clone();
        grad.zero();
        grad
    }

    /// The number of values that gradient descent learns. Moving averages do not count.
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

/// Writes [`Params`](crate::nn::Params) for a struct from the list of its fields.
///
/// `field` alone is a layer (or a list of layers); `field: decay` is a tensor (`ndarray::Array`) with that
/// [`Decay`](crate::nn::Decay). Fields that are not listed are settings, not parameters.
///
/// For an enum, as in `params!(enum Norm { Batch, Layer })`, the list has the variants that hold a layer, one each; the others
/// have no parameters. The name of the variant is not a part of parameter names.
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

    /// Passes one tensor to `see` and moves `path` on to the next slot.
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

    /// Passes one tensor to `see`, which may change it, and moves `path` on to the next slot.
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

    /// Passes one tensor and its gradient to `see`, and moves `path` on to the next slot.
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
