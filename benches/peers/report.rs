//! The figures, as tables in Markdown and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::common::cost::Cost;
use crate::common::median;
use crate::duel::Duel;
use crate::exchange::Differences;
use crate::product_flops;

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// PyTorch's version.
    pub(crate) torch: Option<String>,
    pub(crate) threads: usize,
    pub(crate) rounds: usize,
    pub(crate) peak: Peak,
    pub(crate) workloads: Vec<Measured>,
}

/// The seconds of one product of two matrices `[1024, 1024]`, by side and round.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Peak {
    pub(crate) starple: Vec<f64>,
    pub(crate) torch: Vec<f64>,
}

/// One workload's figures.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) train: bool,
    pub(crate) rows: usize,
    pub(crate) flops_per_row: f64,
    pub(crate) bytes: f64,
    /// The seconds of one step or prediction, by side and round.
    pub(crate) seconds: BTreeMap<&'static str, Vec<f64>>,
    pub(crate) differences: Differences,
}

impl Peak {
    /// Operations per second of the faster side.
    fn flops(&self) -> Option<(f64, &'static str)> {
        let sides = [(&self.starple, "starple's matrix product"), (&self.torch, "torch.mm")];
        let flops = |(seconds, name): (&Vec<f64>, _)| Some((product_flops() / middle(seconds)?, name));
        sides.into_iter().filter_map(flops).max_by(|(a, _), (b, _)| a.total_cmp(b))
    }
}

impl Measured {
    pub(crate) fn new(
        duel: &Duel,
        cost: Cost,
        seconds: BTreeMap<&'static str, Vec<f64>>,
        differences: Differences,
    ) -> Self {
        let Cost { flops_per_row, bytes } = cost;
        let (name, rows) = (duel.name.clone(), duel.workload.rows);
        Self { name, train: duel.train, rows, flops_per_row, bytes, seconds, differences }
    }

    /// The median over rounds.
    fn seconds(&self, side: &str) -> Option<f64> {
        self.seconds.get(side).and_then(|seconds| middle(seconds))
    }

    /// One line of the table.
    fn line(&self, peak: Option<f64>) -> String {
        let figure = |seconds: f64| {
            if self.train { thousands(self.rows as f64 / seconds) } else { format!("{:.3}", seconds * 1e3) }
        };
        let [ours, eager, compiled] = ["starple", "eager", "compiled"].map(|side| self.seconds(side));
        let better = eager.into_iter().chain(compiled).reduce(f64::min);
        let ratio = ours.zip(better).map(|(ours, theirs)| format!("{:.2}×", theirs / ours));
        let flops = ours.map(|seconds| self.flops_per_row * self.rows as f64 / seconds);
        let share = flops.zip(peak).map(|(flops, peak)| format!("{:.0} %", 100.0 * flops / peak));
        let spread = self.seconds.get("starple").and_then(|seconds| {
            let [least, most] = [f64::min, f64::max].map(|which| seconds.iter().copied().reduce(which));
            Some(format!("{:.2}", most? / least?))
        });
        let cells = [
            Some(self.name.clone()),
            ours.map(figure),
            eager.map(figure),
            compiled.map(figure),
            ratio,
            share,
            Some(format!("{:.2}", self.flops_per_row / 1e6)),
            Some(format!("{:.1}", self.bytes / 1e6)),
            ours.map(|seconds| format!("{:.1}", self.bytes / seconds / 1e9)),
            spread,
        ];
        let cells = cells.map(|cell| cell.unwrap_or_else(|| "–".into()));
        format!("| {} |", cells.join(" | "))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let against = self.torch.as_ref().map_or(String::new(), |version| format!(", PyTorch {version}"));
        writeln!(f, "{} threads, medians of {} rounds{against}.", self.threads, self.rounds)?;
        let peak = self.peak.flops();
        if let Some((flops, which)) = peak {
            let of = |seconds| middle(seconds).map_or("–".into(), |s| format!("{:.0}", product_flops() / s / 1e9));
            let (ours, theirs) = (of(&self.peak.starple), of(&self.peak.torch));
            writeln!(
                f,
                "Peak: {:.0} GFLOP/s, {which} on 1024 × 1024 × 1024 (starple {ours}, torch.mm {theirs}).",
                flops / 1e9
            )?;
        }
        for (train, unit) in [(true, "training, rows/s"), (false, "prediction, ms")] {
            let mut lines = self.workloads.iter().filter(|measured| measured.train == train).peekable();
            if lines.peek().is_some() {
                let what = if train { "step" } else { "call" };
                writeln!(
                    f,
                    "\n| {unit} | starple | PyTorch eager | PyTorch compiled | ratio to the better | of the peak | MFLOP a row | MB a \
                     {what} | GB/s | slowest to fastest round |"
                )?;
                writeln!(f, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
                lines.try_for_each(|measured| writeln!(f, "{}", measured.line(peak.map(|(flops, _)| flops))))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("logits in prediction", self.predicted),
            ("logits and loss in training", self.trained),
            ("gradients, of their norm, in the median", self.gradient),
            ("at most", self.worst_gradient),
        ];
        let named: Vec<_> = parts.into_iter().filter_map(|(what, d)| Some(format!("{what} {:.1e}", d?))).collect();
        if named.is_empty() { write!(f, "done") } else { write!(f, "largest difference: {}", named.join(", ")) }
    }
}

fn middle(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| median(values.to_vec()))
}

/// A number with commas between thousands.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let head = digits.len() % 3;
    let mut groups = vec![];
    if head > 0 {
        groups.push(&digits[..head]);
    }
    groups.extend((head..digits.len()).step_by(3).map(|at| &digits[at..at + 3]));
    groups.join(",")
}
