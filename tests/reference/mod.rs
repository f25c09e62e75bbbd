//! The layers and models once more, naively, in f64, from the papers' equations: the truth that the crate is held to.
//!
//! Parameters are looked up by their dotted names. Only forward passes are here; gradients are taken from them by
//! differences, so nothing of the crate's backward passes is used to check them.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, ArrayD, ArrayView2, Axis, IxDyn, concatenate, s};
use starple::data::Layout;
use starple::nn::{ActivationKind, Combination, Leaf, NormKind, Params, Path};

/// Parameters by dotted name.
#[derive(Clone, Default)]
pub(crate) struct Values(pub(crate) BTreeMap<String, ArrayD<f64>>);

impl Values {
    /// Those of a layer, averages and counts included.
    pub(crate) fn of(layer: &impl Params, layout: &Layout) -> Self {
        let mut values = Self::default();
        layer.visit(&mut Path::starting_at(0), &mut |path, leaf| values.take(&path.name(layout), leaf));
        values
    }

    pub(crate) fn take(&mut self, name: &str, leaf: Leaf<'_>) {
        let array = match leaf {
            Leaf::Tensor(values, shape, _) | Leaf::Average(values, shape) => {
                ArrayD::from_shape_vec(IxDyn(shape), values.iter().map(|&v| f64::from(v)).collect()).unwrap()
            }
            Leaf::Count(count) => ArrayD::from_elem(IxDyn(&[1]), *count as f64),
        };
        assert!(self.0.insert(name.to_owned(), array).is_none(), "{name} is listed twice");
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.keys().any(|key| key == name || key.starts_with(&format!("{name}.")))
    }

    /// How many entries the list of this name has.
    pub(crate) fn count(&self, name: &str) -> usize {
        (0..99).take_while(|i| self.has(&format!("{name}.{i}"))).count()
    }

    pub(crate) fn matrix(&self, name: &str) -> Array2<f64> {
        self.get(name).into_dimensionality().unwrap()
    }

    pub(crate) fn vector(&self, name: &str) -> Array1<f64> {
        self.get(name).into_dimensionality().unwrap()
    }

    fn get(&self, name: &str) -> ArrayD<f64> {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", self.0.keys().collect::<Vec<_>>())).clone()
    }
}

/// How hidden layers are made.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    pub(crate) activation: ActivationKind,
    pub(crate) norm: NormKind,
    pub(crate) training: bool,
}

pub(crate) fn linear(p: &Values, at: &str, x: &Array2<f64>) -> Array2<f64> {
    x.dot(&p.matrix(&format!("{at}.weight"))) + p.vector(&format!("{at}.bias"))
}

/// A cross layer: `x₀ ⊙ (x·W + b) + x`, with `W = U·V` if it has a low rank.
pub(crate) fn cross_layer(p: &Values, at: &str, x0: &ArrayView2<f64>, x: &ArrayView2<f64>) -> Array2<f64> {
    let weight = if p.has(&format!("{at}.u")) {
        p.matrix(&format!("{at}.u")).dot(&p.matrix(&format!("{at}.v")))
    } else {
        p.matrix(&format!("{at}.weight"))
    };
    (x.dot(&weight) + p.vector(&format!("{at}.bias"))) * x0 + x
}

/// A star layer row by row, by the equations of `Combination`; `None` is a row of no known domain.
pub(crate) fn star_linear(
    p: &Values,
    at: &str,
    combination: Combination,
    x: &Array2<f64>,
    domains: &[Option<String>],
) -> Array2<f64> {
    let (w, b) = (p.matrix(&format!("{at}.shared.weight")), p.vector(&format!("{at}.shared.bias")));
    let mut y = linear(p, &format!("{at}.shared"), x);
    for (i, domain) in domains.iter().enumerate() {
        let Some(d) = domain else { continue };
        let (x, y_s) = (x.row(i), y.row(i).to_owned());
        let matrix = |name: &str| p.matrix(&format!("{at}.domain.{d}.{name}"));
        let vector = |name: &str| p.vector(&format!("{at}.domain.{d}.{name}"));
        let affine = |layer: &str| x.dot(&matrix(&format!("{layer}.weight"))) + vector(&format!("{layer}.bias"));
        let own = match combination {
            Combination::Product => x.dot(&(&w * &matrix("weight"))) + &b + vector("bias"),
            Combination::Add => x.dot(&(&w + &matrix("weight"))) + &b + vector("bias"),
            Combination::AdaptiveAdd => &y_s + vector("alpha") * (x.dot(&matrix("weight")) + vector("bias")),
            Combination::SigmoidGate => {
                let (y_d, g) = (&y_s + affine("own"), affine("gate").mapv(sigmoid));
                (1.0 - &g) * &y_s + g * y_d
            }
            Combination::Concatenation => {
                let one = Array2::<f64>::eye(b.len());
                let map = concatenate![Axis(0), one, one] + matrix("map");
                concatenate![Axis(0), y_s, affine("own")].dot(&map)
            }
            Combination::LowRank { .. } => {
                let factor = 1.0 + matrix("u").dot(&matrix("v").t());
                x.dot(&(&w * factor)) + &b + vector("bias")
            }
        };
        y.row_mut(i).assign(&own);
    }
    y
}

fn moments(x: &Array2<f64>) -> (Array1<f64>, Array1<f64>) {
    (x.mean_axis(Axis(0)).unwrap(), x.var_axis(Axis(0), 0.0))
}

fn moving(p: &Values, at: &str) -> (Array1<f64>, Array1<f64>) {
    (p.vector(&format!("{at}.moving.mean")), p.vector(&format!("{at}.moving.var")))
}

/// The variance of the mixture of all domains, each weighing by its steps.
fn pooled_variance(p: &Values, at: &str) -> Array1<f64> {
    let start = format!("{at}.domain.");
    let domains =
        p.0.keys().filter_map(|key| key.strip_suffix(".moving.steps")).filter(|name| name.starts_with(&start));
    let (mut total, mut mean, mut square) = (0.0, Array1::zeros(0), Array1::zeros(0));
    for domain in domains {
        let steps = p.vector(&format!("{domain}.moving.steps"))[0];
        let (of_mean, of_var) = moving(p, domain);
        if total == 0.0 {
            (mean, square) = (Array1::zeros(of_mean.len()), Array1::zeros(of_mean.len()));
        }
        total += steps;
        square = square + (of_var + of_mean.mapv(|m| m * m)) * steps;
        mean = mean + of_mean * steps;
    }
    // Var = E[z²] − E[z]²
    square / total - (mean / total).mapv(|m: f64| m * m)
}

/// Partitioned Normalization: in training each domain's rows by their own mean and variance, unless there are too few. `floor` times the
/// pooled variance is added to every variance.
pub(crate) fn partitioned_norm(
    p: &Values,
    at: &str,
    x: &Array2<f64>,
    domains: &[Option<String>],
    training: bool,
    (min_rows, floor): (usize, f64),
) -> Array2<f64> {
    let pooled = pooled_variance(p, at);
    let (gamma, beta) = (p.vector(&format!("{at}.gamma")), p.vector(&format!("{at}.beta")));
    let mut y = x.clone();
    for (i, domain) in domains.iter().enumerate() {
        let d = domain.as_ref().expect("the reference knows all domains");
        let rows: Vec<usize> = (0..x.nrows()).filter(|&j| domains[j] == *domain).collect();
        let own = format!("{at}.domain.{d}");
        let (mean, var) =
            if training && rows.len() >= min_rows { moments(&x.select(Axis(0), &rows)) } else { moving(p, &own) };
        let normed = (&x.row(i) - &mean) / (var + &pooled * floor).mapv(|v| (v + 1e-5).sqrt());
        let scale = &gamma * &p.vector(&format!("{own}.gamma"));
        y.row_mut(i).assign(&(normed * scale + &beta + p.vector(&format!("{own}.beta"))));
    }
    y
}

pub(crate) fn batch_norm(p: &Values, at: &str, x: &Array2<f64>, training: bool) -> Array2<f64> {
    let (mean, var) = if training && x.nrows() > 1 { moments(x) } else { moving(p, at) };
    (x - &mean) / var.mapv(|v| (v + 1e-5).sqrt()) * p.vector(&format!("{at}.gamma")) + p.vector(&format!("{at}.beta"))
}

pub(crate) fn layer_norm(p: &Values, at: &str, x: &Array2<f64>) -> Array2<f64> {
    let (gamma, beta) = (p.vector(&format!("{at}.gamma")), p.vector(&format!("{at}.beta")));
    let mut y = x.clone();
    for mut row in y.rows_mut() {
        let (mean, var) = (row.mean().unwrap(), row.var(0.0));
        let normed = (row.to_owned() - mean) / (var + 1e-5).sqrt() * &gamma + &beta;
        row.assign(&normed);
    }
    y
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

pub(crate) fn activation(p: &Values, at: &str, kind: ActivationKind, z: &Array2<f64>, training: bool) -> Array2<f64> {
    let columns = |name: &str| p.vector(&format!("{at}.{name}")).broadcast(z.dim()).unwrap().to_owned();
    match kind {
        ActivationKind::Relu => z.mapv(|z| z.max(0.0)),
        ActivationKind::Identity => z.clone(),
        ActivationKind::Tanh => z.mapv(f64::tanh),
        ActivationKind::Silu => z.mapv(|z| z * sigmoid(z)),
        ActivationKind::Gelu => z.mapv(|z| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (z + 0.044_715 * z.powi(3));
            0.5 * z * (1.0 + inner.tanh())
        }),
        ActivationKind::Prelu => z.mapv(|z| z.max(0.0)) + z.mapv(|z| z.min(0.0)) * columns("alpha"),
        ActivationKind::Dice => {
            let (mean, var) = if training && z.nrows() > 1 { moments(z) } else { moving(p, at) };
            let gate = ((z - &mean) / var.mapv(|v| (v + 1e-8).sqrt())).mapv(sigmoid);
            z * &gate + columns("alpha") * z * gate.mapv(|g| 1.0 - g)
        }
    }
}

pub(crate) fn hidden(p: &Values, at: &str, style: Style, z: &Array2<f64>) -> Array2<f64> {
    let z = match style.norm {
        NormKind::None => z.clone(),
        NormKind::Batch => batch_norm(p, &format!("{at}.norm"), z, style.training),
        NormKind::Layer => layer_norm(p, &format!("{at}.norm"), z),
    };
    activation(p, &format!("{at}.activation"), style.activation, &z, style.training)
}

/// As many layers as there are parameters for.
pub(crate) fn mlp(p: &Values, at: &str, style: Style, hidden_layers: usize, x: &Array2<f64>) -> Array2<f64> {
    let mut h = x.clone();
    for i in 0..p.count(&format!("{at}.layers")) {
        h = linear(p, &format!("{at}.layers.{i}"), &h);
        if i < hidden_layers {
            h = hidden(p, &format!("{at}.hidden.{i}"), style, &h);
        }
    }
    h
}

/// `Σ_t w_t·k_t` with the plain activation unit over `[q, k, q − k, q ⊙ k]`; row `i` has the next `lengths[i]` keys.
pub(crate) fn target_attention(
    p: &Values,
    style: Style,
    softmax: bool,
    q: &Array2<f64>,
    k: &Array2<f64>,
    lengths: &[usize],
) -> Array2<f64> {
    let owners: Vec<usize> = lengths.iter().enumerate().flat_map(|(row, &n)| vec![row; n]).collect();
    let q_t = q.select(Axis(0), &owners);
    let pairs = concatenate![Axis(1), q_t, *k, &q_t - k, &q_t * k];
    let hidden = p.count("mlp.layers") - 1;
    let scores = mlp(p, "mlp", style, hidden, &pairs);
    let mut pooled = Array2::zeros(q.dim());
    for (row, mut pooled) in pooled.rows_mut().into_iter().enumerate() {
        let own: Vec<usize> = (0..owners.len()).filter(|&event| owners[event] == row).collect();
        let scaled = |&event: &usize| (scores[[event, 0]] / (q.ncols() as f64).sqrt()).exp();
        let sum: f64 = own.iter().map(scaled).sum();
        for event in &own {
            let weight = if softmax { scaled(event) / sum } else { scores[[*event, 0]] };
            pooled.scaled_add(weight, &k.row(*event));
        }
    }
    pooled
}

pub(crate) fn gate(p: &Values, at: &str, x: &Array2<f64>) -> Array2<f64> {
    let mut w = x.dot(&p.matrix(&format!("{at}.weight"))).mapv(f64::exp);
    for mut row in w.rows_mut() {
        let sum = row.sum();
        row /= sum;
    }
    w
}

pub(crate) fn mix(weights: &Array2<f64>, experts: &[Array2<f64>]) -> Array2<f64> {
    assert_eq!(weights.ncols(), experts.len());
    let mut y = Array2::zeros(experts[0].dim());
    for (i, expert) in experts.iter().enumerate() {
        y = y + expert * &weights.slice(s![.., i..=i]);
    }
    y
}

/// The sizes of an attention.
#[derive(Clone, Copy)]
pub(crate) struct Attention {
    pub(crate) heads: usize,
    pub(crate) head_width: usize,
    pub(crate) scaled: bool,
}

/// `e^s / Σ e^s` over the entries that are there.
fn shares(scores: &[Option<f64>]) -> Vec<f64> {
    let sum: f64 = scores.iter().flatten().map(|s| s.exp()).sum();
    scores.iter().map(|s| s.map_or(0.0, |s| s.exp() / sum)).collect()
}

/// Token by token: each head's mean of the values it attends to, the heads side by side, plus the residual; then the hidden layer's rest.
pub(crate) fn multi_head(
    p: &Values,
    at: &str,
    style: Style,
    shape: Attention,
    (tokens, common): (usize, usize),
    x: &Array2<f64>,
) -> Array2<f64> {
    let Attention { heads, head_width, scaled } = shape;
    let width = heads * head_width;
    let all = p.matrix(&format!("{at}.projection"));
    let part = |i: usize| x.dot(&all.slice(s![.., i * width..(i + 1) * width]));
    let (q, k, v, mut z) = (part(0), part(1), part(2), part(3));
    let root = if scaled { (head_width as f64).sqrt() } else { 1.0 };
    for line in 0..x.nrows() {
        let (list, m) = (line / tokens * tokens, line % tokens);
        for head in 0..heads {
            let own = s![head * head_width..(head + 1) * head_width];
            let scores = (0..tokens).map(|n| {
                let score = q.row(line).slice(own).dot(&k.row(list + n).slice(own)) / root;
                (n < common || n == m).then_some(score)
            });
            for (n, share) in shares(&scores.collect::<Vec<_>>()).into_iter().enumerate() {
                z.row_mut(line).slice_mut(own).scaled_add(share, &v.row(list + n).slice(own));
            }
        }
    }
    hidden(p, &format!("{at}.post"), style, &z)
}

/// `x_m + α_m·x_m`, α the softmax over a row's tokens of `⟨q, x_m·K⟩ / √width`.
pub(crate) fn alignment(
    p: &Values,
    at: &str,
    scaled: bool,
    tokens: usize,
    query: &Array1<f64>,
    x: &Array2<f64>,
) -> Array2<f64> {
    let root = if scaled { (query.len() as f64).sqrt() } else { 1.0 };
    let scores = x.dot(&p.matrix(&format!("{at}.key"))).dot(query) / root;
    let mut y = x.clone();
    for list in (0..x.nrows()).step_by(tokens) {
        let scores: Vec<_> = (list..list + tokens).map(|line| Some(scores[line])).collect();
        for (m, share) in shares(&scores).into_iter().enumerate() {
            y.row_mut(list + m).scaled_add(share, &x.row(list + m));
        }
    }
    y
}

/// A token for each field, its embedding, and for each number, `x_j·v_j + b_j`.
pub(crate) fn tokens(p: &Values, at: &str, fields: usize, width: usize, x: &Array2<f64>) -> Array2<f64> {
    let numbers = x.ncols() - fields * width;
    let mut t = Array2::zeros((x.nrows() * (fields + numbers), width));
    for (line, mut token) in t.rows_mut().into_iter().enumerate() {
        let (row, m) = (x.row(line / (fields + numbers)), line % (fields + numbers));
        if m < fields {
            token.assign(&row.slice(s![m * width..(m + 1) * width]));
        } else {
            let part = |name: &str| p.matrix(&format!("{at}.numbers.{name}")).row(m - fields).to_owned();
            token.assign(&(part("weight") * row[fields * width + m - fields] + part("bias")));
        }
    }
    t
}

/// `[x, e_d]` through a stack.
pub(crate) fn pooled(
    p: &Values,
    at: &str,
    style: Style,
    hidden_layers: usize,
    x: &Array2<f64>,
    domains: &[Option<String>],
) -> Array2<f64> {
    let rows: Vec<Array2<f64>> = domains
        .iter()
        .map(|d| p.vector(&format!("{at}.domain.{}.embedding", d.as_ref().unwrap())).insert_axis(Axis(0)))
        .collect();
    let embedded = concatenate(Axis(0), &rows.iter().map(|row| row.view()).collect::<Vec<_>>()).unwrap();
    let joined = concatenate(Axis(1), &[x.view(), embedded.view()]).unwrap();
    mlp(p, &format!("{at}.mlp"), style, hidden_layers, &joined)
}

/// STAR from embedded rows to logits.
pub(crate) fn star(
    p: &Values,
    style: Style,
    combination: Combination,
    auxiliary_layers: usize,
    x: &Array2<f64>,
    domains: &[Option<String>],
) -> Array2<f64> {
    let mut h = if p.has("net.norm") {
        partitioned_norm(p, "net.norm", x, domains, style.training, (2, 0.1))
    } else {
        x.clone()
    };
    let layers = p.count("net.layers");
    for i in 0..layers {
        h = star_linear(p, &format!("net.layers.{i}"), combination, &h, domains);
        if i + 1 < layers {
            h = hidden(p, &format!("net.hidden.{i}"), style, &h);
        }
    }
    if p.has("net.auxiliary") {
        h = h + pooled(p, "net.auxiliary", style, auxiliary_layers, x, domains);
    }
    h
}

/// A branch: its name, its domain's name, its task; which say which rows and which tasks it answers.
pub(crate) type Branch = (String, Option<String>, Option<usize>);

/// What a PLE has.
pub(crate) struct PleShape {
    pub(crate) branches: Vec<Branch>,
    pub(crate) shared: usize,
    pub(crate) own: usize,
    pub(crate) expert_layers: usize,
    pub(crate) tower_layers: usize,
    pub(crate) tasks: usize,
}

/// PLE from embedded rows to logits: every row through every branch, the answers picked at the end.
pub(crate) fn ple(
    p: &Values,
    style: Style,
    shape: &PleShape,
    x: &Array2<f64>,
    domains: &[Option<String>],
) -> Array2<f64> {
    let levels = p.count("net.levels");
    let mut h: Vec<Array2<f64>> = vec![x.clone(); shape.branches.len()];
    let mut hs = x.clone();
    for j in 0..levels {
        let at = format!("net.levels.{j}");
        let expert = |name: String, x: &Array2<f64>| mlp(p, &name, style, shape.expert_layers, x);
        let shared: Vec<_> = (0..shape.shared).map(|i| expert(format!("{at}.shared.{i}"), &hs)).collect();
        let own: Vec<Vec<_>> = (shape.branches.iter().zip(&h))
            .map(|((name, ..), h)| (0..shape.own).map(|i| expert(format!("{at}.own.{name}.{i}"), h)).collect())
            .collect();
        let fused: Vec<_> = shape
            .branches
            .iter()
            .enumerate()
            .map(|(k, (name, ..))| {
                let experts: Vec<_> = own[k].iter().chain(&shared).cloned().collect();
                mix(&gate(p, &format!("{at}.gates.{name}"), &h[k]), &experts)
            })
            .collect();
        if j + 1 < levels {
            let experts: Vec<_> = own.iter().flatten().chain(&shared).cloned().collect();
            hs = mix(&gate(p, &format!("{at}.shared_gate"), &hs), &experts);
        }
        h = fused;
    }
    let tower = |name: &str, h: &Array2<f64>| mlp(p, &format!("net.towers.{name}"), style, shape.tower_layers, h);
    answers(&shape.branches, shape.tasks, domains, |k| tower(&shape.branches[k].0, &h[k]))
}

/// What each branch gives for every row, picked where it answers.
fn answers(
    branches: &[Branch],
    tasks: usize,
    domains: &[Option<String>],
    mut of: impl FnMut(usize) -> Array2<f64>,
) -> Array2<f64> {
    let mut logits = Array2::zeros((domains.len(), tasks));
    for (k, (_, domain, task)) in branches.iter().enumerate() {
        let out = of(k);
        for i in 0..domains.len() {
            if domain.is_some() && domains[i] != *domain {
                continue;
            }
            match task {
                Some(task) => logits[[i, *task]] = out[[i, 0]],
                None => logits.row_mut(i).assign(&out.row(i)),
            }
        }
    }
    logits
}

/// What an MRAN has.
pub(crate) struct MranShape {
    pub(crate) branches: Vec<Branch>,
    pub(crate) attention: Attention,
    pub(crate) fields: usize,
    pub(crate) dim: usize,
    pub(crate) tower_layers: usize,
    pub(crate) tasks: usize,
}

/// MRAN from embedded rows to logits; a norm in front of towers may be one of layers, not of batches.
pub(crate) fn mran(
    p: &Values,
    style: Style,
    shape: &MranShape,
    x: &Array2<f64>,
    domains: &[Option<String>],
) -> Array2<f64> {
    let mut t = tokens(p, "net.tokens", shape.fields, shape.dim, x);
    let count = t.nrows() / x.nrows();
    for layer in 0..p.count("net.features") {
        t = multi_head(p, &format!("net.features.{layer}"), style, shape.attention, (count, count), &t);
    }
    let vectors: Vec<_> =
        shape.branches.iter().map(|(name, ..)| p.vector(&format!("net.representations.{name}.vector"))).collect();
    let mut q = ndarray::stack(Axis(0), &vectors.iter().map(|v| v.view()).collect::<Vec<_>>()).unwrap();
    if p.has("net.relations") {
        let plain = Style { activation: ActivationKind::Identity, norm: NormKind::None, ..style };
        q = multi_head(p, "net.relations", plain, shape.attention, (q.nrows(), q.nrows()), &q);
    }
    answers(&shape.branches, shape.tasks, domains, |k| {
        let name = &shape.branches[k].0;
        let h = alignment(p, "net.alignment", shape.attention.scaled, count, &q.row(k).to_owned(), &t);
        let mut h = h.into_shape_with_order((x.nrows(), count * t.ncols())).unwrap();
        if style.norm == NormKind::Layer {
            h = layer_norm(p, &format!("net.norms.{name}.norm"), &h);
        }
        mlp(p, &format!("net.towers.{name}"), style, shape.tower_layers, &h)
    })
}
