//! A trained model compiled for serving.

mod attended;
mod compile;
mod maps;
mod program;

use std::sync::Arc;

use ndarray::{Array2, ArrayRef2, s};

use self::attended::{Attended, AttendedBuffers, pooled_given};
use self::program::{Buffers, Program};
use crate::data::{Batch, DomainId, Layout};
use crate::error::Problems;
use crate::model::{Embeddings, Model, Selection};
use crate::nn::ServedHistory;
use crate::nn::buffer::{grow, resize};
use crate::parallel::{self, Lines};
use crate::{Error, ErrorKind, Result};

/// Candidates that one thread scores at a time, through all layers.
const PIECE: usize = 64;

/// A trained model compiled for serving: [`Scorer::new`] computes once everything that does not depend on the row. A scorer takes encoded rows and
/// returns logits; a [`Predictor`](super::Predictor) takes raw values and returns probabilities.
///
/// A request scores several candidates, that is, items for one user on one page. Fields and numeric inputs that are the same for all its candidates
/// can be *given* once. Their part of the first layer is then computed once for the request ([`Scorer::context`]), and each candidate has only the
/// other fields ([`Scorer::score`]).
///
/// ```
/// use starple::data::{Batch, DomainId, Layout};
/// use starple::serve::{Scorer, ScorerCache};
/// use starple::{Star, StarConfig};
///
/// let layout = Layout::new(["home", "search"], ["click"]).field("user", 100).field("item", 1000).numeric(["price"]);
/// let star = Star::new(StarConfig::builder(&layout).build()?);
/// let search = DomainId::new(1);
/// let rows = |user: Vec<u32>, item: Vec<u32>, price: Vec<f32>| {
///     let batch = Batch::builder(&layout, user.len()).domains(vec![search; user.len()]);
///     batch.ids("user", user).ids("item", item).numeric("price", price).build()
/// };
/// let (user, items) = (rows(vec![7], vec![0], vec![0.0])?, rows(vec![0; 3], vec![5, 6, 7], vec![1.0, 2.0, 3.0])?);
///
/// let scorer = Scorer::new(star, &["user"])?;
/// let context = scorer.context(search, &user);
/// let mut cache = ScorerCache::default();
/// let logits = scorer.score(&context, &items, &mut cache);
/// assert_eq!(logits.dim(), (3, 1));
/// # Ok::<(), starple::Error>(())
/// ```
///
/// The logits equal those of [`Model::forward`] except for rounding, about 1e-5. For each domain, only the parts of the net that its logits need are
/// computed. Layers and gates that read the same values become one matrix product, with weights that are packed for it. In [`Star`](crate::Star), the
/// weights `W ⊙ W_d` (shared weights times the weights of domain d) are computed in advance, Partitioned Normalization (in inference an affine map)
/// becomes part of the layer that reads it, and the embedding of the domain becomes part of a bias.
///
/// A scorer is immutable, and threads can share it, each with its own [`ScorerCache`]. A call allocates nothing once the buffers of its cache are
/// large enough. Inside a rayon pool, the threads of the pool score groups of at most 64 candidates at the same time.
///
/// A scorer can serve every net, including your own. In [`Mran`](crate::model::Mran), attention reads the whole row; so for the given fields, only
/// the lookup of their embeddings is done once for the request. If the model pools a history by attention and the history is given, the part of the
/// attention's first layer that does not depend on the candidate is computed once for the request.
#[derive(Debug)]
pub struct Scorer {
    layout: Layout,
    embeddings: Embeddings,
    given: Selection,
    rest: Selection,
    /// The positions of the fields that are given, and of the others.
    fields: [Vec<usize>; 2],
    attended: Vec<Attended>,
    /// How many values of a row are given, and how many each candidate has for itself.
    widths: [usize; 2],
    /// What is run; by domain, the last for rows of no known one.
    programs: Vec<Program>,
    /// Which model a context belongs to.
    identity: Arc<()>,
}

/// What all candidates of one request share: their domain, and the part of the first layer that depends only on the values given once.
/// [`Scorer::context`] computes it, and [`Scorer::score`] reads it. Use a context only with the scorer that computed it; [`Scorer::score`] of another
/// scorer panics. The default is an empty context, which [`Scorer::context_into`] fills.
#[derive(Debug, Default)]
pub struct Context {
    of: Option<Arc<()>>,
    place: usize,
    /// What is given, as each owner of tables that are read embeds it.
    x: Array2<f32>,
    /// For each product that reads the row, its bias with what is given.
    starts: Vec<Array2<f32>>,
    /// By owner, then by sequence: the history, where the request gives it.
    histories: Vec<ServedHistory>,
    attended: Vec<AttendedBuffers>,
}

/// The buffers of [`Scorer::score`], which also hold the returned logits. Create one for each thread with `ScorerCache::default()` and pass it to
/// each call: then a call allocates nothing once the buffers are large enough. It can be used with several scorers in turn.
#[derive(Debug, Default)]
pub struct ScorerCache {
    pieces: Vec<Buffers>,
    logits: Array2<f32>,
}

impl Scorer {
    /// Compiles a model for serving. `given` has the names of the fields and numeric inputs of the [`Layout`] whose values are the same for all
    /// candidates of a request, and are given once ([`Scorer::context`]). With an empty list, each candidate has all values itself.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a name in `given` is not that of a field or numeric input of the model, or is listed twice. Also if `given` has some
    /// fields of an attended [sequence](crate::data::Sequence) but not all of them.
    ///
    /// # Panics
    /// If the model has a net of your own that does not fit its layout: the net reads embedded rows of another width, or computes no logit for a task
    /// in a domain.
    pub fn new(model: Model, given: &[&str]) -> Result<Self> {
        let layout = model.layout().clone();
        let mut problems = Problems::default();
        for (i, name) in given.iter().enumerate() {
            let known =
                layout.fields.iter().any(|field| field.name == *name) || layout.numeric.iter().any(|n| n == name);
            problems.require(known, || format!("{name:?}: not a field or numeric input of the model"));
            problems.require(!given[..i].contains(name), || format!("{name:?}: given twice"));
        }
        let is_given = |name: &str| given.contains(&name);
        Attended::check(&layout, is_given, &mut problems);
        problems.into_result("given")?;
        let of_request: Vec<bool> = layout.fields.iter().map(|field| is_given(&field.name)).collect();
        let all = model.embeddings().columns();
        let positions = |wanted: bool| -> (Vec<usize>, Vec<usize>) {
            (
                (0..layout.fields.len()).filter(|&f| pooled_given(all, &of_request, f) == wanted).collect(),
                (0..layout.numeric.len()).filter(|&j| is_given(&layout.numeric[j]) == wanted).collect(),
            )
        };
        let ((given_fields, given_numeric), (fields, numeric)) = (positions(true), positions(false));
        let (given, given_columns) = model.embeddings().side_by_side(&given_fields, &given_numeric);
        let (rest, columns) = model.embeddings().side_by_side(&fields, &numeric);
        let attended = Attended::all(all, &of_request, [&given_columns, &columns]);
        let of_side = |wanted: bool| (0..of_request.len()).filter(|&f| of_request[f] == wanted).collect();
        let fields = [of_side(true), of_side(false)];
        let programs = compile::programs(&model.plan(), &given_columns, &columns);
        let widths = [given_columns.len(), columns.len()];
        Ok(Self {
            layout,
            embeddings: model.into_embeddings(),
            given,
            rest,
            fields,
            attended,
            widths,
            programs,
            identity: Arc::default(),
        })
    }

    /// Returns the layout of the model: its fields, numeric inputs, domains and tasks.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Computes what all candidates of a request share, for [`Scorer::score`]. `domain` is the domain of the request, or [`DomainId::SHARED`] if it
    /// is not known. `row` is a batch of one row. Only the fields and numeric inputs that [`Scorer::new`] got as `given` are read from it. If there
    /// are none, `row` is not read and may be empty.
    ///
    /// # Panics
    /// If the model does not have the domain `domain`. If there are given fields or inputs, also if `row` does not have exactly one row, lacks one of
    /// them, or has an id that the model does not have.
    pub fn context(&self, domain: DomainId, row: &Batch) -> Context {
        let mut context = Context::default();
        self.context_into(domain, row, &mut context);
        context
    }

    /// Computes what [`Scorer::context`] computes, and writes it into an existing `context`, of this or another scorer. It allocates
    /// nothing once the buffers of `context` are large enough.
    ///
    /// # Panics
    /// If the model does not have the domain `domain`. If there are given fields or inputs ([`Scorer::new`]), also if `row` does not have
    /// exactly one row, lacks one of them, or has an id that the model does not have.
    pub fn context_into(&self, domain: DomainId, row: &Batch, context: &mut Context) {
        let known = self.layout.domains.len();
        let place = domain.index().unwrap_or(known);
        assert!(
            domain.index().is_none_or(|d| d < known),
            "domain {place} is out of range: the model has {known} domains"
        );
        context.place = place;
        // A context that is this model's already keeps its mark.
        if !self.owns(context) {
            context.of = Some(Arc::clone(&self.identity));
        }
        let (program, width) = (&self.programs[place], self.widths[0]);
        let Context { x, starts, histories, attended, .. } = context;
        resize(x, program.owners.len(), width);
        if self.gives() {
            assert_eq!(row.rows(), 1, "one row for the fields that are given");
            for (i, &owner) in program.owners.iter().enumerate() {
                self.embeddings.select(&self.given, owner, row, 0, x.slice_mut(s![i..=i, ..]));
            }
        }
        let count = self.attended.len();
        grow(histories, program.owners.len() * count);
        grow(attended, count);
        for (i, (&owner, layers)) in program.owners.iter().zip(&program.attention).enumerate() {
            let histories = &mut histories[i * count..][..count];
            for (((own, layer), history), buffers) in
                self.attended.iter().zip(layers).zip(histories).zip(&mut *attended)
            {
                own.prepare((&self.embeddings, owner), layer, row, buffers, history);
                if own.all_given {
                    own.pool_given(layer, &mut x.slice_mut(s![i..=i, ..]), buffers, history);
                }
            }
        }
        program.start(x, starts);
    }

    /// Whether a request gives something.
    fn gives(&self) -> bool {
        !self.given.is_empty() || !self.fields[0].is_empty()
    }

    /// Checks the row that gives what candidates share, unless nothing is given.
    ///
    /// # Errors
    /// Those of [`Batch::check`] for the fields that are given; [`ErrorKind::Layout`] if there is not one row.
    pub(super) fn check_given(&self, row: &Batch) -> Result<()> {
        if !self.gives() {
            return Ok(());
        }
        if row.rows() != 1 {
            let message = format!("expected one row for what all candidates share, found {}", row.rows());
            return Err(Error::new(ErrorKind::Layout, message));
        }
        row.check_fields(&self.layout, self.fields[0].iter().copied())
    }

    /// Checks what candidates have of their own.
    ///
    /// # Errors
    /// Those of [`Batch::check`] for the fields that are not given.
    pub(super) fn check_candidates(&self, rows: &Batch) -> Result<()> {
        rows.check_fields(&self.layout, self.fields[1].iter().copied())
    }

    /// Which numeric inputs are given, by their positions in the layout.
    pub(super) fn given_numeric(&self) -> impl Iterator<Item = usize> {
        self.given.numeric()
    }

    /// Which numeric inputs each candidate has for itself, by their positions in the layout.
    pub(super) fn own_numeric(&self) -> impl Iterator<Item = usize> {
        self.rest.numeric()
    }

    /// Computes the logits of the candidates, `[candidates, tasks]`, in the order of `batch`; the result is stored in `cache`. `context` has what the
    /// candidates share ([`Scorer::context`]). `batch` has one row for each candidate, or none. Its domains, and its values for the fields and
    /// numeric inputs that are given once ([`Scorer::new`]), are not read. Numeric inputs are not checked: with NaN or infinity, the logits have no
    /// meaning.
    ///
    /// # Panics
    /// If `batch` does not have a column for each field and numeric input of the model, if it has an id that the model does not have, or if `context`
    /// was computed by another scorer or by none.
    pub fn score<'c>(&self, context: &Context, batch: &Batch, cache: &'c mut ScorerCache) -> &'c Array2<f32> {
        assert_eq!(batch.ids.len(), self.layout.fields.len(), "a batch has the fields of the model's layout");
        assert_eq!(batch.numeric.ncols(), self.layout.numeric.len(), "a batch has the model's numeric inputs");
        assert!(self.owns(context), "a context of this model");
        let rows = batch.rows();
        let ScorerCache { pieces, logits } = cache;
        resize(logits, rows, self.layout.tasks.len());
        let count = rows.div_ceil(PIECE);
        grow(pieces, count);
        if count > 0 {
            let each = rows.div_ceil(count);
            let data = (&mut pieces[..count], Lines((0..rows, logits.view_mut()), each));
            parallel::blocks(count, 1, data, &|(caches, Lines((rows, mut logits), _))| {
                self.piece(context, batch, rows.start, &mut caches[0], &mut logits);
            });
        }
        logits
    }

    /// Whether a context is this model's.
    fn owns(&self, context: &Context) -> bool {
        context.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &self.identity))
    }

    fn piece(
        &self,
        context: &Context,
        batch: &Batch,
        start: usize,
        buffers: &mut Buffers,
        logits: &mut ArrayRef2<f32>,
    ) {
        let (rows, width, program) = (logits.nrows(), self.widths[1], &self.programs[context.place]);
        for (x, &owner) in buffers.rows(program.owners.len(), rows, width).iter_mut().zip(&program.owners) {
            self.embeddings.select(&self.rest, owner, batch, start, x.view_mut());
        }
        let count = self.attended.len();
        for (i, (&owner, layers)) in program.owners.iter().zip(&program.attention).enumerate() {
            let given = context.x.slice(s![i..=i, ..]);
            let own = self.attended.iter().zip(layers).enumerate().filter(|(_, (own, _))| !own.all_given);
            for (s, (own, layer)) in own {
                let (x, buffers) = buffers.attended(i, s);
                let history = &context.histories[i * count + s];
                own.pool((&self.embeddings, owner), layer, batch, start, &given, history, buffers, x);
            }
        }
        program.run(&context.x, &context.starts, buffers, logits);
    }
}

#[cfg(test)]
mod tests;
