//! A comparison as text.

use std::fmt;

use starple::one_line;

use super::notes::test_names;
use super::others::OTHER;
use super::{Comparison, Gain, Gains, Scores, Standing, Summary, TaskGains, TaskScores, Verdict};
use crate::table::{Cell, TextTable};

/// The most contenders in a table of gains.
const SIDE_BY_SIDE: usize = 6;

/// Tables: one line for each contender; then for each task the gains by domain; then all figures by domain and
/// contender.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<Judged<'_>> = self.contenders.iter().map(|standing| Judged::new(self, standing)).collect();
        let tasks = entries.iter().map(|entry| &entry.scores).find(|scores| !scores.is_empty());
        let tasks: Vec<&str> = tasks.into_iter().flatten().map(|task| task.task.as_str()).collect();
        write!(f, "{}", self.overview(&entries, &tasks))?;
        for task in &tasks {
            for table in self.gain_tables(&entries, task) {
                write!(f, "\n{table}")?;
            }
        }
        for task in &tasks {
            write!(f, "\n{}", self.details(&entries, task))?;
        }
        writeln!(f)?;
        self.write_notes(f, &entries)
    }
}

/// A contender with its figures.
struct Judged<'a> {
    standing: &'a Standing,
    scores: Vec<TaskScores>,
    gains: Option<Gains>,
}

impl<'a> Judged<'a> {
    fn new(comparison: &Comparison, standing: &'a Standing) -> Self {
        Self { standing, scores: standing.scores(), gains: comparison.gains_over_baseline(standing) }
    }

    fn scores(&self, task: &str) -> Option<&TaskScores> {
        self.scores.iter().find(|scores| scores.task == task)
    }

    fn gains(&self, task: &str) -> Option<&TaskGains> {
        self.gains.as_ref()?.task(task)
    }
}

impl Comparison {
    fn overview(&self, entries: &[Judged<'_>], tasks: &[&str]) -> TextTable {
        let headers = ["contender", "parameters", "seeds", "epochs", "rows/s"].map(str::to_owned);
        let headers = headers.into_iter().chain(tasks.iter().map(|task| format!("{task}: mean domain AUC")));
        let compared = self.baseline.is_some().then_some(["▲", "▼", "seesaw"]);
        let mut table = TextTable::new(headers.chain(compared.into_iter().flatten().map(str::to_owned)));
        for entry in entries {
            let Judged { standing, gains, .. } = entry;
            let missing = || if standing.kind == OTHER { Cell::Blank } else { Cell::Undefined };
            let mut row = vec![
                Cell::from(standing.name.as_str()),
                standing.parameters.map_or(Cell::Blank, Cell::from),
                standing.judged().count().into(),
                standing.epochs().map_or(missing(), |epochs| Cell::number(epochs.mean, 1)),
                standing.rows_per_second().map_or(missing(), |rows| Cell::number(rows.mean, 0)),
            ];
            row.extend(tasks.iter().map(|task| spread(entry.scores(task).and_then(|scores| scores.mean_domain_auc))));
            if compared.is_some() {
                row.extend(match gains {
                    Some(gains) => [
                        gains.count(Verdict::Gain).into(),
                        gains.count(Verdict::Loss).into(),
                        if gains.seesaw { Cell::from("yes") } else { Cell::Blank },
                    ],
                    None => [const { Cell::Blank }; 3],
                });
            }
            table.row(row);
        }
        table.note("no seed of the contender is judged, or no domain has an AUC.");
        table
    }

    /// By domain, the baseline's AUC and the gains of the others over it.
    fn gain_tables(&self, entries: &[Judged<'_>], task: &str) -> Vec<TextTable> {
        let Some(baseline) = entries.iter().find(|entry| Some(&entry.standing.name) == self.baseline.as_ref()) else {
            return Vec::new();
        };
        let Some(scores) = baseline.scores(task) else { return Vec::new() };
        let others: Vec<&Judged<'_>> = entries.iter().filter(|entry| entry.gains.is_some()).collect();
        let tables = others.chunks(SIDE_BY_SIDE).map(|others| {
            let (ranking, _) = scores.all.ranking();
            let headers = [format!("{task}: gain in {ranking}"), "rows".into(), "positives".into()];
            let headers = headers.into_iter().chain([baseline.standing.name.clone()]);
            let names = others.iter().flat_map(|entry| [entry.standing.name.clone(), String::new()]);
            let mut table = TextTable::new(headers.chain(names));
            let start = |name: &str, scores: &Scores| {
                [Cell::from(name), scores.rows.into(), scores.positives.into(), spread(scores.ranking().1)]
            };
            for (domain, scores) in &scores.domains {
                let cells = others.iter().flat_map(|entry| {
                    let gain = entry.gains(task).and_then(|gains| gains.domain(domain));
                    [signed(gain.map(|gain| gain.difference)), mark(gain)]
                });
                table.row(start(domain, scores).into_iter().chain(cells));
            }
            if scores.domains.len() > 1 {
                let untested = |of: fn(&TaskGains) -> Option<Summary>| {
                    others.iter().flat_map(move |entry| [signed(entry.gains(task).and_then(of)), Cell::Blank])
                };
                table.rule().row(start("all", &scores.all).into_iter().chain(untested(|gains| gains.all)));
                let mean = ["mean of domains".into(), Cell::Blank, Cell::Blank, spread(scores.mean_domain_auc)];
                table.row(mean.into_iter().chain(untested(|gains| gains.mean_domain)));
            }
            table.note(if ranking == "AUC" {
                "the AUC is undefined: it needs both classes among the test rows.".to_owned()
            } else {
                format!("the {ranking} is undefined: it needs different labels among the test rows.")
            });
            table
        });
        tables.collect()
    }

    /// Every figure by domain and contender.
    fn details(&self, entries: &[Judged<'_>], task: &str) -> TextTable {
        let first = entries.iter().find_map(|entry| entry.scores(task));
        let ((ranking, _), (error, _)) = first.map_or_else(Default::default, |s| (s.all.ranking(), s.all.error()));
        let headers = [task, "contender", ranking, error, "PCOC"].map(str::to_owned);
        let compared =
            self.baseline.as_ref().map(|baseline| [format!("gain over {baseline}"), "p (Holm)".into(), String::new()]);
        let mut table = TextTable::new(headers.into_iter().chain(compared.clone().into_iter().flatten()));
        let domains = first.map_or(&[][..], |scores| &scores.domains);
        let places = domains.iter().map(|(domain, _)| Some(domain.as_str())).chain((domains.len() > 1).then_some(None));
        for (number, place) in places.enumerate() {
            if number > 0 {
                table.rule();
            }
            for (line, entry) in entries.iter().enumerate() {
                let scores = entry.scores(task).and_then(|scores| match place {
                    None => Some(scores.all),
                    Some(place) => scores.domains.iter().find(|(domain, _)| domain == place).map(|(_, scores)| *scores),
                });
                let scores = scores.unwrap_or_default();
                let (ranked, erred, pcoc) = (scores.ranking().1, scores.error().1, scores.pcoc);
                let name = if line == 0 { Cell::from(place.unwrap_or("all")) } else { Cell::Blank };
                let mut row =
                    vec![name, entry.standing.name.as_str().into(), spread(ranked), spread(erred), spread(pcoc)];
                if compared.is_some() {
                    let gains = entry.gains(task);
                    row.extend(match (gains, place) {
                        (None, _) => [const { Cell::Blank }; 3],
                        (Some(gains), None) => [signed_spread(gains.all), Cell::Blank, Cell::Blank],
                        (Some(gains), Some(place)) => {
                            let gain = gains.domain(place);
                            let p = gain.and_then(|gain| gain.p_holm).map_or(Cell::Undefined, p_value);
                            [signed_spread(gain.map(|gain| gain.difference)), p, mark(gain)]
                        }
                    });
                }
                table.row(row);
            }
        }
        table.note(if ranking == "XAUC" {
            "undefined. XAUC needs different labels, PCOC a sum of labels above 0, p two seeds that differ."
        } else {
            "undefined. AUC needs both classes, PCOC a positive, p two seeds that differ."
        });
        table
    }

    fn write_notes(&self, f: &mut fmt::Formatter<'_>, entries: &[Judged<'_>]) -> fmt::Result {
        let seeds = self.contenders.iter().map(|standing| standing.runs.len()).max().unwrap_or(0);
        writeln!(f, "Mean ± sample standard deviation over {seeds} seed{}.", if seeds == 1 { "" } else { "s" })?;
        if entries.iter().flat_map(|entry| &entry.scores).any(|scores| scores.weighted) {
            writeln!(f, "The test rows have weights: AUC, log loss and PCOC count each as often as its weight says.")?;
        }
        if let Some(baseline) = &self.baseline {
            let baseline = one_line(baseline);
            let gains = || entries.iter().filter_map(|entry| Some((entry.standing, entry.gains.as_ref()?)));
            if let Some(tests) = test_names(gains().map(|(_, gains)| gains)) {
                let (level, loss) = (self.level, self.loss_name());
                writeln!(
                    f,
                    "▲ gain, ▼ {loss} over {baseline}, beyond the noise of training: p < {level}, {tests}, Holm's correction \
                     over a contender's cells.\nseesaw: ▲ somewhere and ▼ elsewhere. ?: not tested. The noise of few test rows is not in p: \
                     mind the positives."
                )?;
            }
            for note in self.untested(gains()) {
                writeln!(f, "{}", one_line(&note))?;
            }
        }
        for standing in &self.contenders {
            for run in &standing.runs {
                if let Some(why) = &run.failed {
                    let (name, why) = (one_line(&standing.name), one_line(why));
                    writeln!(f, "{name}, seed {}: left out; {why}", run.seed)?;
                }
            }
        }
        Ok(())
    }
}

/// `0.7123 ± 0.0034`.
fn spread(summary: Option<Summary>) -> Cell {
    summary.map_or(Cell::Undefined, |summary| Cell::Number(summary.to_string()))
}

fn signed_spread(summary: Option<Summary>) -> Cell {
    summary.map_or(Cell::Undefined, |summary| Cell::Number(format!("{summary:+}")))
}

fn signed(summary: Option<Summary>) -> Cell {
    summary.map_or(Cell::Undefined, |summary| Cell::Number(format!("{:+.4}", summary.mean)))
}

fn mark(gain: Option<&Gain>) -> Cell {
    gain.map_or(Cell::Blank, |gain| Cell::from(gain.verdict.mark()))
}

fn p_value(p: f64) -> Cell {
    if p < 1e-4 { Cell::Number("<0.0001".into()) } else { Cell::number(p, 4) }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{comparison, failed, report, run, standing};
    use super::*;

    const DOMAINS: [&str; 2] = ["search", "feed"];

    fn seesaw() -> Comparison {
        comparison(vec![
            standing("single", &DOMAINS, &[&[0.7, 0.6], &[0.7, 0.6], &[0.7, 0.6]]),
            standing("ple", &DOMAINS, &[&[0.721, 0.59], &[0.72, 0.589], &[0.719, 0.588]]),
        ])
    }

    #[test]
    fn all_contenders_then_gains_then_everything() {
        let expected = "\
contender  parameters  seeds  epochs  rows/s  click: mean domain AUC  ▲  ▼  seesaw
──────────────────────────────────────────────────────────────────────────────────
single             10      3     0.0    1000         0.6500 ± 0.0000
ple                10      3     0.0    1000         0.6545 ± 0.0010  1  1  yes

click: gain in AUC  rows  positives           single      ple
────────────────────────────────────────────────────────────────
search               100         20  0.7000 ± 0.0000  +0.0200  ▲
feed                 200         40  0.6000 ± 0.0000  -0.0110  ▼
────────────────────────────────────────────────────────────────
all                 1000        200  0.6500 ± 0.0000  +0.0045
mean of domains                      0.6500 ± 0.0000  +0.0045

click   contender              AUC         log loss             PCOC  gain over single  p (Holm)
───────────────────────────────────────────────────────────────────────────────────────────────────
search  single     0.7000 ± 0.0000  0.3000 ± 0.0000  1.0000 ± 0.0000
        ple        0.7200 ± 0.0010  0.2800 ± 0.0010  1.0000 ± 0.0000  +0.0200 ± 0.0010    0.0017  ▲
───────────────────────────────────────────────────────────────────────────────────────────────────
feed    single     0.6000 ± 0.0000  0.4000 ± 0.0000  1.0000 ± 0.0000
        ple        0.5890 ± 0.0010  0.4110 ± 0.0010  1.0000 ± 0.0000  -0.0110 ± 0.0010    0.0027  ▼
───────────────────────────────────────────────────────────────────────────────────────────────────
all     single     0.6500 ± 0.0000  0.3500 ± 0.0000  1.0000 ± 0.0000
        ple        0.6545 ± 0.0010  0.3455 ± 0.0010  1.0000 ± 0.0000  +0.0045 ± 0.0010

Mean ± sample standard deviation over 3 seeds.
▲ gain, ▼ negative transfer over single, beyond the noise of training: p < 0.05, paired Student's t-test, Holm's correction over a contender's cells.
seesaw: ▲ somewhere and ▼ elsewhere. ?: not tested. The noise of few test rows is not in p: mind the positives.
";
        assert_eq!(seesaw().to_string(), expected);
    }

    #[test]
    fn divergence_and_one_seed_are_said() {
        let mut all = seesaw();
        all.contenders[1].runs[1] = failed(2);
        let text = all.to_string();
        assert!(text.contains("ple, seed 2: left out; a loss that is not finite at step 7"), "{text}");
        assert!(!text.contains("Not tested") && !text.contains("One seed"), "{text}");
        all.contenders.iter_mut().for_each(|standing| standing.runs.truncate(1));
        let text = all.to_string();
        assert!(text.contains("One seed tells no noise from gain") && !text.contains("p < 0.05"), "{text}");
        assert!(text.contains("+0.0210") && text.contains('?'), "{text}");
        all.contenders[1].runs[0] = failed(1);
        let text = all.to_string();
        assert!(text.lines().nth(3).unwrap().contains("ple                10      0       –"), "{text}");
    }

    #[test]
    fn who_is_not_tested_is_named_with_the_reason() {
        let mut all = seesaw();
        let mut lone = standing("lone", &DOMAINS, &[&[0.7, 0.6], &[0.8, 0.7], &[0.7, 0.7]]);
        (lone.runs[0], lone.runs[2]) = (failed(1), failed(3));
        all.contenders.extend([lone, standing("steady", &DOMAINS, &[&[0.8, 0.7][..]; 3])]);
        let text = all.to_string();
        assert!(text.contains("Not tested, as fewer than two seeds are judged: lone.\n"), "{text}");
        assert!(text.contains("Not tested, as no seeds differ in their gains: steady.\n"), "{text}");
        assert!(!text.contains("One seed"), "{text}");
    }

    #[test]
    fn a_loss_is_negative_transfer_over_what_shares_nothing_alone() {
        let text = Comparison { baseline: Some("ple".into()), ..seesaw() }.to_string();
        assert!(text.contains("▼ loss over ple") && !text.contains("negative transfer"), "{text}");
    }

    #[test]
    fn undefined_cells_and_many_contenders() {
        let contender = |number: usize| {
            let mut standing = standing(&format!("m{number}"), &DOMAINS, &[]);
            let aucs = |_, d: usize| (d == 0).then_some(0.5 + 0.01 * number as f64);
            standing.runs = (1..3).map(|seed| run(seed, report(&["click"], &DOMAINS, aucs))).collect();
            standing
        };
        let text = comparison((0..8).map(contender).collect()).to_string();
        let tables: Vec<&str> = text.split("\n\n").collect();
        assert!(tables[1].contains("m6") && !tables[1].contains("m7") && tables[2].contains("m7"), "{text}");
        let feed: Vec<&str> = tables[1].lines().filter(|line| line.starts_with("feed")).collect();
        assert_eq!(feed[0].matches('–').count(), 7, "{text}");
        assert!(tables[1].contains("–: the AUC is undefined"), "{text}");
    }

    #[test]
    fn without_a_baseline_there_are_scores_alone() {
        let all = Comparison { baseline: None, ..seesaw() };
        let text = all.to_string();
        assert!(!text.contains("gain") && !text.contains('▲') && text.contains("0.7200 ± 0.0010"), "{text}");
    }
}
