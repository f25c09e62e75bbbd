//! Each layer by itself.

use std::collections::BTreeMap;

use ndarray::{Array2, Axis, concatenate, s};
use starple::data::{DomainId, Layout};
use starple::nn::{
    Activation, ActivationCache, ActivationKind, AlignCache, Alignment, AttentionMask, AttentionSettings, BatchNorm,
    BatchNormCache, Combination, CrossCache, CrossLayer, Decay, DomainLinear, Dropout, DropoutCache, EventWeights,
    Gate, GateCache, HiddenSettings, Init, InitRng, InputGrad, LayerNorm, LayerNormCache, LeafMut, Linear, Mlp,
    MlpCache, Mode, MultiHeadAttention, MultiHeadAttentionCache, NormKind, PairwiseCache, Params, PartitionedNorm,
    PartitionedNormCache, PartitionedNormSettings, Path, PostAffine, PostAffineCache, ScaleCache, Segment, StarLinear,
    StarLinearCache, Stitch, TargetAttention, TargetAttentionCache, TargetAttentionSettings, Tokens, Train, align,
    align_backward, mix, mix_backward, pairwise, pairwise_backward, scale, scale_backward,
};

use crate::check::{derivatives, random, rng, same, wide};
use crate::reference::{self, Attention, Style, Values};

fn layout() -> Layout {
    Layout { domains: ["a", "b", "c", "d"].map(String::from).to_vec(), ..Layout::default() }
}

/// Moves every parameter off its start, so that no factor is 1 and no bias 0.
fn stir(layer: &mut impl Params) {
    let mut rng = rng(5);
    layer.visit_mut(&mut Path::starting_at(0), &mut |path, leaf| match leaf {
        LeafMut::Tensor(values, ..) => {
            let noise = random(1, values.len(), &mut rng);
            values.iter_mut().zip(&noise).for_each(|(v, n)| *v += 0.3 * n);
        }
        LeafMut::Average(values, _) => {
            let noise = random(1, values.len(), &mut rng);
            let variance = path.name(&layout()).ends_with("var");
            values.iter_mut().zip(&noise).for_each(|(v, n)| *v = if variance { 1.0 + 0.5 * n } else { 0.4 * n });
        }
        LeafMut::Count(count) => *count = 3,
    });
}

/// Compares outputs and all gradients of a layer that maps x to y.
fn check<L: Params>(
    what: &str,
    layer: &L,
    x: &Array2<f32>,
    width: usize,
    forward: impl FnOnce(&mut Array2<f32>),
    backward: impl FnOnce(&Array2<f32>, &mut L, &mut Array2<f32>),
    reference: impl Fn(&Values, &Array2<f64>) -> Array2<f64>,
) {
    let mut y = Array2::from_elem((x.nrows(), width), f32::NAN);
    forward(&mut y);
    let mut values = Values::of(layer, &layout());
    same(what, &y, &reference(&values, &wide(x)));

    let dy = random(x.nrows(), width, &mut rng(7));
    let mut grad = layer.zeros_like();
    let mut dx = Array2::from_elem(x.dim(), f32::NAN);
    backward(&dy, &mut grad, &mut dx);
    let trained: Vec<String> = trained(layer);
    let mut gradients: BTreeMap<_, _> =
        Values::of(&grad, &layout()).0.into_iter().filter(|(name, _)| trained.contains(name)).collect();
    gradients.insert("x".into(), wide(&dx).into_dyn());
    values.0.insert("x".into(), wide(x).into_dyn());
    let dy = wide(&dy);
    derivatives(what, &values, &gradients, |values| (reference(values, &values.matrix("x")) * &dy).sum());
}

fn trained(layer: &impl Params) -> Vec<String> {
    let mut names = Vec::new();
    layer.visit(&mut Path::starting_at(0), &mut |path, leaf| {
        if let starple::nn::Leaf::Tensor(..) = leaf {
            names.push(path.name(&layout()));
        }
    });
    names
}

/// Domains a (3 rows), c (1 row), d (4 rows); b is absent.
fn segments() -> (Vec<Segment>, Vec<Option<String>>) {
    let segment = |domain, start, end| Segment { domain: DomainId::new(domain), start, end };
    let names = "aaacdddd".chars().map(|d| Some(d.to_string())).collect();
    (vec![segment(0, 0, 3), segment(2, 3, 4), segment(3, 4, 8)], names)
}

fn four() -> impl Iterator<Item = DomainId> {
    (0..4).map(DomainId::new)
}

#[test]
fn linear() {
    let mut layer = Linear::new(5, 3, Init::He, &mut InitRng::new(1));
    stir(&mut layer);
    let x = random(6, 5, &mut rng(2));
    check(
        "linear",
        &layer,
        &x,
        3,
        |y| layer.forward(&x, y),
        |dy, grad, dx| layer.backward(&x, dy, grad, Some(dx)),
        |p, x| x.dot(&p.matrix("weight")) + p.vector("bias"),
    );
}

#[test]
fn linear_in_blocks_is_linear() {
    // More rows than a block takes, both ways.
    let layer = Linear::new(150, 3, Init::He, &mut InitRng::new(1));
    let x = random(1500, 150, &mut rng(2));
    check(
        "linear in blocks",
        &layer,
        &x,
        3,
        |y| layer.forward(&x, y),
        |dy, grad, dx| layer.backward(&x, dy, grad, Some(dx)),
        |p, x| x.dot(&p.matrix("weight")) + p.vector("bias"),
    );
}

const COMBINATIONS: [Combination; 7] = [
    Combination::Product,
    Combination::Add,
    Combination::AdaptiveAdd,
    Combination::SigmoidGate,
    Combination::Concatenation,
    Combination::LowRank { rank: 2 },
    // More than the layer is wide.
    Combination::LowRank { rank: 9 },
];

#[test]
fn star_linear() {
    let x = random(8, 5, &mut rng(2));
    let (segments, names) = segments();
    for combination in COMBINATIONS {
        let mut layer = StarLinear::new(5, 3, four(), combination, Init::He, &mut InitRng::new(1));
        stir(&mut layer);
        let cache = std::cell::RefCell::new(StarLinearCache::default());
        check(
            &format!("star linear, {combination:?}"),
            &layer,
            &x,
            3,
            |y| layer.forward(&x, &segments, &mut cache.borrow_mut(), y),
            |dy, grad, dx| layer.backward(&x, &segments, dy, &mut cache.borrow_mut(), grad, Some(dx)),
            |p, x| reference::star_linear(&rename(p), "layer", combination, x, &names),
        );
        // Nobody needs dx, and one segment has no domain in inference.
        let (mut cache, mut y) = (StarLinearCache::default(), Array2::from_elem((8, 3), f32::NAN));
        let (mut with, mut without) = (layer.zeros_like(), layer.zeros_like());
        layer.forward(&x, &segments, &mut cache, &mut y);
        let dy = random(8, 3, &mut rng(7));
        layer.backward(&x, &segments, &dy, &mut cache, &mut with, Some(&mut x.clone()));
        layer.backward(&x, &segments, &dy, &mut cache, &mut without, None);
        assert_eq!(with, without, "{combination:?}");
        let (mut segments, mut names) = (segments.clone(), names.clone());
        segments[1].domain = DomainId::SHARED;
        names[3] = None;
        layer.forward(&x, &segments, &mut cache, &mut y);
        let p = rename(&Values::of(&layer, &layout()));
        same("no domain", &y, &reference::star_linear(&p, "layer", combination, &wide(&x), &names));
    }
}

#[test]
fn a_domain_owns_as_much_as_the_table_of_combinations_says() {
    let (input, output, rank) = (5, 3, 2);
    for (combination, own) in [
        (Combination::Product, input * output + output),
        (Combination::Add, input * output + output),
        (Combination::AdaptiveAdd, input * output + 2 * output),
        (Combination::SigmoidGate, 2 * input * output + 2 * output),
        (Combination::Concatenation, input * output + output + 2 * output * output),
        (Combination::LowRank { rank }, (input + output) * rank + output),
    ] {
        let layer = StarLinear::new(input, output, four(), combination, Init::He, &mut InitRng::new(1));
        assert_eq!(layer.count(), input * output + output + 4 * own, "{combination:?}");
    }
}

#[test]
fn a_low_rank_factor_is_no_wider_than_its_layer() {
    let of = |rank, output| {
        let combination = Combination::LowRank { rank };
        let layer = StarLinear::new(5, output, four(), combination, Init::He, &mut InitRng::new(1));
        let DomainLinear::LowRank(own) = layer.domain[0].clone() else { panic!("low rank") };
        (own.u.dim(), own.v.dim())
    };
    assert_eq!(of(2, 3), ((5, 2), (3, 2)));
    assert_eq!(of(9, 3), ((5, 3), (3, 3)));
    assert_eq!(of(4, 1), ((5, 1), (1, 1)));
    assert_eq!(of(9, 12), ((5, 5), (12, 5)));
}

/// The reference finds parameters below a name.
fn rename(p: &Values) -> Values {
    Values(p.0.iter().map(|(name, value)| (format!("layer.{name}"), value.clone())).collect())
}

#[test]
fn partitioned_norm() {
    let x = random(8, 5, &mut rng(2));
    let (segments, names) = segments();
    for (min_rows, floor) in [(2, 0.0), (4, 0.0), (2, 0.3), (4, 0.3)] {
        let settings = PartitionedNormSettings { min_rows, floor, ..PartitionedNormSettings::default() };
        let mut layer = PartitionedNorm::new(5, four(), settings);
        stir(&mut layer);
        let cache = std::cell::RefCell::new(PartitionedNormCache::default());
        check(
            "partitioned norm",
            &layer,
            &x,
            5,
            |y| layer.forward(&x, &segments, Mode::Train(Train::default()), &mut cache.borrow_mut(), y),
            |dy, grad, dx| layer.backward(&x, &segments, dy, &mut cache.borrow_mut(), grad, dx),
            |p, x| reference::partitioned_norm(&rename(p), "layer", x, &names, true, (min_rows, f64::from(floor))),
        );
        let mut y = Array2::zeros((8, 5));
        layer.forward(&x, &segments, Mode::Infer, &mut cache.borrow_mut(), &mut y);
        let p = rename(&Values::of(&layer, &layout()));
        let expected = reference::partitioned_norm(&p, "layer", &wide(&x), &names, false, (min_rows, f64::from(floor)));
        same("partitioned norm, inference", &y, &expected);
    }
}

#[test]
fn batch_norm() {
    let mut layer = BatchNorm::new(5);
    stir(&mut layer);
    let x = random(8, 5, &mut rng(2));
    let cache = std::cell::RefCell::new(BatchNormCache::default());
    check(
        "batch norm",
        &layer,
        &x,
        5,
        |y| layer.forward(&x, Mode::Train(Train::default()), &mut cache.borrow_mut(), y),
        |dy, grad, dx| layer.backward(&x, dy, &mut cache.borrow_mut(), grad, dx),
        |p, x| reference::batch_norm(&rename(p), "layer", x, true),
    );
}

#[test]
fn layer_norm() {
    let mut layer = LayerNorm::new(5);
    stir(&mut layer);
    let x = random(8, 5, &mut rng(2));
    let cache = std::cell::RefCell::new(LayerNormCache::default());
    check(
        "layer norm",
        &layer,
        &x,
        5,
        |y| layer.forward(&x, &mut cache.borrow_mut(), y),
        |dy, grad, dx| layer.backward(&x, dy, &cache.borrow(), grad, dx),
        |p, x| reference::layer_norm(&rename(p), "layer", x),
    );
}

#[test]
fn activations() {
    for &kind in ActivationKind::ALL {
        let mut layer = Activation::new(kind, 5);
        stir(&mut layer);
        let x = random(8, 5, &mut rng(2)) * 2.0;
        let cache = std::cell::RefCell::new(ActivationCache::default());
        check(
            &format!("{kind:?}"),
            &layer,
            &x,
            5,
            |y| layer.forward(&x, Mode::Train(Train::default()), &mut cache.borrow_mut(), y),
            |dy, grad, dx| layer.backward(&x, dy, &mut cache.borrow_mut(), grad, dx),
            |p, x| reference::activation(&rename(p), "layer", kind, x, true),
        );
        let mut y = Array2::zeros((8, 5));
        layer.forward(&x, Mode::Infer, &mut cache.borrow_mut(), &mut y);
        let p = rename(&Values::of(&layer, &layout()));
        same("inference", &y, &reference::activation(&p, "layer", kind, &wide(&x), false));
    }
}

#[test]
fn hidden_layers_of_every_style() {
    let x = random(8, 5, &mut rng(2)) * 2.0;
    for norm in [NormKind::None, NormKind::Batch, NormKind::Layer] {
        for &activation in ActivationKind::ALL {
            let mut layer = PostAffine::new(5, norm, activation, 0.0, &mut InitRng::new(3));
            stir(&mut layer);
            let cache = std::cell::RefCell::new(PostAffineCache::default());
            let style = Style { activation, norm, training: true };
            check(
                &format!("{norm:?}, {activation:?}"),
                &layer,
                &x,
                5,
                |y| layer.forward(&x, Mode::Train(Train::default()), &mut cache.borrow_mut(), y),
                |dy, grad, dx| layer.backward(&x, &mut dy.clone(), &mut cache.borrow_mut(), grad, dx),
                |p, x| reference::hidden(&rename(p), "layer", style, x),
            );
        }
    }
}

#[test]
fn stacks_with_and_without_output() {
    let x = random(8, 5, &mut rng(2));
    for (widths, output) in
        [(&[4][..], None), (&[4, 6][..], None), (&[][..], Some(2)), (&[4][..], Some(2)), (&[4, 6, 3][..], Some(2))]
    {
        let mut layer = Mlp::new(5, widths, output, HiddenSettings::default(), &mut InitRng::new(3));
        stir(&mut layer);
        let cache = std::cell::RefCell::new(MlpCache::default());
        let style = Style { activation: ActivationKind::Relu, norm: NormKind::None, training: true };
        check(
            &format!("{widths:?} {output:?}"),
            &layer,
            &x,
            layer.output(),
            |y| layer.forward(&x, Mode::Train(Train::default()), &mut cache.borrow_mut(), y),
            |dy, grad, dx| layer.backward(&x, dy, &mut cache.borrow_mut(), grad, Some(dx)),
            |p, x| reference::mlp(&rename(p), "layer", style, widths.len(), x),
        );
    }
}

/// The first lines of x are queries, the others keys; y has the pooled events in the lines of the queries.
#[test]
fn target_attention() {
    // Rows without events, with one, and with as many events as several blocks of lines have; more rows than a block has.
    let few = vec![3, 0, 1, 6, 0];
    let many: Vec<usize> = (0..70).map(|row| row * 7 % 5).collect();
    let widths: [&[usize]; 3] = [&[7], &[16, 5], &[33, 4]];
    let mut cases = Vec::new();
    for (i, &activation) in ActivationKind::ALL.iter().enumerate() {
        for weights in [EventWeights::Raw, EventWeights::Softmax] {
            cases.push((activation, weights, &few, 3 + i % 2 * 14, widths[i % 3]));
        }
    }
    cases.push((ActivationKind::Relu, EventWeights::Raw, &many, 5, widths[1]));
    cases.push((ActivationKind::Prelu, EventWeights::Softmax, &many, 16, widths[0]));
    for (activation, weights, lengths, dim, hidden) in cases {
        let settings = TargetAttentionSettings::builder().hidden(hidden).weights(weights).activation(activation);
        let mut layer = TargetAttention::new(dim, &settings.build().unwrap(), &mut InitRng::new(3));
        stir(&mut layer);
        let (rows, events) = (lengths.len(), lengths.iter().sum::<usize>());
        // Rows that stand behind others: offsets need not start at 0.
        let ends = lengths.iter().scan(9, |end, &len| {
            *end += len as u32;
            Some(*end)
        });
        let offsets: Vec<u32> = [9].into_iter().chain(ends).collect();
        let x = random(rows + events, dim, &mut rng(2));
        let (q, k) = (x.slice(s![..rows, ..]).to_owned(), x.slice(s![rows.., ..]).to_owned());
        let cache = std::cell::RefCell::new(TargetAttentionCache::default());
        let style = Style { activation, norm: NormKind::None, training: true };
        check(
            &format!("{activation:?}, {weights:?}, {rows} rows, {dim} values, {hidden:?}"),
            &layer,
            &x,
            dim,
            |y| {
                y.fill(0.0);
                let mode = Mode::Train(Train::default());
                let mut p = Array2::from_elem((rows, dim), f32::NAN);
                layer.forward(&q, &k, &offsets, mode, &mut cache.borrow_mut(), &mut p);
                y.slice_mut(s![..rows, ..]).assign(&p);
            },
            |dy, grad, dx| {
                let dp = dy.slice(s![..rows, ..]).to_owned();
                let (mut dq, mut dk) = (Array2::from_elem(q.dim(), f32::NAN), Array2::from_elem(k.dim(), f32::NAN));
                layer.backward(&q, &k, &offsets, &dp, &mut cache.borrow_mut(), grad, &mut dq, &mut dk);
                dx.assign(&concatenate![Axis(0), dq, dk]);
            },
            |p, x| {
                let (q, k) = (x.slice(s![..rows, ..]).to_owned(), x.slice(s![rows.., ..]).to_owned());
                let softmax = weights == EventWeights::Softmax;
                let pooled = reference::target_attention(p, style, softmax, &q, &k, lengths);
                concatenate![Axis(0), pooled, Array2::zeros(k.dim())]
            },
        );
    }
}

#[test]
fn target_attention_may_start_as_the_sum_or_the_mean() {
    let (q, k, offsets) = (random(2, 3, &mut rng(1)), random(5, 3, &mut rng(2)), [0, 4, 5]);
    for (weights, mean) in [(EventWeights::Raw, false), (EventWeights::Softmax, true)] {
        let settings = TargetAttentionSettings::builder().weights(weights).build().unwrap();
        let mut layer = TargetAttention::new(3, &settings, &mut InitRng::new(3));
        layer.mlp.layers[2].weight.fill(0.0);
        let mut p = Array2::zeros((2, 3));
        layer.forward(&q, &k, &offsets, Mode::Infer, &mut TargetAttentionCache::default(), &mut p);
        let of = |events: std::ops::Range<usize>| {
            let sum = k.slice(s![events.clone(), ..]).sum_axis(Axis(0));
            if mean { sum / events.len() as f32 } else { sum }
        };
        for (row, events) in [0..4, 4..5].into_iter().enumerate() {
            assert!((&p.row(row) - &of(events)).iter().all(|d| d.abs() < 1e-6), "{weights:?}");
        }
    }
}

#[test]
fn gate_and_mixture() {
    let mut layer = Gate::new(5, 3, &mut InitRng::new(3));
    stir(&mut layer);
    let x = random(8, 5, &mut rng(2));
    let experts: Vec<_> = (0..3).map(|i| random(8, 4, &mut rng(20 + i))).collect();
    let cache = std::cell::RefCell::new(GateCache::default());
    let wide_experts: Vec<_> = experts.iter().map(wide).collect();
    check(
        "gate",
        &layer,
        &x,
        4,
        |y| {
            layer.forward(&x, &mut cache.borrow_mut());
            mix(&cache.borrow(), experts.iter().map(|expert| expert.view()), y);
        },
        |dy, grad, dx| {
            let cache = &mut cache.borrow_mut();
            for (i, expert) in experts.iter().enumerate() {
                let mut ds = Array2::from_elem((8, 4), f32::NAN);
                mix_backward(cache, i, expert, dy, InputGrad::overwrite(&mut ds));
                // y = Σ w_i s_i, so that ds_i = w_i·dy.
                let expected = wide(dy) * wide(&cache.weights().column(i).to_owned().insert_axis(Axis(1)));
                same("ds", &ds, &expected);
            }
            layer.backward(&x, cache, grad, dx);
        },
        |p, x| reference::mix(&reference::gate(&rename(p), "layer", x), &wide_experts),
    );
}

/// A scale has no parameters of its own: a stack before it makes the gate, so that dz is compared too.
#[test]
fn scale_by_a_gate() {
    for factor in [2.0, 0.7] {
        let mut layer = Mlp::new(5, &[6], Some(4), HiddenSettings::default(), &mut InitRng::new(3));
        stir(&mut layer);
        // What the gate reads, and after it what it scales.
        let x = random(8, 9, &mut rng(2)) * 2.0;
        let (read, scaled) = (x.slice(s![.., ..5]).to_owned(), x.slice(s![.., 5..]).to_owned());
        let (stack, cache) = (std::cell::RefCell::new(MlpCache::default()), std::cell::RefCell::default());
        let style = Style { activation: ActivationKind::Relu, norm: NormKind::None, training: true };
        check(
            &format!("scale by {factor}"),
            &layer,
            &x,
            4,
            |y| {
                let mut z = Array2::zeros((8, 4));
                layer.forward(&read, Mode::Train(Train::default()), &mut stack.borrow_mut(), &mut z);
                scale(factor, &scaled, &z, &mut cache.borrow_mut(), y);
            },
            |dy, grad, dx| {
                let cache: &mut ScaleCache = &mut cache.borrow_mut();
                scale_backward(factor, &scaled, dy, cache, InputGrad::overwrite(&mut dx.slice_mut(s![.., 5..])));
                // Added to what is there, it is the difference.
                let mut sum = Array2::from_elem((8, 4), 1.5);
                scale_backward(factor, &scaled, dy, cache, InputGrad::add(&mut sum));
                same("added", &(sum - 1.5), &wide(&dx.slice(s![.., 5..]).to_owned()));
                let mut dread = Array2::zeros((8, 5));
                layer.backward(&read, &cache.dz, &mut stack.borrow_mut(), grad, Some(&mut dread));
                dx.slice_mut(s![.., ..5]).assign(&dread);
            },
            |p, x| {
                let z = reference::mlp(&rename(p), "layer", style, 1, &x.slice(s![.., ..5]).to_owned());
                z.mapv(|z| f64::from(factor) / (1.0 + (-z).exp())) * x.slice(s![.., 5..])
            },
        );
    }
}

#[test]
fn cross_layers() {
    for rank in [None, Some(3), Some(9)] {
        let mut layer = CrossLayer::new(5, rank, &mut InitRng::new(3));
        stir(&mut layer);
        // The row that all layers multiply, and what this one reads.
        let x = random(8, 10, &mut rng(2)) * 2.0;
        let (x0, xl) = (x.slice(s![.., ..5]).to_owned(), x.slice(s![.., 5..]).to_owned());
        let cache = std::cell::RefCell::new(CrossCache::default());
        check(
            &format!("cross layer of rank {rank:?}"),
            &layer,
            &x,
            5,
            |y| layer.forward(&x0, &xl, &mut cache.borrow_mut(), y),
            |dy, grad, dx| {
                let (cache, mut unread) = (&mut cache.borrow_mut(), layer.zeros_like());
                // Added to what is there, it is the difference.
                for width in [0, 5] {
                    let mut sum = Array2::from_elem((8, 5), 1.5);
                    let mut dx = dx.slice_mut(s![.., width..width + 5]);
                    if width == 0 {
                        layer.backward_first(&x0, dy, cache, InputGrad::overwrite(&mut dx));
                        layer.backward_first(&x0, dy, cache, InputGrad::add(&mut sum));
                    } else {
                        layer.backward(&xl, dy, cache, grad, InputGrad::overwrite(&mut dx));
                        layer.backward(&xl, dy, cache, &mut unread, InputGrad::add(&mut sum));
                    }
                    same("added", &(sum - 1.5), &wide(&dx.to_owned()));
                }
            },
            |p, x| reference::cross_layer(&rename(p), "layer", &x.slice(s![.., ..5]), &x.slice(s![.., 5..])),
        );
    }
}

/// A sum of pairs has no parameters of its own: a stack before it makes one of the vectors.
#[test]
fn pairwise_products() {
    for parts in [2, 4] {
        let mut layer = Mlp::new(3, &[], Some(3), HiddenSettings::default(), &mut InitRng::new(3));
        stir(&mut layer);
        let x = random(7, 3 * parts, &mut rng(2)) * 2.0;
        let of = |f: usize| x.slice(s![.., 3 * f..3 * f + 3]).to_owned();
        let mut stacked = Array2::zeros((7, 3));
        layer.forward(&of(0), Mode::Infer, &mut MlpCache::default(), &mut stacked);
        let all: Vec<Array2<f32>> = std::iter::once(stacked).chain((1..parts).map(of)).collect();
        let (stack, cache) = (std::cell::RefCell::new(MlpCache::default()), std::cell::RefCell::default());
        check(
            &format!("pairs of {parts}"),
            &layer,
            &x,
            1,
            |y| {
                let mut first = Array2::zeros((7, 3));
                layer.forward(&of(0), Mode::Train(Train::default()), &mut stack.borrow_mut(), &mut first);
                pairwise(all.iter().map(|part| part.view()), &mut cache.borrow_mut(), y);
            },
            |dy, grad, dx| {
                let cache: &PairwiseCache = &cache.borrow();
                for (f, part) in all.iter().enumerate() {
                    let mut dx = dx.slice_mut(s![.., 3 * f..3 * f + 3]);
                    pairwise_backward(part, dy, cache, InputGrad::overwrite(&mut dx));
                    let mut sum = Array2::from_elem((7, 3), 1.5);
                    pairwise_backward(part, dy, cache, InputGrad::add(&mut sum));
                    same("added", &(sum - 1.5), &wide(&dx.to_owned()));
                }
                let dfirst = dx.slice(s![.., ..3]).to_owned();
                let mut dread = Array2::zeros((7, 3));
                layer.backward(&of(0), &dfirst, &mut stack.borrow_mut(), grad, Some(&mut dread));
                dx.slice_mut(s![.., ..3]).assign(&dread);
            },
            |p, x| {
                let style = Style { activation: ActivationKind::Relu, norm: NormKind::None, training: true };
                let first = reference::mlp(&rename(p), "layer", style, 0, &x.slice(s![.., ..3]).to_owned());
                let of = |f: usize| if f == 0 { first.clone() } else { x.slice(s![.., 3 * f..3 * f + 3]).to_owned() };
                let mut sum = Array2::zeros((7, 1));
                for f in 0..parts {
                    for g in 0..f {
                        sum += &(of(f) * of(g)).sum_axis(Axis(1)).insert_axis(Axis(1));
                    }
                }
                sum
            },
        );
    }
}

const ATTENTION: AttentionSettings = AttentionSettings { heads: 2, head_width: 3, scaled: true };

fn shape(settings: AttentionSettings) -> Attention {
    let AttentionSettings { heads, head_width, scaled } = settings;
    Attention { heads, head_width, scaled }
}

/// An attention over lists of four tokens of five values.
fn attention(settings: AttentionSettings, style: HiddenSettings) -> MultiHeadAttention {
    let mut layer = MultiHeadAttention::new(5, settings, style, &mut InitRng::new(3));
    stir(&mut layer);
    layer
}

#[test]
fn multi_head_attention() {
    let wide_heads = AttentionSettings { heads: 3, head_width: 9, scaled: false };
    for (settings, mask, lists, activation, norm) in [
        (ATTENTION, AttentionMask::all(4), 3, ActivationKind::Relu, NormKind::None),
        (wide_heads, AttentionMask::all(4), 2, ActivationKind::Identity, NormKind::Batch),
        (ATTENTION, AttentionMask { tokens: 4, common: 2 }, 3, ActivationKind::Tanh, NormKind::Layer),
        (wide_heads, AttentionMask { tokens: 4, common: 1 }, 1, ActivationKind::Prelu, NormKind::None),
        (ATTENTION, AttentionMask::all(1), 3, ActivationKind::Gelu, NormKind::None),
    ] {
        let layer = attention(settings, HiddenSettings { activation, norm, ..HiddenSettings::default() });
        let x = random(lists * mask.tokens, 5, &mut rng(2)) * 2.0;
        let cache = std::cell::RefCell::new(MultiHeadAttentionCache::default());
        let style = Style { activation, norm, training: true };
        check(
            &format!("{settings:?} {mask:?} {activation:?} {norm:?}"),
            &layer,
            &x,
            layer.width(),
            |y| layer.forward(&x, mask, Mode::Train(Train::default()), &mut cache.borrow_mut(), y),
            |dy, grad, dx| layer.backward(&x, mask, &mut dy.clone(), &mut cache.borrow_mut(), grad, dx),
            |p, x| reference::multi_head(&rename(p), "layer", style, shape(settings), (mask.tokens, mask.common), x),
        );
    }
}

#[test]
fn attention_in_a_pool_is_attention_bit_for_bit() {
    // More lists than a block takes.
    let (layer, mask) = (attention(ATTENTION, HiddenSettings::default()), AttentionMask::all(4));
    let (x, dy) = (random(4 * 150, 5, &mut rng(2)), random(4 * 150, 6, &mut rng(3)));
    let run = || {
        let (mut cache, mut grad) = (MultiHeadAttentionCache::default(), layer.zeros_like());
        let (mut y, mut dx) = (Array2::zeros(dy.dim()), Array2::zeros(x.dim()));
        layer.forward(&x, mask, Mode::Train(Train::default()), &mut cache, &mut y);
        layer.backward(&x, mask, &mut dy.clone(), &mut cache, &mut grad, &mut dx);
        (y, dx, grad.projection)
    };
    assert_eq!(starple::train::in_pool(2, run).unwrap(), run());
}

#[test]
fn attention_survives_scores_of_any_size() {
    let (layer, mask) = (attention(ATTENTION, HiddenSettings::default()), AttentionMask::all(4));
    let mut aligned = Alignment::new(5, ATTENTION, &mut InitRng::new(4));
    stir(&mut aligned);
    let x = random(12, 5, &mut rng(2)) * 1e10;
    let mut cache = MultiHeadAttentionCache::default();
    let (mut y, mut dx) = (Array2::zeros((12, 6)), Array2::zeros((12, 5)));
    layer.forward(&x, mask, Mode::Train(Train::default()), &mut cache, &mut y);
    layer.backward(&x, mask, &mut Array2::ones((12, 6)), &mut cache, &mut layer.zeros_like(), &mut dx);
    assert!(y.iter().chain(&dx).all(|v| v.is_finite()));
    // One token has every share: it is doubled, the others stay.
    let (mut p, mut y) = (Array2::zeros((1, 5)), Array2::zeros((3, 20)));
    aligned.forward(&random(1, 6, &mut rng(5)), &mut p);
    let side_by_side = x.to_shape((3, 20)).unwrap();
    align(p.as_slice().unwrap(), &side_by_side, &mut AlignCache::default(), &mut y);
    let y = y.to_shape((12, 5)).unwrap();
    for (list, y) in x.axis_chunks_iter(Axis(0), 4).zip(y.axis_chunks_iter(Axis(0), 4)) {
        let times: Vec<f32> = list.rows().into_iter().zip(y.rows()).map(|(x, y)| y[0] / x[0]).collect();
        assert_eq!(times.iter().filter(|&&t| t == 2.0).count(), 1, "{times:?}");
        assert_eq!(times.iter().filter(|&&t| t == 1.0).count(), 3, "{times:?}");
    }
}

/// A query that is a parameter, so that its gradient is compared like any other.
#[derive(Clone)]
struct Queried {
    alignment: Alignment,
    query: Array2<f32>,
}

starple::params!(Queried { alignment, query: Decay::None });

#[test]
fn alignment() {
    for (scaled, tokens, lists) in [(true, 4, 3), (false, 3, 2), (true, 1, 2)] {
        let alignment = Alignment::new(5, AttentionSettings { scaled, ..ATTENTION }, &mut InitRng::new(3));
        let mut layer = Queried { alignment, query: random(1, 6, &mut rng(4)) * 2.0 };
        stir(&mut layer);
        let x = random(lists * tokens, 5, &mut rng(2)) * 2.0;
        let cache = std::cell::RefCell::new(AlignCache::default());
        let rows = |x: &Array2<f32>| x.to_shape((lists, tokens * 5)).unwrap().to_owned();
        check(
            &format!("alignment of {tokens}, scaled {scaled}"),
            &layer,
            &x,
            5,
            |y| {
                let (mut p, mut aligned) = (Array2::zeros((1, 5)), Array2::zeros((lists, tokens * 5)));
                layer.alignment.forward(&layer.query, &mut p);
                align(p.as_slice().unwrap(), &rows(&x), &mut cache.borrow_mut(), &mut aligned);
                y.assign(&aligned.to_shape((lists * tokens, 5)).unwrap());
            },
            |dy, grad, dx| {
                let (mut p, mut dp) = (Array2::zeros((1, 5)), Array2::from_elem((1, 5), f32::NAN));
                layer.alignment.forward(&layer.query, &mut p);
                let mut dx_rows = Array2::from_elem((lists, tokens * 5), f32::NAN);
                let (p, dp_slice, cache) = (p.as_slice().unwrap(), dp.as_slice_mut().unwrap(), &mut cache.borrow_mut());
                // Added to what is there, it is the difference.
                let mut sum = Array2::from_elem(dx_rows.dim(), 1.5);
                align_backward(p, &rows(&x), &rows(dy), cache, dp_slice, InputGrad::add(&mut sum));
                align_backward(p, &rows(&x), &rows(dy), cache, dp_slice, InputGrad::overwrite(&mut dx_rows));
                same("added", &(sum - 1.5), &wide(&dx_rows));
                layer.alignment.backward(&layer.query, &mut dp, &mut grad.alignment, &mut grad.query);
                dx.assign(&dx_rows.to_shape((lists * tokens, 5)).unwrap());
            },
            |p, x| {
                let query = p.matrix("query").row(0).to_owned();
                reference::alignment(&rename(p), "layer.alignment", scaled, tokens, &query, x)
            },
        );
    }
}

#[test]
fn tokens_of_fields_and_numbers() {
    for (fields, numbers) in [(2, 3), (2, 0), (0, 2)] {
        let mut layer = Tokens::new(fields, numbers, 4, 0.5, &mut InitRng::new(3));
        stir(&mut layer);
        let x = random(5, fields * 4 + numbers, &mut rng(2));
        // One line for each token on one side, one for each row on the other.
        let rows = |t: &Array2<f64>| t.to_shape((5, t.len() / 5)).unwrap().to_owned();
        check(
            &format!("{fields} fields, {numbers} numbers"),
            &layer,
            &x,
            layer.count() * 4,
            |y| layer.forward(&x, &mut y.view_mut().into_shape_with_order((5 * layer.count(), 4)).unwrap()),
            |dy, grad, dx| layer.backward(&x, &dy.to_shape((5 * layer.count(), 4)).unwrap(), grad, dx),
            |p, x| rows(&reference::tokens(&rename(p), "layer", fields, 4, x)),
        );
    }
}

#[test]
fn stitch() {
    for (inputs, blocks) in [(3, 1), (2, 2), (3, 2), (1, 6)] {
        let mut layer = Stitch::new(inputs, blocks, inputs - 1, 0.9);
        stir(&mut layer);
        // The inputs side by side, 6 columns each.
        let x = random(8, inputs * 6, &mut rng(2));
        let part = |j: usize| x.slice(s![.., j * 6..(j + 1) * 6]);
        check(
            &format!("{inputs} inputs of {blocks} blocks"),
            &layer,
            &x,
            6,
            |y| layer.forward((0..inputs).map(part), y),
            |dy, grad, dx| {
                for j in 0..inputs {
                    let mut dx = dx.slice_mut(s![.., j * 6..(j + 1) * 6]);
                    layer.backward(j, &part(j), dy, grad, InputGrad::overwrite(&mut dx));
                    // Added to what is there, it is the difference.
                    let mut sum = Array2::from_elem((8, 6), 1.5);
                    layer.backward(j, &part(j), dy, &mut layer.zeros_like(), InputGrad::add(&mut sum));
                    same("added", &(sum - 1.5), &wide(&dx.to_owned()));
                }
            },
            |p, x| {
                let (alpha, width) = (p.matrix("alpha"), 6 / blocks);
                Array2::from_shape_fn((8, 6), |(row, column)| {
                    let read = |block: usize| alpha[[column / width, block]] * x[[row, block * width + column % width]];
                    (0..inputs * blocks).map(read).sum()
                })
            },
        );
    }
}

#[test]
fn dropout_silences_its_share_and_backward_uses_the_same_mask() {
    let (rows, columns) = (200, 50);
    let layer = Dropout::new(0.3, &mut InitRng::new(3));
    let mode = Train { seed: 4, step: 9, first_row: 0 };
    let mut cache = DropoutCache::default();
    let mut y = Array2::<f32>::ones((rows, columns));
    layer.forward(Mode::Train(mode), &mut cache, &mut y);
    let silenced = y.iter().filter(|&&y| y == 0.0).count() as f64 / y.len() as f64;
    assert!((silenced - 0.3).abs() < 0.02, "{silenced}");
    assert!(y.iter().all(|&y| y == 0.0 || (y - 1.0 / 0.7).abs() < 1e-4));

    let mut dy = Array2::<f32>::ones((rows, columns));
    layer.backward(&cache, &mut dy);
    assert_eq!(dy, y, "d(mask·y)/dy is the mask");

    let mut again = Array2::<f32>::ones((rows, columns));
    layer.forward(Mode::Train(mode), &mut DropoutCache::default(), &mut again);
    assert_eq!(again, y, "a mask is a function of seed and step");
    layer.forward(Mode::Train(Train { step: 10, ..mode }), &mut cache, &mut again);
    assert_ne!(again, y, "another step has another mask");
    let mut same = Array2::<f32>::ones((rows, columns));
    layer.forward(Mode::Infer, &mut cache, &mut same);
    assert_eq!(same, Array2::<f32>::ones((rows, columns)));
}
