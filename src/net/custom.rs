//! A layer of the user's own, as a step of a program.

use std::any::Any;
use std::fmt;

use ndarray::ArrayRef2;

use super::layer::{Layer, LayerType};
use crate::data::DomainId;
use crate::nn::{InitRng, Leaf, LeafMut, Mode, Pair, Params, Path, Segment};

/// A layer of your own, `y = f(x)`, for [`Builder::custom`](super::Builder::custom). You write its forward pass and its backward pass by
/// hand.
///
/// The macro [`params!`](crate::params!) implements [`Params`], which optimizers, model files and checkpoints use. The layer is trained,
/// saved and served with the net. It cannot be exported to ONNX: exporting such a model is an error.
///
/// `x` is `[rows, in]` and `y` is `[rows, out]`, where `out` is the `width` that [`Builder::custom`](super::Builder::custom) got. Rows are
/// grouped by domain: each of `segments` is the range of the rows of one domain, counted from the first row of `x`.
///
/// ```
/// use ndarray::{Array1, ArrayRef2};
/// use starple::net::CustomLayer;
/// use starple::nn::{Decay, Mode, Segment};
///
/// // y = s ⊙ x, one factor for each column.
/// #[derive(Debug, Clone, PartialEq)]
/// struct Scale {
///     factors: Array1<f32>,
/// }
///
/// starple::params!(Scale { factors: Decay::None });
///
/// impl CustomLayer for Scale {
///     type Cache = ();
///
///     fn forward(&self, x: &ArrayRef2<f32>, _: &[Segment], _: Mode<'_>, _: &mut (), y: &mut ArrayRef2<f32>) {
///         for (mut y, x) in y.rows_mut().into_iter().zip(x.rows()) {
///             y.assign(&(&x * &self.factors));
///         }
///     }
///
///     fn backward(
///         &self,
///         x: &ArrayRef2<f32>,
///         _: &[Segment],
///         dy: &ArrayRef2<f32>,
///         _: &mut (),
///         grad: &mut Self,
///         dx: &mut ArrayRef2<f32>,
///     ) {
///         for ((mut dx, x), dy) in dx.rows_mut().into_iter().zip(x.rows()).zip(dy.rows()) {
///             grad.factors += &(&x * &dy);
///             dx.assign(&(&dy * &self.factors));
///         }
///     }
/// }
/// ```
pub trait CustomLayer: Params + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The type of the values that the forward pass keeps for the backward pass; `()` if it keeps none. The first pass with a
    /// [`Cache`](crate::model::Cache) of the model gets the default value of this type. A later pass with the same `Cache` gets the value
    /// that the pass before it left: reuse its buffers, so that a pass allocates no memory.
    type Cache: Default + Send + Sync + 'static;

    /// The forward pass: computes `y`, `[rows, out]`, from `x`, `[rows, in]`. It must write every value of `y`, because `y` holds old
    /// values.
    ///
    /// `segments` lists which consecutive rows of `x` belong to which domain. `mode` says whether the pass is training or inference. In
    /// inference, the `y` of a row must not depend on other rows.
    fn forward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        mode: Mode<'_>,
        cache: &mut Self::Cache,
        y: &mut ArrayRef2<f32>,
    );

    /// The backward pass. It gets the gradient of the loss with respect to `y` in `dy`, adds the gradient of the parameters to `grad`, and
    /// writes the gradient of `x` to `dx`. It must write every value of `dx`, because `dx` holds old values.
    ///
    /// The crate calls it after a forward pass in training with the same `x`, `segments` and `cache`. It can call it several times after
    /// one forward pass, each time with another `dy`.
    fn backward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        dy: &ArrayRef2<f32>,
        cache: &mut Self::Cache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    );

    /// Returns whether `y` depends on the domain of a row; true by default. Return false only if `forward` ignores the domains of
    /// `segments`: serving then prepares the layer once for all domains, not once for each domain.
    fn reads_domain(&self) -> bool {
        true
    }

    /// Adds the parameters of the new domain `domain` to this layer; [`Model::add_domain`](crate::Model::add_domain) calls it. Draw random
    /// initial values from `rng`. The default adds nothing, which is right for a layer without parameters that belong to one domain.
    fn add_domain(&mut self, domain: DomainId, rng: &mut InitRng) {
        let _ = (domain, rng);
    }
}

/// A [`CustomLayer`] of any type, as [`Layer::Custom`] holds it in a net (a boxed trait object).
/// [`Builder::custom`](super::Builder::custom) makes it. To read your layer, call [`Net::get`](super::Net::get) with the type of your
/// layer.
#[derive(Debug)]
pub struct Custom(Box<dyn Erased>);

/// The cache of a [`Custom`] layer.
#[derive(Default)]
pub(crate) struct CustomCache(Option<Box<dyn Any + Send + Sync>>);

impl fmt::Debug for CustomCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomCache").finish_non_exhaustive()
    }
}

impl CustomCache {
    fn of<C: Default + Send + Sync + 'static>(&mut self) -> &mut C {
        if !self.0.as_ref().is_some_and(|cache| cache.is::<C>()) {
            self.0 = Some(Box::new(C::default()));
        }
        self.0.as_mut().and_then(|cache| cache.downcast_mut()).expect("it was just made")
    }
}

/// [`CustomLayer`] as an object-safe trait.
trait Erased: Any + fmt::Debug + Send + Sync {
    fn boxed(&self) -> Box<dyn Erased>;
    fn equals(&self, other: &dyn Any) -> bool;
    fn forward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        mode: Mode<'_>,
        cache: &mut CustomCache,
        y: &mut ArrayRef2<f32>,
    );
    fn backward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        dy: &ArrayRef2<f32>,
        cache: &mut CustomCache,
        grad: &mut dyn Any,
        dx: &mut ArrayRef2<f32>,
    );
    fn reads_domain(&self) -> bool;
    fn add_domain(&mut self, domain: DomainId, rng: &mut InitRng);
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>));
    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>));
    fn visit_pair(&mut self, grad: &mut dyn Any, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>));
    fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool));
    fn zero(&mut self);
    fn dismiss(&mut self);
}

const SAME: &str = "a gradient has the type of its layer";

impl<L: CustomLayer> Erased for L {
    fn boxed(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref() == Some(self)
    }

    fn forward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        mode: Mode<'_>,
        cache: &mut CustomCache,
        y: &mut ArrayRef2<f32>,
    ) {
        CustomLayer::forward(self, x, segments, mode, cache.of(), y);
    }

    fn backward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        dy: &ArrayRef2<f32>,
        cache: &mut CustomCache,
        grad: &mut dyn Any,
        dx: &mut ArrayRef2<f32>,
    ) {
        CustomLayer::backward(self, x, segments, dy, cache.of(), grad.downcast_mut().expect(SAME), dx);
    }

    fn reads_domain(&self) -> bool {
        CustomLayer::reads_domain(self)
    }

    fn add_domain(&mut self, domain: DomainId, rng: &mut InitRng) {
        CustomLayer::add_domain(self, domain, rng);
    }

    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        Params::visit(self, path, see);
    }

    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        Params::visit_mut(self, path, see);
    }

    fn visit_pair(&mut self, grad: &mut dyn Any, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
        Params::visit_pair(self, grad.downcast_mut().expect(SAME), path, see);
    }

    fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool)) {
        Params::visit_presence(self, see);
    }

    fn zero(&mut self) {
        Params::zero(self);
    }

    fn dismiss(&mut self) {
        Params::dismiss(self);
    }
}

impl Custom {
    pub(super) fn new(layer: impl CustomLayer) -> Self {
        Self(Box::new(layer))
    }

    pub(crate) fn forward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        mode: Mode<'_>,
        cache: &mut CustomCache,
        y: &mut ArrayRef2<f32>,
    ) {
        self.0.forward(x, segments, mode, cache, y);
    }

    pub(super) fn backward(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        dy: &ArrayRef2<f32>,
        cache: &mut CustomCache,
        grad: &mut Self,
        dx: &mut ArrayRef2<f32>,
    ) {
        self.0.backward(x, segments, dy, cache, &mut *grad.0, dx);
    }

    pub(super) fn reads_domain(&self) -> bool {
        self.0.reads_domain()
    }

    pub(super) fn add_domain(&mut self, domain: DomainId, rng: &mut InitRng) {
        self.0.add_domain(domain, rng);
    }
}

impl Clone for Custom {
    fn clone(&self) -> Self {
        Self(self.0.boxed())
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        let other: &dyn Any = &*other.0;
        self.0.equals(other)
    }
}

impl Params for Custom {
    fn visit<'a>(&'a self, path: &mut Path, see: &mut dyn FnMut(&Path, Leaf<'a>)) {
        self.0.visit(path, see);
    }

    fn visit_mut(&mut self, path: &mut Path, see: &mut dyn FnMut(&Path, LeafMut<'_>)) {
        self.0.visit_mut(path, see);
    }

    fn visit_pair(&mut self, grad: &mut Self, path: &mut Path, see: &mut dyn FnMut(&Path, Pair<'_>)) {
        self.0.visit_pair(&mut *grad.0, path, see);
    }

    fn visit_presence(&mut self, see: &mut dyn FnMut(&mut bool)) {
        self.0.visit_presence(see);
    }

    fn zero(&mut self) {
        self.0.zero();
    }

    fn dismiss(&mut self) {
        self.0.dismiss();
    }
}

impl<L: CustomLayer> LayerType for L {
    fn of(layer: &Layer) -> Option<&Self> {
        let Layer::Custom(Custom(layer)) = layer else { return None };
        let any: &dyn Any = &**layer;
        any.downcast_ref()
    }

    fn of_mut(layer: &mut Layer) -> Option<&mut Self> {
        let Layer::Custom(Custom(layer)) = layer else { return None };
        let any: &mut dyn Any = &mut **layer;
        any.downcast_mut()
    }
}
