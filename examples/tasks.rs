//! Several tasks with missing labels: PLE with a branch per task, compared with one model per task.
//!
//! ```text
//! cargo run --release --example tasks
//! ```
//!
//! `cart` is rarer than `click`, and one scene does not report it. Its labels are missing there and do not count in the loss. The difference between
//! PLE with both tasks and a model per task is the effect of sharing. (With `Objective` you can also weight the tasks, and let weights decay over
//! the epochs as in PLE's paper.)

use starple::data::{Categorical, DataSet, Encoder, Numeric, Schema, Table};
use starple::model::Branches;
use starple::optim::OptimizerConfig;
use starple::train::{EarlyStop, Progress, TrainConfig, Trainer, evaluate};
use starple::{Ple, PleConfig, Result};
use starple_lab::table::{Cell, TextTable};

const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/toy.csv");

/// The test AUC of every task in `tasks`.
fn auc(name: &str, tasks: &[&str]) -> Result<Vec<Option<f64>>> {
    let schema = Schema::builder()
        .categorical("user")
        .categorical("item")
        .categorical("query")
        .categorical("hour")
        .feature(Numeric::new("price").signed_log())
        .numeric("age")
        .bag("tags", "|")
        // Branches are tasks here, so the scene is also a feature.
        .feature(Categorical::new("scene"))
        .domain("scene")
        .labels(tasks.iter().copied())
        .split("split")
        .build()?;
    let table = Table::read(LOG, &schema)?;
    let encoder = Encoder::fit(&schema, &table, &table.split("train")?)?;
    let train = encoder.encode_training(&table, &table.split("train")?)?;
    let [val, test] = ["val", "test"].map(|split| encoder.encode(&table, &table.split(split)?));
    let (val, test): (DataSet, DataSet) = (val?, test?);

    let config = PleConfig::builder(encoder.layout()).embedding_dim(8).branches(Branches::Tasks).levels(2);
    let config = config.shared_experts(2).own_experts(1).expert_hidden([64]).tower_hidden([32]).dropout(0.1).build()?;
    let mut model = Ple::new(config);
    // Both tasks have a plateau before they improve, so the patience must be long enough.
    let patience = EarlyStop::builder().patience(6).build()?;
    let settings = TrainConfig::builder().epochs(30).batch_rows(256).early_stop(patience);
    let settings = settings.optimizer(OptimizerConfig::adam(0.002)?).build()?;
    let mut trainer = Trainer::new(settings).callback(Progress::stderr(name));
    trainer.fit(&mut model, train, Some(&val))?;
    Ok(evaluate(&model, &test)?.tasks.iter().map(|task| task.all.auc).collect())
}

fn main() -> Result<()> {
    let together = auc("together", &["click", "cart"])?;
    let alone = [auc("click alone", &["click"])?, auc("cart alone", &["cart"])?];
    let mut table = TextTable::new(["test AUC", "PLE, both tasks", "one model each"]);
    let cell = |auc: Option<f64>| auc.map_or(Cell::Undefined, |auc| Cell::number(auc, 4));
    for (task, name) in ["click", "cart"].into_iter().enumerate() {
        table.row([Cell::from(name), cell(together[task]), cell(alone[task][0])]);
    }
    println!("{table}");
    Ok(())
}
