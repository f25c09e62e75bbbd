//! Trains a pooled model, STAR and PLE on the toy log and compares them with the best possible score.
//!
//! ```text
//! cargo run --release --example quickstart
//! ```
//!
//! The log (`examples/data/toy.csv`, written by the example `make_toy`) is generated, so the true probability of every click is known. Its columns
//! `p_click` and `p_cart` are not features. They give the AUC that no model can exceed, except by chance.

use starple::data::{DataSet, Encoder, Feature, Numeric, Schema, SchemaBuilder, Table};
use starple::metrics::{Evaluator, Report};
use starple::model::Branches;
use starple::optim::OptimizerConfig;
use starple::train::{EarlyStop, Progress, TrainConfig, Trainer, evaluate};
use starple::{AnyConfig, Model, PleConfig, PooledConfig, Result, StarConfig};
use starple_lab::table::{Cell, TextTable};

const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/toy.csv");

/// The domain, label and split columns of the log.
fn columns() -> SchemaBuilder {
    Schema::builder().domain("scene").labels(["click", "cart"]).split("split")
}

/// Trains a model and scores it on the test split.
fn train(name: &str, config: impl Into<AnyConfig>, train: &DataSet, val: &DataSet, test: &DataSet) -> Result<Report> {
    let mut model = Model::new(config);
    let early_stop = EarlyStop::builder().patience(6).build()?;
    let settings = TrainConfig::builder().epochs(30).batch_rows(256).early_stop(early_stop);
    let settings = settings.optimizer(OptimizerConfig::adam(0.002)?).build()?;
    let fit = Trainer::new(settings).callback(Progress::stderr(name)).fit(&mut model, train.clone(), Some(val))?;
    eprintln!("{name}: {}, {} parameters", fit.stop, model.parameters());
    evaluate(&model, test)
}

/// The metrics of the true probabilities.
fn best_possible() -> Result<Report> {
    let truth = |name: &str| Feature::from(Numeric::new(name).unscaled());
    let schema = columns().feature(truth("p_click")).feature(truth("p_cart")).build()?;
    let table = Table::read(LOG, &schema)?;
    let encoder = Encoder::fit(&schema, &table, &table.split("train")?)?;
    let test = encoder.encode(&table, &table.split("test")?)?;
    let mut evaluator = Evaluator::new(encoder.layout());
    // The file rounds to five digits; a probability of 0 there is one below them.
    let logits = test.numeric.mapv(|p| (p.max(1e-6) / (1.0 - p)).ln());
    evaluator.add(&logits, &test.labels, test.domains(), &test.weights, &test.groups)?;
    Ok(evaluator.report())
}

fn main() -> Result<()> {
    // What the columns mean. Vocabularies and scales are fitted on the training split alone.
    let schema = columns()
        .categorical("user")
        .categorical("item")
        .categorical("query")
        .categorical("hour")
        .feature(Numeric::new("price").signed_log())
        .feature(Numeric::new("age").standard())
        .bag("tags", "|")
        .build()?;
    let table = Table::read(LOG, &schema)?;
    let encoder = Encoder::fit(&schema, &table, &table.split("train")?)?;
    let fit = encoder.encode_training(&table, &table.split("train")?)?;
    let [val, test] = ["val", "test"].map(|split| encoder.encode(&table, &table.split(split)?));
    let (val, test) = (val?, test?);
    let layout = encoder.layout();

    let pooled = PooledConfig::builder(layout).embedding_dim(8).hidden([64, 32]).dropout(0.1).build()?;
    let star = StarConfig::builder(layout).embedding_dim(8).hidden([64, 32]).dropout(0.1).build()?;
    let ple = PleConfig::builder(layout)
        .embedding_dim(8)
        .branches(Branches::Domains)
        .expert_hidden([64])
        .tower_hidden([32])
        .dropout(0.1)
        .build()?;
    let reports = [
        ("pooled", train("pooled", pooled, &fit, &val, &test)?),
        ("STAR", train("star", star, &fit, &val, &test)?),
        ("PLE", train("ple", ple, &fit, &val, &test)?),
        ("best possible", best_possible()?),
    ];

    for (t, task) in layout.tasks.iter().enumerate() {
        let headers = [format!("AUC of {task}"), "test rows".into()];
        let mut out = TextTable::new(headers.into_iter().chain(reports.iter().map(|(name, _)| (*name).to_owned())));
        let auc = |value: Option<f64>| value.map_or(Cell::Undefined, |auc| Cell::number(auc, 4));
        for (d, (domain, measures)) in reports[0].1.tasks[t].domains.iter().enumerate() {
            let cells = reports.iter().map(|(_, report)| auc(report.tasks[t].domains[d].1.auc));
            out.row([Cell::from(domain.as_str()), Cell::from(measures.rows)].into_iter().chain(cells));
        }
        out.rule();
        let cells = reports.iter().map(|(_, report)| auc(report.tasks[t].all.auc));
        let rows = reports[0].1.tasks[t].all.rows;
        out.row([Cell::from("all"), Cell::from(rows)].into_iter().chain(cells));
        let cells = reports.iter().map(|(_, report)| auc(report.tasks[t].mean_domain_auc));
        out.row([Cell::from("mean of domains"), Cell::Blank].into_iter().chain(cells));
        println!("{out}");
    }
    Ok(())
}
