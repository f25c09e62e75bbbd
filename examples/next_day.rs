//! Continues to train a model on the next day's log, which has new items and a new scene.
//!
//! ```text
//! cargo run --release --example next_day
//! ```
//!
//! "Yesterday" is the first half of the toy log's training rows, without the scene `partner` and without a quarter of the items. "Today" is the
//! second half, with everything. The example loads model and encoder from a file, extends the encoder with today's rows and grows the model,
//! which changes no score. Then it continues training in two ways:
//!
//! * on all of today's rows; this changes shared weights and so the scores of all scenes;
//! * only on the rows of `partner`, with shared weights frozen; the scores of the other scenes keep their bits.

use starple::data::{Categorical, DataSet, Encoder, Numeric, Schema, Table, UnknownDomain};
use starple::metrics::auc;
use starple::model::NewRows;
use starple::optim::OptimizerConfig;
use starple::persist::{ModelFile, Saved};
use starple::train::{Progress, TrainConfig, TrainConfigBuilder, Trainer};
use starple::{Result, Star, StarConfig};
use starple_lab::table::{Cell, TextTable};

const LOG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/toy.csv");
const NEW_SCENE: &str = "partner";

/// The tensors that all scenes of a STAR share.
const SHARED: [&str; 5] = ["embeddings", "net.norm.gamma", "net.norm.beta", "net.layers.*.shared", "net.auxiliary.mlp"];

/// Row numbers of the table.
type Rows = Vec<u32>;

fn fit(name: &str, star: &mut Star, settings: TrainConfigBuilder, rows: DataSet) -> Result<()> {
    let settings = settings.batch_rows(256).optimizer(OptimizerConfig::adam(0.002)?).build()?;
    Trainer::new(settings).callback(Progress::stderr(name)).fit(star, rows, None)?;
    Ok(())
}

fn main() -> Result<()> {
    let schema = Schema::builder()
        .categorical("user")
        .feature(Categorical::new("item").min_count(3))
        .categorical("query")
        .feature(Numeric::new("price").signed_log())
        .numeric("age")
        .bag("tags", "|")
        .domain("scene")
        .label("click")
        .split("split")
        .build()?;
    let table = Table::read(LOG, &schema)?;

    // An encoder of the whole log finds the rows of the new scene and of the new items (every fourth item).
    let everything = Encoder::fit(&schema, &table, &table.all())?;
    let (all, scene) = (everything.encode_training(&table, &table.all())?, everything.domain(NEW_SCENE)?);
    let is_scene = |row: &u32| all.domains[*row as usize] == scene;
    let is_item = |row: &u32| all.ids[1].row(*row as usize)[0].is_multiple_of(4);

    let train = table.split("train")?;
    let (first, today) = train.split_at(train.len() / 2);
    let yesterday: Rows = first.iter().copied().filter(|row| !is_scene(row) && !is_item(row)).collect();
    let held_out = [table.split("val")?, table.split("test")?].concat();
    let of = |wanted: &dyn Fn(&u32) -> bool| held_out.iter().copied().filter(|row| wanted(row)).collect::<Rows>();
    let groups: [(&str, Rows); 3] = [
        ("known scenes, known items", of(&|row| !is_scene(row) && !is_item(row))),
        ("known scenes, new items", of(&|row| !is_scene(row) && is_item(row))),
        ("the new scene", of(&is_scene)),
    ];
    let score = |encoder: &Encoder, star: &Star| -> Result<Vec<Option<f64>>> {
        let auc_of = |(_, rows): &(&str, Rows)| {
            let rows = encoder.encode(&table, rows)?;
            Ok(auc(&star.score(&rows).column(0).to_vec(), &rows.labels.column(0).to_vec()))
        };
        groups.iter().map(auc_of).collect()
    };

    // Yesterday: train and save.
    let encoder = Encoder::fit(&schema, &table, &yesterday)?.on_unknown_domain(UnknownDomain::Shared);
    let config = StarConfig::builder(encoder.layout()).embedding_dim(8).hidden([64, 32]).dropout(0.1).build()?;
    let mut star = Star::new(config);
    let settings = TrainConfig::builder();
    fit("yesterday", &mut star, settings.clone().epochs(6), encoder.encode_training(&table, &yesterday)?)?;
    let before = score(&encoder, &star)?;
    let file = std::env::temp_dir().join(format!("starple-yesterday-{}.safetensors", std::process::id()));
    ModelFile::new(&star).encoder(&encoder).save(&file)?;

    // Today: load, usually in another process.
    let saved = Saved::load_as::<StarConfig>(&file)?;
    // This example needs the file no longer.
    let _ = std::fs::remove_file(&file);
    let (mut star, mut encoder) = (saved.model, saved.encoder.expect("the file has an encoder"));

    // New values and domains get the next ids. The model gets table rows and parameters for them.
    let old = encoder.encode_training(&table, &yesterday)?;
    let scores = star.score(&old);
    println!("{}\n", encoder.extend(&table, today)?);
    star.grow(encoder.layout(), NewRows::OutOfVocabulary)?;
    assert_eq!(star.score(&old), scores, "growing changes no score");

    let mut alone = star.clone();
    let rows = encoder.encode_training(&table, today)?;
    fit("today", &mut star, settings.clone().epochs(2), rows)?;

    let of_scene: Rows = today.iter().copied().filter(is_scene).collect();
    let rows = encoder.encode_training(&table, &of_scene)?;
    fit("today, partner alone", &mut alone, settings.epochs(10).freeze(SHARED), rows)?;
    assert_eq!(alone.score(&old), scores, "parameters of one scene change no other scene's scores");

    let headers =
        ["AUC of click", "rows", "yesterday's model", "today's rows", &format!("{NEW_SCENE}'s rows, shared frozen")];
    let mut out = TextTable::new(headers.map(String::from));
    let cell = |auc: Option<f64>| auc.map_or(Cell::Undefined, |auc| Cell::number(auc, 4));
    let columns = [before, score(&encoder, &star)?, score(&encoder, &alone)?];
    for (i, (name, rows)) in groups.iter().enumerate() {
        out.row(
            [Cell::from(*name), Cell::from(rows.len())].into_iter().chain(columns.iter().map(|column| cell(column[i]))),
        );
    }
    println!("{out}");
    Ok(())
}
