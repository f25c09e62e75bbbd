//! Scores a domain that training has not seen by the shared path, then adds it to the model and trains it.
//!
//! ```text
//! cargo run --release --example new_domain
//! ```
//!
//! STAR is trained without the scene `partner`; rows of this scene take the shared path. Adding the scene changes no score. Then training continues
//! on the rows of all scenes, because it also changes shared weights, and the rows of the other scenes keep these useful for them. The last
//! line of the table is the best possible score.

use starple::data::{Encoder, Numeric, Schema, Table, UnknownDomain};
use starple::metrics::auc;
use starple::model::NewRows;
use starple::optim::OptimizerConfig;
use starple::train::{EarlyStop, Progress, TrainConfig, Trainer};
use starple::{Result, Star, StarConfig};
use starple_lab::table::{Cell, TextTable};

const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/toy.csv");
const NEW: &str = "partner";

fn main() -> Result<()> {
    let schema = Schema::builder()
        .categorical("user")
        .categorical("item")
        .categorical("query")
        .feature(Numeric::new("price").signed_log())
        .numeric("age")
        .bag("tags", "|")
        .domain("scene")
        .label("click")
        .split("split")
        .build()?;
    let table = Table::read(LOG, &schema)?;

    // `truth` knows the true probabilities and all scenes. The encoder of the model does not know the new one, so its rows take the shared path.
    let truth = Schema::builder().feature(Numeric::new("p_click").unscaled()).domain("scene").label("click").build()?;
    let truth_table = Table::read(LOG, &truth)?;
    let truth = Encoder::fit(&truth, &truth_table, &truth_table.all())?;
    let new = truth.domain(NEW)?;
    let of = |split: &str, is_new: bool| -> Result<Vec<u32>> {
        let rows = table.split(split)?;
        let domains = truth.encode(&truth_table, &rows)?.into_batch().domains;
        Ok(rows.into_iter().zip(domains).filter(|(_, domain)| (*domain == new) == is_new).map(|(row, _)| row).collect())
    };
    let known = of("train", false)?;
    let mut encoder = Encoder::fit(&schema, &table, &known)?.on_unknown_domain(UnknownDomain::Shared);

    let config = StarConfig::builder(encoder.layout()).embedding_dim(8).hidden([64, 32]).dropout(0.1).build()?;
    let mut star = Star::new(config);
    let settings = TrainConfig::builder().batch_rows(256).optimizer(OptimizerConfig::adam(0.002)?);
    let early_stop = EarlyStop::builder().patience(6).build()?;
    let mut trainer = Trainer::new(settings.clone().epochs(30).early_stop(early_stop).build()?)
        .callback(Progress::stderr("known scenes"));
    let val = encoder.encode(&table, &of("val", false)?)?;
    trainer.fit(&mut star, encoder.encode_training(&table, &known)?, Some(&val))?;

    let test_rows = of("test", true)?;
    let score = |encoder: &Encoder, star: &Star, rows: &[u32]| -> Result<Option<f64>> {
        let test = encoder.encode(&table, rows)?;
        let scores = star.score(&test);
        Ok(auc(&scores.column(0).to_vec(), &test.labels.column(0).to_vec()))
    };
    let shared = score(&encoder, &star, &test_rows)?;

    let other_rows = of("test", false)?;
    let others_before = score(&encoder, &star, &other_rows)?;
    let old = encoder.encode(&table, &other_rows)?;
    let before = star.score(&old);
    // The encoder learns the domain and new values from the rows of the domain, and counts their labels in target statistics.
    let new_rows = of("train", true)?;
    encoder.extend(&table, &new_rows)?;
    star.grow(encoder.layout(), NewRows::OutOfVocabulary)?;
    assert_eq!(star.score(&old), before, "adding a domain changes no score");

    let new_rows = new_rows.len();
    let all = encoder.encode_training(&table, &table.split("train")?)?;
    let settings = settings.epochs(3);
    Trainer::new(settings.build()?).callback(Progress::stderr("all scenes")).fit(&mut star, all, None)?;
    let own = score(&encoder, &star, &test_rows)?;
    let others_after = score(&encoder, &star, &other_rows)?;

    let truth = truth.encode(&truth_table, &test_rows)?;
    let best = auc(&truth.numeric.column(0).to_vec(), &truth.labels.column(0).to_vec());

    let mut out =
        TextTable::new(["AUC of click".into(), format!("{NEW}, {} test rows", test_rows.len()), "other scenes".into()]);
    let cell = |auc: Option<f64>| auc.map_or(Cell::Undefined, |auc| Cell::number(auc, 4));
    out.row([Cell::from("not in training: the shared path"), cell(shared), cell(others_before)]);
    out.row([Cell::from(format!("added, 3 epochs with {new_rows} of its rows")), cell(own), cell(others_after)]);
    out.row([Cell::from("best possible"), cell(best), Cell::Blank]);
    println!("{out}");
    Ok(())
}
