//! A generated log and its truth.

use ndarray::{Array2, ArrayRef2, Axis};
use ndarray_rand::rand_distr::StandardNormal;
use rand::Rng;
use rand::seq::SliceRandom;
use starple::data::{Batch, DataSet, DomainId, Ids, Layout, Pooling};
use starple::loss::sigmoid;

use super::columns::{Columns, time};
use super::config::{SyntheticConfig, SyntheticConfigBuilder};
use super::truth::Truth;
use super::{Stream, stream};

/// A generated log: features, labels, and the true probability of every label.
///
/// Rows are independent given their domain and come in random order.
#[derive(Debug, Clone)]
pub struct SyntheticLog {
    pub(super) config: SyntheticConfig,
    pub(super) domains: Vec<DomainId>,
    pub(super) columns: Columns,
    pub(super) splits: Vec<&'static str>,
    labels: Array2<f32>,
    probabilities: Array2<f64>,
    base_rates: Array2<f64>,
}

impl SyntheticLog {
    /// Generates the log that `config` describes. Equal configurations give equal logs.
    pub fn generate(config: &SyntheticConfig) -> Self {
        let settings = config.settings();
        let domains = draw_domains(settings);
        let columns = Columns::draw(settings, &domains);
        let base_rates = draw_base_rates(settings);
        let conditional = conditional_probabilities(settings, &domains, &columns, &base_rates);
        let (labels, probabilities) = draw_labels(settings, &domains, &conditional);
        let split =
            |row| if settings.time_split { split_at(time(settings, row)) } else { draw_split(settings.seed, row) };
        let splits = (0..settings.rows).map(split).collect();
        Self {
            config: config.clone(),
            domains: domains.into_iter().map(DomainId::new).collect(),
            columns,
            splits,
            labels,
            probabilities,
            base_rates: marginal_rates(settings, base_rates),
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.domains.len()
    }

    /// The domain of each row.
    pub fn domains(&self) -> &[DomainId] {
        &self.domains
    }

    /// Each row's split: `"train"`, `"val"` or `"test"`, drawn with probabilities 0.8, 0.1 and 0.1, or by time
    /// ([`time_split`](SyntheticConfig::time_split)).
    pub fn splits(&self) -> &[&'static str] {
        &self.splits
    }

    /// Labels, `[rows, tasks]`: 0, 1, or NaN where the domain does not report the task.
    pub fn labels(&self) -> &ArrayRef2<f32> {
        &self.labels
    }

    /// The true probability that a label is 1, `[rows, tasks]`, also where it is not reported.
    pub fn probabilities(&self) -> &ArrayRef2<f64> {
        &self.probabilities
    }

    /// The scores of a model that knows the truth, `ln(p / (1 − p))`, `[rows, tasks]`.
    ///
    /// Apart from the randomness of the labels, their AUC and log loss are the best possible.
    pub fn oracle_logits(&self) -> Array2<f32> {
        self.probabilities.mapv(|p| (p.ln() - (-p).ln_1p()) as f32)
    }

    /// The mean of the true probabilities, `[domains, tasks]`, over each domain's rows.
    pub fn base_rates(&self) -> &ArrayRef2<f64> {
        &self.base_rates
    }

    /// The layout of [`SyntheticLog::data_set`]: the fields (row 0 of each is unused), then the bags, pooled by mean.
    pub fn layout(&self) -> Layout {
        let settings = self.config.settings();
        let mut layout = Layout::new(&settings.domains, settings.tasks.iter().map(|task| &task.name));
        for column in &settings.categorical {
            layout = layout.field(&column.name, column.values + 1);
        }
        for column in &settings.bags {
            layout = layout.bag(&column.name, column.values + 1, Pooling::Mean);
        }
        layout.numeric(settings.numeric.iter().map(|column| &column.name))
    }

    /// All rows as a model reads them. Groups are the values of the first field.
    #[expect(clippy::missing_panics_doc, reason = "generated rows have the layout of their log")]
    pub fn data_set(&self) -> DataSet {
        let above_zero = |ids: &[u32]| ids.iter().map(|id| id + 1).collect::<Vec<_>>();
        let fields = self.columns.ids.iter().map(|ids| Ids::One(above_zero(ids)));
        let bags = self.columns.bags.iter();
        let bags = bags.map(|bag| Ids::Bag { offsets: bag.offsets.clone(), ids: above_zero(&bag.ids) });
        let numeric = &self.columns.numeric;
        let rows = Batch {
            ids: fields.chain(bags).collect(),
            numeric: Array2::from_shape_fn((self.rows(), numeric.len()), |(row, column)| {
                numeric[column].standardised(row) as f32
            }),
            labels: self.labels.clone(),
            domains: self.domains.clone(),
            weights: Vec::new(),
            groups: self.columns.ids[0].clone(),
        };
        DataSet::new(&self.layout(), rows).expect("generated rows have the layout of their log")
    }
}

/// The domain of each row: exact shares in random order.
fn draw_domains(settings: &SyntheticConfigBuilder) -> Vec<usize> {
    let mut domains = Vec::with_capacity(settings.rows);
    for (domain, end) in settings.domain_ends().into_iter().enumerate() {
        domains.resize(end, domain);
    }
    domains.shuffle(&mut stream(settings.seed, Stream::Order, 0));
    domains
}

/// Base rates `[domains, tasks]`; for a task that is given another, among the rows where the other label is 1.
fn draw_base_rates(settings: &SyntheticConfigBuilder) -> Array2<f64> {
    let mut rates = Array2::zeros((settings.domains.len(), settings.tasks.len()));
    for (domain, mut rates) in rates.axis_iter_mut(Axis(0)).enumerate() {
        let normals = stream(settings.seed, Stream::Rates, domain).sample_iter::<f64, _>(StandardNormal);
        for ((rate, task), normal) in rates.iter_mut().zip(&settings.tasks).zip(normals) {
            *rate = sigmoid((task.rate / (1.0 - task.rate)).ln() + settings.rate_shift * normal);
        }
    }
    rates
}

/// Base rates `[domains, tasks]`; for a task that is given another, among all rows.
fn marginal_rates(settings: &SyntheticConfigBuilder, mut rates: Array2<f64>) -> Array2<f64> {
    for task in 0..settings.tasks.len() {
        if let Some(given) = given(settings, task) {
            for mut rates in rates.rows_mut() {
                rates[task] *= rates[given];
            }
        }
    }
    rates
}

/// The task that this one is given.
fn given(settings: &SyntheticConfigBuilder, task: usize) -> Option<usize> {
    let name = settings.tasks[task].given.as_ref()?;
    settings.tasks.iter().position(|other| other.name == *name)
}

/// `σ(z_{d,t})`, `[rows, tasks]`, with the intercepts that give the base rates.
fn conditional_probabilities(
    settings: &SyntheticConfigBuilder,
    domains: &[usize],
    columns: &Columns,
    base_rates: &Array2<f64>,
) -> Array2<f64> {
    let truth = Truth::draw(settings);
    let mut scores = Array2::zeros((domains.len(), settings.tasks.len()));
    let mut features = Vec::new();
    for (row, &domain) in domains.iter().enumerate() {
        truth.features(columns, row, &mut features);
        for task in 0..settings.tasks.len() {
            scores[[row, task]] = truth.score(domain, task, &features);
        }
    }
    if settings.rate_drift > 0.0 {
        let drifts = |domain| stream(settings.seed, Stream::Drift, domain).sample_iter::<f64, _>(StandardNormal);
        let drifts = (0..settings.domains.len()).map(|domain| drifts(domain).take(settings.tasks.len()).collect());
        let drifts: Vec<Vec<f64>> = drifts.collect();
        for ((row, task), score) in scores.indexed_iter_mut() {
            *score += settings.rate_drift * drifts[domains[row]][task] * (time(settings, row) - 0.5);
        }
    }

    let mut rows_of = vec![Vec::new(); settings.domains.len()];
    for (row, &domain) in domains.iter().enumerate() {
        rows_of[domain].push(row);
    }
    // The probability that the task can be 1 in each row. A task comes after the one that it is given.
    let mut reach = Array2::<f64>::ones(scores.dim());
    for task in 0..settings.tasks.len() {
        for (domain, rows) in rows_of.iter().enumerate() {
            if let Some(given) = given(settings, task) {
                for &row in rows {
                    reach[[row, task]] = reach[[row, given]] * scores[[row, given]];
                }
            }
            let weighted: Vec<_> = rows.iter().map(|&row| (scores[[row, task]], reach[[row, task]])).collect();
            let intercept = calibrate(&weighted, base_rates[[domain, task]]);
            for &row in rows {
                scores[[row, task]] = sigmoid(scores[[row, task]] + intercept);
            }
        }
    }
    scores
}

/// The b at which `Σ w·σ(s + b) / Σ w` is `rate`, over the pairs `(s, w)`.
fn calibrate(weighted: &[(f64, f64)], rate: f64) -> f64 {
    let total: f64 = weighted.iter().map(|(_, weight)| weight).sum();
    let mean = |b: f64| weighted.iter().map(|(score, weight)| weight * sigmoid(score + b)).sum::<f64>() / total;
    let logit = (rate / (1.0 - rate)).ln();
    // At `low` no row is above the rate, at `high` none below; bisected to the last bit.
    let mut low = weighted.iter().map(|(score, _)| logit - score).fold(f64::INFINITY, f64::min);
    let mut high = weighted.iter().map(|(score, _)| logit - score).fold(f64::NEG_INFINITY, f64::max);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if mean(middle) < rate {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Labels and their probabilities. A label that is given another is 1 only if the other is.
fn draw_labels(
    settings: &SyntheticConfigBuilder,
    domains: &[usize],
    conditional: &Array2<f64>,
) -> (Array2<f32>, Array2<f64>) {
    let mut labels = Array2::zeros(conditional.dim());
    let mut probabilities = conditional.clone();
    for row in 0..domains.len() {
        let mut rng = stream(settings.seed, Stream::Labels, row);
        for task in 0..settings.tasks.len() {
            // Always one draw per task, so that a task does not change the draws of others.
            let drawn = rng.random::<f64>() < conditional[[row, task]];
            let given = given(settings, task);
            let reached = given.is_none_or(|given| labels[[row, given]] == 1.0);
            labels[[row, task]] = if drawn && reached { 1.0 } else { 0.0 };
            if let Some(given) = given {
                probabilities[[row, task]] *= probabilities[[row, given]];
            }
        }
    }
    // After all draws: an unreported click still decides about the cart.
    for (task, column) in settings.tasks.iter().zip(labels.columns_mut()) {
        let unreported = |domain: &String| settings.unreported.iter().any(|(t, d)| (t, d) == (&task.name, domain));
        let silent: Vec<bool> = settings.domains.iter().map(unreported).collect();
        for (label, &domain) in column.into_iter().zip(domains) {
            if silent[domain] {
                *label = f32::NAN;
            }
        }
    }
    (labels, probabilities)
}

fn split_at(time: f64) -> &'static str {
    match time {
        ..0.8 => "train",
        ..0.9 => "val",
        _ => "test",
    }
}

fn draw_split(seed: u64, row: usize) -> &'static str {
    match stream(seed, Stream::Split, row).random_range(0..10) {
        0..8 => "train",
        8 => "val",
        _ => "test",
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn calibration_meets_the_rate() {
        let weighted = [(-3.0, 1.0), (0.5, 0.25), (2.0, 1.0), (8.0, 0.5)];
        for rate in [1e-6, 0.02, 0.5, 0.99] {
            let b = calibrate(&weighted, rate);
            let mean = weighted.iter().map(|(s, w)| w / (1.0 + (-(s + b)).exp())).sum::<f64>() / 2.75;
            assert_relative_eq!(mean, rate, max_relative = 1e-9);
        }
        // One row: the logit itself.
        assert_relative_eq!(calibrate(&[(1.0, 0.3)], 0.5), -1.0);
    }
}
