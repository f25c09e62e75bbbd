//! The use of experts by gates.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ndarray::{ArrayRef2, s};
use serde::Serialize;
use starple::Result;
use starple::data::{Batch, DomainId, Layout};
use starple::metrics::SHARED_DOMAIN;
use starple::model::{Cache, ExpertId, GateReader, GateView, Model};
use starple::nn::Infer;

use super::Heat;
use crate::table::{Cell, TextTable};

/// The rows that are processed at a time.
const PIECE: usize = 4096;

/// The weights that the gates of one level give their experts, over all rows or the rows of one domain.
///
/// It displays as a table with a row for each gate and a column for each expert. Gates are named after the branch that reads
/// them ([`GateReader::name`]: `gates.click`, `shared_gate`), experts after the branch that owns them ([`ExpertId::name`]: `own.click.0`,
/// `shared.0`). A gate is measured over the rows that pass it, and is left out if there are none: if branches stand for domains, a row passes
/// only the upper gates of its own domain. A value is undefined if the gate does not read the expert.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateUse {
    /// The level of the experts, counted from the input.
    pub level: usize,
    /// The domain of the rows; `None` for all rows, [`SHARED_DOMAIN`] for rows of no known domain.
    pub domain: Option<String>,
    /// The number of rows.
    pub rows: usize,
    /// The mean weight of each expert; the weights of a gate sum to 1.
    pub mean: Heat,
    /// The standard deviation of the weight over rows (with divisor `rows`): 0 for a gate that ignores the row.
    pub std: Heat,
}

/// The weights of a model's gates on these rows, level by level: first over all rows, then by
/// domain (Tang et al., RecSys 2020, section 5.4, figure 8: expert utilisation). Empty for a model without gates.
///
/// # Errors
/// [`ErrorKind::Layout`](starple::ErrorKind::Layout), [`ErrorKind::Data`](starple::ErrorKind::Data) or
/// [`ErrorKind::UnknownDomain`](starple::ErrorKind::UnknownDomain) if the rows do not have the model's layout.
pub fn gates(model: &Model, rows: &Batch) -> Result<Vec<GateUse>> {
    let layout = model.layout();
    rows.check(layout)?;
    let mut sums = Sums { known: layout.domains.len(), rows: BTreeMap::new(), levels: BTreeMap::new() };
    let mut cache = Cache::<Infer>::default();
    for start in (0..rows.rows()).step_by(PIECE) {
        let piece = rows.slice(start..rows.rows().min(start + PIECE));
        model.forward_with(&piece, piece.domains(), &mut cache);
        for segment in cache.segments() {
            for group in sums.groups(segment.domain) {
                *sums.rows.entry(group).or_default() += segment.len();
            }
        }
        model.net().visit_gates(cache.tape(), &mut |view| {
            for segment in cache.segments() {
                let (from, to) = (segment.start.max(view.start), segment.end.min(view.start + view.weights.nrows()));
                if from < to {
                    let weights = view.weights.slice(s![from - view.start..to - view.start, ..]);
                    sums.add(view, segment.domain, &weights);
                }
            }
        });
    }
    Ok(sums.uses(layout))
}

/// A group of rows: all rows come first, then each domain by position, last the rows of no known domain.
type Group = Option<usize>;

struct Sums {
    /// The number of domains, which also is the group of rows of no known domain.
    known: usize,
    rows: BTreeMap<Group, usize>,
    levels: BTreeMap<usize, BTreeMap<Group, BTreeMap<GateReader, Spread>>>,
}

impl Sums {
    fn groups(&self, domain: DomainId) -> [Group; 2] {
        [None, Some(domain.index().unwrap_or(self.known))]
    }

    fn add(&mut self, view: GateView<'_>, domain: DomainId, weights: &ArrayRef2<f32>) {
        for group in self.groups(domain) {
            let gates = self.levels.entry(view.level).or_default().entry(group).or_default();
            let gate = gates.entry(view.reader);
            gate.or_insert_with(|| Spread::of(view.experts)).add(weights);
        }
    }

    fn uses(&self, layout: &Layout) -> Vec<GateUse> {
        let mut uses = Vec::new();
        for (&level, groups) in &self.levels {
            // All tables of a level have the same columns.
            let experts: BTreeSet<ExpertId> =
                groups.values().flat_map(BTreeMap::values).flat_map(|spread| spread.experts.iter().copied()).collect();
            for (&group, gates) in groups {
                let domain = group.map(|d| layout.domains.get(d).map_or(SHARED_DOMAIN, String::as_str).to_owned());
                let of = domain.as_ref().map_or("all rows".into(), |domain| format!("rows of {domain}"));
                let heat = |unit: &str, value: &dyn Fn(&Spread, usize) -> f64| Heat {
                    title: format!("Gates of level {level}, {of}"),
                    unit: unit.into(),
                    rows: gates.keys().map(|reader| reader.name(layout)).collect(),
                    columns: experts.iter().map(|expert| expert.name(layout)).collect(),
                    values: (gates.values())
                        .map(|spread| {
                            let place = |expert| spread.experts.iter().position(|known| known == expert);
                            experts.iter().map(|expert| Some(value(spread, place(expert)?))).collect()
                        })
                        .collect(),
                };
                let mean = heat("mean weight", &|spread, i| spread.mean[i]);
                let std = heat("standard deviation", &|spread, i| (spread.squares[i] / spread.rows).sqrt());
                uses.push(GateUse { level, rows: self.rows[&group], domain, mean, std });
            }
        }
        uses
    }
}

/// The running mean of each weight, and the sum of its squared distances from it (Welford 1962).
struct Spread {
    experts: Vec<ExpertId>,
    rows: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Spread {
    fn of(experts: &[ExpertId]) -> Self {
        let zeros = vec![0.0; experts.len()];
        Self { experts: experts.to_vec(), rows: 0.0, mean: zeros.clone(), squares: zeros }
    }

    fn add(&mut self, weights: &ArrayRef2<f32>) {
        for row in weights.rows() {
            self.rows += 1.0;
            for ((mean, squares), &w) in self.mean.iter_mut().zip(&mut self.squares).zip(row) {
                let before = f64::from(w) - *mean;
                *mean += before / self.rows;
                *squares += before * (f64::from(w) - *mean);
            }
        }
    }
}

/// A table of means and standard deviations.
impl fmt::Display for GateUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Heat { title, rows, columns, values, .. } = &self.mean;
        let mut table =
            TextTable::new(["mean ± standard deviation"].into_iter().chain(columns.iter().map(String::as_str)));
        for ((gate, means), stds) in rows.iter().zip(values).zip(&self.std.values) {
            let cells = means.iter().zip(stds).map(|(mean, std)| match (mean, std) {
                (Some(mean), Some(std)) => Cell::Number(format!("{mean:.3} ± {std:.3}")),
                _ => Cell::Blank,
            });
            table.row([Cell::from(gate.as_str())].into_iter().chain(cells));
        }
        writeln!(f, "{title} ({})", self.rows)?;
        table.fmt(f)
    }
}
