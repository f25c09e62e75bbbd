//! Compares the metrics with simple implementations of their definitions.

use approx::assert_relative_eq;
use ndarray::{Array2, Axis};
use proptest::prelude::*;
use starple::data::{DomainId, Layout};
use starple::metrics::{ECE_BINS, Evaluator, Measures, auc, ece, gauc, logloss, pcoc};

/// A labelled row: score, label, domain, group.
type Row = (f32, f32, usize, u32);

const DOMAINS: usize = 3;

fn label() -> impl Strategy<Value = f32> {
    prop_oneof![4 => Just(0.0_f32), 3 => Just(1.0), 1 => Just(f32::NAN)]
}

/// Rows whose scores are from a coarse grid, so that ties are common, or arbitrary.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let score = prop_oneof![(-4_i8..4).prop_map(|step| f32::from(step) * 0.5), -30.0_f32..30.0];
    prop::collection::vec((score, label(), 0..=DOMAINS, 0_u32..5), 0..60)
}

fn columns(rows: &[Row]) -> (Vec<f32>, Vec<f32>, Vec<u32>) {
    (rows.iter().map(|r| r.0).collect(), rows.iter().map(|r| r.1).collect(), rows.iter().map(|r| r.3).collect())
}

fn labelled(rows: &[Row]) -> Vec<Row> {
    rows.iter().copied().filter(|row| !row.1.is_nan()).collect()
}

fn naive_auc(rows: &[Row]) -> Option<f64> {
    let (mut won, mut pairs) = (0.0, 0.0);
    for positive in rows.iter().filter(|row| row.1 == 1.0) {
        for negative in rows.iter().filter(|row| row.1 == 0.0) {
            pairs += 1.0;
            if positive.0 > negative.0 {
                won += 1.0;
            } else if positive.0 == negative.0 {
                won += 0.5;
            }
        }
    }
    (pairs > 0.0).then(|| won / pairs)
}

fn naive_gauc(rows: &[Row]) -> Option<f64> {
    let (mut sum, mut weight) = (0.0, 0.0);
    for group in 0..5 {
        let members: Vec<Row> = labelled(rows).into_iter().filter(|row| row.3 == group).collect();
        if let Some(auc) = naive_auc(&members) {
            sum += members.len() as f64 * auc;
            weight += members.len() as f64;
        }
    }
    (weight > 0.0).then(|| sum / weight)
}

fn probability(row: &Row) -> f64 {
    let z = f64::from(row.0);
    z.exp() / (1.0 + z.exp())
}

fn naive_logloss(rows: &[Row]) -> Option<f64> {
    let rows = labelled(rows);
    let loss = |row: &Row| {
        let z = f64::from(row.0);
        // ln(1 − σ(z)) = ln σ(−z); both arguments of ln are far from 0 for |z| <= 30.
        -(if row.1 == 1.0 { probability(row) } else { 1.0 / (1.0 + z.exp()) }).ln()
    };
    (!rows.is_empty()).then(|| rows.iter().map(loss).sum::<f64>() / rows.len() as f64)
}

fn naive_pcoc(rows: &[Row]) -> Option<f64> {
    let rows = labelled(rows);
    let clicks: f64 = rows.iter().map(|row| f64::from(row.1)).sum();
    (clicks > 0.0).then(|| rows.iter().map(probability).sum::<f64>() / clicks)
}

fn naive_ece(rows: &[Row], bins: usize) -> Option<f64> {
    let rows = labelled(rows);
    let mut total = 0.0;
    for bin in 0..bins {
        let (low, high) = (bin as f64 / bins as f64, (bin + 1) as f64 / bins as f64);
        let last = bin + 1 == bins;
        let inside: Vec<&Row> =
            rows.iter().filter(|row| probability(row) >= low && (probability(row) < high || last)).collect();
        if !inside.is_empty() {
            let n = inside.len() as f64;
            let predicted = inside.iter().map(|row| probability(row)).sum::<f64>() / n;
            let observed = inside.iter().map(|row| f64::from(row.1)).sum::<f64>() / n;
            total += n / rows.len() as f64 * (predicted - observed).abs();
        }
    }
    (!rows.is_empty()).then_some(total)
}

fn assert_same(found: Option<f64>, expected: Option<f64>) {
    assert_eq!(found.is_some(), expected.is_some(), "found {found:?}, expected {expected:?}");
    if let (Some(found), Some(expected)) = (found, expected) {
        assert_relative_eq!(found, expected, max_relative = 1e-12, epsilon = 1e-12);
    }
}

fn assert_measures(found: &Measures, rows: &[Row]) {
    assert_eq!(found.rows, labelled(rows).len());
    assert_eq!(found.positives, rows.iter().filter(|row| row.1 == 1.0).count());
    assert_same(found.auc, naive_auc(rows));
    assert_same(found.gauc, naive_gauc(rows));
    assert_same(found.logloss, naive_logloss(rows));
    assert_same(found.pcoc, naive_pcoc(rows));
    assert_same(found.ece, naive_ece(rows, ECE_BINS));
}

fn evaluator() -> Evaluator {
    let domains = (0..DOMAINS).map(|domain| format!("d{domain}")).collect();
    Evaluator::new(&Layout { domains, tasks: vec!["click".into()], ..Layout::default() })
}

fn add(evaluator: &mut Evaluator, rows: &[Row]) {
    add_weighted(evaluator, rows, &[]);
}

fn add_weighted(evaluator: &mut Evaluator, rows: &[Row], weights: &[f32]) {
    let (scores, labels, groups) = columns(rows);
    let column = |values: Vec<f32>| Array2::from_shape_vec((rows.len(), 1), values).unwrap();
    let domains: Vec<DomainId> =
        rows.iter().map(|row| if row.2 == DOMAINS { DomainId::SHARED } else { DomainId::new(row.2) }).collect();
    evaluator.add(&column(scores), &column(labels), &domains, weights, &groups).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn each_metric_is_its_definition(rows in rows(), bins in 1_usize..30) {
        let (scores, labels, groups) = columns(&rows);
        assert_same(auc(&scores, &labels), naive_auc(&rows));
        assert_same(gauc(&scores, &labels, &groups), naive_gauc(&rows));
        assert_same(logloss(&scores, &labels), naive_logloss(&rows));
        assert_same(pcoc(&scores, &labels), naive_pcoc(&rows));
        assert_same(ece(&scores, &labels, bins), naive_ece(&rows, bins));
    }

    #[test]
    fn a_report_holds_each_domain_and_their_mean(rows in rows()) {
        let mut evaluator = evaluator();
        add(&mut evaluator, &rows);
        let report = evaluator.report();
        let click = report.task("click").unwrap();
        assert_measures(&click.all, &rows);
        let mut aucs = Vec::new();
        for domain in 0..DOMAINS {
            let own: Vec<Row> = rows.iter().copied().filter(|row| row.2 == domain).collect();
            assert_measures(click.domain(&format!("d{domain}")).unwrap(), &own);
            aucs.extend(naive_auc(&own));
        }
        let mean = (!aucs.is_empty()).then(|| aucs.iter().sum::<f64>() / aucs.len() as f64);
        assert_same(click.mean_domain_auc, mean);
        let none: Vec<Row> = rows.iter().copied().filter(|row| row.2 == DOMAINS).collect();
        if labelled(&none).is_empty() {
            prop_assert!(click.domain("(shared)").is_none());
        } else {
            assert_measures(click.domain("(shared)").unwrap(), &none);
        }
    }

    #[test]
    fn neither_order_nor_cuts_nor_merging_change_a_bit(
        (rows, shuffled) in rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        cuts in prop::collection::vec(0_usize..60, 0..4),
    ) {
        let mut whole = evaluator();
        add(&mut whole, &rows);

        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).chain([0, rows.len()]).collect();
        cuts.sort_unstable();
        let mut parts = evaluator();
        for range in cuts.windows(2) {
            let mut part = evaluator();
            add(&mut part, &shuffled[range[0]..range[1]]);
            parts.merge(part).unwrap();
        }
        prop_assert_eq!(parts.report(), whole.report());
    }

    #[test]
    fn auc_sees_the_order_of_the_scores_alone(rows in rows()) {
        let (scores, labels, groups) = columns(&rows);
        // A power of two is exact in f32 here, so order and ties do not change.
        let scaled: Vec<f32> = scores.iter().map(|score| score * 8.0).collect();
        prop_assert_eq!(auc(&scaled, &labels), auc(&scores, &labels));
        prop_assert_eq!(gauc(&scaled, &labels, &groups), gauc(&scores, &labels, &groups));

        let mut distinct: Vec<f32> = scores.clone();
        distinct.sort_unstable_by(f32::total_cmp);
        distinct.dedup();
        let ranks: Vec<f32> =
            scores.iter().map(|score| (distinct.iter().position(|d| d == score).unwrap() as f32).powi(3)).collect();
        prop_assert_eq!(auc(&ranks, &labels), auc(&scores, &labels));

        let mirrored: Vec<f32> = scores.iter().map(|score| -score).collect();
        assert_same(auc(&mirrored, &labels), auc(&scores, &labels).map(|auc| 1.0 - auc));
    }
}

/// Rows, each with a weight.
fn weighted_rows() -> impl Strategy<Value = (Vec<Row>, Vec<f32>)> {
    let weight = prop_oneof![2 => Just(0.0_f32), 2 => Just(1.0), 4 => 0.01_f32..20.0];
    rows().prop_flat_map(move |rows| {
        let count = rows.len();
        (Just(rows), prop::collection::vec(weight.clone(), count))
    })
}

/// A row and its weight.
type Weighted = (Row, f64);

/// `Σ w_i·w_j [s_i > s_j] …` over all pairs; a tie counts half.
fn naive_weighted_auc(rows: &[Weighted]) -> Option<f64> {
    let (mut won, mut pairs) = (0.0, 0.0);
    for (positive, w) in rows.iter().filter(|(row, _)| row.1 == 1.0) {
        for (negative, v) in rows.iter().filter(|(row, _)| row.1 == 0.0) {
            pairs += w * v;
            if positive.0 > negative.0 {
                won += w * v;
            } else if positive.0 == negative.0 {
                won += 0.5 * w * v;
            }
        }
    }
    (pairs > 0.0).then(|| won / pairs)
}

fn naive_weighted_gauc(rows: &[Weighted]) -> Option<f64> {
    let groups = (0..5).filter_map(|group| {
        let members: Vec<Weighted> =
            rows.iter().copied().filter(|(row, _)| row.3 == group && !row.1.is_nan()).collect();
        Some((naive_weighted_auc(&members)?, members.iter().map(|(_, weight)| weight).sum::<f64>()))
    });
    let groups: Vec<(f64, f64)> = groups.collect();
    let total: f64 = groups.iter().map(|(_, weight)| weight).sum();
    (!groups.is_empty()).then(|| groups.iter().map(|(auc, weight)| auc * weight).sum::<f64>() / total)
}

fn assert_weighted_measures(found: &Measures, rows: &[Row], weights: &[f32]) {
    let pairs = rows.iter().zip(weights).filter(|(row, weight)| !row.1.is_nan() && **weight > 0.0);
    let rows: Vec<Weighted> = pairs.map(|(row, &weight)| (*row, f64::from(weight))).collect();
    let sum = |of: &dyn Fn(&Row) -> f64| rows.iter().map(|(row, weight)| weight * of(row)).sum::<f64>();
    let total = sum(&|_| 1.0);
    assert_eq!(found.rows, rows.len());
    assert_eq!(found.positives, rows.iter().filter(|(row, _)| row.1 == 1.0).count());
    assert_same(found.weight, Some(total));
    assert_same(found.auc, naive_weighted_auc(&rows));
    assert_same(found.gauc, naive_weighted_gauc(&rows));
    let loss = |row: &Row| naive_logloss(&[*row]).unwrap();
    assert_same(found.logloss, (!rows.is_empty()).then(|| sum(&loss) / total));
    let clicks = sum(&|row| f64::from(row.1));
    assert_same(found.pcoc, (clicks > 0.0).then(|| sum(&probability) / clicks));
    let gap = |bin: usize| {
        let inside = |row: &Row| ((probability(row) * ECE_BINS as f64) as usize).min(ECE_BINS - 1) == bin;
        sum(&|row| if inside(row) { probability(row) - f64::from(row.1) } else { 0.0 }).abs()
    };
    assert_same(found.ece, (!rows.is_empty()).then(|| (0..ECE_BINS).map(gap).sum::<f64>() / total));

    let unweighted = found.unweighted.unwrap();
    let rows: Vec<Row> = rows.iter().map(|(row, _)| *row).collect();
    assert_same(unweighted.auc, naive_auc(&rows));
    assert_same(unweighted.gauc, naive_gauc(&rows));
    assert_same(unweighted.logloss, naive_logloss(&rows));
    assert_same(unweighted.pcoc, naive_pcoc(&rows));
    assert_same(unweighted.ece, naive_ece(&rows, ECE_BINS));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn weights_count_in_every_metric_by_its_definition((rows, weights) in weighted_rows()) {
        let mut evaluator = evaluator();
        add_weighted(&mut evaluator, &rows, &weights);
        let report = evaluator.report();
        let click = report.task("click").unwrap();
        prop_assert_eq!(click.weighted, !rows.is_empty());
        if rows.is_empty() {
            return Ok(());
        }
        assert_weighted_measures(&click.all, &rows, &weights);
        let mut aucs = Vec::new();
        for domain in 0..DOMAINS {
            let own = rows.iter().zip(&weights).filter(|(row, _)| row.2 == domain);
            let (own, of): (Vec<Row>, Vec<f32>) = own.map(|(row, weight)| (*row, *weight)).unzip();
            let found = click.domain(&format!("d{domain}")).unwrap();
            assert_weighted_measures(found, &own, &of);
            aucs.extend(found.auc);
        }
        assert_same(click.mean_domain_auc, (!aucs.is_empty()).then(|| aucs.iter().sum::<f64>() / aucs.len() as f64));
    }

    #[test]
    fn a_row_of_weight_three_is_the_row_three_times(
        (rows, times) in rows().prop_flat_map(|rows| {
            let count = rows.len();
            (Just(rows), prop::collection::vec(0_u8..4, count))
        }),
    ) {
        let weights: Vec<f32> = times.iter().map(|&times| f32::from(times)).collect();
        let repeated: Vec<Row> =
            rows.iter().zip(&times).flat_map(|(row, &times)| (0..times).map(|_| *row)).collect();
        let (mut weighted, mut plain) = (evaluator(), evaluator());
        add_weighted(&mut weighted, &rows, &weights);
        add(&mut plain, &repeated);
        let (weighted, plain) = (weighted.report(), plain.report());
        let (weighted, plain) = (&weighted.tasks[0], &plain.tasks[0]);
        let places = weighted.domains.iter().map(|(name, measures)| (measures, plain.domain(name)));
        for (weighted, plain) in places.chain([(&weighted.all, Some(&plain.all))]) {
            let plain = plain.cloned().unwrap_or_default();
            assert_same(weighted.auc, plain.auc);
            assert_same(weighted.gauc, plain.gauc);
            assert_same(weighted.logloss, plain.logloss);
            assert_same(weighted.pcoc, plain.pcoc);
            assert_same(weighted.ece, plain.ece);
        }
    }

    #[test]
    fn weights_of_one_give_the_bits_of_none(rows in rows()) {
        let (mut weighted, mut plain) = (evaluator(), evaluator());
        add_weighted(&mut weighted, &rows, &vec![1.0; rows.len()]);
        add(&mut plain, &rows);
        let mut report = weighted.report();
        let task = &mut report.tasks[0];
        task.weighted = false;
        for measures in task.domains.iter_mut().map(|(_, measures)| measures).chain([&mut task.all]) {
            if let Some(weight) = measures.weight.take() {
                prop_assert_eq!(weight, measures.rows as f64);
                let unweighted = measures.unweighted.take().unwrap();
                prop_assert_eq!((unweighted.auc, unweighted.gauc), (measures.auc, measures.gauc));
                prop_assert_eq!((unweighted.logloss, unweighted.pcoc, unweighted.ece), (measures.logloss, measures.pcoc, measures.ece));
            }
        }
        prop_assert_eq!(report, plain.report());
    }

    #[test]
    fn neither_order_nor_cuts_change_a_bit_of_weighted_rows(
        ((rows, weights), order) in weighted_rows().prop_flat_map(|(rows, weights)| {
            let order: Vec<usize> = (0..rows.len()).collect();
            (Just((rows, weights)), Just(order).prop_shuffle())
        }),
        cut in 0_usize..60,
    ) {
        let mut whole = evaluator();
        add_weighted(&mut whole, &rows, &weights);
        let cut = cut.min(rows.len());
        let mut parts = evaluator();
        for part in [&order[..cut], &order[cut..]] {
            let mut evaluator = evaluator();
            let (rows, weights): (Vec<Row>, Vec<f32>) = part.iter().map(|&i| (rows[i], weights[i])).unzip();
            add_weighted(&mut evaluator, &rows, &weights);
            parts.merge(evaluator).unwrap();
        }
        prop_assert_eq!(parts.report(), whole.report());
    }
}

#[test]
fn weights_that_are_no_weights_are_refused() {
    for weight in [-1.0, f32::NAN, f32::INFINITY] {
        let one = Array2::zeros((2, 1));
        let mut evaluator = evaluator();
        let error = evaluator.add(&one, &one, DomainId::new(0), &[1.0, weight], &[]).unwrap_err();
        assert_eq!(error.kind(), starple::ErrorKind::Data);
        assert!(error.to_string().contains("as the weight of row 1"), "{error}");
        assert_eq!(evaluator.report().tasks[0].all, Measures::default());
    }
}

#[test]
fn a_domain_whose_weights_are_all_zero_has_no_metrics() {
    let mut evaluator = evaluator();
    add_weighted(
        &mut evaluator,
        &[(0.5, 1.0, 0, 0), (-0.5, 0.0, 0, 0), (1.0, 1.0, 1, 0), (2.0, 0.0, 1, 0)],
        &[0.0, 0.0, 2.0, 1.0],
    );
    let report = evaluator.report();
    let d0 = report.tasks[0].domain("d0").unwrap();
    assert_eq!((d0.rows, d0.weight), (0, Some(0.0)));
    assert_eq!((d0.auc, d0.logloss, d0.pcoc, d0.ece, d0.gauc), (None, None, None, None, None));
    assert_eq!((report.tasks[0].all.rows, report.tasks[0].all.auc), (2, Some(0.0)));
}

#[test]
fn a_task_does_not_see_the_labels_of_another() {
    let layout = Layout { domains: vec!["d".into()], tasks: vec!["click".into(), "cart".into()], ..Layout::default() };
    let clicks: Vec<Row> = vec![(0.5, 1.0, 0, 0), (-0.5, 0.0, 0, 0), (1.5, 0.0, 0, 1), (2.5, 1.0, 0, 1)];
    let carts: Vec<Row> = vec![(1.5, f32::NAN, 0, 0), (-1.5, 1.0, 0, 0), (0.0, 0.0, 0, 1), (2.0, 0.0, 0, 1)];
    let both = |pick: fn(&Row) -> f32| {
        let column = |rows: &[Row]| rows.iter().map(pick).collect::<Vec<_>>();
        let flat = [column(&clicks), column(&carts)].concat();
        Array2::from_shape_vec((2, 4), flat).unwrap().reversed_axes()
    };
    let mut evaluator = Evaluator::new(&layout);
    let (logits, labels) = (both(|row| row.0), both(|row| row.1));
    assert_eq!(logits.len_of(Axis(1)), 2);
    evaluator.add(&logits, &labels, DomainId::new(0), &[], &[0, 0, 1, 1]).unwrap();
    let report = evaluator.report();
    assert_measures(&report.task("click").unwrap().all, &clicks);
    assert_measures(&report.task("cart").unwrap().all, &carts);
}
