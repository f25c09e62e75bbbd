//! A small model with its encoder, and files of it.

use std::io::Cursor;

use serde::de::DeserializeOwned;
use starple::data::{Encoder, Format, Numeric, Schema, Table};
use starple::model::NetConfig;
use starple::persist::{ModelFile, Saved};
use starple::{Error, Model, Star, StarConfig};

pub(crate) const LOG: &str =
    "item,price,page,click\nlamp,20,home,1\nsofa,400,se/ar.ch,0\nlamp,,home,0\ndesk,90,se/ar.ch,1\n";

pub(crate) fn table(schema: &Schema, log: &str) -> Table {
    Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", schema).unwrap()
}

pub(crate) fn encoder() -> Encoder {
    let schema = Schema::builder()
        .categorical("item")
        .feature(Numeric::new("price").standard())
        .domain("page")
        .label("click")
        .build()
        .unwrap();
    let table = table(&schema, LOG);
    Encoder::fit(&schema, &table, &table.all()).unwrap()
}

pub(crate) fn star(seed: u64) -> Star {
    let config = StarConfig::builder(encoder().layout()).embedding_dim(2).hidden([3]).seed(seed);
    Star::new(config.auxiliary_hidden([2]).domain_dim(2).build().unwrap())
}

pub(crate) fn bytes(file: &ModelFile<'_>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    file.write_to(&mut bytes).unwrap();
    bytes.into_inner()
}

/// A file of the model and its encoder.
pub(crate) fn file() -> Vec<u8> {
    bytes(&ModelFile::new(&star(1)).encoder(&encoder()))
}

pub(crate) fn load(bytes: &[u8]) -> Result<Saved, Error> {
    Saved::from_reader(Cursor::new(bytes))
}

pub(crate) fn load_as<C: NetConfig + DeserializeOwned>(bytes: &[u8]) -> Result<Saved, Error> {
    Saved::from_reader_as::<C>(Cursor::new(bytes))
}

/// The error of a file that is wrong for whoever reads it.
#[track_caller]
pub(crate) fn error(bytes: &[u8]) -> Error {
    let any = load(bytes).err();
    let star = load_as::<StarConfig>(bytes).expect_err("the file is wrong");
    assert_eq!(any.map(|any| (any.kind(), any.to_string())), Some((star.kind(), star.to_string())));
    star
}

/// Moves every value and average a little, and counts statistics, as training would.
pub(crate) fn shake(model: &mut Model) {
    use starple::nn::LeafMut;
    let mut next = 1_u32;
    let mut small = move || {
        next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (next >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    model.visit_mut(|_, leaf| match leaf {
        LeafMut::Tensor(values, ..) => values.iter_mut().for_each(|v| *v += 0.4 * small()),
        LeafMut::Average(values, _) => values.iter_mut().for_each(|v| *v += 0.2 + 0.3 * small()),
        LeafMut::Count(count) => *count += 3,
    });
}
