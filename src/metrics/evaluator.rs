//! Collects scores batch by batch and measures them by task and domain.

use ndarray::ArrayRef2;

use super::auc::auc_of_sorted;
use super::calibration::{ECE_BINS, ece_of, pcoc_of};
use super::gauc::gauc_in_place;
use super::logloss::logloss_of;
use super::observation::Observation;
use super::regression::{errors_of, xauc_of_sorted};
use super::report::{Measures, Metrics, Report, SHARED_DOMAIN, TaskReport};
use crate::data::{DomainId, Domains, Layout, Target};
use crate::{Error, ErrorKind, Result};

/// Collects the scores of any number of batches and reports every metric by task and domain.
///
/// Create it for a layout ([`Evaluator::new`]), [add](Evaluator::add) batches, and take the [report](Evaluator::report). The report depends only on
/// the rows, bit for bit. The order of the rows, their division into batches, and [merges](Evaluator::merge) of evaluators do not change it. An exact
/// AUC needs all scores, so an evaluator stores 16 bytes for every labelled row of every task.
///
/// If rows have weights, all metrics are weighted, as the loss and [`Calibration::fit`](crate::serve::Calibration::fit) are. Then
/// [`TaskReport::weighted`] is true, and [`Measures::unweighted`] has the metrics without weights. If all weights are 1, both are equal bit for bit.
/// A row of weight 0 is left out: it counts neither as a row nor in any metric.
///
/// These are the metrics of a binary task. All sums are over the rows with a label; `w_i` is the weight of row i, `z_i` its logit, `y_i` its label,
/// and `[…]` is 1 if the condition holds, otherwise 0. A row is positive if its label is 1 and negative if it is 0. `loss_i` is the binary cross
/// entropy of row i ([`bce_with_logits`](crate::loss::bce_with_logits)). The ECE divides the rows into bins by `σ(z_i)` ([`ece`](super::ece)).
///
/// ```text
/// AUC       Σ_{i positive, j negative} w_i·w_j·([z_i > z_j] + ½ [z_i = z_j]) / Σ_{i positive, j negative} w_i·w_j
/// log loss  Σ w_i·loss_i / Σ w_i
/// PCOC      Σ w_i·σ(z_i) / Σ w_i·y_i
/// ECE       Σ_bins |Σ_{i in bin} w_i·(σ(z_i) − y_i)| / Σ w_i
/// GAUC      Σ_g W_g·AUC_g / Σ_g W_g   over the groups g with positives and negatives, W_g = Σ_{i in g} w_i
/// ```
///
/// These are the metrics of a regression or a count. `ŷ_i` is the number that the task predicts for row i; it follows from the logit
/// ([`Target::answer`]). ȳ is the weighted mean of the labels.
///
/// ```text
/// MSE       Σ w_i·(ŷ_i − y_i)² / Σ w_i
/// MAE       Σ w_i·|ŷ_i − y_i| / Σ w_i
/// R²        1 − Σ w_i·(ŷ_i − y_i)² / Σ w_i·(y_i − ȳ)²
/// XAUC      Σ_{y_i > y_j} w_i·w_j·([z_i > z_j] + ½ [z_i = z_j]) / Σ_{y_i > y_j} w_i·w_j
/// PCOC      Σ w_i·ŷ_i / Σ w_i·y_i   undefined unless Σ w_i·y_i > 0
/// deviance  2 Σ w_i·(y_i·ln(y_i/ŷ_i) − (y_i − ŷ_i)) / Σ w_i   only of counts; y_i·ln(y_i/ŷ_i) is 0 if y_i = 0
/// ```
///
/// Rows of no known domain ([`DomainId::SHARED`](crate::data::DomainId::SHARED)) count in [`TaskReport::all`]. In the list of domains they have the
/// name [`SHARED_DOMAIN`].
#[derive(Debug, Clone)]
pub struct Evaluator {
    tasks: Vec<String>,
    targets: Vec<Target>,
    domains: Vec<String>,
    /// `rows[task][domain]`; after the last domain, the rows of none.
    rows: Vec<Vec<Vec<Observation>>>,
    /// Whether rows come with groups; unknown before the first.
    grouped: Option<bool>,
    /// Whether some rows came with weights.
    weighted: bool,
}

impl Evaluator {
    /// An evaluator without rows, for the tasks and domains of `layout`, which is the layout of the model whose scores you add.
    pub fn new(layout: &Layout) -> Self {
        Self {
            tasks: layout.tasks.clone(),
            targets: (0..layout.tasks.len()).map(|task| layout.target(task)).collect(),
            domains: layout.domains.clone(),
            rows: vec![vec![Vec::new(); layout.domains.len() + 1]; layout.tasks.len()],
            grouped: None,
            weighted: false,
        }
    }

    /// Adds the scores of a batch of rows. For a [`Batch`](crate::data::Batch), call
    /// `evaluator.add(&logits, &batch.labels, batch.domains(), &batch.weights, &batch.groups)`. A batch without rows adds nothing.
    ///
    /// * `logits` and `labels` are `[rows, tasks]`. A label is NaN if it is missing; then nothing is added for this row and task. Otherwise it is 0
    ///   or 1 for a binary task, any finite number for a regression, and a finite number of at least 0 for a count.
    /// * `domains` has the domain of each row, or one domain for all rows.
    /// * `weights` has the weight of each row: finite and at least 0. If it is empty, every row has the weight 1. A row of weight 0 is left out.
    /// * `groups` has one number for each row, for example the id of its user; rows with equal numbers are one group. If it is empty, there are no
    ///   groups and [`Measures::gauc`] is undefined.
    ///
    /// # Errors
    /// * [`ErrorKind::NonFinite`] if the logit of a labelled row is NaN or infinite.
    /// * [`ErrorKind::Data`] if a label is not one of those listed above, or if a weight is negative or not finite.
    /// * [`ErrorKind::Layout`] if this call has groups and an earlier call had none, or the other way round.
    ///
    /// After an error, no row of the call is added.
    ///
    /// # Panics
    /// If the arguments have different numbers of rows, or if `logits` or `labels` does not have one column for each task of the layout. Also if a
    /// domain is neither in the layout nor [`DomainId::SHARED`].
    pub fn add<'a>(
        &mut self,
        logits: &ArrayRef2<f32>,
        labels: &ArrayRef2<f32>,
        domains: impl Into<Domains<'a>>,
        weights: &[f32],
        groups: &[u32],
    ) -> Result<()> {
        let domains = domains.into();
        let (rows, tasks) = logits.dim();
        assert_eq!(tasks, self.tasks.len(), "logits of {tasks} tasks for {} tasks", self.tasks.len());
        assert_eq!(labels.dim(), logits.dim(), "labels and logits differ in shape");
        if let Domains::PerRow(domains) = domains {
            assert_eq!(domains.len(), rows, "{} domains for {rows} rows", domains.len());
        }
        assert!(weights.is_empty() || weights.len() == rows, "{} weights for {rows} rows", weights.len());
        assert!(groups.is_empty() || groups.len() == rows, "{} groups for {rows} rows", groups.len());
        if rows == 0 {
            return Ok(());
        }
        self.check(logits, labels)?;
        check_weights(weights)?;
        let grouped = !groups.is_empty();
        self.agree_on_groups(Some(grouped))?;
        self.weighted |= !weights.is_empty();

        let known = self.domains.len();
        for row in 0..rows {
            let domain = match domains {
                Domains::One(domain) => domain,
                Domains::PerRow(domains) => domains[row],
            };
            let slot = domain.index().unwrap_or(known);
            assert!(domain == DomainId::SHARED || slot < known, "domain {slot} of row {row} is not one of {known}");
            let group = if grouped { groups[row] } else { 0 };
            let weight = weights.get(row).copied().unwrap_or(1.0);
            if weight == 0.0 {
                continue;
            }
            for (task, by_domain) in self.rows.iter_mut().enumerate() {
                let label = labels[[row, task]];
                if !label.is_nan() {
                    let logit = logits[[row, task]];
                    by_domain[slot].push(Observation { logit, weight, group, label });
                }
            }
        }
        Ok(())
    }

    /// Adds all rows of `other` to this evaluator, for example rows that another thread has scored. The report is the same as if all rows had been
    /// added here.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Layout`] if `self` and `other` were created for different tasks or domains, or if the rows of one have groups and those
    /// of the other have none. Then no row is added. An evaluator without rows fits any other with the same tasks and domains.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        if (&self.tasks, &self.targets, &self.domains) != (&other.tasks, &other.targets, &other.domains) {
            let (tasks, domains) = (&self.tasks, &self.domains);
            return Err(Error::new(
                ErrorKind::Layout,
                format!(
                    "expected an evaluator of the tasks {tasks:?} and domains {domains:?}, found tasks {:?} and domains {:?}",
                    other.tasks, other.domains
                ),
            ));
        }
        self.agree_on_groups(other.grouped)?;
        self.weighted |= other.weighted;
        for (mine, theirs) in self.rows.iter_mut().flatten().zip(other.rows.into_iter().flatten()) {
            mine.extend(theirs);
        }
        Ok(())
    }

    /// Computes all metrics, by task and domain, over the rows that were added so far. The evaluator keeps its rows, and you can add more afterwards.
    /// Without rows, all counts are 0 and all metrics are `None`.
    pub fn report(&self) -> Report {
        let tasks = self.rows.iter().enumerate().map(|(task, by_domain)| self.task_report(task, by_domain)).collect();
        Report { tasks }
    }

    fn task_report(&self, task: usize, by_domain: &[Vec<Observation>]) -> TaskReport {
        let (task, target) = (&self.tasks[task], self.targets[task]);
        let (shared, own) = by_domain.split_last().expect("there is a slot for rows of no domain");
        let mut domains: Vec<_> = self
            .domains
            .iter()
            .zip(own)
            .map(|(name, rows)| (name.clone(), self.measure(target, rows.clone())))
            .collect();

        let defined: Vec<f64> = domains.iter().filter_map(|(_, measures)| measures.auc).collect();
        let mean_domain_auc = (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64);

        if !shared.is_empty() {
            domains.push((SHARED_DOMAIN.to_owned(), self.measure(target, shared.clone())));
        }
        let all = self.measure(target, by_domain.concat());
        let (task, kind) = (task.to_owned(), target.kind());
        TaskReport { task, kind, weighted: self.weighted, all, domains, mean_domain_auc }
    }

    fn measure(&self, target: Target, mut rows: Vec<Observation>) -> Measures {
        let positives = rows.iter().filter(|row| target == Target::Binary && row.positive()).count();
        let counts = (rows.len(), positives);
        rows.sort_unstable_by(Observation::by_logit);
        // Before the metrics, which may sort the rows by group.
        let weight = self.weighted.then(|| rows.iter().map(|row| f64::from(row.weight)).sum());
        let metrics = self.metrics(target, &mut rows);
        let unweighted = self.weighted.then(|| {
            for row in &mut rows {
                *row = row.unweighted();
            }
            rows.sort_unstable_by(Observation::by_logit);
            self.metrics(target, &mut rows)
        });
        let Metrics { auc, logloss, pcoc, ece, gauc, mse, mae, r2, xauc, deviance } = metrics;
        let (rows, positives) = counts;
        Measures { rows, positives, weight, auc, logloss, pcoc, ece, gauc, mse, mae, r2, xauc, deviance, unweighted }
    }

    /// The metrics of rows that are sorted by score; sorts them by group if they have groups.
    fn metrics(&self, target: Target, rows: &mut [Observation]) -> Metrics {
        if target != Target::Binary {
            let prediction =
                |row: &Observation| (target.answer(f64::from(row.logit)), f64::from(row.label), f64::from(row.weight));
            let Some(errors) = errors_of(rows.iter().map(prediction)) else { return Metrics::default() };
            return Metrics {
                pcoc: errors.ratio,
                mse: Some(errors.mse),
                mae: Some(errors.mae),
                r2: errors.r2,
                xauc: xauc_of_sorted(rows),
                deviance: (target == Target::Count).then_some(errors.deviance),
                ..Metrics::default()
            };
        }
        Metrics {
            auc: auc_of_sorted(rows),
            logloss: logloss_of(rows.iter().copied()),
            pcoc: pcoc_of(rows.iter().copied()),
            ece: ece_of(rows.iter().copied(), ECE_BINS),
            gauc: if self.grouped == Some(true) { gauc_in_place(rows) } else { None },
            ..Metrics::default()
        }
    }

    fn check(&self, logits: &ArrayRef2<f32>, labels: &ArrayRef2<f32>) -> Result<()> {
        for (((row, task), &logit), &label) in logits.indexed_iter().zip(labels) {
            if label.is_nan() {
                continue;
            }
            let (task, kind) = (&self.tasks[task], self.targets[task].kind());
            if !kind.accepts(label) {
                let message = format!("expected {} or NaN as the label of row {row}", kind.labels());
                return Err(Error::new(ErrorKind::Data, message).in_column(task).with_value(label.to_string()));
            }
            if !logit.is_finite() {
                let message = format!("expected a finite logit of row {row} of task {task:?}");
                return Err(Error::new(ErrorKind::NonFinite, message)
                    .with_value(logit.to_string())
                    .with_help("training has diverged, or an input is not finite"));
            }
        }
        Ok(())
    }

    fn agree_on_groups(&mut self, grouped: Option<bool>) -> Result<()> {
        match (self.grouped, grouped) {
            (Some(mine), Some(theirs)) if mine != theirs => {
                Err(Error::new(ErrorKind::Layout, "some rows have groups and some have none")
                    .with_help("GAUC would be that of a part; give groups with every row or with none"))
            }
            (mine, theirs) => {
                self.grouped = mine.or(theirs);
                Ok(())
            }
        }
    }
}

fn check_weights(weights: &[f32]) -> Result<()> {
    match weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        None => Ok(()),
        Some(row) => {
            let message = format!("expected a finite number, at least 0, as the weight of row {row}");
            Err(Error::new(ErrorKind::Data, message).with_value(weights[row].to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn layout(domains: &[&str], tasks: &[&str]) -> Layout {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Layout { domains: names(domains), tasks: names(tasks), ..Layout::default() }
    }

    #[test]
    fn tasks_and_domains_are_kept_apart_and_missing_labels_skipped() {
        let mut evaluator = Evaluator::new(&layout(&["a", "b", "empty"], &["click", "cart"]));
        let (a, b) = (DomainId::new(0), DomainId::new(1));
        let logits = array![[0.0, 9.0], [1.0, 1.0], [0.0, -1.0], [1.0, 0.0]];
        let labels = array![[0.0, f32::NAN], [1.0, 1.0], [1.0, 0.0], [0.0, f32::NAN]];
        evaluator.add(&logits, &labels, &[a, a, b, b][..], &[], &[]).unwrap();

        let report = evaluator.report();
        let click = report.task("click").unwrap();
        assert_eq!(click.domains.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b", "empty"]);
        assert_eq!(click.domain("a").unwrap().auc, Some(1.0));
        assert_eq!(click.domain("b").unwrap().auc, Some(0.0));
        assert_eq!(click.domain("empty").unwrap(), &Measures::default());
        assert_eq!(click.all.auc, Some(0.5));
        assert_eq!(click.mean_domain_auc, Some(0.5));
        assert_eq!((click.all.rows, click.all.positives), (4, 2));
        assert_eq!(click.all.gauc, None);

        let cart = report.task("cart").unwrap();
        assert_eq!((cart.all.rows, cart.all.positives, cart.all.auc), (2, 1, Some(1.0)));
        assert_eq!((cart.domain("a").unwrap().auc, cart.mean_domain_auc), (None, None));
    }

    #[test]
    fn rows_of_no_domain_count_in_all_but_not_in_the_mean() {
        let mut evaluator = Evaluator::new(&layout(&["a"], &["click"]));
        let (logits, labels) = (array![[0.0], [1.0]], array![[0.0], [1.0]]);
        evaluator.add(&logits, &labels, DomainId::new(0), &[], &[]).unwrap();
        assert_eq!(evaluator.report().tasks[0].domains.len(), 1);
        evaluator.add(&logits, &array![[1.0], [0.0]], DomainId::SHARED, &[], &[]).unwrap();

        let report = evaluator.report();
        let click = report.task("click").unwrap();
        assert_eq!(click.all.rows, 4);
        assert_eq!(click.domain(SHARED_DOMAIN).unwrap().auc, Some(0.0));
        assert_eq!(click.mean_domain_auc, Some(1.0));
    }

    #[test]
    fn groups_rank_inside_and_across_domains() {
        let mut evaluator = Evaluator::new(&layout(&["a", "b"], &["click"]));
        let domains = [DomainId::new(0), DomainId::new(1)];
        evaluator.add(&array![[0.0], [1.0]], &array![[0.0], [1.0]], &domains[..], &[], &[5, 5]).unwrap();
        let report = evaluator.report();
        assert_eq!(report.tasks[0].all.gauc, Some(1.0));
        assert_eq!(report.tasks[0].domain("a").unwrap().gauc, None);
    }

    #[test]
    fn refused_rows_leave_no_trace() {
        let mut evaluator = Evaluator::new(&layout(&["a"], &["click"]));
        let domain = DomainId::new(0);
        let error = evaluator.add(&array![[0.0], [f32::NAN]], &array![[0.0], [1.0]], domain, &[], &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NonFinite);
        assert_eq!(
            error.to_string(),
            "found \"NaN\": expected a finite logit of row 1 of task \"click\" \
             (training has diverged, or an input is not finite)"
        );
        let error = evaluator.add(&array![[0.0]], &array![[2.0]], domain, &[], &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(error.to_string(), "column \"click\": found \"2\": expected 0, 1 or NaN as the label of row 0");
        // A logit without a label is not evaluated: it may be anything.
        evaluator.add(&array![[f32::NAN]], &array![[f32::NAN]], domain, &[], &[]).unwrap();
        assert_eq!(evaluator.report().tasks[0].all, Measures::default());
    }

    #[test]
    fn groups_come_with_every_row_or_with_none() {
        let layout = layout(&["a"], &["click"]);
        let mut evaluator = Evaluator::new(&layout);
        let (one, domain) = (Array2::zeros((1, 1)), DomainId::new(0));
        evaluator.add(&one, &one, domain, &[], &[3]).unwrap();
        assert_eq!(evaluator.add(&one, &one, domain, &[], &[]).unwrap_err().kind(), ErrorKind::Layout);
        let mut other = Evaluator::new(&layout);
        evaluator.merge(other.clone()).unwrap();
        other.add(&one, &one, domain, &[], &[]).unwrap();
        assert_eq!(evaluator.merge(other).unwrap_err().kind(), ErrorKind::Layout);
        assert_eq!(evaluator.report().tasks[0].all.rows, 1);
    }

    #[test]
    fn evaluators_of_other_tasks_do_not_merge() {
        let mut evaluator = Evaluator::new(&layout(&["a"], &["click"]));
        let error = evaluator.merge(Evaluator::new(&layout(&["a"], &["cart"]))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Layout);
    }

    #[test]
    #[should_panic(expected = "domain 1 of row 0 is not one of 1")]
    fn a_foreign_domain_is_refused() {
        let one = Array2::zeros((1, 1));
        let _ = Evaluator::new(&layout(&["a"], &["click"])).add(&one, &one, DomainId::new(1), &[], &[]);
    }
}
