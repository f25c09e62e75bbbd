//! The choice of the transform `auto`, and what reports say about numeric features.

use serde::Serialize;

use super::runs::Runs;
use crate::data::{Share, Transform};

/// The most bins of an automatic embedding.
const MOST_BINS: usize = 32;

/// How many rows with a value there are at least for each bin of an automatic embedding.
const ROWS_PER_BIN: usize = 500;

/// The fewest bins of an automatic embedding: with fewer rows, there is none.
const FEWEST_BINS: usize = 4;

/// A value with a larger share of the rows than this is a spike.
const SPIKE: f64 = 0.5;

/// Tails are heavy where the middle nine tenths of the rows are in a smaller share of the range than this.
const HEAVY: f64 = 0.25;

/// How one numeric feature is encoded, and how its numbers are distributed in the training rows.
/// [`DataReport::numbers`](crate::data::DataReport::numbers) has one for each numeric feature. Every row counts once, whatever its weight. Rows
/// in which the number is missing count in none of the fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NumberReport {
    /// The name of the feature.
    pub feature: String,
    /// The transform that the encoder uses for the feature. If the schema has [`Transform::Auto`], it is the transform that was chosen.
    pub transform: Transform,
    /// Whether [`Transform::Auto`] chose the transform. False if the schema names the transform.
    pub automatic: bool,
    /// The number of different values of the feature in the training rows.
    pub distinct: usize,
    /// The most frequent value in the training rows; if several are equally frequent, the smallest of them. `None` if no training row has a
    /// value.
    pub most_frequent: Option<f64>,
    /// How many training rows have the most frequent value (`count`), out of those that have any value (`of`).
    pub spike: Share,
    /// How much of the range from the smallest to the largest value the middle 90 % of the rows cover: `(q₉₅ − q₅) / (max − min)`, from 0 to 1,
    /// where q₅ and q₉₅ are the 5 % and 95 % quantiles. It is about 0.9 for a uniform distribution. It is near 0 for heavy tails, that is, if a
    /// few values are far from all others. It is 0 if all values are equal or missing.
    pub middle: f64,
}

impl NumberReport {
    pub(in crate::data) fn new(feature: &str, declared: Transform, runs: &Runs) -> Self {
        let (most_frequent, count) = runs.spike().map_or((None, 0), |(x, rows)| (Some(x), rows));
        let mut report = Self {
            feature: feature.to_owned(),
            transform: declared,
            automatic: declared == Transform::Auto,
            distinct: runs.distinct(),
            most_frequent,
            spike: Share { count, of: runs.rows },
            middle: middle(runs),
        };
        if report.automatic {
            report.transform = report.choose();
        }
        report
    }

    /// The choice of [`Transform::Auto`], whose documentation has the rule.
    fn choose(&self) -> Transform {
        let Share { count, of } = self.spike;
        let bins = (of / ROWS_PER_BIN).min(MOST_BINS);
        if self.distinct <= 2 {
            Transform::Standard
        } else if bins >= FEWEST_BINS {
            Transform::PiecewiseEmbedding(bins)
        } else if count as f64 > SPIKE * of as f64 || self.middle < HEAVY {
            Transform::Quantile
        } else {
            Transform::Standard
        }
    }
}

/// The share of the range between the quantiles 0.05 and 0.95.
fn middle(runs: &Runs) -> f64 {
    let (Some(&(first, _)), Some(&(last, _))) = (runs.list.first(), runs.list.last()) else { return 0.0 };
    let quantile = |share: f64| {
        let mut rows = 0;
        let reaches = |&&(_, of_run): &&(f64, usize)| {
            rows += of_run;
            rows as f64 >= share * runs.rows as f64
        };
        runs.list.iter().find(reaches).map_or(last, |&(x, _)| x)
    };
    if first < last { (quantile(0.95) - quantile(0.05)) / (last - first) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(values: impl IntoIterator<Item = f64>) -> NumberReport {
        NumberReport::new("x", Transform::Auto, &Runs::of(values.into_iter()))
    }

    #[test]
    fn the_rule_by_hand() {
        let numbers = |count: i32| (0..count).map(f64::from);
        let chosen = |values: Vec<f64>| report(values).transform;
        assert_eq!(chosen(vec![f64::NAN; 9]), Transform::Standard);
        assert_eq!(chosen((0..5000).map(|i| f64::from(i % 2)).collect()), Transform::Standard);
        assert_eq!(chosen(numbers(1999).collect()), Transform::Standard);
        assert_eq!(chosen(numbers(2000).collect()), Transform::PiecewiseEmbedding(4));
        assert_eq!(chosen(numbers(2000).chain([f64::NAN; 500]).collect()), Transform::PiecewiseEmbedding(4));
        assert_eq!(chosen((0..50_000).map(|i| f64::from(i % 3)).collect()), Transform::PiecewiseEmbedding(32));
        // Few rows: the rank where a plain scale would put most rows at one place.
        // From the 95th to the last value: e^(−5/2) of the range, and e^(−5/5).
        assert_eq!(chosen(numbers(100).map(|i| (i / 2.0).exp()).collect()), Transform::Quantile);
        assert_eq!(chosen(numbers(100).map(|i| (i / 5.0).exp()).collect()), Transform::Standard);
        assert_eq!(chosen(numbers(100).map(|i| (i - 60.0).max(0.0)).collect()), Transform::Quantile);
        let declared = NumberReport::new("x", Transform::Unscaled, &Runs::of(numbers(900)));
        assert_eq!((declared.transform, declared.automatic), (Transform::Unscaled, false));
    }

    #[test]
    fn reports_by_hand() {
        let uniform = report((0..=100).map(f64::from));
        assert!((uniform.middle - 0.9).abs() < 0.02, "{}", uniform.middle);
        let spike = report([7.0, -0.0, 0.0, 3.0, f64::NAN]);
        assert_eq!((spike.distinct, spike.most_frequent, spike.spike), (3, Some(0.0), Share { count: 2, of: 4 }));
        assert_eq!((report([1.0; 3]).middle, report([]).most_frequent), (0.0, None));
    }
}
