//! The features of a synthetic log, column by column.

use ndarray_rand::rand_distr::StandardNormal;
use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;

use super::config::SyntheticConfigBuilder;
use super::truth::popularity;
use super::{Stream, stream};

/// The cells of a log, without labels.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    /// By categorical field: the value of each row.
    pub(super) ids: Vec<Vec<u32>>,
    pub(super) bags: Vec<BagColumn>,
    pub(super) numeric: Vec<NumericColumn>,
}

/// Any number of values per row.
#[derive(Debug, Clone)]
pub(super) struct BagColumn {
    /// The start of each row's values, and the end of the last row's.
    pub(super) offsets: Vec<u32>,
    pub(super) ids: Vec<u32>,
}

impl BagColumn {
    /// The values of a row.
    pub(super) fn row(&self, row: usize) -> &[u32] {
        &self.ids[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

/// A numeric column, as written to a file.
#[derive(Debug, Clone)]
pub(super) struct NumericColumn {
    /// NaN for an empty cell.
    pub(super) cells: Vec<f64>,
    mean: f64,
    std: f64,
}

impl NumericColumn {
    /// `(cell − mean) / std`; 0 for an empty cell.
    pub(super) fn standardised(&self, row: usize) -> f64 {
        let cell = self.cells[row];
        if cell.is_nan() { 0.0 } else { (cell - self.mean) / self.std }
    }
}

impl Columns {
    /// Draws the cells of rows of these domains.
    pub(super) fn draw(settings: &SyntheticConfigBuilder, domains: &[usize]) -> Self {
        let mut columns = Self {
            ids: vec![Vec::with_capacity(domains.len()); settings.categorical.len()],
            bags: vec![BagColumn { offsets: vec![0], ids: Vec::new() }; settings.bags.len()],
            numeric: settings
                .numeric
                .iter()
                .map(|column| NumericColumn { cells: Vec::new(), mean: column.mean, std: column.std })
                .collect(),
        };
        let offers: Vec<_> = (0..settings.domains.len()).map(|domain| Offer::draw(settings, domain)).collect();
        let births: Vec<_> =
            settings.tables().enumerate().map(|(table, values)| births(settings, table, values)).collect();
        for (row, &domain) in domains.iter().enumerate() {
            columns.push(settings, &offers[domain], &births, row);
        }
        columns
    }

    fn push(&mut self, settings: &SyntheticConfigBuilder, offer: &Offer, births: &[Vec<f64>], row: usize) {
        let mut rng = stream(settings.seed, Stream::Cells, row);
        let now = time(settings, row);
        let (of_fields, of_bags) = births.split_at(self.ids.len());
        let (fields, bags) = offer.values.split_at(self.ids.len());
        for ((ids, values), births) in self.ids.iter_mut().zip(fields).zip(of_fields) {
            ids.push(born(values, births, now, &mut rng));
        }
        for (((column, values), births), bag) in self.bags.iter_mut().zip(bags).zip(of_bags).zip(&settings.bags) {
            let length = rng.random_range(0..=bag.longest);
            let mut ids: Vec<u32> = (0..length).map(|_| born(values, births, now, &mut rng)).collect();
            ids.sort_unstable();
            ids.dedup();
            column.ids.extend(ids);
            column.offsets.push(column.ids.len() as u32);
        }
        for ((column, shift), numeric) in self.numeric.iter_mut().zip(&offer.shifts).zip(&settings.numeric) {
            let normal: f64 = rng.sample(StandardNormal);
            let missing = rng.random_bool(settings.missing);
            // The true probabilities are computed from the rounded cells.
            let unit = 10_f64.powi(numeric.decimals as i32);
            let cell = ((numeric.mean + numeric.std * (shift + normal)) * unit).round() / unit;
            // + 0 turns a rounded −0 into 0.
            column.cells.push(if missing { f64::NAN } else { cell + 0.0 });
        }
    }
}

/// The time of a row: 0 for the first one, nearly 1 for the last one.
pub(super) fn time(settings: &SyntheticConfigBuilder, row: usize) -> f64 {
    row as f64 / settings.rows as f64
}

/// The time at which each value of a field first occurs.
fn births(settings: &SyntheticConfigBuilder, table: usize, values: usize) -> Vec<f64> {
    let mut rng = stream(settings.seed, Stream::Fresh, table);
    let mut birth = || {
        let (fresh, at): (f64, f64) = rng.random();
        if fresh < settings.fresh { at } else { 0.0 }
    };
    let mut births: Vec<f64> = (0..values).map(|_| birth()).collect();
    // Some value must be there from the start.
    births[0] = 0.0;
    births
}

/// Draws a value until one is there at this time.
fn born(values: &WeightedIndex<f64>, births: &[f64], now: f64, rng: &mut impl Rng) -> u32 {
    loop {
        let value = values.sample(rng);
        if births[value] <= now {
            return value as u32;
        }
    }
}

/// The distributions of a domain's values.
struct Offer {
    /// By field, then by bag.
    values: Vec<WeightedIndex<f64>>,
    /// By numeric column, in standard deviations.
    shifts: Vec<f64>,
}

impl Offer {
    fn draw(settings: &SyntheticConfigBuilder, domain: usize) -> Self {
        let tables = settings.tables().count();
        let values = settings.tables().enumerate().map(|(table, values)| {
            let mut rng = stream(settings.seed, Stream::Popularity, domain * tables + table);
            let weights = (0..values).map(|value| {
                let tilt: f64 = rng.sample(StandardNormal);
                popularity(settings.popularity, value) * (settings.feature_shift * tilt).exp()
            });
            WeightedIndex::new(weights).expect("popularities are finite and above 0")
        });
        let rng = stream(settings.seed, Stream::NumericMeans, domain);
        let shifts = rng.sample_iter(StandardNormal).map(|normal: f64| settings.feature_shift * normal);
        Self { values: values.collect(), shifts: shifts.take(settings.numeric.len()).collect() }
    }
}
