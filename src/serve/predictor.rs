//! A model with its encoder.

mod builder;

use std::sync::Arc;

use ndarray::{Array2, ArrayRef2, Axis, s};

pub use self::builder::PredictorBuilder;
use super::{Calibration, Context, Curve, Scorer, ScorerCache};
use crate::data::{Batch, DomainId, Encoder, RawValue, RowPlan, RowScratch, Table};
use crate::model::{Model, answer};
use crate::{Error, ErrorKind, Result};

/// Predicts from raw values, such as texts and numbers: a probability for each binary task, and a number for each regression or count
/// ([`Target::answer`](crate::data::Target::answer)). In the documentation of this type, "probabilities" means both.
///
/// It holds the [`Scorer`] of a trained model, the [`Encoder`] that the model was trained with, and optionally a [`Calibration`].
/// [`Predictor::builder`] or [`Saved::predictor`](crate::persist::Saved::predictor) starts building one.
///
/// A request has one domain, the values that all its candidates share (such as those of the user), and a list of candidates, the items to score, each
/// with its own values. [`PredictorBuilder::given`] sets which columns are shared.
///
/// ```
/// use starple::data::{Encoder, Format, RawValue, Schema, Table, UnknownDomain};
/// use starple::serve::{Predictor, PredictorCache};
/// use starple::{Star, StarConfig};
///
/// let schema = Schema::builder().categorical("user").categorical("item").numeric("price").domain("page").label("click");
/// let schema = schema.build()?;
/// let log = "user,item,price,page,click\nann,lamp,20,home,1\nbob,sofa,400,search,0\n";
/// let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema)?;
/// let encoder = Encoder::fit(&schema, &table, &table.all())?.on_unknown_domain(UnknownDomain::Shared);
/// let star = Star::new(StarConfig::builder(encoder.layout()).build()?);
/// let predictor = Predictor::builder(encoder, star).given(["user"]).build()?;
///
/// // Pass the same cache to every call of a thread: then later calls allocate no memory.
/// let mut cache = PredictorCache::default();
/// let candidates: [[(&str, RawValue); 2]; 2] =
///     [[("item", "sofa".into()), ("price", 380.0.into())], [("item", "lamp".into()), ("price", "25".into())]];
/// let p = predictor.score("home", [("user", "ann")], candidates, &mut cache)?;
/// assert_eq!(p.dim(), (2, 1));
///
/// // Rows that each have all values.
/// let rows = [[("user", "bob"), ("item", "sofa"), ("price", "380"), ("page", "a page not seen before")]];
/// assert_eq!(predictor.predict(rows)?.dim(), (1, 1));
/// # Ok::<(), starple::Error>(())
/// ```
///
/// A predictor is immutable and cheap to clone; threads can share it. A value that the encoder's vocabulary does not have uses the embedding of
/// unknown values. Inside a rayon pool ([`in_pool`](crate::train::in_pool)), all threads of the pool score a long list of candidates together; the
/// result has the same bits.
#[derive(Debug, Clone)]
pub struct Predictor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    encoder: Encoder,
    scorer: Scorer,
    calibration: Option<Calibration>,
    /// The columns that a request gives once, including the domain.
    request: RowPlan,
    /// The others.
    candidate: RowPlan,
}

/// A scaled number above this is far outside the training data.
const FAR: f32 = 1e4;

/// The buffers of [`Predictor::score`] and [`Predictor::score_batch`], which also hold the returned probabilities. Create one for each thread with
/// `PredictorCache::default()` and pass it to each call: then a call allocates nothing once the buffers are large enough. It can be used with several
/// predictors in turn.
#[derive(Debug, Default)]
pub struct PredictorCache {
    request: Batch,
    candidates: Batch,
    scratch: RowScratch,
    scores: ScoreCache,
}

#[derive(Debug, Default)]
struct ScoreCache {
    context: Context,
    scorer: ScorerCache,
    probabilities: Array2<f32>,
}

impl Predictor {
    /// Starts building a predictor from a trained model and the encoder with which it was trained. Both must have the same layout;
    /// [`PredictorBuilder::build`] checks this.
    pub fn builder(encoder: Encoder, model: Model) -> PredictorBuilder {
        PredictorBuilder::new(encoder, model)
    }

    /// Returns the encoder of the predictor, which turns raw values into the inputs of the model. It has the schema, with the names of all columns.
    pub fn encoder(&self) -> &Encoder {
        &self.0.encoder
    }

    /// Returns the scorer of the predictor: the model, compiled for serving, which turns encoded values into logits.
    pub fn scorer(&self) -> &Scorer {
        &self.0.scorer
    }

    /// Returns the calibration that corrects the probabilities. `None` if the predictor was built without one: a probability is then the sigmoid of
    /// the logit.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.0.calibration.as_ref()
    }

    /// Iterates over the names of the columns whose values a request gives once for all its candidates, as [`PredictorBuilder::given`] set them. The
    /// column of the domain, which a request always gives, is not among them.
    pub fn given(&self) -> impl Iterator<Item = &str> {
        let domain = self.0.encoder.schema().domain();
        self.0.request.names().iter().map(String::as_str).filter(move |&name| Some(name) != domain)
    }

    /// Iterates over the names of the columns whose values each candidate must have: all columns that features read, except those of
    /// [`Predictor::given`] and the column of the domain.
    pub fn own(&self) -> impl Iterator<Item = &str> {
        self.0.candidate.names().iter().map(String::as_str)
    }

    /// Scores the candidates of one request. Returns their probabilities, `[candidates, tasks]`, in the order of `candidates`; without candidates,
    /// there are 0 rows.
    ///
    /// * `domain` is the name of the domain; if the schema has no domain column, it is `"all"`.
    /// * `given` has a value for each column of [`Predictor::given`].
    /// * `candidates` has one list for each candidate, with a value for each column of [`Predictor::own`].
    /// * `cache` holds the buffers and the result.
    ///
    /// The values are lists of pairs (column, value) in any order; a reference to a map works too. Labels and other columns of the schema that no
    /// feature reads may be present; they are ignored.
    ///
    /// # Errors
    /// The message names the place: `given`, or `candidates:2` for the second candidate.
    ///
    /// * [`ErrorKind::UnknownDomain`]: the encoder does not know the domain, and does not accept unknown ones
    ///   ([`UnknownDomain::Shared`](crate::data::UnknownDomain::Shared)).
    /// * [`ErrorKind::Data`]: a column is missing, unknown, listed twice or in the wrong list, or a value is invalid (such as text or NaN in a
    ///   numeric column).
    /// * [`ErrorKind::NonFinite`]: a score is not finite, which numbers far outside the training data can cause.
    pub fn score<'c, 'g, 'v, K, G, R, C, V>(
        &self,
        domain: &str,
        given: impl IntoIterator<Item = (K, G)>,
        candidates: impl IntoIterator<Item = R>,
        cache: &'c mut PredictorCache,
    ) -> Result<&'c Array2<f32>>
    where
        K: AsRef<str>,
        G: Into<RawValue<'g>>,
        R: IntoIterator<Item = (C, V)>,
        C: AsRef<str>,
        V: Into<RawValue<'v>>,
    {
        let Inner { encoder, request, candidate, .. } = &*self.0;
        let PredictorCache { request: row, candidates: rows, scratch, scores } = cache;
        let column = encoder.schema().domain();
        let wrong_domain = |error: Error| match column {
            Some(column) => error.at_path("request").in_column(column),
            None => error.at_path("request"),
        };
        let id = encoder.domain(domain).map_err(wrong_domain)?;

        let mut writer = request.write(encoder, id, row, scratch);
        let named = given.into_iter().map(|(column, value)| (Name::Given(column), value.into()));
        let its_domain = column.map(|column| (Name::Domain(column), RawValue::Text(domain)));
        writer.row(its_domain.into_iter().chain(named), |value| *value).map_err(|error| error.at_path("given"))?;
        writer.finish();

        let mut writer = candidate.write(encoder, id, rows, scratch);
        for (line, cells) in (1..).zip(candidates) {
            let cells = cells.into_iter().map(|(column, value)| (column, value.into()));
            writer.row(cells, |value| *value).map_err(|error| error.at_path("candidates").at_line(line))?;
        }
        writer.finish();
        self.score_into(id, row, rows, scores)
    }

    /// Counts the values that the vocabularies of the encoder did not have, in the last request that [`Predictor::score`] scored with `cache`.
    /// Returns the name and this count for each feature with a vocabulary. Use it to monitor how much of the traffic is new to the model.
    ///
    /// For a feature with lists of values, each value of a list counts. A value that the request gives for all candidates counts once. The numbers
    /// are meaningless if that call returned an error, or if another predictor has used the cache since. With a new cache, all counts are 0.
    pub fn unknown<'a>(&'a self, cache: &'a PredictorCache) -> impl Iterator<Item = (&'a str, usize)> {
        let Inner { encoder, request, candidate, .. } = &*self.0;
        let of = |plan: &'a RowPlan, rows: &'a Batch| plan.unknown(encoder, rows);
        of(request, &cache.request).chain(of(candidate, &cache.candidates))
    }

    /// Scores encoded candidates of one domain. Returns their probabilities, `[candidates, tasks]`, in the order of `candidates`.
    ///
    /// * `domain` is the id of the domain, or [`DomainId::SHARED`] for no known domain. The domains in the batches are not read.
    /// * `given` is a batch of one row. Only the features that a request gives once ([`PredictorBuilder::given`]) are read from it; if there are
    ///   none, it may be empty.
    /// * `candidates` has one row for each candidate. All other features are read from it.
    /// * `cache` holds the buffers and the result.
    ///
    /// Numeric inputs are not checked: with NaN or infinity, the result is an error or has no meaning.
    ///
    /// # Errors
    /// * [`ErrorKind::UnknownDomain`]: the model does not have the domain `domain`.
    /// * [`ErrorKind::Layout`]: a batch does not have the fields and numeric inputs of the encoder's layout, or `given` does not have exactly one row
    ///   although there are columns that a request gives once.
    /// * [`ErrorKind::Data`]: a batch has an id that the model does not have.
    /// * [`ErrorKind::NonFinite`]: a score is not finite.
    pub fn score_batch<'c>(
        &self,
        domain: DomainId,
        given: &Batch,
        candidates: &Batch,
        cache: &'c mut PredictorCache,
    ) -> Result<&'c Array2<f32>> {
        let scorer = &self.0.scorer;
        self.check_domain(domain)?;
        scorer.check_given(given).map_err(|error| error.at_path("given"))?;
        scorer.check_candidates(candidates).map_err(|error| error.at_path("candidates"))?;
        self.score_into(domain, given, candidates, &mut cache.scores)
    }

    fn check_domain(&self, domain: DomainId) -> Result<()> {
        let known = self.0.scorer.layout().domains.len();
        match domain.index().filter(|&index| index >= known) {
            None => Ok(()),
            Some(index) => {
                let message = format!("expected a domain of the layout, which has {known} domains");
                Err(Error::new(ErrorKind::UnknownDomain, message).with_value(index.to_string()))
            }
        }
    }

    fn score_into<'c>(
        &self,
        domain: DomainId,
        given: &Batch,
        candidates: &Batch,
        cache: &'c mut ScoreCache,
    ) -> Result<&'c Array2<f32>> {
        let Inner { scorer, calibration, .. } = &*self.0;
        let ScoreCache { context, scorer: buffers, probabilities } = cache;
        scorer.context_into(domain, given, context);
        let logits = scorer.score(context, candidates, buffers);
        if !logits.iter().all(|z| z.is_finite()) {
            return Err(self.not_finite(logits, given, candidates));
        }
        crate::nn::buffer::resize(probabilities, logits.nrows(), logits.ncols());
        for (task, (column, logits)) in probabilities.axis_iter_mut(Axis(1)).zip(logits.axis_iter(Axis(1))).enumerate()
        {
            let target = scorer.layout().target(task);
            let curve = calibration.as_ref().map_or(&Curve::Identity, |calibration| calibration.curve(domain, task));
            let probability =
                |z: f32| if *curve == Curve::Identity { answer(target, z) } else { curve.probability(z) as f32 };
            column.into_iter().zip(logits).for_each(|(p, &z)| *p = probability(z));
        }
        // The exponential of a finite logit may be infinite.
        if !scorer.layout().all_binary() && !probabilities.iter().all(|p| p.is_finite()) {
            return Err(self.not_finite(probabilities, given, candidates));
        }
        Ok(probabilities)
    }

    /// The error of a score that is not finite: names the candidate and its largest input.
    #[cold]
    fn not_finite(&self, logits: &ArrayRef2<f32>, given: &Batch, candidates: &Batch) -> Error {
        let scorer = &self.0.scorer;
        let layout = scorer.layout();
        let ((row, task), _) = logits.indexed_iter().find(|(_, z)| !z.is_finite()).expect("one of them is not finite");
        let shared = scorer.given_numeric().map(|input| (input, given.numeric[[0, input]]));
        let own = scorer.own_numeric().map(|input| (input, candidates.numeric[[row, input]]));
        let largest = shared.chain(own).max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()));
        let error = Error::new(
            ErrorKind::NonFinite,
            format!("the score of task {:?} is not a finite number", layout.tasks[task]),
        );
        let error = error.at_path("candidates").at_line(row as u64 + 1);
        match largest {
            Some((input, value)) if value.abs() > FAR => error.with_help(format!(
                "its largest input is {:?}, {value:e} after scaling: send values like those of training",
                layout.numeric[input]
            )),
            _ => error.with_help(
                "its inputs are not far outside the training data: the model's weights are damaged or too large",
            ),
        }
    }

    /// Scores rows in memory that can have different domains. Returns their probabilities, `[rows, tasks]`, in the order of `rows`. Each row has all
    /// values itself: it is a list of pairs (column, value), with the values written as in a file, for every column of the features and of the
    /// domain.
    ///
    /// # Errors
    /// The errors of [`Encoder::encode_rows`] if a row cannot be encoded: a column is missing, unknown or listed twice, a value is invalid, or the
    /// domain is unknown. [`ErrorKind::NonFinite`] if a score is not finite.
    pub fn predict<R, K, V>(&self, rows: impl IntoIterator<Item = R>) -> Result<Array2<f32>>
    where
        R: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: AsRef<str>,
    {
        self.predict_batch(&self.0.encoder.encode_rows(rows)?)
    }

    /// Scores some rows of a table. Returns their probabilities, `[rows, tasks]`. `rows` has the numbers of these rows in the table, counted from 0;
    /// the result has the same order.
    ///
    /// # Errors
    /// The errors of [`Encoder::encode`] if a row cannot be encoded: a column is missing, a value is invalid, or the domain is unknown.
    /// [`ErrorKind::NonFinite`] if a score is not finite.
    ///
    /// # Panics
    /// If a number in `rows` is not below the number of rows of the table.
    pub fn predict_table(&self, table: &Table, rows: &[u32]) -> Result<Array2<f32>> {
        let rows = self.0.encoder.encode(table, rows)?;
        self.predict_batch(&rows)
    }

    /// Scores encoded rows. Returns their probabilities, `[rows, tasks]`, in the order of `rows`. The rows can be of several domains
    /// ([`Batch::domains()`]); each row has all values itself, also those of the columns of [`Predictor::given`]. It is fastest if rows with the same
    /// domain and the same given values follow each other, because these are scored together.
    ///
    /// # Errors
    /// * [`ErrorKind::Layout`]: the batch does not have the fields and numeric inputs of the encoder's layout.
    /// * [`ErrorKind::Data`]: the batch has an id that the model does not have.
    /// * [`ErrorKind::UnknownDomain`]: a row has a domain that the model does not have. The message says `rows:2` for the second row.
    /// * [`ErrorKind::NonFinite`]: a score is not finite. The message says `rows:2` for the second row.
    pub fn predict_batch(&self, rows: &Batch) -> Result<Array2<f32>> {
        let Inner { encoder, scorer, request: plan, .. } = &*self.0;
        let layout = scorer.layout();
        rows.check_fields(layout, 0..layout.fields.len())?;
        let mut probabilities = Array2::zeros((rows.rows(), layout.tasks.len()));
        let (mut cache, mut request, mut part) = (ScoreCache::default(), Batch::default(), Batch::default());
        let mut first = 0;
        while first < rows.rows() {
            let domain = rows.domains[first];
            self.check_domain(domain).map_err(|error| error.at_path("rows").at_line(first as u64 + 1))?;
            let together = (first + 1..rows.rows()).take_while(|&row| plan.alike(encoder, rows, row - 1, row)).count();
            let end = first + 1 + together;
            rows.slice_into(first..first + 1, &mut request);
            rows.slice_into(first..end, &mut part);
            let scored = self.score_into(domain, &request, &part, &mut cache).map_err(|error| {
                let line = error.line().unwrap_or(1) + first as u64;
                error.at_path("rows").at_line(line)
            })?;
            probabilities.slice_mut(s![first..end, ..]).assign(scored);
            first = end;
        }
        Ok(probabilities)
    }
}

/// The name of a column: of the domain, which the predictor adds, or of a column of the caller.
enum Name<'a, K> {
    Domain(&'a str),
    Given(K),
}

impl<K: AsRef<str>> AsRef<str> for Name<'_, K> {
    fn as_ref(&self) -> &str {
        match self {
            Self::Domain(name) => name,
            Self::Given(name) => name.as_ref(),
        }
    }
}
