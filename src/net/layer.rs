//! The parameters of steps.

use super::Custom;
use crate::nn::{
    Alignment, Branch, DomainMlp, Gate, Mlp, MultiHeadAttention, Params, Part, PartitionedNorm, Path, PostAffine,
    Representations, StarLinear, Stitch, Tokens,
};

/// A type of layer, for [`Net::get`](super::Net::get).
pub trait LayerType: Sized {
    /// The layer, if it is of this type.
    fn of(layer: &Layer) -> Option<&Self>;

    /// The layer, to change it, if it is of this type.
    fn of_mut(layer: &mut Layer) -> Option<&mut Self>;
}

macro_rules! layers {
    ($($(#[$doc:meta])+ $variant:ident($type:ty),)+) => {
        /// A layer of a net.
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
    /// A multilayer perceptron.
    Mlp(Mlp),
    /// A multilayer perceptron that also reads an embedding of the row's domain.
    DomainMlp(DomainMlp),
    /// Partitioned Normalization.
    Norm(PartitionedNorm),
    /// A star layer.
    Star(StarLinear),
    /// Normalisation, activation and dropout after an affine map.
    PostAffine(PostAffine),
    /// A softmax gate.
    Gate(Gate),
    /// A learned linear combination.
    Stitch(Stitch),
    /// The tokens of a row.
    Tokens(Tokens),
    /// Attention among tokens.
    Attention(MultiHeadAttention),
    /// The learned representations of branches.
    Representations(Representations),
    /// The map from queries to directions.
    Alignment(Alignment),
    /// A layer of your own.
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

/// A type that can be a part of a layer's dotted name: a field's name, a position in a list, or a branch.
pub trait IntoPart {
    /// This part of the name, as paths of parameters have it.
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

/// A dotted name, written as a tuple: `("levels", 0, "own", branch, 1)`.
pub trait IntoName {
    /// Its parts.
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
