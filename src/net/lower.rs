//! From a program to its plan: the steps of inference.

use std::borrow::Cow;

use super::forward::relations_of;
use super::layer::Layer;
use super::program::{Domains, Op, Program, Step, Value};
use std::collections::BTreeMap;

use ndarray::{Array1, Array2};

use crate::data::DomainId;
use crate::model::{Fusion, Plan, Value as PlanValue};
use crate::nn::buffer::resize;
use crate::nn::{CrossLayer, DomainLinear, Linear, LowRankLinear, Mode, RepresentationsCache, SigmoidGate, StarLinear};

/// What a step becomes in the plan, for rows of one domain.
#[derive(Clone)]
enum Lowered {
    Value(PlanValue),
    /// `scale ⊙ x + shift`, which is merged into the affine maps that read it.
    Affine(PlanValue, Vec<f64>, Vec<f64>),
    /// A value that is equal for all rows.
    Constant(Array2<f32>),
}

/// Partitioned Normalization as an affine map, by domain: see [`PartitionedNorm::affine`](crate::nn::PartitionedNorm).
type Norm<'a> = Box<dyn Fn(DomainId) -> (Vec<f64>, Vec<f64>) + 'a>;

impl Lowered {
    fn value(&self) -> PlanValue {
        match self {
            Self::Value(value) => *value,
            Self::Affine(..) => panic!("only star layers read Partitioned Normalization"),
            Self::Constant(_) => panic!("only steps over tokens read a value that is equal for all rows"),
        }
    }
}

/// The plan of a program for this number of domains and for rows of no known domain. A step that does not depend on the domain is written
/// once.
pub(super) fn plan<'a>(program: &'a Program, layers: &'a [Layer], domains: usize) -> Plan<'a> {
    let mut plan = Plan::new(domains);
    let by_domain = depends_on_domain(program, layers);
    let mut common: Vec<Option<Lowered>> = vec![None; program.steps.len()];
    // The statistics are pooled once for all domains.
    let mut norms: BTreeMap<usize, Norm<'a>> = BTreeMap::new();
    for (i, step) in program.steps.iter().enumerate() {
        if let [Layer::Norm(norm)] = &layers[step.layers()] {
            norms.insert(i, Box::new(norm.affine()));
        }
    }
    let lower = |plan: &mut Plan<'a>, i: usize, domain, known: &dyn Fn(Value) -> Lowered| {
        let step = &program.steps[i];
        if let (Op::Norm { input }, Some(norm)) = (&step.op, norms.get(&i)) {
            let (scale, shift) = norm(domain);
            return Lowered::Affine(known(*input).value(), scale, shift);
        }
        step_of(&program.steps, step, &layers[step.layers()], plan, domain, known)
    };
    for i in 0..program.steps.len() {
        if !by_domain[i] {
            let known =
                |value: Value| common[value.index()].clone().expect("what it reads does not depend on the domain");
            common[i] = Some(lower(&mut plan, i, DomainId::SHARED, &known));
        }
    }
    let mut answered: Vec<Vec<&super::program::Answer>> = vec![Vec::new(); domains + 1];
    for answer in &program.answers {
        match answer.domain {
            Some(d) => answered[d as usize].push(answer),
            None => answered[..domains].iter_mut().for_each(|answers| answers.push(answer)),
        }
        if answer.unknown != 0.0 {
            answered[domains].push(answer);
        }
    }
    for domain in plan.domains() {
        let mut own: Vec<Option<Lowered>> = vec![None; if by_domain.contains(&true) { program.steps.len() } else { 0 }];
        for i in 0..own.len() {
            let needs = &program.steps[i].needs;
            let needed = match (domain.index(), &needs.known) {
                (None, _) => needs.unknown,
                (Some(_), Domains::All) => true,
                (Some(d), Domains::Some(domains)) => domains.binary_search(&(d as u32)).is_ok(),
            };
            if by_domain[i] && needed {
                let known = |value: Value| {
                    let i = value.index();
                    own[i].as_ref().or(common[i].as_ref()).cloned().expect("what a step reads stands before it")
                };
                own[i] = Some(lower(&mut plan, i, domain, &known));
            }
        }
        for answer in &answered[domain.index().unwrap_or(domains)] {
            let i = answer.value.index();
            let value =
                own.get(i).and_then(Option::as_ref).or(common[i].as_ref()).expect("an answer is needed").value();
            let share = if domain == DomainId::SHARED { answer.unknown } else { answer.share };
            plan.answer(domain, value, answer.task, share);
        }
    }
    plan
}

/// By step, whether its value depends on the domain of a row.
fn depends_on_domain(program: &Program, layers: &[Layer]) -> Vec<bool> {
    let mut depends: Vec<bool> = Vec::with_capacity(program.steps.len());
    for step in &program.steps {
        let mut own = match &layers[step.layers()] {
            [Layer::Custom(layer)] => layer.reads_domain(),
            _ => matches!(step.op, Op::DomainMlp { .. } | Op::Norm { .. } | Op::Star { .. }),
        };
        step.op.inputs(|input| own |= depends[input.index()]);
        depends.push(own);
    }
    depends
}

fn step_of<'a>(
    steps: &[Step],
    step: &Step,
    layers: &'a [Layer],
    plan: &mut Plan<'a>,
    domain: DomainId,
    known: &dyn Fn(Value) -> Lowered,
) -> Lowered {
    let all = |plan: &mut Plan<'a>, values: &[Value]| -> Vec<PlanValue> {
        values.iter().map(|&value| computed(steps, plan, known, value)).collect()
    };
    Lowered::Value(match (&step.op, layers) {
        (Op::Row { owner }, attention) => plan.row_with(*owner, attention.iter().map(Layer::attention).collect()),
        (Op::Mlp { input, .. }, [Layer::Mlp(mlp)]) => {
            let input = read(steps, plan, known, *input);
            plan.stack(input, mlp)
        }
        (Op::DomainMlp { input }, [Layer::DomainMlp(net)]) => {
            let mut value = read(steps, plan, known, *input);
            let first = Cow::Owned(net.first_of(domain));
            let layers = std::iter::once(first).chain(net.mlp.layers[1..].iter().map(Cow::Borrowed));
            for (i, layer) in layers.enumerate() {
                value = plan.layer(value, layer, net.mlp.hidden.get(i));
            }
            value
        }
        (Op::Star { input }, [Layer::Star(layer), rest @ ..]) => {
            let input = match known(*input) {
                Lowered::Value(_) => Lowered::Value(read(steps, plan, known, *input)),
                other => other,
            };
            star(layer, rest, plan, domain, input)
        }
        (Op::Mix { selector, parts }, [Layer::Gate(gate)]) => {
            let (selector, parts) = (read(steps, plan, known, *selector), all(plan, parts));
            plan.mix(selector, gate, &parts)
        }
        (Op::Stitch { parts }, [Layer::Stitch(stitch)]) => {
            let parts = all(plan, parts);
            plan.stitch(&parts, stitch)
        }
        (Op::Join { parts, fusion }, []) => {
            let parts = all(plan, parts);
            plan.join(&parts, *fusion)
        }
        (Op::Concat { parts }, []) => {
            let parts = all(plan, parts);
            plan.concat(&parts)
        }
        (Op::Scale { input, gate, factor }, []) => {
            let [input, gate] = [input, gate].map(|&value| computed(steps, plan, known, value));
            plan.scale(input, gate, *factor)
        }
        (Op::Product { a, b }, []) => {
            let [a, b] = [a, b].map(|&value| computed(steps, plan, known, value));
            plan.product(a, b)
        }
        (Op::Cross { first, input }, [Layer::Cross(layer)]) => {
            let x = read(steps, plan, known, *input);
            let [x0, below] = [first, input].map(|&value| computed(steps, plan, known, value));
            cross(layer, plan, x, x0, below)
        }
        (Op::Pairwise { parts }, []) => pairwise(steps, plan, known, parts),
        (Op::Attend { query, values, filled }, []) => {
            let [query, values, filled] = [query, values, filled].map(|&value| computed(steps, plan, known, value));
            plan.attend(query, values, filled)
        }
        (Op::PostAffine { input }, [Layer::PostAffine(hidden)]) => {
            let input = computed(steps, plan, known, *input);
            plan.hidden(input, hidden)
        }
        (Op::Custom { input }, [Layer::Custom(layer)]) => {
            let input = computed(steps, plan, known, *input);
            plan.custom(input, layer, domain, step.width)
        }
        (Op::Tokens { input }, [Layer::Tokens(tokens)]) => plan.tokens(known(*input).value(), tokens),
        (Op::Attention { input, .. }, [Layer::Attention(attention)]) => {
            plan.attention(known(*input).value(), attention)
        }
        (Op::Queries, [Layer::Representations(own), relations @ ..]) => {
            let mut q = Array2::zeros((0, 0));
            resize(&mut q, step.fixed.unwrap_or_default(), step.width);
            own.forward(relations_of(relations), Mode::Infer, &mut RepresentationsCache::default(), &mut q);
            return Lowered::Constant(q);
        }
        (Op::Directions { queries }, [Layer::Alignment(alignment)]) => {
            let Lowered::Constant(q) = known(*queries) else { unreachable!("queries are the same for all rows") };
            let mut p = Array2::zeros((q.nrows(), step.width));
            alignment.forward(&q, &mut p);
            return Lowered::Constant(p);
        }
        (Op::Align { tokens, directions, branch }, []) => {
            let Lowered::Constant(p) = known(*directions) else { unreachable!("directions are the same for all rows") };
            let direction: Array1<f32> = p.row(*branch).to_owned();
            plan.align(known(*tokens).value(), direction)
        }
        _ => unreachable!("a step has the layers of its kind"),
    })
}

/// A value, or a copy of some of its columns; of the row, always a copy.
fn computed(steps: &[Step], plan: &mut Plan<'_>, known: &dyn Fn(Value) -> Lowered, value: Value) -> PlanValue {
    let (of, whole) = (&steps[value.index()], known(value).value());
    let is_row = matches!(of.op, Op::Row { .. });
    if is_row || value.width() < of.width { plan.columns(whole, value.of_step(), of.width) } else { whole }
}

/// A value for an affine map, which may read the row directly.
fn read(steps: &[Step], plan: &mut Plan<'_>, known: &dyn Fn(Value) -> Lowered, value: Value) -> PlanValue {
    let whole = value.width() == steps[value.index()].width;
    if whole { known(value).value() } else { computed(steps, plan, known, value) }
}

/// A cross layer: `x` for the affine map, `x0` and `below` to multiply and to add.
fn cross<'a>(layer: &'a CrossLayer, plan: &mut Plan<'a>, x: PlanValue, x0: PlanValue, below: PlanValue) -> PlanValue {
    let z = match layer {
        CrossLayer::Full(linear) => plan.layer(x, Cow::Borrowed(linear), None),
        CrossLayer::LowRank(LowRankLinear { u, v, bias }) => {
            let t = plan.affine(x, Cow::Borrowed(u), None, false);
            plan.affine(t, Cow::Borrowed(v), Some(Cow::Borrowed(bias)), false)
        }
    };
    let crossed = plan.product(x0, z);
    plan.join(&[crossed, below], Fusion::Sum)
}

/// The sum over pairs, as `½·Σ_c (Σ_f v_fc)² − ½·Σ_fc v_fc²`. Of one value, such as the row, the sum of the vectors is an affine map, in which
/// serving computes once what requests give.
fn pairwise(steps: &[Step], plan: &mut Plan<'_>, known: &dyn Fn(Value) -> Lowered, parts: &[Value]) -> PlanValue {
    let (of, dim) = (parts[0].index(), parts[0].width());
    let (value, whole, starts, width) = if parts.iter().all(|part| part.index() == of) {
        let all = Value::new(of, steps[of].width);
        let starts: Vec<usize> = parts.iter().map(|part| part.of_step().start).collect();
        (known(all).value(), computed(steps, plan, known, all), starts, all.width())
    } else {
        let starts = (0..parts.len()).map(|i| i * dim).collect();
        let values: Vec<PlanValue> = parts.iter().map(|&value| computed(steps, plan, known, value)).collect();
        let whole = plan.concat(&values);
        (whole, whole, starts, parts.len() * dim)
    };
    let (mut sums, mut squares) = (Linear::zeros(width, dim), Linear::zeros(width, 1));
    for start in starts {
        for c in 0..dim {
            sums.weight[[start + c, c]] += 1.0;
            squares.weight[[start + c, 0]] -= 0.5;
        }
    }
    let half = Linear { weight: Array2::from_elem((dim, 1), 0.5), bias: Array1::zeros(1) };
    let sum = plan.layer(value, Cow::Owned(sums), None);
    let [of_sum, of_each] = [sum, whole].map(|value| plan.product(value, value));
    let of_sum = plan.layer(of_sum, Cow::Owned(half), None);
    let of_each = plan.layer(of_each, Cow::Owned(squares), None);
    plan.join(&[of_sum, of_each], Fusion::Sum)
}

/// A star layer, and the rest of its hidden layer, for rows of a domain.
fn star<'a>(
    layer: &'a StarLinear,
    rest: &'a [Layer],
    plan: &mut Plan<'a>,
    domain: DomainId,
    known: Lowered,
) -> PlanValue {
    let hidden = match rest {
        [Layer::PostAffine(hidden)] => Some(hidden),
        _ => None,
    };
    let (input, norm) = match known {
        Lowered::Affine(value, scale, shift) => (value, Some((scale, shift))),
        Lowered::Value(value) => (value, None),
        Lowered::Constant(_) => unreachable!("a star layer reads rows"),
    };
    let after_norm = |linear: Cow<'a, Linear>| match &norm {
        Some((scale, shift)) => Cow::Owned(linear.after(scale, shift)),
        None => linear,
    };
    match layer.domain.of(domain) {
        Some(DomainLinear::SigmoidGate(SigmoidGate { own, gate })) => {
            let maps = [&layer.shared, own, gate];
            let [shared, own, gate] = maps.map(|linear| plan.layer(input, after_norm(Cow::Borrowed(linear)), None));
            let z = plan.gated(shared, own, gate);
            hidden.map_or(z, |hidden| plan.hidden(z, hidden))
        }
        own => {
            let combined = own.map(|own| own.combined(&layer.shared));
            let linear = combined.map_or(Cow::Borrowed(&layer.shared), Cow::Owned);
            plan.layer(input, after_norm(linear), hidden)
        }
    }
}
