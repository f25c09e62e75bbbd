//! The heading above the panels.

use super::{MARGIN, Row, SMALL, look};
use crate::compare::notes::test_names;
use crate::compare::{Comparison, Verdict};
use crate::plot::{MUTED, Marker, Style, Svg, text_width, wrap};

/// Title, description and legend.
pub(super) struct Heading {
    pub(super) title: String,
    title_lines: Vec<String>,
    lines: Vec<String>,
    /// Marks with their meaning, and their positions.
    legend: Vec<(Marker, &'static str, String, (f64, f64))>,
    legend_lines: f64,
}

impl Heading {
    pub(super) fn new(comparison: &Comparison, data: &str, rows: &[Row<'_>], width: f64) -> Self {
        let numbers = rows.iter().flat_map(|row| &row.scores).any(|task| task.all.ranking().0 == "XAUC");
        let ranking = if numbers { "AUC (XAUC of numbers)" } else { "AUC" };
        let title = match &comparison.baseline {
            Some(baseline) => format!("{data}: gain in {ranking} over {baseline}"),
            None => format!("{data}: {ranking}"),
        };
        let mut seeds: Vec<u64> = comparison.contenders.iter().flat_map(|c| &c.runs).map(|run| run.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let one = seeds.len() == 1;
        let seeds = seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let seeds =
            if one { format!("Seed {seeds}") } else { format!("Mean ± standard deviation over seeds {seeds}") };
        let gains = || rows.iter().filter_map(|row| Some((row.standing, row.gains.as_ref()?)));
        let level = comparison.level;
        let tested = test_names(gains().map(|(_, gains)| gains));
        let tested =
            tested.map_or(String::new(), |tests| format!("; beyond noise: p < {level}, {tests}, Holm's correction"));
        let untested = match &comparison.baseline {
            Some(_) => comparison.untested(gains()),
            None => Vec::new(),
        };
        let untested = untested.into_iter().fold(String::new(), |notes, note| notes + &note + " ");
        let scale = "Each column has a scale of its own.";
        let own =
            comparison.baseline.as_ref().map_or(String::new(), |name| format!(" The AUC above it is that of {name}."));
        let lines = wrap(&format!("{seeds}{tested}. {untested}{scale}{own}"), SMALL + 1.0, width);
        let title_lines = wrap(&title, 16.0, width / 1.1);
        let verdicts = comparison.baseline.as_ref().map(|_| {
            [
                (Verdict::Gain, "gain beyond noise".to_owned()),
                (Verdict::Loss, format!("{} beyond noise", comparison.loss_name())),
                (Verdict::WithinNoise, "within noise".to_owned()),
                (Verdict::Untested, "not tested".to_owned()),
            ]
        });
        let (mut x, mut line) = (MARGIN, 0.0);
        let mut legend = Vec::new();
        for (verdict, text) in verdicts.into_iter().flatten() {
            let needed = 16.0 + text_width(&text, SMALL + 1.0) + 18.0;
            if x + needed > MARGIN + width && x > MARGIN {
                (x, line) = (MARGIN, line + 1.0);
            }
            let (marker, colour) = look(Some(verdict));
            legend.push((marker, colour, text, (x, line)));
            x += needed;
        }
        let legend_lines = if legend.is_empty() { 0.0 } else { line + 1.0 };
        Self { title, title_lines, lines, legend, legend_lines }
    }

    pub(super) fn height(&self) -> f64 {
        22.0 * self.title_lines.len() as f64 + 16.0 * self.lines.len() as f64 + 18.0 * self.legend_lines
    }

    /// Draws it, and returns where it ends.
    pub(super) fn draw(&self, svg: &mut Svg) -> f64 {
        let mut y = MARGIN;
        for line in &self.title_lines {
            svg.text((MARGIN, y + 14.0), line, Style::new(16.0).bold());
            y += 22.0;
        }
        for line in &self.lines {
            svg.text((MARGIN, y + 11.0), line, Style::new(SMALL + 1.0).colour(MUTED));
            y += 16.0;
        }
        for &(marker, colour, ref text, (x, line)) in &self.legend {
            let y = y + 18.0 * line + 10.0;
            svg.marker(marker, (x + 5.0, y), 4.5, colour);
            svg.text((x + 16.0, y + 4.0), text, Style::new(SMALL + 1.0));
        }
        MARGIN + self.height()
    }
}
