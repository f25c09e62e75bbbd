//! A model and its encoder, as one thing.

mod builder;

use std::sync::Arc;

use ndarray::{Array2, Axis, s};

pub use self::builder::PredictorBuilder;
use super::{Calibration, Context, Curve, Frozen, FrozenCache};
use crate::data::{Batch, DomainId, Encoder, RawValue, RowPlan, RowScratch, Table};
use crate::model::{Model, Net, probability};
use crate::{Error, Result};

/// A trained model, frozen, with the [`Encoder`] that was fitted for it and, by choice, a [`Calibration`]: it takes raw values and gives
/// probabilities.
///
/// A request is one domain, the values that all its candidates share (of the user, of the page), and a list of candidates with the
/// others. Which columns are shared is said once, by [`PredictorBuilder::given`].
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
/// // A warm call allocates nothing: lend the same cache again, one to each thread.
/// let mut cache = PredictorCache::default();
/// let candidates: [[(&str, RawValue); 2]; 2] =
///     [[("item", "sofa".into()), ("price", 380.0.into())], [("item", "lamp".into()), ("price", "25".into())]];
/// let p = predictor.score("home", [("user", "ann")], candidates, &mut cache)?;
/// assert_eq!(p.dim(), (2, 1));
///
/// // Rows that have all their values themselves.
/// let rows = [[("user", "bob"), ("item", "sofa"), ("price", "380"), ("page", "a page nobody has seen")]];
/// assert_eq!(predictor.predict(rows)?.dim(), (1, 1));
/// # Ok::<(), starple::Error>(())
/// ```
///
/// It is immutable and cheap to clone; threads share it, and a service swaps one for another as a whole. Values that training did not see
/// take the out-of-vocabulary row. Inside a rayon pool, long lists of candidates are scored by all its threads, with the same bits.
#[derive(Debug, Clone)]
pub struct Predictor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    encoder: Encoder,
    frozen: Frozen,
    calibration: Option<Calibration>,
    /// The columns that a request gives once, the domain's among them.
    request: RowPlan,
    /// The others.
    candidate: RowPlan,
}

/// The buffers of [`Predictor::score`], lent by the caller.
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
    frozen: FrozenCache,
    probabilities: Array2<f32>,
}

impl Predictor {
    /// A predictor of this model behind this encoder.
    pub fn builder<N: Net>(encoder: Encoder, model: Model<N>) -> PredictorBuilder<N> {
        PredictorBuilder::new(encoder, model)
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.0.encoder
    }

    /// The frozen model.
    pub fn frozen(&self) -> &Frozen {
        &self.0.frozen
    }

    /// The calibration, if there is one.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.0.calibration.as_ref()
    }

    /// The columns that a request gives once, besides the domain.
    pub fn given(&self) -> impl Iterator<Item = &str> {
        let domain = self.0.encoder.schema().domain();
        self.0.request.names().iter().map(String::as_str).filter(move |&name| Some(name) != domain)
    }

    /// The columns that every candidate has.
    pub fn own(&self) -> impl Iterator<Item = &str> {
        self.0.candidate.names().iter().map(String::as_str)
    }

    /// The probabilities of a request's candidates, `[candidates, tasks]`.
    ///
    /// `given` and each candidate are lists of column and value, in any order; a reference to a map is one too. Labels and other columns
    /// of the schema that are no features may be among them and are not read. Without a domain column the domain is `all`.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownDomain`](crate::ErrorKind::UnknownDomain), unless the encoder lets such rows take the shared path;
    /// [`ErrorKind::Data`](crate::ErrorKind::Data) for a column that is missing, unknown, named twice or in the wrong place, and a value
    /// that cannot be (text in a numeric column). Their texts say `given`, or `candidates:2` for the second candidate.
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
        Ok(self.score_into(id, row, rows, scores))
    }

    /// The probabilities of encoded candidates, `[rows, tasks]`; their domain is `domain`, and of `given`, one row, the fields that are
    /// given are read. If none are, `given` may be empty.
    ///
    /// # Panics
    /// If the domain is out of range, or a batch does not have the encoder's layout.
    pub fn score_batch<'c>(
        &self,
        domain: DomainId,
        given: &Batch,
        candidates: &Batch,
        cache: &'c mut PredictorCache,
    ) -> &'c Array2<f32> {
        self.score_into(domain, given, candidates, &mut cache.scores)
    }

    fn score_into<'c>(
        &self,
        domain: DomainId,
        given: &Batch,
        candidates: &Batch,
        cache: &'c mut ScoreCache,
    ) -> &'c Array2<f32> {
        let Inner { frozen, calibration, .. } = &*self.0;
        let ScoreCache { context, frozen: buffers, probabilities } = cache;
        frozen.context_into(domain, given, context);
        let logits = frozen.score(context, candidates, buffers);
        crate::nn::buffer::resize(probabilities, logits.nrows(), logits.ncols());
        for (task, (column, logits)) in probabilities.axis_iter_mut(Axis(1)).zip(logits.axis_iter(Axis(1))).enumerate()
        {
            let curve = calibration.as_ref().map_or(&Curve::Identity, |calibration| calibration.curve(domain, task));
            let probability =
                |z: f32| if *curve == Curve::Identity { probability(z) } else { curve.probability(z) as f32 };
            column.into_iter().zip(logits).for_each(|(p, &z)| *p = probability(z));
        }
        probabilities
    }

    /// The probabilities of rows that are in memory, `[rows, tasks]`; each row is a list of column and value as they would be written in
    /// a file, the domain among them.
    ///
    /// # Errors
    /// Those of [`Encoder::encode_rows`].
    pub fn predict<R, K, V>(&self, rows: impl IntoIterator<Item = R>) -> Result<Array2<f32>>
    where
        R: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: AsRef<str>,
    {
        Ok(self.predict_batch(&self.0.encoder.encode_rows(rows)?))
    }

    /// The probabilities of rows of a table, `[rows, tasks]`.
    ///
    /// # Errors
    /// Those of [`Encoder::encode`].
    ///
    /// # Panics
    /// If a row number is not one of the table.
    pub fn predict_table(&self, table: &Table, rows: &[u32]) -> Result<Array2<f32>> {
        Ok(self.predict_batch(&self.0.encoder.encode(table, rows)?))
    }

    /// The probabilities of encoded rows of any domains, `[rows, tasks]`.
    ///
    /// Neighbouring rows of one domain that share what is given are scored together.
    ///
    /// # Panics
    /// If the batch does not have the encoder's layout, or a domain is out of range.
    pub fn predict_batch(&self, rows: &Batch) -> Array2<f32> {
        let mut probabilities = Array2::zeros((rows.rows(), self.0.frozen.layout().tasks.len()));
        let (mut cache, mut request, mut part) = (ScoreCache::default(), Batch::default(), Batch::default());
        let order: Vec<u32> = (0..rows.rows() as u32).collect();
        let alike = |&a: &u32, &b: &u32| self.0.request.alike(&self.0.encoder, rows, a as usize, b as usize);
        for together in order.chunk_by(alike) {
            let first = together[0] as usize;
            rows.gather_into(&together[..1], &mut request);
            rows.gather_into(together, &mut part);
            let scored = self.score_into(rows.domains[first], &request, &part, &mut cache);
            probabilities.slice_mut(s![first..first + together.len(), ..]).assign(scored);
        }
        probabilities
    }
}

/// A column's name: the domain's, which the predictor adds, or one of the caller's.
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
