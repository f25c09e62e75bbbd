//! A domain's own parameters of a star layer.

use ndarray::ArrayRef2;

use super::layer::{SegmentBack, StarSegment};
use super::weights::Weights;
use super::{AdaptiveSummand, Combination, Concatenated, Factor, LowRankFactor, SigmoidGate, Summand};
use crate::nn::{InitRng, Linear};

/// The parameters of one domain in a star layer, [`StarLinear`](super::StarLinear). All domains of a layer have the same variant, which the
/// [`Combination`] of the layer decides.
#[derive(Debug, Clone, PartialEq)]
pub enum DomainLinear {
    /// The parameters of a domain if the layer combines by [`Combination::Product`]: see [`Factor`].
    Product(Factor),
    /// The parameters of a domain if the layer combines by [`Combination::Add`]: see [`Summand`].
    Add(Summand),
    /// The parameters of a domain if the layer combines by [`Combination::AdaptiveAdd`]: see [`AdaptiveSummand`].
    AdaptiveAdd(AdaptiveSummand),
    /// The parameters of a domain if the layer combines by [`Combination::SigmoidGate`]: see [`SigmoidGate`].
    SigmoidGate(SigmoidGate),
    /// The parameters of a domain if the layer combines by [`Combination::Concatenation`]: see [`Concatenated`].
    Concatenation(Concatenated),
    /// The parameters of a domain if the layer combines by [`Combination::LowRank`]: see [`LowRankFactor`].
    LowRank(LowRankFactor),
}

crate::params!(
    enum DomainLinear {
        Product,
        Add,
        AdaptiveAdd,
        SigmoidGate,
        Concatenation,
        LowRank,
    }
);

impl DomainLinear {
    /// Parameters with which the layer is the shared one.
    pub(super) fn neutral(combination: Combination, input: usize, output: usize, rng: &mut InitRng) -> Self {
        match combination {
            Combination::Product => Self::Product(Factor::neutral(input, output)),
            Combination::Add => Self::Add(Summand::neutral(input, output)),
            Combination::AdaptiveAdd => Self::AdaptiveAdd(AdaptiveSummand::neutral(input, output)),
            Combination::SigmoidGate => Self::SigmoidGate(SigmoidGate::neutral(input, output)),
            Combination::Concatenation => Self::Concatenation(Concatenated::neutral(input, output)),
            Combination::LowRank { rank } => Self::LowRank(LowRankFactor::neutral(input, output, rank, rng)),
        }
    }

    /// See [`StarLinear::combined`](super::StarLinear::combined).
    pub(crate) fn combined(&self, shared: &Linear) -> Linear {
        match self {
            Self::Product(own) => own.combined(shared),
            Self::Add(own) => own.combined(shared),
            Self::AdaptiveAdd(own) => own.combined(shared),
            Self::SigmoidGate(own) => own.combined(shared),
            Self::Concatenation(own) => own.combined(shared),
            Self::LowRank(own) => own.combined(shared),
        }
    }

    /// The forward pass of the rows of one segment, followed by a ReLU if `rectify`.
    pub(super) fn forward(
        &self,
        shared: &Linear,
        x: &ArrayRef2<f32>,
        cache: &mut StarSegment,
        y: &mut ArrayRef2<f32>,
        rectify: bool,
    ) {
        match self {
            Self::Product(own) => own.forward(shared, x, cache, y, rectify),
            Self::Add(own) => own.forward(shared, x, cache, y, rectify),
            Self::AdaptiveAdd(own) => own.forward(shared, x, cache, y, rectify),
            Self::SigmoidGate(own) => own.forward(shared, x, cache, y, rectify),
            Self::Concatenation(own) => own.forward(shared, x, cache, y, rectify),
            Self::LowRank(own) => own.forward(shared, x, cache, y, rectify),
        }
    }

    /// The backward pass of the rows of one segment.
    pub(super) fn backward(&self, back: SegmentBack<'_, '_>, grad: &mut Self) {
        match (self, grad) {
            (Self::Product(own), Self::Product(grad)) => own.backward(back, grad),
            (Self::Add(own), Self::Add(grad)) => own.backward(back, grad),
            (Self::AdaptiveAdd(own), Self::AdaptiveAdd(grad)) => own.backward(back, grad),
            (Self::SigmoidGate(own), Self::SigmoidGate(grad)) => own.backward(back, grad),
            (Self::Concatenation(own), Self::Concatenation(grad)) => own.backward(back, grad),
            (Self::LowRank(own), Self::LowRank(grad)) => own.backward(back, grad),
            _ => unreachable!("a gradient has the type of its parameters"),
        }
    }
}
