//! The builder's methods: one for each kind of step.

use super::{Builder, Built, Sequence, Stack};
use crate::model::Fusion;
use crate::net::custom::{Custom, CustomLayer};
use crate::net::layer::{IntoName, Layer};
use crate::net::program::{Op, Penalty, Value};
use crate::nn::{
    ActivationKind, Alignment, AttentionSettings, Combination, DomainMlp, Gate, HiddenSettings, Init, InitRng, Leaf,
    Mlp, MultiHeadAttention, Part, PartitionedNorm, PartitionedNormSettings, Path, PostAffine, Representations, Size,
    StarLinear, Stitch, Tokens,
};

impl Builder<'_> {
    /// `mlp(input)`: hidden layers of these widths, and with `output` a last affine map to that many values. See [`Mlp`].
    ///
    /// # Errors
    /// As [`Builder::row`].
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

    /// [`Builder::mlp`] whose last affine map starts at 0: its first outputs are 0.
    ///
    /// # Errors
    /// As [`Builder::row`].
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

    /// One hidden layer of this width. The penalty `λ·Σ ‖G_aᵀ·G_b‖²_F` over pairs of its `blocks` blocks of columns pulls the blocks towards
    /// orthogonal subspaces; λ = 0 is no penalty.
    ///
    /// # Errors
    /// As [`Builder::row`].
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

    /// `mlp([input, e_d])` with an embedding `e_d` of the row's domain, of `domain_dim` values. See [`DomainMlp`].
    ///
    /// # Errors
    /// As [`Builder::row`].
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

    /// [`Builder::domain_mlp`] whose last affine map starts at 0: its first outputs are 0.
    ///
    /// # Errors
    /// As [`Builder::row`].
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

    /// Concatenates values of any width. They may be the row, columns of it, and [stopped](Value::stopped) values.
    ///
    /// # Errors
    /// As [`Builder::row`].
    pub fn concat(&mut self, parts: Vec<Value>) -> Built<Value> {
        let width = parts.iter().map(|part| part.width()).sum();
        self.push([(); 0], Op::Concat { parts }, width, Size::default(), 2.0 * width as f64, |_| Vec::new())
    }

    /// `a ⊙ b`, of the embeddings of two fields, for example. See [`product`](crate::nn::product).
    ///
    /// # Errors
    /// As [`Builder::row`].
    ///
    /// # Panics
    /// If the two have different widths.
    pub fn product(&mut self, a: Value, b: Value) -> Built<Value> {
        let width = a.width();
        assert_eq!(width, b.width(), "two values of one width");
        self.push([(); 0], Op::Product { a, b }, width, Size::default(), 4.0 * width as f64, |_| Vec::new())
    }

    /// `Σ_m α_m·v_m` with `α = softmax_m(⟨query, v_m⟩ / √width)` over the values that a row has of a field that keeps them. The query is as
    /// wide as one of them: the embedding of a field of the same table, or what a stack makes of several. See [`attend`](crate::nn::attend).
    ///
    /// # Errors
    /// As [`Builder::row`].
    ///
    /// # Panics
    /// If the query has another width.
    pub fn attend(&mut self, query: Value, over: Sequence) -> Built<Value> {
        let (width, Sequence { values, filled, len }) = (query.width(), over);
        assert_eq!(len * width, values.width(), "a query as wide as one of the {len} values");
        let kept = 4.0 * width as f64 + 2.0 * len as f64;
        self.push([(); 0], Op::Attend { query, values, filled }, width, Size::default(), kept, |_| Vec::new())
    }

    /// `factor·σ(gate) ⊙ input`. See [`scale`](crate::nn::scale).
    ///
    /// # Errors
    /// As [`Builder::row`].
    ///
    /// # Panics
    /// If the two have different widths.
    pub fn scale(&mut self, input: Value, gate: Value, factor: f32) -> Built<Value> {
        let width = input.width();
        assert_eq!(width, gate.width(), "a gate for each value");
        self.push([(); 0], Op::Scale { input, gate, factor }, width, Size::default(), 4.0 * width as f64, |_| {
            Vec::new()
        })
    }

    /// Partitioned Normalization. See [`PartitionedNorm`].
    ///
    /// # Errors
    /// As [`Builder::row`].
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

    /// A star layer. With `style` it is a hidden layer: normalisation, activation and dropout follow, and their dotted name has `hidden` where
    /// the layer's has `layers`. See [`StarLinear`].
    ///
    /// # Errors
    /// As [`Builder::row`].
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
            name.iter().map(hidden).collect()
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

    /// `Σ_i w_i · parts_i` with `w = softmax(selector·W)`. See [`Gate`].
    ///
    /// # Errors
    /// As [`Builder::row`].
    ///
    /// # Panics
    /// If there are no parts, or their widths differ.
    pub fn mix(&mut self, name: impl IntoName, selector: Value, parts: Vec<Value>) -> Built<Value> {
        let (from, count, width) = (selector.width(), parts.len(), width_of(&parts));
        let size = Size::tensor(from as f64 * count as f64);
        let kept = 2.0 * width as f64 + 3.0 * count as f64;
        self.push([name], Op::Mix { selector, parts }, width, size, kept, |rng| {
            vec![Layer::Gate(Gate::new(from, count, &mut rng[0]))]
        })
    }

    /// A linear combination of `parts`, block by block of columns, that starts with `own_weight` for part `own`. See [`Stitch`].
    ///
    /// # Errors
    /// As [`Builder::row`].
    ///
    /// # Panics
    /// If there are no parts, or their widths differ.
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

    /// Joins several values of one width by concatenation, sum or mean. A single value stays as it is.
    ///
    /// # Errors
    /// As [`Builder::row`].
    ///
    /// # Panics
    /// If there are none, or their widths differ.
    pub fn join(&mut self, parts: Vec<Value>, fusion: Fusion) -> Built<Value> {
        if let [only] = parts[..] {
            return Ok(only);
        }
        let width = fusion.width(parts.len(), width_of(&parts));
        self.push([(); 0], Op::Join { parts, fusion }, width, Size::default(), 2.0 * width as f64, |_| Vec::new())
    }

    /// `y = dropout(φ(norm(z)))`, the part of a hidden layer after its affine map. See [`PostAffine`].
    ///
    /// # Errors
    /// As [`Builder::row`].
    pub fn hidden(&mut self, name: impl IntoName, input: Value, style: HiddenSettings) -> Built<Value> {
        let width = input.width();
        let HiddenSettings { norm, activation, dropout, .. } = style;
        let size = PostAffine::size(width as f64, norm, activation);
        self.push([name], Op::PostAffine { input }, width, size, PostAffine::row(width as f64, style), |rng| {
            vec![Layer::PostAffine(PostAffine::new(width, norm, activation, dropout, &mut rng[0]))]
        })
    }

    /// One token for each field and number of the row, concatenated, for embeddings of `width` values. See [`Tokens`].
    ///
    /// # Errors
    /// As [`Builder::row`].
    pub fn tokens(&mut self, name: impl IntoName, row: Value, width: usize, std: f32) -> Built<Value> {
        let (fields, numbers) = (self.layout.fields.len(), self.layout.numeric.len());
        let size = 2.0 * Size::tensor(numbers as f64 * width as f64);
        let all = (fields + numbers) * width;
        self.push([name], Op::Tokens { input: row }, all, size, 2.0 * all as f64, |rng| {
            vec![Layer::Tokens(Tokens::new(fields, numbers, width, std, &mut rng[0]))]
        })
    }

    /// Attention among the `tokens` concatenated tokens of a row. See [`MultiHeadAttention`].
    ///
    /// # Errors
    /// As [`Builder::row`].
    pub fn attention(
        &mut self,
        name: impl IntoName,
        input: Value,
        tokens: usize,
        settings: AttentionSettings,
        style: HiddenSettings,
    ) -> Built<Value> {
        let (from, width) = (input.width() / tokens, settings.width());
        let size = MultiHeadAttention::size(from as f64, width as f64, style);
        let kept = MultiHeadAttention::row(tokens as f64, settings.heads as f64, width as f64, style);
        self.push([name], Op::Attention { input, tokens }, tokens * width, size, kept, |rng| {
            vec![Layer::Attention(MultiHeadAttention::new(from, settings, style, &mut rng[0]))]
        })
    }

    /// One query for each branch, `[branches, width]`, equal for all rows: learned representations (named `representations`), and with
    /// `relations` attention among them (named `relations`). See [`Representations`].
    ///
    /// # Errors
    /// As [`Builder::row`].
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

    /// A layer of your own with `width` outputs for a row. `make` makes it, and may draw its starting values from the given random numbers.
    ///
    /// `make` also runs when only the size of the net is computed.
    ///
    /// # Errors
    /// As [`Builder::row`].
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

    /// One direction for each query, `[branches, width]`: a token's score is its inner product with the direction. See [`Alignment`].
    ///
    /// # Errors
    /// As [`Builder::row`].
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

    /// `y_m = x_m + α_m·x_m` with `α = softmax_m(⟨p, x_m⟩)`, for the concatenated tokens `x` of a row and the direction `p` of a branch.
    ///
    /// # Errors
    /// As [`Builder::row`].
    pub fn align(&mut self, tokens: Value, directions: Value, branch: usize) -> Built<Value> {
        let width = tokens.width();
        let kept = 2.0 * width as f64 + (width / directions.width().max(1)) as f64;
        let op = Op::Align { tokens, directions, branch };
        self.push([(); 0], op, width, Size::default(), kept, |_| Vec::new())
    }
}

/// The common width of several values.
fn width_of(parts: &[Value]) -> usize {
    let width = parts.first().map(|part| part.width()).expect("a step reads at least one value");
    assert!(parts.iter().all(|part| part.width() == width), "all parts have one width");
    width
}
