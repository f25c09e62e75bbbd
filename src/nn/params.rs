//! Parameters as plain data, and the one walk that names, counts, zeroes, moves and saves them.
//!
//! A layer is a struct of tensors and of smaller layers. Its gradient is **another value of the same type**, so whatever
//! walks the parameters walks the gradients beside them. [`params!`](crate::params!) writes the walk from the list of
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
//! starple::params!(Linear { weight: Decay::To(0.0), bias: Decay::None });
//!
//! let layer = Linear { weight: Array2::ones((3, 2)), bias: Array1::zeros(2) };
//! assert_eq!(layer.count(), 8);
//! let grad = layer.zeros_like();
//! assert_eq!(grad.weight, Array2::<f32>::zeros((3, 2)));
//! ```

use std::fmt::Write as _;

use ndarray::{Array, Array1, Dimension};
use serde::{Deserialize, Serialize};

use super::Branch;
use crate::data::{DomainId, Layout};

/// The value that weight decay pulls a tensor to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decay {
    /// No decay: biases, shifts.
    None,
    /// Towards this value: 0 for weights, 1 for the domain factors of STAR.
    To(f32),
}

/// One step of the way to a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A field of a struct.
    Field(&'static str),
    /// A position in a list.
    Index(usize),
    /// The embedding table of an input field.
    Input(usize),
    /// What one domain owns.
    Domain(DomainId),
    /// What one branch owns.
    Branch(Branch),
}

/// How deep parameters may lie below the model: PLE's deepest have 9 parts.
const MAX_DEPTH: usize = 16;

/// Where a walk stands: the way to the current tensor, and its position in the walk.
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

    /// The position of the current tensor in the walk: its address in an optimizer's memory.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Whether the owner of the current tensor took part in the step. An absent owner's values and optimizer state stay.
    pub fn present(&self) -> bool {
        self.present
    }

    /// Walks one step down while `inside` runs.
    ///
    /// # Panics
    /// If layers are nested deeper than 16.
    pub fn within<R>(&mut self, part: Part, inside: impl FnOnce(&mut Self) -> R) -> R {
        self.parts[self.depth] = part;
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    /// The same, for a member that may be absent from the step.
    fn within_member(&mut self, part: Part, present: bool, inside: impl FnOnce(&mut Self)) {
        let outer = self.present;
        self.present = outer && present;
        self.within(part, inside);
        self.present = outer;
    }

    /// The dotted name, such as `layers.0.domain.search.weight`; `layout` gives fields, domains and tasks their names.
    ///
    /// # Panics
    /// If `layout` is not that of the walked model.
    pub fn name(&self, layout: &Layout) -> String {
        let mut name = String::new();
        for (i, part) in self.parts[..self.depth].iter().enumerate() {
            if i > 0 {
                name.push('.');
            }
            let domain = |d: &DomainId| d.index().map_or("shared", |i| layout.domains[i].as_str());
            let written = match part {
                Part::Field(field) => write!(name, "{field}"),
                Part::Index(index) => write!(name, "{index}"),
                Part::Input(field) => write!(name, "{}", layout.fields[*field].name),
                Part::Domain(d) => write!(name, "{}", domain(d)),
                Part::Branch(branch) => write!(name, "{}", branch.name(layout)),
            };
            written.expect("writing to a String does not fail");
        }
        name
    }
}

/// A tensor on a read-only walk.
#[derive(Debug, Clone, Copy)]
pub enum Leaf<'a> {
    /// Learned by gradient: values in row-major order, shape, decay.
    Tensor(&'a [f32], &'a [usize], Decay),
    /// A moving average of batch statistics.
    Average(&'a [f32], &'a [usize]),
    /// How many statistics a moving average has taken.
    Count(&'a u64),
}

/// A tensor on a walk that may change it.
#[derive(Debug)]
pub enum LeafMut<'a> {
    /// Learned by gradient.
    Tensor(&'a mut [f32], &'a [usize], Decay),
    /// A moving average of batch statistics.
    Average(&'a mut [f32], &'a [usize]),
    /// How many statistics a moving average has taken.
    Count(&'a mut u64),
}

/// A parameter beside its gradient.
#[derive(Debug)]
pub enum Pair<'a> {
    /// Values, their gradient, decay.
    Tensor(&'a mut [f32], &'a mut [f32], Decay),
    /// Moving averages, and the batch statistics they move to.
    Moving(&'a mut Moving, &'a mut Moving),
}

/// Values that are learned, and their gradients: every layer and every net.
///
/// Implemented by [`params!`](crate::params!). The walks visit the same tensors in the same order, always.
pub trait Params: Clone {
    /// Walks all tensors.
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>));

    /// Walks all tensors and may change them.
    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>));

    /// Walks the parameters and their gradients side by side.
    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>));

    /// Sets a gradient back to zero. What was absent from the step is zero already and is not touched.
    fn zero(&mut self);

    /// A gradient for these parameters: the same shapes, all zero, nobody present.
    fn zeros_like(&self) -> Self {
        let mut grad = self.clone();
        grad.zero();
        grad
    }

    /// How many values are learned by gradient.
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
#[macro_export]
macro_rules! params {
    ($type:ty { $($field:ident $(: $decay:expr)?),* $(,)? }) => {
        impl $crate::nn::Params for $type {
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

            fn zero(&mut self) {
                $($crate::params!(@zero self.$field $(, $decay)?);)*
            }
        }
    };
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
    (@zero $field:expr) => { $crate::nn::Params::zero(&mut $field) };
    (@zero $field:expr, $decay:expr) => { $field.fill(0.0) };
}

/// The walk's ends: what [`params!`](crate::params!) calls for a field that is a tensor.
pub mod tensor {
    use super::{Array, Decay, Dimension, Leaf, LeafMut, Pair, Path};

    const ROW_MAJOR: &str = "parameters are kept in standard layout";

    /// Shows one tensor and moves on to the next slot.
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
        path.slot += 1;
    }

    /// The same for a walk that may change it.
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
        path.slot += 1;
    }

    /// The same for a tensor beside its gradient.
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
        path.slot += 1;
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

    fn zero(&mut self) {
        self.iter_mut().for_each(Params::zero);
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

    fn zero(&mut self) {
        self.iter_mut().for_each(Params::zero);
    }
}

/// A key under which [`Per`] keeps one member.
pub trait Key: Copy + PartialEq {
    /// How the key is written in a dotted name.
    fn part(self) -> Part;
}

impl Key for DomainId {
    fn part(self) -> Part {
        Part::Domain(self)
    }
}

impl Key for Branch {
    fn part(self) -> Part {
        Part::Branch(self)
    }
}

/// Values of which every member belongs to one owner, and to nobody else.
///
/// In a gradient, only members that [`Per::touch`] was called for are *present*: the optimizer leaves the values and the
/// state of all others as they are, weight decay included.
#[derive(Debug, Clone, PartialEq)]
pub struct Per<K, T> {
    keys: Vec<K>,
    members: Vec<T>,
    present: Vec<bool>,
}

/// What each domain owns.
pub type PerDomain<T> = Per<DomainId, T>;

/// What each branch (a task, a domain, or both) owns.
pub type PerBranch<T> = Per<Branch, T>;

impl<K: Key, T> Per<K, T> {
    /// One member for each key.
    pub fn new(keys: impl IntoIterator<Item = K>, mut member: impl FnMut(K) -> T) -> Self {
        let keys: Vec<K> = keys.into_iter().collect();
        let members: Vec<T> = keys.iter().map(|&key| member(key)).collect();
        Self { present: vec![true; keys.len()], keys, members }
    }

    /// Adds a member at the end.
    pub fn push(&mut self, key: K, member: T) {
        self.keys.push(key);
        self.members.push(member);
        self.present.push(true);
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The keys, in order.
    pub fn keys(&self) -> &[K] {
        &self.keys
    }

    /// The members, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.members.iter()
    }

    /// The member at this position, to change a value. For a gradient use [`Per::touch`].
    ///
    /// # Panics
    /// If there is no such position.
    pub fn member_mut(&mut self, index: usize) -> &mut T {
        &mut self.members[index]
    }

    /// The gradient of the member at this position, which from now on is present in the step.
    ///
    /// # Panics
    /// If there is no such position.
    pub fn touch(&mut self, index: usize) -> &mut T {
        self.present[index] = true;
        &mut self.members[index]
    }
}

impl<K, T> std::ops::Index<usize> for Per<K, T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.members[index]
    }
}

impl<K: Key, T: Params> Params for Per<K, T> {
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        for ((key, &present), member) in self.keys.iter().zip(&self.present).zip(&self.members) {
            path.within_member(key.part(), present, |path| member.visit(path, see));
        }
    }

    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        for ((key, &present), member) in self.keys.iter().zip(&self.present).zip(&mut self.members) {
            path.within_member(key.part(), present, |path| member.visit_mut(path, see));
        }
    }

    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
        let members = self.members.iter_mut().zip(&mut grad.members);
        for ((key, &present), (member, grad)) in self.keys.iter().zip(&grad.present).zip(members) {
            path.within_member(key.part(), present, |path| member.visit_pair(grad, path, see));
        }
    }

    fn zero(&mut self) {
        for (present, member) in self.present.iter_mut().zip(&mut self.members) {
            if std::mem::take(present) {
                member.zero();
            }
        }
    }
}

/// Moving averages of a mean and a variance, right from the first batch on.
///
/// `E ← E + r_t·(e − E)` with `r_t = r / (1 − (1 − r)^t)`, `t` counting the statistics taken: the exponential moving
/// average of rate `r` started at 0, with its bias removed (Kingma & Ba 2015, section 3). After one statistic it equals that statistic; a
/// domain seen five times has the weighted mean of five batches, not a leftover of its start.
///
/// As a *gradient* it holds the statistics of one batch, and `steps` is 1 when there were any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moving {
    /// The mean of each column; 0 before the first statistic.
    pub mean: Array1<f32>,
    /// The variance of each column; 1 before the first statistic.
    pub var: Array1<f32>,
    /// How many statistics were taken.
    pub steps: u64,
    rate: f32,
}

impl Moving {
    /// Averages over `width` columns that move by `rate` (0 < rate ≤ 1) once they are warm.
    pub fn new(width: usize, rate: f32) -> Self {
        Self { mean: Array1::zeros(width), var: Array1::ones(width), steps: 0, rate }
    }

    /// Takes the statistics of one batch; does nothing when the batch had none.
    pub fn take(&mut self, batch: &Self) {
        if batch.steps == 0 {
            return;
        }
        self.steps += 1;
        let keep = 1.0 - f64::from(self.rate);
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let rate = (f64::from(self.rate) / (1.0 - keep.powi(steps))) as f32;
        for (value, batch) in [(&mut self.mean, &batch.mean), (&mut self.var, &batch.var)] {
            value.zip_mut_with(batch, |v, &b| *v += rate * (b - *v));
        }
    }
}

impl Params for Moving {
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        let slice = |a: &'a Array1<f32>| a.as_slice().expect("an owned vector is contiguous");
        path.within(Part::Field("mean"), |p| see(p, Leaf::Average(slice(&self.mean), self.mean.shape())));
        path.within(Part::Field("var"), |p| see(p, Leaf::Average(slice(&self.var), self.var.shape())));
        path.within(Part::Field("steps"), |p| see(p, Leaf::Count(&self.steps)));
        path.slot += 1;
    }

    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        for (field, tensor) in [("mean", &mut self.mean), ("var", &mut self.var)] {
            let shape = [tensor.len()];
            let values = tensor.as_slice_mut().expect("an owned vector is contiguous");
            path.within(Part::Field(field), |path| see(path, LeafMut::Average(values, &shape)));
        }
        path.within(Part::Field("steps"), |path| see(path, LeafMut::Count(&mut self.steps)));
        path.slot += 1;
    }

    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
        see(path, Pair::Moving(self, grad));
        path.slot += 1;
    }

    fn zero(&mut self) {
        self.mean.fill(0.0);
        self.var.fill(0.0);
        self.steps = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_statistics_of_a_constant_leave_no_trace_of_the_start() {
        let mut average = Moving::new(1, 0.05);
        for step in 1..=5 {
            average.take(&Moving { mean: ndarray::arr1(&[3.0]), var: ndarray::arr1(&[0.25]), steps: 1, rate: 0.05 });
            assert!((average.mean[0] - 3.0).abs() < 1e-6 && (average.var[0] - 0.25).abs() < 1e-6, "step {step}");
        }
        assert_eq!(average.steps, 5);
    }

    #[test]
    fn the_average_is_the_debiased_exponential_one() {
        let (rate, values) = (0.3_f64, [1.0_f64, -2.0, 5.0, 0.5]);
        let mut average = Moving::new(1, rate as f32);
        let (mut plain, mut keep) = (0.0, 1.0);
        for value in values {
            plain = (1.0 - rate) * plain + rate * value;
            keep *= 1.0 - rate;
            average.take(&Moving {
                mean: ndarray::arr1(&[value as f32]),
                var: ndarray::arr1(&[1.0]),
                steps: 1,
                rate: 0.3,
            });
            assert!((f64::from(average.mean[0]) - plain / (1.0 - keep)).abs() < 1e-6);
        }
    }

    #[test]
    fn an_absent_member_is_walked_but_not_present() {
        #[derive(Clone)]
        struct One {
            value: Array1<f32>,
        }
        params!(One { value: Decay::None });
        let domains = [DomainId::new(0), DomainId::new(1)];
        let mut values = Per::new(domains, |_| One { value: Array1::ones(2) });
        let mut grad = values.zeros_like();
        grad.touch(1).value[0] = 7.0;
        let mut seen = Vec::new();
        values.visit_pair(&mut grad, &mut Path::starting_at(3), &mut |path, pair| {
            let Pair::Tensor(_, grad, _) = pair else { panic!("a tensor") };
            seen.push((path.slot(), path.present(), grad[0]));
        });
        assert_eq!(seen, [(3, false, 0.0), (4, true, 7.0)]);
        grad.zero();
        assert_eq!(grad.members[1].value[0], 0.0);
        assert_eq!(grad.present, [false, false]);
    }
}
