//! Data: reading, encoding and batching a log.

mod common;

use std::fs;
use std::io::BufWriter;

use criterion::{BenchmarkId, Criterion, Throughput};
use starple::data::{Batch, DataSet, Encoder, Loader, LoaderConfig, Pass, RowSource, Schema, Table};
use starple_lab::synthetic::{SyntheticConfig, SyntheticLog};
use tempfile::TempDir;

/// The number of rows of the log.
const ROWS: usize = 200_000;

/// The number of rows of a batch.
const BATCH: usize = 4096;

/// A log on disk, and its schema.
struct Log {
    directory: TempDir,
    bytes: u64,
    schema: Schema,
}

impl Log {
    /// Ten domains, one task, four categorical fields, a bag and two numbers.
    fn new() -> Self {
        let config = SyntheticConfig::builder()
            .rows(ROWS)
            .domain_column("scene")
            .domain_count(10)
            .task("click", 0.1)
            .categorical("user", 20_000)
            .categorical("item", 5_000)
            .categorical("shop", 500)
            .categorical("city", 50)
            .bag("tags", 100, 4)
            .numeric("age", 35.0, 10.0, 0)
            .numeric("price", 20.0, 5.0, 2)
            .build()
            .expect("a log that can be");
        let schema = Schema::builder()
            .categorical("user")
            .categorical("item")
            .categorical("shop")
            .categorical("city")
            .bag("tags", "|")
            .numeric("age")
            .numeric("price")
            .domain("scene")
            .label("click")
            .build()
            .expect("a schema that can be");
        let directory = tempfile::tempdir().expect("a place for temporary files");
        let path = directory.path().join("log.csv");
        let file = fs::File::create(&path).expect("a new file");
        SyntheticLog::generate(&config).write_csv(BufWriter::new(file)).expect("room for the log");
        let bytes = fs::metadata(path).expect("the file just written").len();
        Self { directory, bytes, schema }
    }

    fn read(&self) -> Table {
        Table::read(self.directory.path().join("log.csv"), &self.schema).expect("the log just written")
    }
}

fn encoded(log: &Log) -> (Table, Encoder, DataSet) {
    let table = log.read();
    let encoder = Encoder::fit(&log.schema, &table, &table.all()).expect("a log to fit on");
    let set = encoder.encode_training(&table, &table.all()).expect("the log it was fitted on");
    (table, encoder, set)
}

fn data(criterion: &mut Criterion) {
    let log = &Log::new();
    let mut group = criterion.benchmark_group("data");
    group.throughput(Throughput::Bytes(log.bytes));
    let name = &format!("rows={ROWS},columns=9");
    group.bench_function(BenchmarkId::new("read_csv", name), |bencher| bencher.iter(|| log.read()));

    group.throughput(Throughput::Elements(ROWS as u64));
    let (table, encoder, set) = encoded(log);
    let rows = table.all();
    group.bench_function(BenchmarkId::new("fit", name), |bencher| {
        bencher.iter(|| Encoder::fit(&log.schema, &table, &rows).expect("a log to fit on"));
    });
    group.bench_function(BenchmarkId::new("encode", name), |bencher| {
        bencher.iter(|| encoder.encode_training(&table, &rows).expect("the log it was fitted on"));
    });

    let config = LoaderConfig::builder().batch_rows(BATCH).build().expect("a loader that can be");
    let mut loader = Loader::new(set);
    group.bench_function(BenchmarkId::new("epoch", format!("rows={ROWS},batch={BATCH}")), |bencher| {
        let mut batch = Batch::default();
        bencher.iter(|| {
            loader.begin(Pass::Epoch(0), &config).expect("a loader never fails");
            while loader.next_into(&mut batch).expect("a loader never fails") {}
        });
    });
}

fn main() {
    common::criterion(data);
}
