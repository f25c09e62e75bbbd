//! The builder's methods for attention among the tokens of a row.

use super::{Builder, Built};
use crate::net::layer::{IntoName, Layer};
use crate::net::program::{Op, Value};
use crate::nn::{
    ActivationKind, Alignment, AttentionSettings, HiddenSettings, MultiHeadAttention, Representations, Size, Tokens,
};

impl Builder<'_> {
    /// Adds the map from a row to its tokens ([`Tokens`]), which attention reads. A token is a vector of `width` values for one input of
    /// the row. For a field, it is the embedding. For a numeric input `x_j`, it is `x_j·v_j + b_j` with learned vectors `v_j` and `b_j`.
    /// The result has the tokens of all fields, then those of all numeric inputs, side by side: `(fields + numeric inputs)·width` columns.
    ///
    /// `row` is the [embedded row](Builder::row), in which the embedding of every field must have `width` values. `std` is the standard
    /// deviation of the initial values of `v_j`; `b_j` starts at 0.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn tokens(&mut self, name: impl IntoName, row: Value, width: usize, std: f32) -> Built<Value> {
        let (fields, numbers) = (self.layout.fields.len(), self.layout.numeric.len());
        let size = 2.0 * Size::tensor(numbers as f64 * width as f64);
        let all = (fields + numbers) * width;
        self.push([name], Op::Tokens { input: row }, all, size, 2.0 * all as f64, |rng| {
            vec![Layer::Tokens(Tokens::new(fields, numbers, width, std, &mut rng[0]))]
        })
    }

    /// Adds multi-head self-attention among the tokens of each row ([`MultiHeadAttention`]). `input` has the tokens of a row side by side,
    /// and `tokens` is their number, at least 1. `settings` has the number of heads and their width. The result has the same number of
    /// tokens, each of [`AttentionSettings::width`] values. `style` has the normalisation, activation and dropout that follow the
    /// attention.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If `tokens` is 0, or the width of `input` is not a multiple of `tokens`. Also if [`AttentionSettings::width`] is 0; this is checked
    /// when a model is made, not when only its size is computed.
    pub fn attention(
        &mut self,
        name: impl IntoName,
        input: Value,
        tokens: usize,
        settings: AttentionSettings,
        style: HiddenSettings,
    ) -> Built<Value> {
        let columns = input.width();
        assert!(tokens > 0 && columns.is_multiple_of(tokens), "{tokens} tokens of equal width in {columns} columns");
        let (from, width) = (columns / tokens, settings.width());
        let size = MultiHeadAttention::size(from as f64, width as f64, style);
        let kept = MultiHeadAttention::row(tokens as f64, settings.heads as f64, width as f64, style);
        self.push([name], Op::Attention { input, tokens }, tokens * width, size, kept, |rng| {
            vec![Layer::Attention(MultiHeadAttention::new(from, settings, style, &mut rng[0]))]
        })
    }

    /// Adds one query vector for each branch of [`Builder::branches`]: `[branches, width]`, where `width` is [`AttentionSettings::width`] of
    /// `settings`. The queries do not depend on the rows of a batch. Call this method at most once in a net, because its layers have fixed
    /// names, and pass the result to [`Builder::directions`].
    ///
    /// If `relations` is false, the query of a branch is its learned representation: one vector for each branch ([`Representations`], the
    /// layer `representations`). If it is true, attention among the representations of all branches (the layer `relations`) computes the
    /// queries.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn queries(&mut self, settings: AttentionSettings, relations: bool) -> Built<Value> {
        let (width, branches, common) = (settings.width(), self.branches.clone(), self.built_with);
        let (count, style) =
            (branches.len(), HiddenSettings { activation: ActivationKind::Identity, ..HiddenSettings::default() });
        let mut size = count as f64 * Size::tensor(width as f64);
        let mut names = vec!["representations"];
        if relations {
            size = size + MultiHeadAttention::size(width as f64, width as f64, style);
            names.push("relations");
        }
        self.push_fixed(Some(count), names, Op::Queries, width, size, 0.0, |rng| {
            let relations = rng.get_mut(1).map(|rng| MultiHeadAttention::new(width, settings, style, rng));
            let own = Representations::new(&branches, common, width, &rng[0]);
            [Layer::Representations(own)].into_iter().chain(relations.map(Layer::Attention)).collect()
        })
    }

    /// Adds one direction for each branch, `[branches, width]`, which a learned map ([`Alignment`]) computes from `queries`, the output of
    /// [`Builder::queries`]. The inner product of a token with the direction of a branch is the score of the token for this branch. `width`
    /// is the number of values of one token; `settings` are those that the queries got. Pass the result to [`Builder::align`].
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn directions(
        &mut self,
        name: impl IntoName,
        queries: Value,
        width: usize,
        settings: AttentionSettings,
    ) -> Built<Value> {
        let size = Size::tensor(width as f64 * settings.width() as f64);
        let count = Some(self.branches.len());
        self.push_fixed(count, [name], Op::Directions { queries }, width, size, 0.0, |rng| {
            vec![Layer::Alignment(Alignment::new(width, settings, &mut rng[0]))]
        })
    }

    /// Scales each token of a row by its weight for one branch: `y_m = x_m + α_m·x_m` with `α_m = softmax_m(⟨p, x_m⟩)`. `x_m` is token m of
    /// the row, `y_m` its result, and p the direction of the branch; `softmax_m` is the softmax over all tokens of the row, and `⟨·,·⟩` is
    /// the inner product.
    ///
    /// `tokens` has the tokens side by side, such as the output of [`Builder::tokens`]. `directions` is the output of
    /// [`Builder::directions`]. `branch` is the position of the branch in [`Builder::branches`], from 0. The result has as many columns as
    /// `tokens`.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn align(&mut self, tokens: Value, directions: Value, branch: usize) -> Built<Value> {
        let width = tokens.width();
        let kept = 2.0 * width as f64 + (width / directions.width().max(1)) as f64;
        let op = Op::Align { tokens, directions, branch };
        self.push([(); 0], op, width, Size::default(), kept, |_| Vec::new())
    }
}
