//! The builder's methods: one for each kind of step.

use super::{Builder, Built, Sequence, Stack};
use crate::model::Fusion;
use crate::net::custom::{Custom, CustomLayer};
use crate::net::layer::{IntoName, Layer};
use crate::net::program::{Op, Penalty, Value};
use crate::nn::{
    Combination, CrossLayer, DomainMlp, Gate, HiddenSettings, Init, InitRng, Leaf, Mlp, Part, PartitionedNorm,
    PartitionedNormSettings, Path, PostAffine, Size, StarLinear, Stitch,
};

impl Builder<'_> {
    /// Adds a multilayer perceptron ([`Mlp`]) that reads `input`. `hidden` lists the widths of its hidden layers, from the input up. If
    /// `output` is `Some(n)`, a last affine map without activation computes n columns; `hidden` may then be empty. If `output` is `None`, the
    /// result is the output of the last hidden layer, and `hidden` must have at least one width.
    ///
    /// `style` has the activation, normalisation and dropout of hidden layers, and the distribution of their initial weights.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If `output` is `None` and `hidden` is empty.
    pub fn mlp(
        &mut self,
        name: impl IntoName,
        input: Value,
        hidden: &[usize],
        output: Option<usize>,
        style: HiddenSettings,
    ) -> Built<Value> {
        self.mlp_with(name, input, hidden, output, style, None, false)
    }

    /// Adds a multilayer perceptron that reads `input` and whose outputs are all 0 before training: the weights and biases of its last affine
    /// map start at 0. The last affine map computes `output` columns. `hidden` lists the widths of the hidden layers, from the input up; it
    /// may be empty. `style` has the activation, normalisation and dropout of hidden layers, and the distribution of their initial weights.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn mlp_from_zero(
        &mut self,
        name: impl IntoName,
        input: Value,
        hidden: &[usize],
        output: usize,
        style: HiddenSettings,
    ) -> Built<Value> {
        self.mlp_with(name, input, hidden, Some(output), style, None, true)
    }

    /// Adds one hidden layer that reads `input` and has `width` output columns, and a penalty in the training loss that makes blocks of its
    /// weight matrix orthogonal to each other. `style` has the settings of hidden layers.
    ///
    /// The columns of the weight matrix are divided into `blocks` blocks `G_1`, `G_2`, … of equal width. The penalty is
    /// `λ·Σ ‖G_aᵀ·G_b‖²_F`, summed over all pairs of blocks `G_a` and `G_b`, where λ is `lambda` and `‖·‖²_F` is the sum of the squares of
    /// all entries. `lambda` should be at least 0; with 0 there is no penalty.
    ///
    /// If `lambda` is not 0, `blocks` must be at least 1, and `width` must be a multiple of it. [`Model::penalize`](crate::Model::penalize)
    /// computes the penalty; it panics if `blocks` is invalid.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn orthogonal_layer(
        &mut self,
        name: impl IntoName,
        input: Value,
        width: usize,
        style: HiddenSettings,
        blocks: usize,
        lambda: f32,
    ) -> Built<Value> {
        let penalty = (lambda != 0.0).then_some(Penalty { blocks, lambda });
        self.mlp_with(name, input, &[width], None, style, penalty, false)
    }

    #[expect(clippy::too_many_arguments, reason = "the properties of a stack")]
    fn mlp_with(
        &mut self,
        name: impl IntoName,
        input: Value,
        hidden: &[usize],
        output: Option<usize>,
        style: HiddenSettings,
        penalty: Option<Penalty>,
        from_zero: bool,
    ) -> Built<Value> {
        let from = input.width();
        let width = output.or(hidden.last().copied()).unwrap_or(from);
        let (size, kept) = match &self.last {
            Some((last, measured)) if last.is(from, hidden, output, style) => *measured,
            _ => {
                let measured = (Mlp::size(from as f64, hidden, output, style), Mlp::row(hidden, output, style));
                self.last = Some((Stack { from, hidden: hidden.to_vec(), output, style }, measured));
                measured
            }
        };
        self.push([name], Op::Mlp { input, penalty }, width, size, kept, |rng| {
            let mut mlp = Mlp::new(from, hidden, output, style, &mut rng[0]);
            if from_zero {
                mlp.start_from_zero();
            }
            vec![Layer::Mlp(mlp)]
        })
    }

    /// Adds a multilayer perceptron that reads `input` and an embedding of the row's domain, side by side: `mlp([input, e_d])`
    /// ([`DomainMlp`]). The embedding `e_d` of domain d is a learned vector of `domain_dim` values.
    ///
    /// `hidden` lists the widths of the hidden layers, from the input up; it may be empty. A last affine map without activation computes
    /// `output` columns. `style` has the settings of hidden layers.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn domain_mlp(
        &mut self,
        name: impl IntoName,
        input: Value,
        domain_dim: usize,
        hidden: &[usize],
        output: usize,
        style: HiddenSettings,
    ) -> Built<Value> {
        let (from, domains) = (input.width(), self.domains());
        let size = DomainMlp::size(from as f64, domains.len() as f64, domain_dim, hidden, output, style);
        let kept = Mlp::row(hidden, Some(output), style);
        self.push([name], Op::DomainMlp { input }, output, size, kept, |rng| {
            vec![Layer::DomainMlp(DomainMlp::new(from, &domains, domain_dim, hidden, output, style, &mut rng[0]))]
        })
    }

    /// Adds a multilayer perceptron that reads `input` and an embedding of the row's domain, and whose outputs are all 0 before training: the
    /// weights and biases of its last affine map start at 0. `domain_dim`, `hidden`, `output` and `style` are those of
    /// [`Builder::domain_mlp`]: the length of the embedding, the widths of the hidden layers, the number of output columns, and the settings
    /// of hidden layers.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn domain_mlp_from_zero(
        &mut self,
        name: impl IntoName,
        input: Value,
        domain_dim: usize,
        hidden: &[usize],
        output: usize,
        style: HiddenSettings,
    ) -> Built<Value> {
        let value = self.domain_mlp(name, input, domain_dim, hidden, output, style)?;
        if let Some((_, layers)) = &mut self.made
            && let Some(Layer::DomainMlp(net)) = layers.last_mut()
        {
            net.mlp.start_from_zero();
        }
        Ok(value)
    }

    /// Concatenates the values `parts`: the result has the columns of the first value, then those of the second, and so on. The widths of
    /// the values may differ. The embedded row, some columns of a value, and [stopped](Value::stopped) values are allowed.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn concat(&mut self, parts: Vec<Value>) -> Built<Value> {
        let width = parts.iter().map(|part| part.width()).sum();
        self.push([(); 0], Op::Concat { parts }, width, Size::default(), 2.0 * width as f64, |_| Vec::new())
    }

    /// Multiplies two values of equal width element by element, written `a ⊙ b`: for example the embeddings of two fields. The function
    /// [`product`](crate::nn::product) computes it.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If `a` and `b` have different widths.
    pub fn product(&mut self, a: Value, b: Value) -> Built<Value> {
        let width = a.width();
        assert_eq!(width, b.width(), "two values of one width");
        self.push([(); 0], Op::Product { a, b }, width, Size::default(), 4.0 * width as f64, |_| Vec::new())
    }

    /// Adds a cross layer of DCN-v2 ([`CrossLayer`]): `y = first ⊙ (input·W + b) + input`, where ⊙ is the elementwise product, W a learned
    /// matrix and b a learned bias. Both start at 0, so that y is `input` before training.
    ///
    /// `first` is usually the [embedded row](Builder::row). `input` is the result of the cross layer before, or `first` itself in the first
    /// cross layer. Both have the same width n, and so has the result. With `Some(r)` as `rank`, W is a product of two matrices, `[n, r]` and
    /// `[r, n]`; an r above n counts as n. With `None` W is one matrix, `[n, n]`.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If `first` and `input` have different widths, or if one of them is [stopped](Value::stopped).
    pub fn cross(&mut self, name: impl IntoName, first: Value, input: Value, rank: Option<usize>) -> Built<Value> {
        let width = input.width();
        assert_eq!(width, first.width(), "two values of one width");
        let (size, kept) = (CrossLayer::size(width as f64, rank), CrossLayer::row(width as f64, rank));
        self.push([name], Op::Cross { first, input }, width, size, kept, |rng| {
            vec![Layer::Cross(CrossLayer::new(width, rank, &mut rng[0]))]
        })
    }

    /// Adds the sum of the inner products of all pairs of the values `parts`: `Σ_{f<g} ⟨v_f, v_g⟩`, where `v_1, v_2, …` are the values in one
    /// row, and f and g go over all pairs of them. The result has one column. It is the second-order term of a factorization machine, for
    /// which `parts` are the embeddings of fields ([`Builder::field`]). The function [`pairwise`](crate::nn::pairwise) computes it.
    ///
    /// All values have the same width; they may be columns of the embedded row. There are no parameters. With one value, the result is 0.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If `parts` is empty, has values of different widths, or contains a [stopped](Value::stopped) value.
    pub fn pairwise(&mut self, parts: Vec<Value>) -> Built<Value> {
        let kept = 2.0 * width_of(&parts) as f64 + 2.0;
        self.push([(); 0], Op::Pairwise { parts }, 1, Size::default(), kept, |_| Vec::new())
    }

    /// Adds attention of one query over the vectors of a sequence. The result is the weighted sum `Σ_m α_m·v_m` with the weights
    /// `α_m = softmax_m(⟨query, v_m⟩ / √width)`. `v_m` are the embeddings of the values that the row has in the sequence `over`
    /// ([`Builder::sequence`]), m is the position of a value, `softmax_m` is the softmax over all m, and `⟨·,·⟩` is the inner product.
    /// `width` is the number of columns of `query`, of one embedding, and of the result. The function [`attend`](crate::nn::attend) computes
    /// it.
    ///
    /// Places without a value do not count. A row without any value gets a result of zeros. The query can be the embedding of a field that
    /// reads the same table ([`Builder::field`]), or the output of a multilayer perceptron. There are no parameters.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If `query` does not have as many columns as one embedding of `over`.
    pub fn attend(&mut self, query: Value, over: Sequence) -> Built<Value> {
        let (width, Sequence { values, filled, len }) = (query.width(), over);
        assert_eq!(len * width, values.width(), "a query as wide as one of the {len} values");
        let kept = 4.0 * width as f64 + 2.0 * len as f64;
        self.push([(); 0], Op::Attend { query, values, filled }, width, Size::default(), kept, |_| Vec::new())
    }

    /// Multiplies each element of `input` by a number between 0 and `factor`: `factor·σ(gate) ⊙ input`. σ is the sigmoid, and ⊙ is the
    /// elementwise product. If `factor` is 2, an element of `gate` that is 0 leaves its element of `input` unchanged, because σ(0) is ½.
    /// The function [`scale`](crate::nn::scale) computes it.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If `input` and `gate` have different widths.
    pub fn scale(&mut self, input: Value, gate: Value, factor: f32) -> Built<Value> {
        let width = input.width();
        assert_eq!(width, gate.width(), "a gate for each value");
        self.push([(); 0], Op::Scale { input, gate, factor }, width, Size::default(), 4.0 * width as f64, |_| {
            Vec::new()
        })
    }

    /// Adds Partitioned Normalization ([`PartitionedNorm`]): batch normalisation in which each row is normalised by the mean and variance of
    /// the rows of its own domain. The result has as many columns as `input`. `settings` has ε and the other settings of the normalisation.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If a value of `settings` is out of its range; this is checked when a model is made, not when only its size is computed.
    pub fn partitioned_norm(
        &mut self,
        name: impl IntoName,
        input: Value,
        settings: PartitionedNormSettings,
    ) -> Built<Value> {
        let (width, domains) = (input.width(), self.domains());
        let size = PartitionedNorm::size(width as f64, domains.len() as f64);
        self.push([name], Op::Norm { input }, width, size, 2.0 * width as f64, |_| {
            vec![Layer::Norm(PartitionedNorm::new(width, domains, settings))]
        })
    }

    /// Adds a star layer ([`StarLinear`]) that reads `input` and has `width` output columns: an affine map whose weights combine those that
    /// all domains share with those of the row's domain. `combination` says how it combines them.
    ///
    /// If `style` is `None`, the result is that of the affine map. Otherwise normalisation, activation and dropout follow, as in a hidden
    /// layer. These are a layer of their own ([`PostAffine`]). Its name is made from `name`: the part `layers` becomes `hidden`, so
    /// `("layers", 0)` gives `("hidden", 0)`. If `name` has no part `layers`, the part `hidden` is added at the end, so `"late"` gives
    /// `("late", "hidden")`.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn star(
        &mut self,
        name: impl IntoName,
        input: Value,
        width: usize,
        combination: Combination,
        style: Option<HiddenSettings>,
    ) -> Built<Value> {
        let (from, domains) = (input.width(), self.domains());
        let mut size = StarLinear::size(from as f64, width as f64, domains.len() as f64, combination);
        let mut kept = (2.0 + combination.row()) * width as f64;
        let name = name.name();
        let hidden_name = style.map(|_| {
            let hidden = |&part: &Part| if part == Part::Field("layers") { Part::Field("hidden") } else { part };
            let replaced: Vec<Part> = name.iter().map(hidden).collect();
            if replaced == name { [&name[..], &[Part::Field("hidden")]].concat() } else { replaced }
        });
        if let Some(style) = style {
            size = size + PostAffine::size(width as f64, style.norm, style.activation);
            kept = combination.row() * width as f64 + PostAffine::row(width as f64, style);
        }
        self.push([name].into_iter().chain(hidden_name), Op::Star { input }, width, size, kept, |rng| {
            let init = style.map_or(Init::Xavier, |style| style.init);
            let linear = StarLinear::new(from, width, domains, combination, init, &mut rng[0]);
            let hidden = style.map(|HiddenSettings { norm, activation, dropout, .. }| {
                Layer::PostAffine(PostAffine::new(width, norm, activation, dropout, &mut rng[1]))
            });
            [Layer::Star(linear)].into_iter().chain(hidden).collect()
        })
    }

    /// Adds a softmax gate ([`Gate`]): the result is the weighted sum `Σ_i w_i · parts_i` of values of equal width. The weights are
    /// `w = softmax(selector·W)`, where `W` is a learned matrix. Each row has its own weights. `selector` is often the embedded row;
    /// `parts` are often the outputs of experts.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If `parts` is empty, has values of different widths, or contains the embedded row or columns of it.
    pub fn mix(&mut self, name: impl IntoName, selector: Value, parts: Vec<Value>) -> Built<Value> {
        let (from, count, width) = (selector.width(), parts.len(), width_of(&parts));
        let size = Size::tensor(from as f64 * count as f64);
        let kept = 2.0 * width as f64 + 3.0 * count as f64;
        self.push([name], Op::Mix { selector, parts }, width, size, kept, |rng| {
            vec![Layer::Gate(Gate::new(from, count, &mut rng[0]))]
        })
    }

    /// Adds a cross-stitch unit ([`Stitch`]): a learned weighted sum of values of equal width. The weights are learned numbers, the same for
    /// all rows. The columns of each value of `parts` are divided into `blocks` blocks of equal width, and each block of the result is a
    /// weighted sum of all blocks of all parts. `blocks` must be at least 1, and the width of a value must be a multiple of it. With 1 there
    /// is one weight for each part.
    ///
    /// Before training, block b of the result is `own_weight` times block b of `parts[own]`, plus a small part of every other block of every
    /// value. These other blocks have equal weights, which sum to `1 − own_weight`. If there is only one part with one block, its weight is
    /// 1.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If `parts` is empty, has values of different widths, or contains the embedded row or columns of it. Also if `blocks` is 0 or `own` is
    /// not below the number of parts; this is checked when a model is made, not when only its size is computed. The passes of the net panic
    /// if the width of a value is not a multiple of `blocks`.
    pub fn stitch(
        &mut self,
        name: impl IntoName,
        parts: Vec<Value>,
        blocks: usize,
        own: usize,
        own_weight: f32,
    ) -> Built<Value> {
        let (count, width) = (parts.len(), width_of(&parts));
        let size = Size::tensor(count as f64 * (blocks * blocks) as f64);
        self.push([name], Op::Stitch { parts }, width, size, 2.0 * width as f64, |_| {
            vec![Layer::Stitch(Stitch::new(count, blocks, own, own_weight))]
        })
    }

    /// Joins several values of equal width: `fusion` says whether it concatenates, sums or averages them. The result of a concatenation has
    /// `parts.len()` times the columns of one part; sum and mean have the columns of one part. If `parts` has only one value, this value is
    /// returned and no step is added. For values of different widths, use [`Builder::concat`].
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    ///
    /// # Panics
    /// If `parts` is empty. Also if it has several values and their widths differ, or one of them is the embedded row or columns of it.
    pub fn join(&mut self, parts: Vec<Value>, fusion: Fusion) -> Built<Value> {
        if let [only] = parts[..] {
            return Ok(only);
        }
        let width = fusion.width(parts.len(), width_of(&parts));
        self.push([(); 0], Op::Join { parts, fusion }, width, Size::default(), 2.0 * width as f64, |_| Vec::new())
    }

    /// Adds the part of a hidden layer after its affine map ([`PostAffine`]): `y = dropout(φ(norm(z)))`, where `z` is `input`. `style` has
    /// the normalisation, the activation φ and the dropout. The result has as many columns as `input`.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn hidden(&mut self, name: impl IntoName, input: Value, style: HiddenSettings) -> Built<Value> {
        let width = input.width();
        let HiddenSettings { norm, activation, dropout, .. } = style;
        let size = PostAffine::size(width as f64, norm, activation);
        self.push([name], Op::PostAffine { input }, width, size, PostAffine::row(width as f64, style), |rng| {
            vec![Layer::PostAffine(PostAffine::new(width, norm, activation, dropout, &mut rng[0]))]
        })
    }

    /// Adds a layer of your own ([`CustomLayer`]) that reads `input` and computes `width` columns. `make` makes the layer; it can draw
    /// random initial values from the [`InitRng`] that it gets.
    ///
    /// The crate also calls `make` when it only computes the size of the net. So `make` should have no effect except to return the layer.
    ///
    /// `name` is the dotted name of the new layer ([`IntoName`]). The method panics if the net has a layer of this name already.
    ///
    /// # Errors
    /// Returns [`TooLarge`](super::TooLarge) if, with this step, the net has more than about 4 million steps, or its steps have more than
    /// about 33 million inputs ([`Value`]s) in all.
    pub fn custom<L: CustomLayer>(
        &mut self,
        name: impl IntoName,
        input: Value,
        width: usize,
        make: impl FnOnce(&mut InitRng) -> L,
    ) -> Built<Value> {
        let name = name.name();
        let seed = self.made.as_ref().map_or(0, |(seed, _)| *seed);
        let layer = make(&mut InitRng::named(seed, &name, self.layout));
        let mut size = Size::default();
        layer.visit(&mut Path::starting_at(0), &mut |_, leaf| {
            if let Leaf::Tensor(values, ..) | Leaf::Average(values, _) = leaf {
                size = size + Size::tensor(values.len() as f64);
            }
        });
        self.push([name], Op::Custom { input }, width, size, 2.0 * width as f64, |_| {
            vec![Layer::Custom(Custom::new(layer))]
        })
    }
}

/// The common width of several values.
fn width_of(parts: &[Value]) -> usize {
    let width = parts.first().map(|part| part.width()).expect("a step reads at least one value");
    assert!(parts.iter().all(|part| part.width() == width), "all parts have one width");
    width
}
