//! What the examples `train`, `compare` and `inside` read alike: arguments, the file, its rows and its training settings.

mod arguments;
mod output;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer as _, MapAccess, Visitor};
use starple::data::{Bag, Categorical, Feature, Numeric, Schema, Splits, Table};
use starple::train::TrainConfig;
use starple::{Error, ErrorKind, Result};

pub(crate) use arguments::{Arguments, Flags};
#[allow(unused_imports, reason = "each example writes what it has")]
pub(crate) use output::{err, out, write, write_json};

/// An error of the file.
pub(crate) fn wrong(message: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Config, message.to_string().trim_end().to_owned())
}

/// The file with `--set` applied.
pub(crate) fn read_file<T: DeserializeOwned>(path: &Path, sets: &[String]) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error).at_path(path))?;
    if sets.is_empty() {
        // Straight from the text, so that an error shows its line.
        return toml::from_str(&text).map_err(|error| wrong(error).at_path(path));
    }
    let table: toml::Table = toml::from_str(&text).map_err(|error| wrong(error).at_path(path))?;
    let mut table = toml::Value::Table(table);
    for set in sets {
        let (key, value) = set.split_once('=').ok_or_else(|| wrong(format!("--set {set}: expected key=value")))?;
        // Whatever is not a TOML value is a string.
        let value = toml::from_str::<toml::Table>(&format!("v = {value}"))
            .map_or_else(|_| toml::Value::String(value.into()), |mut table| table.remove("v").expect("v was parsed"));
        let (mut at, mut inside) = (&mut table, "the file");
        for part in key.split('.') {
            at = match at {
                toml::Value::Table(table) => {
                    table.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()))
                }
                toml::Value::Array(list) => {
                    let (length, index) = (list.len(), part.parse::<usize>().ok());
                    let entry = index.and_then(|index| list.get_mut(index));
                    let expected = || format!("--set {set}: `{inside}` has {length} entries, from 0; found `{part}`");
                    entry.ok_or_else(|| wrong(expected()))?
                }
                _ => return Err(wrong(format!("--set {set}: `{inside}` is not a table"))),
            };
            inside = part;
        }
        *at = value;
    }
    table.try_into().map_err(|error| wrong(error).at_path(path))
}

/// `[train]`.
pub(crate) fn train_settings(table: toml::Table, path: &Path) -> Result<TrainConfig> {
    let config = TrainConfig::deserialize(table.into_deserializer());
    config.map_err(|error: toml::de::Error| wrong(format!("[train]: {}", error.message())).at_path(path))
}

/// `[data]`: where the rows are, and what their columns other than features are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    pub(crate) path: Option<PathBuf>,
    split: Option<String>,
    train: Option<PathBuf>,
    val: Option<PathBuf>,
    pub(crate) test: Option<PathBuf>,
    domain: Option<String>,
    labels: Vec<String>,
    weight: Option<String>,
    group: Option<String>,
}

/// `[features]`: names, or tables with options.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Features {
    #[serde(default)]
    categorical: Vec<Named<Categorical>>,
    #[serde(default)]
    numeric: Vec<Named<Numeric>>,
    #[serde(default)]
    bag: Vec<BagColumn>,
}

/// A feature that is written as its name alone, or as a table.
struct Named<F>(F);

impl<'de, F: Deserialize<'de> + FromName> Deserialize<'de> for Named<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable<F>(std::marker::PhantomData<F>);
        impl<'de, F: Deserialize<'de> + FromName> Visitor<'de> for NameOrTable<F> {
            type Value = F;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column's name, or a table with `name` and options")
            }

            fn visit_str<E>(self, name: &str) -> Result<F, E> {
                Ok(F::from_name(name))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<F, A::Error> {
                F::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(NameOrTable(std::marker::PhantomData)).map(Self)
    }
}

trait FromName {
    fn from_name(name: &str) -> Self;
}

impl FromName for Categorical {
    fn from_name(name: &str) -> Self {
        Self::new(name)
    }
}

impl FromName for Numeric {
    fn from_name(name: &str) -> Self {
        Self::new(name)
    }
}

/// `[[features.bag]]`: `column` and `separator`, or any key of a bag.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BagColumn {
    column: String,
    name: Option<String>,
    separator: String,
    #[serde(default)]
    pooling: starple::data::Pooling,
    min_count: Option<usize>,
}

impl BagColumn {
    fn bag(self) -> Bag {
        let name = self.name.unwrap_or_else(|| self.column.clone());
        let bag = Bag::new(name, self.separator).column(self.column).pooling(self.pooling);
        match self.min_count {
            Some(count) => bag.min_count(count),
            None => bag,
        }
    }
}

impl Data {
    /// The files that hold the rows.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.path, &self.train, &self.val, &self.test].into_iter().flatten()
    }

    /// Reads the rows; everything that is fitted is fitted on the training split.
    pub(crate) fn read(&self, features: Features) -> Result<Splits> {
        let schema = self.schema(features)?;
        let read = |path: &PathBuf| Table::read(path, &schema);
        match (&self.path, &self.split, &self.train, &self.val, &self.test) {
            (Some(path), Some(_), None, None, None) => Splits::of_table(&schema, &read(path)?),
            (None, None, Some(train), Some(val), Some(test)) => {
                let tables = [read(train)?, read(val)?, read(test)?];
                let rows = [0, 1, 2].map(|i| tables[i].all());
                Splits::encode(&schema, [0, 1, 2].map(|i| (&tables[i], &rows[i][..])))
            }
            _ => Err(Error::new(
                ErrorKind::Config,
                "[data]: expected `path` and `split`, or `train`, `val` and `test`, and not both",
            )),
        }
    }

    fn schema(&self, features: Features) -> Result<Schema> {
        let Features { categorical, numeric, bag } = features;
        let features = categorical.into_iter().map(|named| Feature::from(named.0));
        let features = features.chain(numeric.into_iter().map(|named| Feature::from(named.0)));
        let features = features.chain(bag.into_iter().map(|column| Feature::from(column.bag())));
        let mut schema = Schema::builder().labels(self.labels.iter().cloned());
        for feature in features {
            schema = schema.feature(feature);
        }
        if let Some(column) = &self.split {
            schema = schema.split(column);
        }
        if let Some(column) = &self.domain {
            schema = schema.domain(column);
        }
        if let Some(column) = &self.weight {
            schema = schema.weight(column);
        }
        if let Some(column) = &self.group {
            schema = schema.group(column);
        }
        schema.build()
    }
}
