//! The parameters of steps.

use super::Custom;
use crate::nn::{
    Alignment, Branch, CrossLayer, DomainMlp, Gate, Mlp, MultiHeadAttention, Params, Part, PartitionedNorm, Path,
    PostAffine, Representations, StarLinear, Stitch, TargetAttention, Tokens,
};

/// A type of layer that [`Net::get`](super::Net::get) can return: each type that a variant of [`Layer`] holds, such as [`Gate`], and every
/// [`CustomLayer`](super::CustomLayer). This crate implements the trait for all of them; you do not implement it yourself.
pub trait LayerType: Sized {
    /// Returns the layer that `layer` holds, if its type is `Self`; otherwise `None`. For example, `Gate::of(layer)` is `Some` if `layer`
    /// is [`Layer::Gate`].
    fn of(layer: &Layer) -> Option<&Self>;

    /// Returns the layer that `layer` holds, to change its parameters, if its type is `Self`; otherwise `None`.
    fn of_mut(layer: &mut Layer) -> Option<&mut Self>;
}

macro_rules! layers {
    ($($(#[$doc:meta])+ $variant:ident($type:ty),)+) => {
        /// A layer of a [`Net`](super::Net): one variant for each type of layer. A net keeps its layers in this type.
        /// [`Net::get`](super::Net::get) and [`Net::all`](super::Net::all) return the layer inside, such as a [`Gate`]. Which variant a
        /// layer has depends on the method of the [`Builder`](super::Builder) that made it.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Layer {
            $($(#[$doc])+ $variant($type),)+
        }

        crate::params!(enum Layer { $($variant,)+ });

        $(impl LayerType for $type {
            fn of(layer: &Layer) -> Option<&Self> {
                if let Layer::$variant(layer) = layer { Some(layer) } else { None }
            }

            fn of_mut(layer: &mut Layer) -> Option<&mut Self> {
                if let Layer::$variant(layer) = layer { Some(layer) } else { None }
            }
        })+
    };
}

layers! {
    /// A multilayer perceptron ([`Mlp`]): affine maps, with an activation after each hidden one. Made by
    /// [`Builder::mlp`](super::Builder::mlp), [`Builder::mlp_from_zero`](super::Builder::mlp_from_zero),
    /// [`Builder::orthogonal_layer`](super::Builder::orthogonal_layer) and [`Builder::tower`](super::Builder::tower).
    Mlp(Mlp),
    /// A multilayer perceptron that also reads an embedding of the row's domain ([`DomainMlp`]). Made by
    /// [`Builder::domain_mlp`](super::Builder::domain_mlp) and [`Builder::domain_mlp_from_zero`](super::Builder::domain_mlp_from_zero).
    DomainMlp(DomainMlp),
    /// Partitioned Normalization ([`PartitionedNorm`]): batch normalisation with the mean and variance of the row's domain. Made by
    /// [`Builder::partitioned_norm`](super::Builder::partitioned_norm).
    Norm(PartitionedNorm),
    /// A star layer ([`StarLinear`]): an affine map whose weights combine weights that all domains share with weights of the row's domain.
    /// Made by [`Builder::star`](super::Builder::star).
    Star(StarLinear),
    /// The part of a hidden layer after its affine map ([`PostAffine`]): normalisation, activation and dropout. Made by
    /// [`Builder::hidden`](super::Builder::hidden), and by [`Builder::star`](super::Builder::star) if its argument `style` is not `None`.
    PostAffine(PostAffine),
    /// A softmax gate ([`Gate`]): it computes the weights of a weighted sum of values, such as the outputs of experts. Made by
    /// [`Builder::mix`](super::Builder::mix).
    Gate(Gate),
    /// A cross-stitch unit ([`Stitch`]): a linear combination of several values, with learned weights that do not depend on the row. Made
    /// by [`Builder::stitch`](super::Builder::stitch).
    Stitch(Stitch),
    /// A cross layer of DCN-v2 ([`CrossLayer`]), `y = x₀ ⊙ (x·W + b) + x`: it multiplies the embedded row `x₀` by an affine map of its input
    /// x. Made by [`Builder::cross`](super::Builder::cross), and by the setting [`InteractionsConfig`](crate::model::InteractionsConfig).
    Cross(CrossLayer),
    /// The map from a row to its tokens ([`Tokens`]): one vector for each field and each numeric input, which attention reads. Made by
    /// [`Builder::tokens`](super::Builder::tokens).
    Tokens(Tokens),
    /// Multi-head attention ([`MultiHeadAttention`]) among the tokens of a row, made by [`Builder::attention`](super::Builder::attention).
    /// Or attention among the representations of branches, made by [`Builder::queries`](super::Builder::queries) if its argument
    /// `relations` is true.
    Attention(MultiHeadAttention),
    /// The learned representations of branches ([`Representations`]): one vector for each branch, from which [`Mran`](crate::model::Mran)
    /// computes its queries. Made by [`Builder::queries`](super::Builder::queries).
    Representations(Representations),
    /// The map from the query of a branch to its direction ([`Alignment`]): a vector whose inner product with a token is the score of the
    /// token. Made by [`Builder::directions`](super::Builder::directions).
    Alignment(Alignment),
    /// Attention of the row's target over the events of a sequence ([`TargetAttention`]). The crate makes one for each sequence of the layout
    /// that has [attention](crate::data::AttendedSequence); no method of the builder makes it. Its result is a part of the embedded row, the
    /// input of the other layers.
    TargetAttention(TargetAttention),
    /// A layer of your own, of a type that implements [`CustomLayer`](super::CustomLayer). Made by
    /// [`Builder::custom`](super::Builder::custom).
    Custom(Custom),
}

/// The dotted name of a layer.
pub(crate) type Name = Vec<Part>;

/// Runs `inside` below a name. Parameters of an absent branch are not present.
pub(super) fn within<R>(path: &mut Path, name: &[Part], present: bool, inside: impl FnOnce(&mut Path) -> R) -> R {
    match name {
        [] => inside(path),
        [part, rest @ ..] => {
            let here = present || !matches!(part, Part::Branch(_));
            path.within_member(*part, here, |path| within(path, rest, present, inside))
        }
    }
}

/// The branch that owns the layer of this name.
pub(super) fn owner(name: &[Part]) -> Option<Branch> {
    name.iter().find_map(|part| if let Part::Branch(branch) = part { Some(*branch) } else { None })
}

impl Layer {
    /// The attention of a sequence, which an embedded row has.
    pub(super) fn attention(&self) -> &TargetAttention {
        if let Self::TargetAttention(layer) = self { layer } else { unreachable!("a row has attention alone") }
    }

    /// Whether it has moving averages.
    pub(super) fn has_averages(&self) -> bool {
        let mut found = false;
        self.visit(&mut Path::starting_at(0), &mut |_, leaf| found |= matches!(leaf, crate::nn::Leaf::Average(..)));
        found
    }
}

/// A type that can be one part of the dotted name of a layer: a `&'static str`, a `usize` (for example the position in a list, from 0), or
/// a [`Branch`]. [`IntoName`] makes a whole name of several parts.
pub trait IntoPart {
    /// Converts `self` to a [`Part`]: a string becomes [`Part::Field`], a number [`Part::Index`], and a branch [`Part::Branch`].
    fn part(self) -> Part;
}

impl IntoPart for &'static str {
    fn part(self) -> Part {
        Part::Field(self)
    }
}

impl IntoPart for usize {
    fn part(self) -> Part {
        Part::Index(self)
    }
}

impl IntoPart for Branch {
    fn part(self) -> Part {
        Part::Branch(self)
    }
}

/// A type that can be the dotted name of a layer: a `&'static str` (a name of one part), a tuple of 2 to 6 parts ([`IntoPart`]), a
/// `Vec<Part>`, or `()`, the empty name.
///
/// For example, `("levels", 0, "own", branch, 1)` is the name `levels.0.own.BRANCH.1`, where BRANCH stands for the name of the branch.
pub trait IntoName {
    /// Converts `self` to the parts of the name, from left to right. The empty name has no parts.
    fn name(self) -> Vec<Part>;
}

impl IntoName for Vec<Part> {
    fn name(self) -> Vec<Part> {
        self
    }
}

impl IntoName for () {
    fn name(self) -> Vec<Part> {
        Vec::new()
    }
}

impl IntoName for &'static str {
    fn name(self) -> Vec<Part> {
        vec![self.part()]
    }
}

macro_rules! names {
    ($($($type:ident)+,)+) => {$(
        impl<$($type: IntoPart),+> IntoName for ($($type,)+) {
            #[allow(non_snake_case)]
            fn name(self) -> Vec<Part> {
                let ($($type,)+) = self;
                vec![$($type.part()),+]
            }
        }
    )+};
}

names! { A B, A B C, A B C D, A B C D E, A B C D E F, }
