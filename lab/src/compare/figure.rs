//! A comparison as a picture.

mod heading;

use self::heading::Heading;
use super::{Comparison, Gain, Gains, Scores, Standing, Summary, TaskScores, Verdict};
use crate::plot::{
    Anchor, BAD, BAD_TINT, FRAME, GOOD, GOOD_TINT, GRID, INK, MUTED, Marker, Scale, Style, Svg, fit, text_width,
};

/// The most domains side by side.
const SIDE_BY_SIDE: usize = 6;
const MARGIN: f64 = 18.0;
const ROW: f64 = 20.0;
/// The height of the task's name.
const TITLE: f64 = 34.0;
/// The largest width of contenders' names.
const LABELS: f64 = 250.0;
/// The gap between columns, and between a column's frame and its content.
const GAP: f64 = 16.0;
const INSET: f64 = 9.0;
/// The height above a row of columns, for the domain's name, rows and score.
const HEAD: f64 = 48.0;
/// The height below it, for the axis.
const FOOT: f64 = 24.0;
const SMALL: f64 = 10.0;
const NORMAL: f64 = 12.0;

impl Comparison {
    /// A self-contained SVG picture: for each task a panel with contenders as rows and domains as columns. A mark is
    /// the gain in AUC over the baseline, with a line of one standard deviation over seeds to either side; its shape and
    /// colour show the [`Verdict`]. Without a baseline it shows AUCs.
    ///
    /// `data` is the name of the log in the title. Equal comparisons give equal bytes.
    pub fn svg(&self, data: &str) -> String {
        let rows: Vec<Row<'_>> = self.contenders.iter().filter_map(|standing| Row::new(self, standing)).collect();
        let Some(tasks) = self.contenders.iter().map(Standing::scores).find(|scores| !scores.is_empty()) else {
            return Svg::new(400.0, 40.0, &format!("{data}: no run is judged")).finish();
        };
        let baseline = self.baseline.as_deref().and_then(|name| self.contender(name)).map(Standing::scores);
        let columns = tasks.iter().map(|task| task.domains.len()).max().unwrap_or(0).clamp(1, SIDE_BY_SIDE);
        let labels = rows.iter().map(|row| text_width(&row.label, NORMAL)).fold(60.0, f64::max).min(LABELS);
        let column = (900.0 / columns as f64 - GAP).clamp(132.0, 380.0);
        let width = (2.0 * MARGIN + labels + columns as f64 * (GAP + column)).max(560.0);
        let frame = Frame { labels, column, width };

        let heading = Heading::new(self, data, &rows, frame.width - 2.0 * MARGIN);
        let panel = |task: &TaskScores| {
            let lines = task.domains.len().div_ceil(SIDE_BY_SIDE) as f64;
            TITLE + lines * (HEAD + rows.len() as f64 * ROW + FOOT)
        };
        let height = MARGIN + heading.height() + tasks.iter().map(panel).sum::<f64>() + MARGIN;
        let mut svg = Svg::new(width, height, &heading.title);
        let mut y = heading.draw(&mut svg);
        for task in &tasks {
            y += TITLE;
            let name = fit(&task.task, 14.0, frame.width - 2.0 * MARGIN);
            svg.text((MARGIN, y - 8.0), &name, Style::new(14.0).bold());
            for domains in task.domains.chunks(SIDE_BY_SIDE) {
                for (number, (domain, scores)) in domains.iter().enumerate() {
                    let of = baseline.iter().flatten().find(|scores| scores.task == task.task);
                    let of = of.and_then(|task| task.domains.iter().find(|(name, _)| name == domain));
                    let x = MARGIN + frame.labels + GAP + number as f64 * (GAP + frame.column);
                    let column = Column { task: &task.task, domain, scores, baseline: of.map(|(_, scores)| scores) };
                    column.draw(&mut svg, &rows, (x, y), frame.column);
                }
                for (number, row) in rows.iter().enumerate() {
                    let at = (MARGIN + frame.labels + 6.0, y + HEAD + (number as f64 + 0.5) * ROW + 4.0);
                    let label = fit(&row.label, NORMAL, frame.labels);
                    svg.group(&row.standing.name, |svg| svg.text(at, &label, Style::new(NORMAL).anchor(Anchor::End)));
                }
                y += HEAD + rows.len() as f64 * ROW + FOOT;
            }
        }
        svg.finish()
    }
}

/// Widths.
struct Frame {
    labels: f64,
    column: f64,
    width: f64,
}

/// A contender; if there is a baseline, not the baseline.
struct Row<'a> {
    standing: &'a Standing,
    label: String,
    scores: Vec<TaskScores>,
    gains: Option<Gains>,
}

impl<'a> Row<'a> {
    fn new(comparison: &Comparison, standing: &'a Standing) -> Option<Self> {
        let gains = comparison.gains_over_baseline(standing);
        if comparison.baseline.is_some() && gains.is_none() {
            return None;
        }
        let mut remarks = Vec::new();
        if gains.as_ref().is_some_and(|gains| gains.seesaw) {
            remarks.push("seesaw".to_owned());
        }
        if standing.failed() > 0 {
            remarks.push(format!("{} of {} failed", standing.failed(), standing.runs.len()));
        }
        let mut label = standing.name.clone();
        if !remarks.is_empty() {
            // The name is cut, not the remark.
            let remark = format!(" ({})", remarks.join(", "));
            label = fit(&label, NORMAL, (LABELS - text_width(&remark, NORMAL)).max(60.0)).into_owned() + &remark;
        }
        Some(Self { standing, label, scores: standing.scores(), gains })
    }

    /// The figures of one cell: mean and spread, and the gain if there is a baseline.
    fn shown(&self, column: &Column<'_>) -> Option<(Summary, Option<Gain>)> {
        if let Some(gains) = &self.gains {
            let gain = gains.task(column.task)?.domain(column.domain)?;
            return Some((gain.difference, Some(*gain)));
        }
        let task = self.scores.iter().find(|scores| scores.task == column.task)?;
        let (_, scores) = task.domains.iter().find(|(domain, _)| domain == column.domain)?;
        Some((scores.ranking().1?, None))
    }
}

/// One domain of one task: a column.
struct Column<'a> {
    task: &'a str,
    domain: &'a str,
    scores: &'a Scores,
    baseline: Option<&'a Scores>,
}

impl Column<'_> {
    fn draw(&self, svg: &mut Svg, rows: &[Row<'_>], (x, y): (f64, f64), width: f64) {
        let Scores { rows: count, positives, .. } = *self.scores;
        let name = fit(self.domain, NORMAL, width);
        svg.group(self.domain, |svg| svg.text((x, y + 12.0), &name, Style::new(NORMAL).bold()));
        let small = Style::new(SMALL).colour(MUTED);
        let counts = match self.scores.ranking() {
            ("AUC", _) => format!("{} of {} positive", short_count(positives), short_count(count)),
            _ => format!("{} rows", short_count(count)),
        };
        svg.text((x, y + 26.0), &fit(&counts, SMALL, width), small);
        if let Some(baseline) = self.baseline {
            let (name, value) = baseline.ranking();
            let text = value.map_or_else(|| format!("{name} undefined"), |value| format!("{name} {value}"));
            svg.text((x, y + 40.0), &fit(&text, SMALL, width), small);
        }

        let (top, height) = (y + HEAD, rows.len() as f64 * ROW);
        let shown: Vec<_> = rows.iter().map(|row| row.shown(self)).collect();
        let ends = shown.iter().flatten().flat_map(|(summary, _)| {
            let std = summary.std.unwrap_or(0.0);
            [summary.mean - std, summary.mean + std]
        });
        let compared = rows.iter().any(|row| row.gains.is_some());
        let places = (x + INSET, x + width - INSET);
        let scale = Scale::over(ends.chain(compared.then_some(0.0)), places);
        for (number, (row, shown)) in rows.iter().zip(&shown).enumerate() {
            let middle = top + (number as f64 + 0.5) * ROW;
            let tint = match shown.as_ref().and_then(|(_, gain)| gain.as_ref()).map(|gain| gain.verdict) {
                Some(Verdict::Gain) => Some(GOOD_TINT),
                Some(Verdict::Loss) => Some(BAD_TINT),
                _ => None,
            };
            if let Some(tint) = tint {
                svg.rect((x, middle - ROW / 2.0), (width, ROW), tint);
            }
            svg.line((x, middle), (x + width, middle), GRID, 1.0);
            if shown.is_none() {
                svg.group(&self.tip(row, None), |svg| {
                    svg.text(
                        (x + width / 2.0, middle + 4.0),
                        "–",
                        Style::new(NORMAL).anchor(Anchor::Middle).colour(MUTED),
                    );
                });
            }
        }
        if shown.iter().any(Option::is_some) {
            if compared {
                svg.line((scale.at(0.0), top), (scale.at(0.0), top + height), INK, 1.0);
            }
            for tick in scale.ticks(SMALL, compared) {
                let bottom = top + height;
                svg.line((tick.at, bottom), (tick.at, bottom + 4.0), FRAME, 1.0);
                svg.text((tick.at, bottom + 15.0), &tick.label, small.anchor(Anchor::Middle));
            }
        }
        for (number, (row, shown)) in rows.iter().zip(&shown).enumerate() {
            let Some((summary, gain)) = shown else { continue };
            let middle = top + (number as f64 + 0.5) * ROW;
            let (marker, colour) = look(gain.map(|gain| gain.verdict));
            svg.group(&self.tip(row, Some((*summary, *gain))), |svg| {
                if let Some(std) = summary.std {
                    let (from, to) = (scale.at(summary.mean - std), scale.at(summary.mean + std));
                    svg.line((from, middle), (to, middle), colour, 1.5);
                }
                svg.marker(marker, (scale.at(summary.mean), middle), 4.5, colour);
            });
        }
        svg.frame((x, top), (width, height), FRAME);
    }

    /// The tooltip of a mark.
    fn tip(&self, row: &Row<'_>, shown: Option<(Summary, Option<Gain>)>) -> String {
        let start = format!("{}, {} in {}: ", row.standing.name, self.task, self.domain);
        start
            + &match shown {
                None => "undefined".into(),
                Some((value, None)) => format!("{} {value}", self.scores.ranking().0),
                Some((summary, Some(gain))) => {
                    let p = gain.p_holm.map_or("not tested".into(), |p| format!("p = {p:.4} (Holm)"));
                    format!("gain {summary:+}, {} seeds, {p}", summary.seeds)
                }
            }
    }
}

/// Shape and colour of a verdict, or of a score without verdict.
fn look(verdict: Option<Verdict>) -> (Marker, &'static str) {
    match verdict {
        Some(Verdict::Gain) => (Marker::Up, GOOD),
        Some(Verdict::Loss) => (Marker::Down, BAD),
        Some(Verdict::WithinNoise) | None => (Marker::Circle, MUTED),
        Some(Verdict::Untested) => (Marker::Diamond, MUTED),
    }
}

/// `987`, `12.3k`, `4.56M`.
fn short_count(count: usize) -> String {
    let x = count as f64;
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{:.1}k", x / 1e3),
        _ => format!("{:.2}M", x / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{comparison, failed, report, run, standing};
    use super::*;

    /// A comparison of many contenders whose gains differ in size and sign.
    fn many(contenders: usize, tasks: &[&str], domains: &[&str], seeds: u64) -> Comparison {
        let contender = |number: usize| {
            let name = if number == 0 { "single".into() } else { format!("shared_bottom<{number}>_wide & \"deep\"") };
            let mut made = standing(&name, domains, &[]);
            let auc = |seed: u64| {
                move |t: usize, d: usize| {
                    let noise = 0.002 * ((seed * 7 + 3 * d as u64 + number as u64 * number as u64) % 5) as f64;
                    let gain = if number == 0 {
                        0.0
                    } else {
                        0.02 * (1.0 + d as f64) * (number as f64 + 2.0 * d as f64).sin()
                    };
                    (t == 0 || d != 1).then_some(0.7 + gain + noise)
                }
            };
            made.runs = (1..=seeds).map(|seed| run(seed, report(tasks, domains, auc(seed)))).collect();
            made
        };
        let mut all = comparison((0..contenders).map(contender).collect());
        all.contenders[contenders - 1].runs[0] = failed(1);
        all
    }

    #[test]
    fn every_name_is_there_in_sound_xml() {
        let domains = ["search", "<home & garden>", "\"partners\"", "checkout of the long name that no column holds"];
        let all = many(5, &["click", "add to <cart>"], &domains, 3);
        let file = all.svg("log.csv & more");
        let document = roxmltree::Document::parse(&file).unwrap();
        let texts: Vec<&str> =
            document.descendants().filter(roxmltree::Node::is_text).filter_map(|node| node.text()).collect();
        assert!(texts.contains(&"log.csv & more: gain in AUC over single"), "{texts:?}");
        for name in domains.into_iter().chain(["click", "add to <cart>"]) {
            assert!(texts.contains(&name), "{name}");
        }
        for standing in &all.contenders[1..] {
            assert!(texts.contains(&standing.name.as_str()), "{}", standing.name);
        }
        let attributes = document.descendants().flat_map(|node| node.attributes());
        assert!(
            attributes
                .clone()
                .all(|attribute| !attribute.value().contains("NaN") && !attribute.value().contains("inf"))
        );
        assert_eq!(file, all.svg("log.csv & more"));
    }

    #[test]
    fn verdicts_are_told_apart_by_shape_and_colour() {
        let domains = ["search", "feed"];
        let all = comparison(vec![
            standing("single", &domains, &[&[0.7, 0.6], &[0.7, 0.6], &[0.7, 0.6]]),
            standing("ple", &domains, &[&[0.721, 0.59], &[0.72, 0.589], &[0.719, 0.588]]),
        ]);
        let file = all.svg("log");
        let document = roxmltree::Document::parse(&file).unwrap();
        let marker = |tip: &str| {
            let group = document.descendants().find(|node| {
                node.is_element()
                    && node.children().any(|c| c.has_tag_name("title") && c.text().is_some_and(|t| t.starts_with(tip)))
                    && node.children().any(|c| c.has_tag_name("polygon") || c.has_tag_name("circle"))
            });
            let mark =
                group.unwrap().children().find(|c| c.has_tag_name("polygon") || c.has_tag_name("circle")).unwrap();
            let points: Vec<f64> =
                mark.attribute("points").unwrap().split([' ', ',']).map(|x| x.parse().unwrap()).collect();
            // The third corner is the tip.
            (points[5] < points[1], mark.attribute("fill").unwrap().to_owned())
        };
        assert_eq!(marker("ple, click in search: gain +0.0200"), (true, GOOD.to_owned()));
        assert_eq!(marker("ple, click in feed: gain -0.0110"), (false, BAD.to_owned()));
        assert!(file.contains("ple (seesaw)") && file.contains(BAD_TINT));
        assert!(file.contains("negative transfer beyond noise"));
        let other = Comparison { baseline: Some("ple".into()), ..all }.svg("log");
        assert!(other.contains("loss beyond noise") && !other.contains("negative transfer"));
    }

    #[test]
    fn who_is_not_tested_is_named_above_the_panels() {
        let aucs = [&[0.7][..], &[0.71], &[0.72]];
        let mut lone = standing("lone", &["search"], &aucs);
        (lone.runs[0], lone.runs[2]) = (failed(1), failed(3));
        let mut all = comparison(vec![standing("single", &["search"], &aucs), lone]);
        // Lines are broken anywhere.
        let words = |all: &Comparison| {
            let file = all.svg("log");
            let document = roxmltree::Document::parse(&file).unwrap();
            let texts = document.descendants().filter(|node| node.has_tag_name("text"));
            texts.filter_map(|node| node.text()).collect::<Vec<_>>().join(" ")
        };
        let text = words(&all);
        assert!(text.contains("Not tested, as fewer than two seeds are judged: lone."), "{text}");
        assert!(!text.contains("beyond noise: p") && !text.contains("One seed"), "{text}");
        all.contenders.iter_mut().for_each(|standing| standing.runs.truncate(1));
        assert!(words(&all).contains("One seed tells no noise from gain"));
    }

    #[test]
    fn texts_do_not_overlap_nor_leave_the_picture() {
        let long: Vec<String> = (0..13).map(|d| format!("domain number {d}")).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        for (contenders, domains, seeds) in [(16, 6, 5), (3, 1, 3), (5, 2, 1), (7, 13, 3)] {
            let all = many(contenders, &["click", "cart"], &long[..domains], seeds);
            for all in [Comparison { baseline: None, ..all.clone() }, all] {
                let file = all.svg("examples/data/toy.csv");
                assert_apart(&file);
            }
        }
    }

    /// The boxes of all texts, by the measure that they were laid out with.
    fn assert_apart(file: &str) {
        let document = roxmltree::Document::parse(file).unwrap();
        let number = |node: roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
        let (width, height) = (number(document.root_element(), "width"), number(document.root_element(), "height"));
        let texts = document.descendants().filter(|node| node.has_tag_name("text"));
        let boxes = texts.map(|node| {
            let (text, size) = (node.text().unwrap(), number(node, "font-size"));
            let wide = text_width(text, size);
            let left = match node.attribute("text-anchor") {
                None => number(node, "x"),
                Some("end") => number(node, "x") - wide,
                Some(_) => number(node, "x") - wide / 2.0,
            };
            let y = number(node, "y");
            (left, left + wide, y - 0.8 * size, y + 0.2 * size, text)
        });
        let boxes: Vec<_> = boxes.collect();
        for (i, a) in boxes.iter().enumerate() {
            assert!(a.0 >= 0.0 && a.1 <= width && a.2 >= 0.0 && a.3 <= height, "{a:?} leaves {width} × {height}");
            for b in &boxes[..i] {
                assert!(a.0 >= b.1 || b.0 >= a.1 || a.2 >= b.3 || b.2 >= a.3, "{a:?} overlaps {b:?}");
            }
        }
    }
}
