//! Checks training on a row source other than the loader: it generates rows on demand, in a fixed order.

mod bits;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use starple::data::{Batch, DataSet, DomainId, Layout, Loader, LoaderConfig, Pass, Pooling, RowCounts, RowSource};
use starple::optim::OptimizerConfig;
use starple::train::{
    Callback, Checkpoints, FitReport, StatisticsRows, StepDone, StopReason, TrainConfig, Trainer, recompute_statistics,
};
use starple::{Error, ErrorKind, Result, Star, StarConfig};

use bits::bits;

const ROWS: usize = 700;
const BATCH: usize = 64;
/// 700 rows in batches of 64.
const STEPS: u64 = 11;

fn layout() -> Layout {
    Layout::new(["home", "search", "cart"], ["click"]).field("user", 30).bag("tags", 9, Pooling::Mean).numeric(["age"])
}

/// A value between 0 and 1 for a row and a column.
fn value(row: usize, column: u32) -> f64 {
    let mixed = (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7 * column + 3);
    (mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1_u64 << 24) as f64
}

fn domain(row: usize) -> DomainId {
    DomainId::new((value(row, 0) * 3.0) as usize)
}

/// The batch of these rows.
fn make(rows: &[usize]) -> Batch {
    let tags =
        |row| (0..(value(row, 2) * 4.0) as u32).map(move |i| (value(row, 3 + i) * 9.0) as u32).collect::<Vec<_>>();
    let user = |row| (value(row, 1) * 30.0) as u32;
    // Users have different click rates.
    let click = |row| f32::from(u8::from(value(row, 8) < f64::from(user(row)) / 30.0));
    Batch::builder(&layout(), rows.len())
        .ids("user", rows.iter().map(|&row| user(row)).collect())
        .bag("tags", rows.iter().map(|&row| tags(row)))
        .numeric("age", rows.iter().map(|&row| value(row, 7) as f32).collect())
        .domains(rows.iter().map(|&row| domain(row)).collect())
        .labels("click", rows.iter().map(|&row| click(row)).collect())
        .build()
        .unwrap()
}

/// Generates the rows of each batch on demand and keeps none.
struct Made {
    layout: Layout,
    batch_rows: usize,
    position: usize,
    /// How many rows were generated.
    count: Arc<AtomicUsize>,
    /// A change to the batches from the fourth on.
    fault: fn(&mut Batch) -> Result<()>,
    counts: RowCounts,
}

impl Made {
    fn new() -> Self {
        let counts = RowCounts { rows: ROWS, shared: 0, weighted: ROWS, labelled: vec![ROWS] };
        Self { layout: layout(), batch_rows: 1, position: 0, count: Arc::default(), fault: |_| Ok(()), counts }
    }
}

impl RowSource for Made {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn counts(&self) -> RowCounts {
        self.counts.clone()
    }

    fn fingerprint(&self) -> u32 {
        17
    }

    /// Every pass has all rows in order, as in the loader of [`InOrder`].
    fn begin(&mut self, _: Pass, config: &LoaderConfig) -> Result<()> {
        (self.batch_rows, self.position) = (config.batch_rows(), 0);
        Ok(())
    }

    fn batches(&self) -> usize {
        ROWS.div_ceil(self.batch_rows)
    }

    fn position(&self) -> usize {
        self.position
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.position = self.batches().min(self.position + count);
        Ok(())
    }

    fn next_into(&mut self, batch: &mut Batch) -> Result<bool> {
        let start = self.position * self.batch_rows;
        if start >= ROWS {
            return Ok(false);
        }
        let mut rows: Vec<usize> = (start..ROWS.min(start + self.batch_rows)).collect();
        // In the order of the loader: sums of losses depend on the order.
        rows.sort_by_key(|&row| domain(row));
        self.count.fetch_add(rows.len(), Ordering::Relaxed);
        *batch = make(&rows);
        if self.position >= 3 {
            (self.fault)(batch)?;
        }
        self.position += 1;
        Ok(true)
    }
}

/// The loader over the same rows, in their order.
struct InOrder(Loader);

impl InOrder {
    fn new() -> Self {
        let all: Vec<usize> = (0..ROWS).collect();
        Self(Loader::new(DataSet::new(&layout(), make(&all)).unwrap()))
    }
}

impl RowSource for InOrder {
    fn layout(&self) -> &Layout {
        self.0.layout()
    }

    fn counts(&self) -> RowCounts {
        self.0.counts()
    }

    fn fingerprint(&self) -> u32 {
        self.0.fingerprint()
    }

    fn begin(&mut self, _: Pass, config: &LoaderConfig) -> Result<()> {
        let config = LoaderConfig::builder().batch_rows(config.batch_rows()).shuffle(false).build()?;
        self.0.begin(Pass::Epoch(0), &config)
    }

    fn batches(&self) -> usize {
        self.0.batches()
    }

    fn position(&self) -> usize {
        self.0.position()
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.0.skip(count)
    }

    fn next_into(&mut self, batch: &mut Batch) -> Result<bool> {
        self.0.next_into(batch)
    }
}

fn star() -> Star {
    Star::new(StarConfig::builder(&layout()).embedding_dim(4).hidden([8]).dropout(0.1).seed(1).build().unwrap())
}

fn trainer(threads: usize) -> Trainer {
    let settings = TrainConfig::builder().epochs(2).batch_rows(BATCH).threads(threads);
    Trainer::new(settings.optimizer(OptimizerConfig::adam(0.01).unwrap()).build().unwrap())
}

/// The report without times.
fn timeless(mut report: FitReport) -> FitReport {
    report.epochs.iter_mut().for_each(|epoch| (epoch.train_seconds, epoch.evaluate_seconds) = (0.0, 0.0));
    FitReport { train_seconds: 0.0, evaluate_seconds: 0.0, ..report }
}

/// The run with the loader.
fn expected() -> (Star, FitReport) {
    let mut model = star();
    let report = trainer(1).fit(&mut model, InOrder::new(), None).unwrap();
    assert_eq!(report.steps, 2 * STEPS);
    (model, timeless(report))
}

struct StopAfter(u64);

impl Callback for StopAfter {
    fn step_done(&mut self, done: &StepDone) -> ControlFlow<()> {
        if done.step + 1 == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn generated_rows_train_as_with_the_loader() {
    let (whole, report) = expected();
    assert!(report.epochs[1].loss < report.epochs[0].loss, "something was learned");
    for threads in [1, 2] {
        let mut model = star();
        let found = trainer(threads).fit(&mut model, Made::new(), None).unwrap();
        assert_eq!(timeless(found), report);
        assert!(bits(&model) == bits(&whole));
    }
    // The caller keeps a borrowed source.
    let (mut model, mut source) = (star(), Made::new());
    trainer(1).fit(&mut model, &mut source, None).unwrap();
    assert!(bits(&model) == bits(&whole) && source.count.load(Ordering::Relaxed) > 2 * ROWS);
}

#[test]
fn a_run_on_a_source_resumes_in_the_middle_of_an_epoch() {
    let (whole, report) = expected();
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::builder().folder(folder.path().join("run")).build().unwrap();
    for stop in [4, 7, STEPS + 3] {
        let mut piece = trainer(2).checkpoints(checkpoints.clone()).callback(StopAfter(stop));
        let report = piece.resume(&mut star(), Made::new(), None).unwrap();
        assert_eq!((report.stop, report.steps), (StopReason::Callback, stop));
    }
    let source = Made::new();
    let made = Arc::clone(&source.count);
    let mut model = star();
    let found = trainer(1).checkpoints(checkpoints.clone()).resume(&mut model, source, None).unwrap();
    assert_eq!(timeless(found), report);
    assert!(bits(&model) == bits(&whole));
    // The remaining batches of the second epoch, and one pass for the statistics at its end. Skipped rows are not generated.
    assert_eq!(made.load(Ordering::Relaxed), (ROWS - 3 * BATCH) + ROWS);

    let error = trainer(1).checkpoints(checkpoints).resume(&mut star(), InOrder::new(), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Layout);
    assert!(error.to_string().contains("other rows"), "the fingerprint differs: {error}");
}

#[test]
fn statistics_are_taken_from_a_source() {
    let sample = StatisticsRows { per_domain: 1000, batch_rows: 100, seed: 0, number: 0 };
    let [one, other] = [Box::new(InOrder::new()) as Box<dyn RowSource>, Box::new(Made::new())].map(|mut source| {
        let mut model = star();
        let before = bits(&model);
        recompute_statistics(&mut model, &mut *source, sample).unwrap();
        assert!(bits(&model) != before);
        bits(&model)
    });
    assert!(one == other);
}

#[test]
fn an_error_of_a_source_ends_the_run() {
    let failed = |source: Made| -> Error { trainer(1).fit(&mut star(), source, None).unwrap_err() };
    let faulty = |fault: fn(&mut Batch) -> Result<()>| failed(Made { fault, ..Made::new() });
    let error = faulty(|_| Err(Error::new(ErrorKind::Io, "the disk is gone")));
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Io, "the disk is gone".into()));
    let error = faulty(|batch| {
        batch.domains[2] = DomainId::SHARED;
        Ok(())
    });
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().starts_with("batch 3 of the source: "), "{error}");
    let error = faulty(|batch| {
        batch.labels[[0, 0]] = 7.0;
        Ok(())
    });
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().starts_with("batch 3 of the source: "), "{error}");

    // The counts of the source are checked before training and during it.
    let counts = |counts: RowCounts| failed(Made { counts, ..Made::new() }).to_string();
    let all = Made::new().counts;
    assert!(counts(RowCounts { rows: 0, ..all.clone() }).contains("expected training rows, found none"));
    assert!(counts(RowCounts { shared: 1, ..all.clone() }).contains("with known domains, found 1 without"));
    assert!(counts(RowCounts { weighted: 0, ..all.clone() }).contains("a weight above 0, found none"));
    assert!(counts(RowCounts { labelled: vec![0], ..all.clone() }).contains("a training row with a label, found none"));
    assert!(counts(RowCounts { rows: ROWS + 1, ..all }).contains("701 rows, found 700"));
    let other = Layout { numeric: vec!["price".into()], ..layout() };
    assert_eq!(failed(Made { layout: other, ..Made::new() }).kind(), ErrorKind::Layout);
}
