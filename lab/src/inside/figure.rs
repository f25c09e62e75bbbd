//! Pictures of heat maps.

use super::{GateUse, Heat};
use crate::plot::{Anchor, FRAME, INK, MUTED, Style, Svg, fit, shade, text_width};

const MARGIN: f64 = 16.0;
const SIZE: f64 = 11.0;
const CELL: f64 = 24.0;
/// Names longer than this are cut; the whole name is in the cell's tooltip.
const LONGEST: f64 = 220.0;

/// One heat map: its numbers, and optionally their spreads.
struct Panel<'a> {
    heat: &'a Heat,
    spread: Option<&'a Heat>,
}

impl Heat {
    /// A self-contained SVG picture: a cell for each number, from white at 0 to the darkest colour at the largest value of its row.
    pub fn svg(&self) -> String {
        draw(&self.title, &[Panel { heat: self, spread: None }])
    }
}

impl GateUse {
    /// A self-contained SVG picture of several levels and domains, one heat map below the other: a cell has the mean weight of
    /// an expert `±` its standard deviation over rows (Tang et al., RecSys 2020, figure 8).
    pub fn svg(uses: &[Self]) -> String {
        let panels: Vec<Panel<'_>> = uses.iter().map(|of| Panel { heat: &of.mean, spread: Some(&of.std) }).collect();
        draw("Expert utilisation", &panels)
    }
}

impl Panel<'_> {
    fn label(&self, row: usize, column: usize) -> String {
        let spread = self.spread.and_then(|spread| spread.values[row][column]);
        match (self.heat.values[row][column], spread) {
            (None, _) => "–".into(),
            (Some(value), None) => format!("{value:.3}"),
            (Some(value), Some(spread)) => format!("{value:.2} ± {spread:.2}"),
        }
    }

    /// The widths of the column of row names, and of a column of cells.
    fn widths(&self) -> (f64, f64) {
        let widest = |texts: &mut dyn Iterator<Item = String>| {
            texts.map(|text| text_width(&text, SIZE)).fold(0.0, f64::max).min(LONGEST)
        };
        let places = (0..self.heat.rows.len()).flat_map(|row| (0..self.heat.columns.len()).map(move |c| (row, c)));
        let mut texts = self.heat.columns.iter().cloned().chain(places.map(|(row, column)| self.label(row, column)));
        (widest(&mut self.heat.rows.iter().cloned()) + 10.0, widest(&mut texts) + 12.0)
    }

    fn size(&self) -> (f64, f64) {
        let (names, cell) = self.widths();
        let title = text_width(&self.title(), SIZE + 1.0);
        let width = (names + cell * self.heat.columns.len() as f64).max(title);
        (width, 2.0 * CELL + CELL * self.heat.rows.len() as f64)
    }

    fn title(&self) -> String {
        format!("{}: {}", self.heat.title, self.heat.unit)
    }

    fn draw(&self, svg: &mut Svg, (x, y): (f64, f64)) {
        let (names, cell) = self.widths();
        let heat = self.heat;
        svg.text((x, y + 14.0), &self.title(), Style::new(SIZE + 1.0).bold());
        let top = |row: usize| {
            // Weights of one level's gates share a scale; distances of weights and of biases do not.
            let rows = if self.spread.is_some() { &heat.values[..] } else { &heat.values[row..=row] };
            rows.iter().flatten().flatten().fold(0.0_f64, |top, value| top.max(*value))
        };
        for (i, name) in heat.columns.iter().enumerate() {
            let middle = x + names + cell * (i as f64 + 0.5);
            let style = Style::new(SIZE).anchor(Anchor::Middle).colour(MUTED);
            svg.text((middle, y + 2.0 * CELL - 7.0), &fit(name, SIZE, cell - 4.0), style);
        }
        for (row, name) in heat.rows.iter().enumerate() {
            let at = y + CELL * (row as f64 + 2.0);
            let style = Style::new(SIZE).anchor(Anchor::End).colour(MUTED);
            svg.text((x + names - 6.0, at + 16.0), &fit(name, SIZE, names - 6.0), style);
            for (column, of) in heat.columns.iter().enumerate() {
                let left = x + names + cell * column as f64;
                let label = self.label(row, column);
                let share = heat.values[row][column].map_or(0.0, |value| value / top(row).max(f64::MIN_POSITIVE));
                svg.group(&format!("{name}, {of}: {label}"), |svg| {
                    svg.rect((left, at), (cell, CELL), &shade(share));
                    svg.frame((left, at), (cell, CELL), FRAME);
                    let colour = if share > 0.55 { "#ffffff" } else { INK };
                    let style = Style::new(SIZE).anchor(Anchor::Middle).colour(colour);
                    svg.text((left + cell / 2.0, at + 16.0), &label, style);
                });
            }
        }
    }
}

fn draw(title: &str, panels: &[Panel<'_>]) -> String {
    let sizes: Vec<(f64, f64)> = panels.iter().map(Panel::size).collect();
    let width = sizes.iter().map(|size| size.0).fold(0.0, f64::max) + 2.0 * MARGIN;
    let height = sizes.iter().map(|size| size.1 + MARGIN).sum::<f64>() + MARGIN;
    let mut svg = Svg::new(width, height, title);
    let mut y = MARGIN;
    for (panel, size) in panels.iter().zip(sizes) {
        panel.draw(&mut svg, (MARGIN, y));
        y += size.1 + MARGIN;
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heat(unit: &str, scale: f64) -> Heat {
        Heat {
            title: "Gates <1>".into(),
            unit: unit.into(),
            rows: vec!["gates.click".into(), "gates.buy & more".into()],
            columns: vec!["own".into(), "shared".into()],
            values: vec![vec![Some(0.25 * scale), None], vec![Some(0.125 * scale), Some(scale)]],
        }
    }

    fn texts(svg: &str) -> Vec<String> {
        let document = roxmltree::Document::parse(svg).unwrap();
        let texts = document.descendants().filter(|node| node.has_tag_name("text"));
        texts.filter_map(|node| node.text().map(str::to_owned)).collect()
    }

    #[test]
    fn a_heat_map_says_every_name_and_number() {
        let svg = heat("mean weight", 1.0).svg();
        let found = texts(&svg);
        for expected in ["Gates <1>: mean weight", "gates.buy & more", "shared", "0.250", "0.125", "1.000", "–"] {
            assert!(found.iter().any(|text| text == expected), "{expected}: {found:?}");
        }
        // The largest of a row is its darkest.
        let fill = |value: f64| svg.matches(&shade(value)).count();
        assert_eq!((fill(1.0), fill(0.125)), (2, 1));
    }

    #[test]
    fn gates_have_their_spread() {
        let (mean, std) = (heat("mean weight", 1.0), heat("standard deviation", 0.5));
        let gates = GateUse { level: 0, domain: None, rows: 3, mean, std };
        let found = texts(&GateUse::svg(&[gates.clone(), gates]));
        assert_eq!(found.iter().filter(|text| *text == "0.25 ± 0.12").count(), 2, "{found:?}");
        assert!(roxmltree::Document::parse(&GateUse::svg(&[])).is_ok());
    }
}
