//! A trained model made ready to be served.

use ndarray::{Array2, ArrayRef2, ArrayViewMut2, Axis};

use crate::data::{Batch, DomainId, Layout};
use crate::error::Problems;
use crate::model::{Front, Model, Net, Selection};
use crate::nn::buffer::{grow, resize};
use crate::nn::matmul::{Operand, Out, Panels, Then, product_packed};
use crate::nn::{Hidden, HiddenCache, Infer, Linear, Mlp};
use crate::parallel::{self, Divide};
use crate::{Error, ErrorKind, Result};

/// Candidates that one thread scores at a time, through all layers.
const PIECE: usize = 64;

/// A model made ready to be served: what does not depend on the row is computed once, when it is made.
///
/// For each domain `W ⊙ W_d` is multiplied, Partitioned Normalization (in inference an affine map) is folded into the layer that reads
/// it, the domain's embedding into a bias, and all weights are laid out for the matrix product. Scores are those of
/// [`Model::forward`] but for rounding, to about 1e-5.
///
/// Fields that are the same for all candidates of a request, those of the user and of the page, can be *given*: their part of the first
/// layer is then computed once for the request ([`Frozen::context`]), and candidates read the others alone.
///
/// ```
/// use starple::data::{Batch, DomainId, Field, Layout};
/// use starple::serve::{Frozen, FrozenCache};
/// use starple::{Star, StarConfig};
///
/// let field = |name: &str, rows| Field { name: name.into(), rows, bag: None };
/// let layout = Layout {
///     fields: vec![field("user", 100), field("item", 1000)],
///     numeric: vec!["price".into()],
///     domains: vec!["home".into(), "search".into()],
///     tasks: vec!["click".into()],
/// };
/// let star = Star::new(StarConfig::builder(&layout).build()?);
/// let search = DomainId::new(1);
/// let rows = |user: Vec<u32>, item: Vec<u32>, price: Vec<f32>| {
///     let batch = Batch::builder(&layout, user.len()).domains(vec![search; user.len()]);
///     batch.ids("user", user).ids("item", item).numeric("price", price).build()
/// };
/// let (user, items) = (rows(vec![7], vec![0], vec![0.0])?, rows(vec![0; 3], vec![5, 6, 7], vec![1.0, 2.0, 3.0])?);
///
/// let frozen = Frozen::new(star, &["user"])?;
/// let context = frozen.context(search, &user);
/// let mut cache = FrozenCache::default();
/// let logits = frozen.score(&context, &items, &mut cache);
/// assert_eq!(logits.dim(), (3, 1));
/// # Ok::<(), starple::Error>(())
/// ```
///
/// It is immutable and can be shared by threads, each with its own [`FrozenCache`]; a warm call allocates nothing. Inside a rayon pool
/// pieces of 64 candidates are scored side by side.
///
/// STAR, but with [`Combination::Gate`](crate::nn::Combination::Gate), and the pooled model can be frozen; all others are served by
/// [`Model::forward_with`].
#[derive(Debug)]
pub struct Frozen {
    layout: Layout,
    front: Front,
    given: Selection,
    rest: Selection,
    /// How many values of the embedded row are given.
    given_width: usize,
    /// By domain; the last is for rows of no known one.
    domains: Vec<Vec<Stack>>,
}

/// One of the stacks whose outputs add up.
#[derive(Debug)]
struct Stack {
    /// The first layer's part that reads what is given.
    given: Panels,
    /// All layers, the first without that part.
    layers: Vec<Layer>,
    hidden: Vec<Hidden>,
}

#[derive(Debug)]
struct Layer {
    weight: Panels,
    bias: Vec<f32>,
}

/// What one request gives to all its candidates: see [`Frozen::context`].
#[derive(Debug, Default)]
pub struct Context {
    place: usize,
    x: Array2<f32>,
    /// For each stack, the first layer's bias with what is given.
    starts: Vec<Array2<f32>>,
}

/// The buffers of [`Frozen::score`], lent by the caller.
#[derive(Debug, Default)]
pub struct FrozenCache {
    pieces: Vec<PieceCache>,
    logits: Array2<f32>,
}

#[derive(Debug, Default)]
struct PieceCache {
    x: Array2<f32>,
    z: Array2<f32>,
    h: [Array2<f32>; 2],
    hidden: HiddenCache,
}

impl Layer {
    fn new(layer: &Linear, rows: &[usize]) -> Self {
        Self { weight: packed(layer, rows), bias: layer.bias.to_vec() }
    }

    fn width(&self) -> usize {
        self.bias.len()
    }
}

fn packed(layer: &Linear, rows: &[usize]) -> Panels {
    let mut panels = Panels::default();
    panels.pack(Operand::One(layer.weight.select(Axis(0), rows).view()));
    panels
}

impl Stack {
    fn new(mlp: &Mlp, given: &[usize], rest: &[usize]) -> Self {
        let all = |layer: &Linear| (0..layer.weight.nrows()).collect::<Vec<_>>();
        let first = Layer::new(&mlp.layers[0], rest);
        let others = mlp.layers[1..].iter().map(|layer| Layer::new(layer, &all(layer)));
        let layers = [first].into_iter().chain(others).collect();
        Self { given: packed(&mlp.layers[0], given), layers, hidden: mlp.hidden.clone() }
    }
}

impl Frozen {
    /// Makes a model ready; `given` are the names of the fields and numeric inputs that are the same for all candidates of a request,
    /// none if each has its own.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if this kind of model cannot be frozen, or a name is not one of the model's inputs or occurs twice.
    pub fn new<N: Net>(model: Model<N>, given: &[&str]) -> Result<Self> {
        let layout = model.layout().clone();
        let mut problems = Problems::default();
        for (i, name) in given.iter().enumerate() {
            let known =
                layout.fields.iter().any(|field| field.name == *name) || layout.numeric.iter().any(|n| n == name);
            problems.require(known, || format!("{name:?}: not a field or numeric input of the model"));
            problems.require(!given[..i].contains(name), || format!("{name:?}: given twice"));
        }
        problems.into_result("given")?;
        let is_given = |name: &str| given.contains(&name);
        let select = |wanted: bool| Selection {
            fields: (0..layout.fields.len()).filter(|&f| is_given(&layout.fields[f].name) == wanted).collect(),
            numeric: (0..layout.numeric.len()).filter(|&j| is_given(&layout.numeric[j]) == wanted).collect(),
        };
        let (given, rest) = (select(true), select(false));
        let (front, net) = model.into_parts();
        let (given_columns, rest_columns) = (front.columns(&given), front.columns(&rest));
        let domain = |domain| {
            let stacks: Vec<Mlp> = net.stacks(domain)?;
            Some(stacks.iter().map(|mlp| Stack::new(mlp, &given_columns, &rest_columns)).collect())
        };
        let domains = (0..layout.domains.len()).map(Some).chain([None]).map(domain).collect::<Option<_>>();
        let domains = domains.ok_or_else(|| {
            let message = "a model of this kind cannot be frozen: it is not a sum of stacks that read the row";
            Error::new(ErrorKind::Config, message).with_help("serve it with Model::forward_with")
        })?;
        let given_width = given_columns.len();
        Ok(Self { layout, front, given, rest, given_width, domains })
    }

    /// The fields, domains and tasks.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What all candidates of a request have in common: their domain, and from the one row of `row` the fields that are given. If none
    /// are, `row` may be empty.
    ///
    /// # Panics
    /// If the domain is out of range, or `row` lacks a given field or has not one row.
    pub fn context(&self, domain: DomainId, row: &Batch) -> Context {
        let mut context = Context::default();
        self.context_into(domain, row, &mut context);
        context
    }

    /// The same into a context that is there already.
    ///
    /// # Panics
    /// As [`Frozen::context`].
    pub fn context_into(&self, domain: DomainId, row: &Batch, context: &mut Context) {
        let place = domain.index().unwrap_or(self.layout.domains.len());
        assert!(place < self.domains.len(), "domain {place} is out of range");
        let stacks = &self.domains[place];
        context.place = place;
        grow(&mut context.starts, stacks.len());
        let Context { x, starts, .. } = context;
        resize(x, 1, self.given_width);
        if self.given_width > 0 {
            assert_eq!(row.rows(), 1, "one row for the fields that are given");
            self.front.select(&self.given, row, 0, x);
        }
        for (stack, start) in stacks.iter().zip(starts) {
            let first = &stack.layers[0];
            resize(start, 1, first.width());
            product_packed(x.view(), &stack.given, Out::set(start).then(Then::Bias(&first.bias)));
        }
    }

    /// The logits of the candidates, `[rows, tasks]`; of fields that are given, what `batch` has is not read.
    ///
    /// # Panics
    /// If the batch does not have this model's layout, or the context is another model's.
    pub fn score<'c>(&self, context: &Context, batch: &Batch, cache: &'c mut FrozenCache) -> &'c Array2<f32> {
        assert_eq!(batch.ids.len(), self.layout.fields.len(), "a batch has the fields of the model's layout");
        assert_eq!(batch.numeric.ncols(), self.layout.numeric.len(), "a batch has the model's numeric inputs");
        let rows = batch.rows();
        let FrozenCache { pieces, logits } = cache;
        resize(logits, rows, self.layout.tasks.len());
        let count = rows.div_ceil(PIECE);
        grow(pieces, count);
        if count > 0 {
            let each = rows.div_ceil(count);
            let (caches, logits) = (&mut pieces[..count], logits.view_mut());
            parallel::each(
                Pieces { start: 0, each, caches, logits },
                &|Pieces { start, caches, mut logits, .. }| {
                    self.piece(context, batch, start, &mut caches[0], &mut logits);
                },
            );
        }
        logits
    }

    fn piece(
        &self,
        context: &Context,
        batch: &Batch,
        start: usize,
        cache: &mut PieceCache,
        logits: &mut ArrayRef2<f32>,
    ) {
        let rows = logits.nrows();
        let PieceCache { x, z, h: [h, next], hidden } = cache;
        let stacks = &self.domains[context.place];
        resize(x, rows, stacks[0].layers[0].weight.rows());
        self.front.select(&self.rest, batch, start, x);
        for (s, (stack, start)) in stacks.iter().zip(&context.starts).enumerate() {
            for (i, layer) in stack.layers.iter().enumerate() {
                let input: &ArrayRef2<f32> = if i == 0 { x } else { h };
                let bias: &[f32] = if i == 0 { start.as_slice().expect("a row is contiguous") } else { &layer.bias };
                let Some(post) = stack.hidden.get(i) else {
                    let out = if s == 0 { Out::set(logits) } else { Out::add(logits) };
                    product_packed(input.view(), &layer.weight, out.then(Then::Bias(bias)));
                    continue;
                };
                resize(next, rows, layer.width());
                if post.rectifies().is_some() {
                    product_packed(input.view(), &layer.weight, Out::set(next).then(Then::BiasRelu(bias)));
                } else {
                    resize(z, rows, layer.width());
                    product_packed(input.view(), &layer.weight, Out::set(z).then(Then::Bias(bias)));
                    post.forward(z, Infer, hidden, next);
                }
                std::mem::swap(h, next);
            }
        }
    }
}

/// Neighbouring candidates, in pieces of `each`.
struct Pieces<'a> {
    start: usize,
    each: usize,
    caches: &'a mut [PieceCache],
    logits: ArrayViewMut2<'a, f32>,
}

impl Divide for Pieces<'_> {
    fn pieces(&self) -> usize {
        self.caches.len()
    }

    fn divide(self, pieces: usize) -> (Self, Self) {
        let rows = pieces * self.each;
        let (caches, rest_caches) = self.caches.split_at_mut(pieces);
        let (logits, rest_logits) = self.logits.split_at(Axis(0), rows);
        let Self { start, each, .. } = self;
        (
            Self { start, each, caches, logits },
            Self { start: start + rows, each, caches: rest_caches, logits: rest_logits },
        )
    }
}

#[cfg(test)]
mod tests;
