//! The metrics against their definitions, written out naively.

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

/// Rows whose scores come from a coarse grid, so that ties are common, or from all over.
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
        // ln(1 − σ(z)) = ln σ(−z); both are far from 0 on |z| <= 30.
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
    let (scores, labels, groups) = columns(rows);
    let column = |values: Vec<f32>| Array2::from_shape_vec((rows.len(), 1), values).unwrap();
    let domains: Vec<DomainId> =
        rows.iter().map(|row| if row.2 == DOMAINS { DomainId::SHARED } else { DomainId::new(row.2) }).collect();
    evaluator.add(&column(scores), &column(labels), &domains, &groups).unwrap();
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
        // Exact in f32 on this range: a power of two, so that the order and the ties stay what they are.
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
    evaluator.add(&logits, &labels, DomainId::new(0), &[0, 0, 1, 1]).unwrap();
    let report = evaluator.report();
    assert_measures(&report.task("click").unwrap().all, &clicks);
    assert_measures(&report.task("cart").unwrap().all, &carts);
}
