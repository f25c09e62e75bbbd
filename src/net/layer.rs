//! The parameters of steps.

use super::Custom;
use crate::nn::{
    Alignment, Branch, DomainMlp, Gate, Mlp, MultiHeadAttention, Params, Part, PartitionedNorm, Path, PostAffine,
    Representations, StarLinear, Stitch, Tokens,
};

/// A type of layer that [`Net::get`](super::Net::get) can return: the layers in [`Layer`], and every [`CustomLayer`](super::CustomLayer).
/// You do not implement it yourself.
pub trait LayerType: Sized {
    /// The layer inside `layer`, if it is of this type; otherwise `None`.
    fn of(layer: &Layer) -> Option<&Self>;

    /// The layer inside `layer`, mutably, if it is of this type; otherwise `None`.
    fn of_mut(layer: &mut Layer) -> Option<&mut Self>;
}

macro_rules! layers {
    ($($(#[$doc:meta])+ $variant:ident($type:ty),)+) => {
        /// A layer of a [`Net`](super::Net), of any type. [`Net::get`](super::Net::get) and [`Net::all`](super::Net::all) return layers by
        /// their own type.
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
    /// A multilayer perceptron: one or more affine maps, of which the hidden ones have an activation.
    Mlp(Mlp),
    /// A multilayer perceptron that also reads an embedding of the row's domain.
    DomainMlp(DomainMlp),
    /// Partitioned Normalization: batch normalisation with statistics of the row's domain.
    Norm(PartitionedNorm),
    /// A star layer: an affine map that combines shared weights and weights of the row's domain.
    Star(StarLinear),
    /// Normalisation, activation and dropout: the part of a hidden layer after its affine map.
    PostAffine(PostAffine),
    /// A softmax gate: the weights of a mixture of experts.
    Gate(Gate),
    /// A cross-stitch unit: a learned linear combination of several values.
    Stitch(Stitch),
    /// The tokens of a row: one vector for each field and numeric input, for attention.
    Tokens(Tokens),
    /// Multi-head attention among the tokens of a row.
    Attention(MultiHeadAttention),
    /// The learned representations of branches: one vector for each branch, from which [`Mran`](crate::model::Mran) computes its queries.
    Representations(Representations),
    /// The map from the query of a branch to its direction, a vector whose inner product with a token is the score of the token.
    Alignment(Alignment),
    /// A layer of your own: see [`CustomLayer`](super::CustomLayer).
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
    /// Whether it has moving averages.
    pub(super) fn has_averages(&self) -> bool {
        let mut found = false;
        self.visit(&mut Path::starting_at(0), &mut |_, leaf| found |= matches!(leaf, crate::nn::Leaf::Average(..)));
        found
    }
}

/// A type that can be one part of the dotted name of a layer: a string, a number (the position in a list), or a [`Branch`]. [`IntoName`]
/// makes a whole name of several parts.
pub trait IntoPart {
    /// Converts `self` to this part of the name.
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
    /// The parts of the name, in order.
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
