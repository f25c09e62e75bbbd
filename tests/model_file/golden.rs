//! Files of format 1, as they were once written: they are to be read for ever.
//!
//! Each has beside it, as JSON, raw rows, what they were encoded to, and the logits of the model that was saved.
//! `cargo test --test model_file -- --ignored writes_golden_files` wrote them; it is for a new format, not for this one.
//! `docs/read_star.py` computes those of `star` without this crate.

use std::fs;
use std::path::PathBuf;

use ndarray::Array2;
use serde_json::{Value, json};
use starple::data::{Batch, Categorical, Encoder, Numeric, Schema, UnknownDomain};
use starple::model::{Branches, Model};
use starple::persist::{ModelFile, Saved};
use starple::{PleConfig, StarConfig};

use crate::world::{load, shake, table};

const LOG: &str = "\
user,item,genres,price,age,page,click,buy
u1,lamp,a|b,20,31,home,1,0
u2,sofa,b,400,,search,0,0
u1,desk,,90,44,search,1,1
u3,lamp,a|c|c,25,28,cart,0,
u4,vase,c,7.5,61,home,1,0
";

const ROWS: &str = "\
user,item,genres,price,age,page,click,buy
u1,lamp,a,20,31,home,1,0
u2,unseen,b|c,1e3,,search,0,0
u9,desk,,-4,44,cart,1,1
u4,vase,a|a|c,3,18,elsewhere,0,0
";

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden_files", name].iter().collect()
}

fn encoder() -> Encoder {
    let schema = Schema::builder()
        .categorical("user")
        .feature(Categorical::new("item").hashed(5))
        .bag("genres", "|")
        .feature(Numeric::new("price").signed_log())
        .feature(Numeric::new("age").standard())
        .domain("page")
        .label("click")
        .label("buy")
        .build()
        .unwrap();
    let table = table(&schema, LOG);
    Encoder::fit(&schema, &table, &table.all()).unwrap().on_unknown_domain(UnknownDomain::Shared)
}

fn encoded(encoder: &Encoder) -> Batch {
    let table = table(encoder.schema(), ROWS);
    encoder.encode(&table, &table.all()).unwrap().into_batch()
}

fn describe(batch: &Batch, logits: &Array2<f32>) -> Value {
    let rows = 0..batch.rows();
    json!({
        "rows": ROWS,
        "ids": rows.clone().map(|row| batch.ids.iter().map(|ids| ids.row(row)).collect::<Vec<_>>()).collect::<Vec<_>>(),
        "numeric": rows.clone().map(|row| batch.numeric.row(row).to_vec()).collect::<Vec<_>>(),
        "domains": rows.clone().map(|row| batch.domains[row].index()).collect::<Vec<_>>(),
        "logits": rows.map(|row| logits.row(row).to_vec()).collect::<Vec<_>>(),
    })
}

fn write(name: &str, encoder: &Encoder, mut model: starple::Model) {
    shake(&mut model);
    ModelFile::new(&model).encoder(encoder).save(path(&format!("{name}.safetensors"))).unwrap();
    let batch = encoded(encoder);
    let json = serde_json::to_string_pretty(&describe(&batch, &model.score(&batch))).unwrap();
    fs::write(path(&format!("{name}.json")), json + "\n").unwrap();
}

#[test]
#[ignore = "writes the files that the test below is to read for ever"]
fn writes_golden_files() {
    let encoder = encoder();
    let star = StarConfig::builder(encoder.layout()).embedding_dim(3).embedding_std(0.5).hidden([4, 3]).seed(5);
    write("star", &encoder, starple::Star::new(star.auxiliary_hidden([3]).domain_dim(2).build().unwrap()));
    let ple = PleConfig::builder(encoder.layout()).embedding_dim(2).embedding_std(0.5).expert_hidden([4]).seed(6);
    let ple = ple.tower_hidden([3]).branches(Branches::DomainsAndTasks).norm(starple::nn::NormKind::Batch);
    write("ple", &encoder, starple::Ple::new(ple.build().unwrap()));
}

fn check(name: &str, saved: &Saved) {
    let json = fs::read_to_string(path(&format!("{name}.json"))).unwrap();
    let expected: Value = serde_json::from_str(&json).unwrap();
    let batch = encoded(saved.encoder.as_ref().unwrap());
    let found = describe(&batch, &saved.model.score(&batch));
    for key in ["rows", "ids", "domains"] {
        assert_eq!(found[key], expected[key], "{name}: {key}");
    }
    for key in ["numeric", "logits"] {
        let values = |value: &Value| -> Vec<f64> {
            let rows = value[key].as_array().unwrap().iter();
            rows.flat_map(|row| row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap())).collect()
        };
        let (found, expected) = (values(&found), values(&expected));
        assert_eq!(found.len(), expected.len(), "{name}: {key}");
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{name}: {key}: {found}, {expected}");
        }
    }
}

#[test]
fn files_of_format_1_are_read_for_ever() {
    let file = |name: &str| path(&format!("{name}.safetensors"));
    check("star", &Saved::load(file("star")).unwrap());
    check("star", &Saved::load_as::<StarConfig>(file("star")).unwrap());
    check("ple", &Saved::load(file("ple")).unwrap());
    check("ple", &Saved::load_as::<PleConfig>(file("ple")).unwrap());
    let any: Model = load(&fs::read(file("ple")).unwrap()).unwrap().model;
    assert_eq!(any.config().kind(), "ple");
}
