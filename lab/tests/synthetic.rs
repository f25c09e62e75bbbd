//! Generated logs are what their configuration promises.

use std::collections::HashMap;

use approx::assert_relative_eq;
use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use starple::data::Ids;
use starple::metrics::{auc, logloss};
use starple_lab::synthetic::{SyntheticConfig, SyntheticConfigBuilder, SyntheticLog};

/// A small vocabulary, so that the same values meet in every domain.
fn builder() -> SyntheticConfigBuilder {
    SyntheticConfig::builder()
        .rows(20_000)
        .seed(3)
        .domains(["search", "feed", "email"])
        .task("click", 0.2)
        .task_given("cart", "click", 0.4)
        .categorical("user", 5)
        .categorical("item", 4)
        .categorical("hour", 3)
        .popularity(0.5)
}

fn generate(builder: SyntheticConfigBuilder) -> SyntheticLog {
    SyntheticLog::generate(&builder.build().unwrap())
}

fn csv(log: &SyntheticLog) -> Vec<u8> {
    let mut bytes = Vec::new();
    log.write_csv(&mut bytes).unwrap();
    bytes
}

/// The rows of each domain.
fn by_domain(log: &SyntheticLog) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new(); log.layout().domains.len()];
    for (row, domain) in log.domains().iter().enumerate() {
        rows[domain.index().unwrap()].push(row);
    }
    rows
}

fn ids(log: &SyntheticLog, field: usize) -> Vec<u32> {
    match log.data_set().into_batch().ids.swap_remove(field) {
        Ids::One(ids) => ids,
        _ => panic!("field {field} is not one id a row"),
    }
}

/// The click logit of every combination of values seen in a domain: all that a row has, in these logs.
fn click_logits(log: &SyntheticLog, rows: &[usize]) -> HashMap<[u32; 3], f64> {
    let (user, item, hour) = (ids(log, 0), ids(log, 1), ids(log, 2));
    let logit = |row: usize| {
        let p = log.probabilities()[[row, 0]];
        (p / (1.0 - p)).ln()
    };
    rows.iter().map(|&row| ([user[row], item[row], hour[row]], logit(row))).collect()
}

#[test]
fn the_toy_file_is_what_its_configuration_generates() {
    let file = include_bytes!("../../examples/data/toy.csv");
    let written = csv(&SyntheticLog::generate(&SyntheticConfig::toy()));
    // Without the megabyte that assert_eq would print.
    assert!(written == file, "run `cargo run --example make_toy` and commit the file if the change is meant");
}

#[test]
fn one_seed_one_log() {
    let small = || builder().rows(500).numeric("age", 40.0, 9.0, 1).bag("tags", 9, 3).missing(0.1);
    assert!(csv(&generate(small())) == csv(&generate(small())));
    assert!(csv(&generate(small())) != csv(&generate(small().seed(4))));
}

#[test]
fn domains_have_their_shares() {
    let rows: Vec<usize> = by_domain(&generate(builder().domain_tail(2.0))).iter().map(Vec::len).collect();
    // 1, 1/4, 1/9 of 49/36 of 20 000 rows: 14693.9, 3673.5, 1632.7, cut where the rounded sums are.
    assert_eq!(rows, [14694, 3673, 1633]);
}

#[test]
fn base_rates_are_met() {
    let log = generate(builder().rate_shift(0.8));
    let rates = log.base_rates();
    for (domain, rows) in by_domain(&log).iter().enumerate() {
        for task in 0..2 {
            let (mut mean, mut variance, mut positives) = (0.0, 0.0, 0.0);
            for &row in rows {
                let p = log.probabilities()[[row, task]];
                mean += p;
                variance += p * (1.0 - p);
                positives += f64::from(log.labels()[[row, task]]);
            }
            assert_relative_eq!(mean / rows.len() as f64, rates[[domain, task]], max_relative = 1e-9);
            assert!((positives - mean).abs() < 4.5 * variance.sqrt(), "{positives} positives for {mean} expected");
        }
    }
    let logit = |p: f64| (p / (1.0 - p)).ln();
    assert!((logit(rates[[0, 0]]) - logit(rates[[1, 0]])).abs() > 0.05, "rates do not differ: {rates}");

    // Without a shift every domain has the rate that was asked for; a cart needs a click.
    let rates = generate(builder().rate_shift(0.0)).base_rates().to_owned();
    for domain in rates.rows() {
        assert_relative_eq!(domain[0], 0.2, max_relative = 1e-9);
        assert_relative_eq!(domain[1], 0.08, max_relative = 1e-9);
    }
}

#[test]
fn labels_are_drawn_with_their_probabilities() {
    let log = generate(builder());
    for task in 0..2 {
        let mut rows: Vec<usize> = (0..log.rows()).collect();
        rows.sort_by(|&a, &b| log.probabilities()[[a, task]].total_cmp(&log.probabilities()[[b, task]]));
        for decile in rows.chunks(log.rows() / 10) {
            let expected: f64 = decile.iter().map(|&row| log.probabilities()[[row, task]]).sum();
            let variance: f64 = decile.iter().map(|&row| log.probabilities()[[row, task]]).map(|p| p * (1.0 - p)).sum();
            let found: f64 = decile.iter().map(|&row| f64::from(log.labels()[[row, task]])).sum();
            assert!((found - expected).abs() < 4.5 * variance.sqrt(), "{found} for {expected}");
        }
    }
    let labels = log.labels();
    assert!(labels.rows().into_iter().all(|row| row[1] <= row[0]), "a cart without a click");
}

#[test]
fn nobody_beats_the_oracle() {
    let log = generate(builder());
    let oracle = log.oracle_logits();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for task in 0..2 {
        let labels = log.labels().column(task).to_vec();
        let best = oracle.column(task).to_vec();
        for noise in [0.5_f32, 1.0, 4.0] {
            let worse: Vec<f32> = best.iter().map(|logit| logit + noise * rng.random_range(-1.0..1.0)).collect();
            assert!(auc(&best, &labels) > auc(&worse, &labels));
            assert!(logloss(&best, &labels) < logloss(&worse, &labels));
        }
        // The right order with the wrong confidence.
        let bolder: Vec<f32> = best.iter().map(|logit| 1.3 * logit).collect();
        assert_eq!(auc(&bolder, &labels), auc(&best, &labels));
        assert!(logloss(&best, &labels) < logloss(&bolder, &labels));
    }
}

#[test]
fn without_own_weights_domains_share_one_function() {
    // Up to the intercept, that is: the difference of two domains' logits is the same for all values.
    let spread = |own: f64| {
        let log = generate(builder().own(own));
        let rows = by_domain(&log);
        let (search, email) = (click_logits(&log, &rows[0]), click_logits(&log, &rows[2]));
        let gaps: Vec<f64> = search.iter().filter_map(|(values, z)| Some(z - email.get(values)?)).collect();
        assert!(gaps.len() > 40, "only {} combinations meet", gaps.len());
        let (low, high) = gaps.iter().fold((f64::MAX, f64::MIN), |(l, h), &gap| (l.min(gap), h.max(gap)));
        high - low
    };
    assert!(spread(0.0) < 1e-6);
    assert!(spread(0.5) > 1.0);
}

#[test]
fn without_interaction_values_add_up() {
    // z(u, i) + z(u', i') = z(u, i') + z(u', i) for an additive z, at any one hour.
    let largest = |interaction: f64| {
        let log = generate(builder().interaction(interaction));
        let z = click_logits(&log, &by_domain(&log)[0]);
        let mut largest = 0.0_f64;
        for (&[u, i, hour], a) in &z {
            for (&[v, j, other_hour], b) in &z {
                if let (true, Some(c), Some(d)) = (hour == other_hour, z.get(&[u, j, hour]), z.get(&[v, i, hour])) {
                    largest = largest.max((a + b - c - d).abs());
                }
            }
        }
        largest
    };
    assert!(largest(0.0) < 1e-6);
    assert!(largest(0.5) > 1.0);
}

#[test]
fn domains_differ_in_what_they_show_as_much_as_asked() {
    let shares = |shift: f64| {
        let log = generate(builder().feature_shift(shift).numeric("age", 40.0, 8.0, 2).domain_tail(0.0));
        let (user, age) = (ids(&log, 0), log.data_set().into_batch().numeric);
        by_domain(&log)
            .iter()
            .map(|rows| {
                let n = rows.len() as f64;
                let first = rows.iter().filter(|&&row| user[row] == 1).count() as f64 / n;
                (first, rows.iter().map(|&row| f64::from(age[[row, 0]])).sum::<f64>() / n)
            })
            .collect::<Vec<_>>()
    };
    // The first of five values with popularity 1/√k.
    let first = 1.0 / (1..=5).map(|k| f64::from(k).powf(-0.5)).sum::<f64>();
    for (share, mean) in shares(0.0) {
        // About 6667 rows: 4.5 standard errors.
        assert!((share - first).abs() < 4.5 * (first * (1.0 - first) / 6666.0).sqrt(), "{share} for {first}");
        assert!(mean.abs() < 4.5 / 6666_f64.sqrt(), "{mean}");
    }
    let shifted = shares(1.0);
    let range = |values: Vec<f64>| {
        values.iter().copied().fold(f64::MIN, f64::max) - values.iter().copied().fold(f64::MAX, f64::min)
    };
    assert!(range(shifted.iter().map(|domain| domain.0).collect()) > 0.1, "{shifted:?}");
    assert!(range(shifted.iter().map(|domain| domain.1).collect()) > 0.2, "{shifted:?}");
}

#[test]
fn settings_of_the_truth_leave_the_features_alone() {
    let one = generate(builder().rows(2000));
    let other =
        generate(builder().rows(2000).own(0.9).signal(0.5).task_correlation(0.1).rate_shift(1.0).importance_shift(1.0));
    assert_eq!(one.data_set().ids, other.data_set().ids);
    assert_eq!(one.splits(), other.splits());
    assert_eq!(one.domains(), other.domains());
}

#[test]
fn the_file_holds_the_log() {
    let log = generate(
        builder()
            .rows(4000)
            .domain_column("scene")
            .numeric("age", 40.0, 8.0, 1)
            .bag("tags", 6, 3)
            .missing(0.2)
            .unreported("cart", "feed"),
    );
    let bytes = csv(&log);
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    assert_eq!(
        reader.headers().unwrap(),
        &csv::StringRecord::from(vec![
            "user", "item", "hour", "age", "tags", "scene", "click", "cart", "split", "p_click", "p_cart"
        ])
    );

    let (layout, batch) = (log.layout(), log.data_set());
    assert_eq!(layout.tables.iter().map(|table| table.rows).collect::<Vec<_>>(), [6, 5, 4, 7]);
    let (user, Ids::Bag { offsets, ids: tags }) = (ids(&log, 0), &batch.ids[3]) else { panic!("tags are a bag") };
    let mut numeric = Array2::<f32>::zeros((log.rows(), 1));
    let (mut rows, mut missing, mut train) = (0, 0, 0);
    for (row, record) in reader.records().enumerate() {
        let record = record.unwrap();
        let domain = log.domains()[row].index().unwrap();
        assert_eq!(record[0], format!("u{}", user[row] - 1));
        if record[3].is_empty() {
            missing += 1;
        } else {
            numeric[[row, 0]] = ((record[3].parse::<f64>().unwrap() - 40.0) / 8.0) as f32;
        }
        let written: Vec<u32> =
            record[4].split('|').filter(|t| !t.is_empty()).map(|t| t[1..].parse::<u32>().unwrap() + 1).collect();
        assert_eq!(written, tags[offsets[row] as usize..offsets[row + 1] as usize]);
        assert!(written.len() <= 3 && written.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(record[5], layout.domains[domain]);
        assert_eq!(record[6].parse::<f32>().unwrap(), log.labels()[[row, 0]]);
        assert_eq!(record[7].is_empty(), domain == 1);
        assert_eq!(log.labels()[[row, 1]].is_nan(), domain == 1);
        assert_eq!(&record[8], log.splits()[row]);
        for task in 0..2 {
            let p: f64 = record[9 + task].parse().unwrap();
            assert!((p - log.probabilities()[[row, task]]).abs() <= 0.5e-5 + 1e-12);
        }
        train += usize::from(&record[8] == "train");
        rows += 1;
    }
    assert_eq!(rows, 4000);
    assert_eq!(batch.numeric, numeric);
    // 4.5 standard errors of 4000 draws of 0.2 (or 0.8).
    let tolerance = 4.5 * (4000.0_f64 * 0.16).sqrt();
    assert!((f64::from(missing) - 800.0).abs() < tolerance, "{missing}");
    assert!((train as f64 - 3200.0).abs() < tolerance, "{train}");
}

#[test]
fn a_writer_that_fails_is_reported() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk full"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = generate(builder().rows(100)).write_csv(Full).unwrap_err();
    assert_eq!(error.kind(), starple::ErrorKind::Io);
    assert_eq!(error.to_string(), "writing a synthetic log: disk full");
}

#[test]
fn the_worlds_of_the_examples_are_read() {
    let mut read = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/worlds")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let config: Result<SyntheticConfig, _> = toml::from_str(&text);
        assert!(config.is_ok(), "{}: {}", path.display(), config.unwrap_err());
        read += 1;
    }
    assert!(read >= 2, "the worlds are in examples/worlds");
}
