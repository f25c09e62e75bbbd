//! What stands above the panels.

use super::{MARGIN, Row, SMALL, look};
use crate::compare::{Comparison, Verdict};
use crate::plot::{MUTED, Marker, Style, Svg, text_width, wrap};

/// Title, what is shown, and the legend.
pub(super) struct Heading {
    pub(super) title: String,
    title_lines: Vec<String>,
    lines: Vec<String>,
    /// Marks with their meaning, and where they stand.
    legend: Vec<(Marker, &'static str, &'static str, (f64, f64))>,
    legend_lines: f64,
}

impl Heading {
    pub(super) fn new(comparison: &Comparison, data: &str, rows: &[Row<'_>], width: f64) -> Self {
        let title = match &comparison.baseline {
            Some(baseline) => format!("{data}: gain in AUC over {baseline}"),
            None => format!("{data}: AUC"),
        };
        let mut seeds: Vec<u64> = comparison.contenders.iter().flat_map(|c| &c.runs).map(|run| run.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let one = seeds.len() == 1;
        let seeds = seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let seeds =
            if one { format!("Seed {seeds}") } else { format!("Mean ± standard deviation over seeds {seeds}") };
        let mut tests: Vec<_> = rows.iter().filter_map(|row| Some(row.gains.as_ref()?.test?.name())).collect();
        tests.sort_unstable();
        tests.dedup();
        let level = comparison.level;
        let tested = match (&comparison.baseline, tests.is_empty()) {
            (None, _) => String::new(),
            (Some(_), true) => "; one seed tells no noise from gain".into(),
            (Some(_), false) => format!("; beyond noise: p < {level}, {}, Holm's correction", tests.join(" or ")),
        };
        let scale = "Each column has a scale of its own.";
        let own =
            comparison.baseline.as_ref().map_or(String::new(), |name| format!(" The AUC above it is that of {name}."));
        let lines = wrap(&format!("{seeds}{tested}. {scale}{own}"), SMALL + 1.0, width);
        let title_lines = wrap(&title, 16.0, width / 1.1);
        let verdicts: &[(Verdict, &str)] = if comparison.baseline.is_some() {
            &[
                (Verdict::Gain, "gain beyond noise"),
                (Verdict::NegativeTransfer, "negative transfer beyond noise"),
                (Verdict::WithinNoise, "within noise"),
                (Verdict::Untested, "not tested"),
            ]
        } else {
            &[]
        };
        let (mut x, mut line) = (MARGIN, 0.0);
        let mut legend = Vec::new();
        for &(verdict, text) in verdicts {
            let needed = 16.0 + text_width(text, SMALL + 1.0) + 18.0;
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

    /// Draws it, and says where it ends.
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
        for &(marker, colour, text, (x, line)) in &self.legend {
            let y = y + 18.0 * line + 10.0;
            svg.marker(marker, (x + 5.0, y), 4.5, colour);
            svg.text((x + 16.0, y + 4.0), text, Style::new(SMALL + 1.0));
        }
        MARGIN + self.height()
    }
}
