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
    /// No decay: biases, shifts.
    None,
    /// Towards this value: 0 for weights, 1 for the domain factors of STAR.
    Towards(f32),
}

/// One part of the dotted name of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A field of a struct.
    Field(&'static str),
    /// A position in a list.
    Index(usize),
    /// An embedding table, by its position in the layout.
    Table(usize),
    /// A domain's own parameters.
    Domain(DomainId),
    /// A branch's own parameters.
    Branch(Branch),
}

/// The largest number of parts of a name; the longest names of PLE have 9.
const MAX_DEPTH: usize = 16;

/// The current position of a walk: name and number of the current tensor.
#[derive(Debug, Clone)]
pub struct Path {
    /// A fixed array, so that a walk allocates nothing.
    parts: [Part; MAX_DEPTH],
    depth: usize,
    slot: usize,
    present: bool,
}

impl Path {
    /// The start of a walk whose first tensor has position `slot`.
    pub fn starting_at(slot: usize) -> Self {
        Self { parts: [Part::Index(0); MAX_DEPTH], depth: 0, slot, present: true }
    }

    /// The number of the current tensor in the walk: its slot in an optimizer.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Whether the domain or branch that owns the current tensor had rows (or labels) in this step; true for shared tensors. The optimizer
    /// leaves a tensor that is not present as it is, with its state.
    pub fn present(&self) -> bool {
        self.present
    }

    /// Whether the current tensor belongs to one domain or branch.
    pub fn owned(&self) -> bool {
        self.parts[..self.depth].iter().any(|part| matches!(part, Part::Domain(_) | Part::Branch(_)))
    }

    /// Appends a part to the name while `inside` runs.
    ///
    /// # Panics
    /// If a name has more than 16 parts.
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
    /// If `layout` is not that of the walked model.
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

/// A tensor on a read-only walk.
#[derive(Debug, Clone, Copy)]
pub enum Leaf<'a> {
    /// Learned by gradient: values in row-major order, shape, decay.
    Tensor(&'a [f32], &'a [usize], Decay),
    /// A moving average of batch statistics.
    Average(&'a [f32], &'a [usize]),
    /// The number of statistics that a moving average has taken.
    Count(&'a u64),
}

/// A tensor on a walk that may change it.
#[derive(Debug)]
pub enum LeafMut<'a> {
    /// Learned by gradient: values in row-major order, shape, decay.
    Tensor(&'a mut [f32], &'a [usize], Decay),
    /// A moving average of batch statistics.
    Average(&'a mut [f32], &'a [usize]),
    /// The number of statistics that a moving average has taken.
    Count(&'a mut u64),
}

/// A parameter and its gradient.
#[derive(Debug)]
pub enum Pair<'a> {
    /// Learned by gradient: the parameter's values, their gradient, the decay.
    Tensor(&'a mut [f32], &'a mut [f32], Decay),
    /// The parameter's moving averages, and the statistics of the batch, which its gradient holds in the same type.
    Average(&'a mut MovingAverage, &'a mut MovingAverage),
}

/// Parameters, or their gradients: every layer and every net.
///
/// Implemented by [`params!`](crate::params!). The walks visit the same tensors in the same order, always.
pub trait Params: Clone {
    /// Walks all tensors.
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>));

    /// Walks all tensors and may change them.
    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>));

    /// Walks the parameters and their gradients side by side. Also merges presence: a member that is present in `grad` becomes present in
    /// `self`, which matters where `self` is a gradient too.
    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>));

    /// Walks over the members of a gradient and shows whether each is present in the step. The order is the same for all gradients of a model.
    fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool));

    /// Sets a gradient to zero and all members absent. Members that are absent already are zero and not visited.
    fn zero(&mut self);

    /// [`Params::zero`] for a gradient whose values, except batch statistics, are zero already: it sets all members absent without another
    /// pass over the values.
    fn dismiss(&mut self) {
        self.zero();
    }

    /// A gradient for these parameters: the same shapes, all zero, no member present.
    fn zeros_like(&self) -> Self {
        let mut grad = self.clone();
        grad.zero();
        grad
    }

    /// The number of values that are learned by gradient.
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

    /// Shows one tensor and goes on to the next slot.
    ///
    /// # Panics
    /// If the tensor is not in standard layout.
    pub fn visit<'a, D: Dimension>(
        tensor: &'a Array<f32, D>,
        decay: Decay,
        path: &mut Path,
        see: &mut dyn FnMut(&Path, Leaf<'a>),
    ) {
        see(path, Leaf::Tensor(tensor.as_slice().expect(ROW_MAJOR), tensor.shape(), decay));
        path.advance();
    }

    /// Shows one tensor to a walk that may change it, and goes on to the next slot.
    ///
    /// # Panics
    /// If the tensor is not in standard layout.
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

    /// Shows one tensor with its gradient, and goes on to the next slot.
    ///
    /// # Panics
    /// If one of the two is not in standard layout.
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
