//! The builder's methods: one for each kind of step.

use super::{Builder, Built, Sequence, Stack};
use crate::model::Fusion;
use crate::net::custom::{Custom, CustomLayer};
use crate::net::layer::{IntoName, Layer};
use crate::net::program::{Op, Penalty, Value};
use crate::nn::{
    Combination, DomainMlp, Gate, HiddenSettings, Init, InitRng, Leaf, Mlp, Part, PartitionedNorm,
    PartitionedNormSettings, Path, PostAffine, Size, StarLinear, Stitch,
};

impl Builder<'_> {
    /// A multilayer perceptron: hidden layers of the widths `hidden` and, with `output`, a last affine map to `output` values. Without
    /// `output` the result is that of the last hidden layer. `style` has the activation, normalisation and dropout of hidden layers. See
    /// [`Mlp`].
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
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

    /// A multilayer perceptron as [`Builder::mlp`] makes it, but the weights and biases of its last affine map start at 0. So all its
    /// outputs are 0 before training.
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
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

    /// One hidden layer of `width` columns, with a penalty that pushes blocks of its weight to be orthogonal.
    ///
    /// The columns of the weight are cut into `blocks` blocks `G_1, G_2, …` of equal width. The penalty is `λ·Σ ‖G_aᵀ·G_b‖²_F`, summed over
    /// all pairs of blocks; λ is `lambda`, at least 0. With 0 there is no penalty. [`Model::penalize`](crate::Model::penalize) computes it
    /// in training.
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
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

    /// A multilayer perceptron that reads `input` and an embedding of the row's domain, side by side: `mlp([input, e_d])`. The embedding
    /// `e_d` has `domain_dim` values. `hidden` are the widths of hidden layers, `output` is the width of the result. See [`DomainMlp`].
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
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

    /// A multilayer perceptron as [`Builder::domain_mlp`] makes it, but the weights and biases of its last affine map start at 0. So all
    /// its outputs are 0 before training.
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
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

    /// Concatenates values, whose widths may differ. They may be the embedded row, columns of it, and [stopped](Value::stopped) values.
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
    pub fn concat(&mut self, parts: Vec<Value>) -> Built<Value> {
        let width = parts.iter().map(|part| part.width()).sum();
        self.push([(); 0], Op::Concat { parts }, width, Size::default(), 2.0 * width as f64, |_| Vec::new())
    }

    /// The elementwise product `a ⊙ b` of two values of equal width, for example of the embeddings of two fields. See
    /// [`product`](crate::nn::product).
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
    ///
    /// # Panics
    /// If `a` and `b` have different widths.
    pub fn product(&mut self, a: Value, b: Value) -> Built<Value> {
        let width = a.width();
        assert_eq!(width, b.width(), "two values of one width");
        self.push([(); 0], Op::Product { a, b }, width, Size::default(), 4.0 * width as f64, |_| Vec::new())
    }

    /// Attention of one query over a sequence: the weighted sum `Σ_m α_m·v_m` with `α = softmax_m(⟨query, v_m⟩ / √width)`.
    ///
    /// `v_m` are the embeddings of the values that the row has ([`Builder::sequence`]); missing values do not count. `query` is as wide as
    /// one of them: the embedding of a field that reads the same table, or the output of a multilayer perceptron. See
    /// [`attend`](crate::nn::attend).
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
    ///
    /// # Panics
    /// If the width of `query` is not that of one embedding in `over`.
    pub fn attend(&mut self, query: Value, over: Sequence) -> Built<Value> {
        let (width, Sequence { values, filled, len }) = (query.width(), over);
        assert_eq!(len * width, values.width(), "a query as wide as one of the {len} values");
        let kept = 4.0 * width as f64 + 2.0 * len as f64;
        self.push([(); 0], Op::Attend { query, values, filled }, width, Size::default(), kept, |_| Vec::new())
    }

    /// `factor·σ(gate) ⊙ input`: multiplies each value of `input` by a number between 0 and `factor`. σ is the sigmoid, ⊙ the elementwise
    /// product. See [`scale`](crate::nn::scale).
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
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

    /// Partitioned Normalization: batch normalisation with statistics of the row's domain. The width does not change. See
    /// [`PartitionedNorm`].
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
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

    /// A star layer with `width` outputs: an affine map that combines shared weights and weights of the row's domain by `combination`. See
    /// [`StarLinear`].
    ///
    /// With `style` it is a hidden layer: normalisation, activation and dropout follow. They are a layer of their own ([`PostAffine`]),
    /// whose name is `name` with `hidden` in place of the part `layers`: `("hidden", 0)` for `("layers", 0)`. If `name` has no part
    /// `layers`, the part `hidden` is appended: `("late", "hidden")` for `"late"`.
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
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

    /// A softmax gate: the weighted sum `Σ_i w_i · parts_i` of values of equal width, with `w = softmax(selector·W)` and a learned `W`.
    /// `selector` is often the embedded row. See [`Gate`].
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
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

    /// A cross-stitch unit: a learned linear combination of values of equal width. Each of `parts` is cut into `blocks` blocks of columns
    /// (1 for whole values), and each block of the result is a weighted sum of all blocks of all parts.
    ///
    /// A block of the result starts with the weight `own_weight` for the same block of the part at position `own`; all other blocks share
    /// `1 − own_weight` equally. See [`Stitch`].
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
    ///
    /// # Panics
    /// If `parts` is empty, has values of different widths, or contains the embedded row or columns of it.
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

    /// Joins several values of equal width: concatenates, sums or averages them. The width of a concatenation is `parts.len()` times the
    /// width of a part; sum and mean keep the width. A single value is returned unchanged.
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
    ///
    /// # Panics
    /// If `parts` has more than one value and their widths differ, or one is the embedded row or columns of it. Also if `parts` is empty.
    pub fn join(&mut self, parts: Vec<Value>, fusion: Fusion) -> Built<Value> {
        if let [only] = parts[..] {
            return Ok(only);
        }
        let width = fusion.width(parts.len(), width_of(&parts));
        self.push([(); 0], Op::Join { parts, fusion }, width, Size::default(), 2.0 * width as f64, |_| Vec::new())
    }

    /// The part of a hidden layer after its affine map: normalisation, activation φ and dropout, `y = dropout(φ(norm(z)))` with `z` =
    /// `input`. See [`PostAffine`].
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
    pub fn hidden(&mut self, name: impl IntoName, input: Value, style: HiddenSettings) -> Built<Value> {
        let width = input.width();
        let HiddenSettings { norm, activation, dropout, .. } = style;
        let size = PostAffine::size(width as f64, norm, activation);
        self.push([name], Op::PostAffine { input }, width, size, PostAffine::row(width as f64, style), |rng| {
            vec![Layer::PostAffine(PostAffine::new(width, norm, activation, dropout, &mut rng[0]))]
        })
    }

    /// A [layer of your own](CustomLayer) with `width` outputs for a row. `make` makes the layer; it may draw initial values from the
    /// random numbers that it gets.
    ///
    /// `make` also runs when only the size of the net is computed, so it should do nothing else.
    ///
    /// # Errors
    /// [`TooLarge`](super::TooLarge) if the net has too many steps.
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
