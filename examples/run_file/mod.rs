//! Code that the examples `train`, `compare` and `inside` share: arguments, the file, its rows and its training settings.

mod arguments;
mod output;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer as _, MapAccess, Visitor};
use starple::data::{
    Bag, Categorical, Cross, Feature, Label, Numeric, ReadOptions, Schema, Sequence, SplitOptions, Splits, Table,
    TargetStatistics, UnknownDomainRows, UnknownSplitRows,
};
use starple::train::TrainConfig;
use starple::{Error, ErrorKind, Result};

#[allow(unused_imports, reason = "each example writes what it has")]
pub(crate) use arguments::{Input, Outputs, Results, start};
#[allow(unused_imports, reason = "each example writes what it has")]
pub(crate) use output::{err, out, write_json};
pub(crate) use words::{NEITHER, culprit, example, explained};

/// An error of the file.
pub(crate) fn wrong(message: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Config, explained(message.to_string().trim_end()))
}

/// The file with `--set` applied.
pub(crate) fn read_file<T: DeserializeOwned>(path: &Path, sets: &[String]) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error).at_path(path))?;
    if sets.is_empty() {
        // Parsed directly from the text, so that an error shows its line.
        return toml::from_str(&text).map_err(|error| wrong(error).at_path(path));
    }
    let table: toml::Table = toml::from_str(&text).map_err(|error| wrong(error).at_path(path))?;
    let mut table = toml::Value::Table(table);
    for set in sets {
        let (key, value) = set.split_once('=').ok_or_else(|| wrong(format!("--set {set}: expected key=value")))?;
        // A value that is not TOML becomes a string.
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
pub(crate) fn train_settings(mut table: toml::Table, path: &Path) -> Result<TrainConfig> {
    spell_out(&mut table);
    let parse = |table: toml::Table| {
        TrainConfig::deserialize(table.into_deserializer()).map_err(|error: toml::de::Error| error.message().to_owned())
    };
    parse(table.clone()).map_err(|error| {
        let culprit = culprit(&table, &[], &error, &|table| parse(table).map(drop));
        of_section("[train]", culprit, &error).at_path(path)
    })
}

/// An error about the value at this path of keys in a section, with an example of a valid value.
pub(crate) fn of_section(section: &str, culprit: Option<(Vec<&str>, &toml::Value)>, error: &str) -> Error {
    // The message already names an unknown key or an invalid setting.
    let of_settings = error.split_once(": ").is_some_and(|(name, _)| {
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
    });
    let told = of_settings || error.starts_with("unknown field");
    match culprit {
        Some((keys, value)) if !told => {
            let found = if error != NEITHER && ["invalid", "unknown"].iter().any(|word| error.starts_with(word)) {
                String::new()
            } else {
                format!("found {value}: ")
            };
            let error = wrong(format!("{section} {}: {found}{error}", keys.join(".")));
            match example(keys[keys.len() - 1]) {
                Some(example) => error.with_help(example),
                None => error,
            }
        }
        Some((keys, _)) if keys.len() > 1 => wrong(format!("{section} {}: {error}", keys[..keys.len() - 1].join("."))),
        _ => wrong(format!("{section}: {error}")),
    }
}

/// Settings that can be written as only the name of their kind.
fn spell_out(train: &mut toml::Table) {
    let in_table = |value: &mut toml::Value, key: &str| {
        if let toml::Value::String(_) = value {
            let name = std::mem::replace(value, toml::Value::Boolean(false));
            *value = toml::Value::Table(toml::Table::from_iter([(key.to_owned(), name)]));
        }
    };
    for key in ["optimizer", "embedding_optimizer", "schedule"] {
        if let Some(value) = train.get_mut(key) {
            in_table(value, "kind");
        }
    }
    for (outer, inner, key) in [("objective", "weighting", "kind"), ("early_stop", "monitor", "metric")] {
        if let Some(value) = train.get_mut(outer).and_then(|outer| outer.get_mut(inner)) {
            in_table(value, key);
        }
    }
    if let Some(value) = train.get_mut("batches")
        && value.as_str() == Some("mixed")
    {
        *value = toml::Value::Table(toml::Table::from_iter([("mixed".to_owned(), toml::Table::new().into())]));
    }
}

/// `[data]`: the files, and the columns that are not features.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    pub(crate) path: Option<PathBuf>,
    split: Option<String>,
    train: Option<PathBuf>,
    val: Option<PathBuf>,
    pub(crate) test: Option<PathBuf>,
    domain: Option<String>,
    labels: Vec<Label>,
    weight: Option<String>,
    group: Option<String>,
    #[serde(default)]
    unknown_domain: UnknownDomainRows,
    #[serde(default)]
    unknown_split: UnknownSplitRows,
    #[serde(default)]
    read: ReadOptions,
}

/// `[features]`: names, or tables with options; and the settings of target statistics.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Features {
    #[serde(default)]
    categorical: Vec<Named<Categorical>>,
    #[serde(default)]
    numeric: Vec<Named<Numeric>>,
    #[serde(default)]
    bag: Vec<BagColumn>,
    #[serde(default)]
    cross: Vec<Cross>,
    #[serde(default)]
    sequence: Vec<Sequence>,
    #[serde(default)]
    target_statistics: TargetStatistics,
}

/// A feature that is written as its name or as a table.
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
    table: Option<String>,
    dim: Option<usize>,
}

impl BagColumn {
    fn bag(self) -> Bag {
        let name = self.name.unwrap_or_else(|| self.column.clone());
        let mut bag = Bag::new(name, self.separator).column(self.column).pooling(self.pooling);
        if let Some(count) = self.min_count {
            bag = bag.min_count(count);
        }
        if let Some(table) = self.table {
            bag = bag.table(table);
        }
        if let Some(dim) = self.dim {
            bag = bag.dim(dim);
        }
        bag
    }
}

impl Data {
    /// The files with the rows.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.path, &self.train, &self.val, &self.test].into_iter().flatten()
    }

    /// Reads and encodes the rows; the encoder is fitted on the training split. Warnings about probable mistakes go to stderr.
    pub(crate) fn read(&self, features: Features) -> Result<Splits> {
        let schema = self.schema(features)?;
        let read = |path: &PathBuf| Table::read_with(path, &schema, &self.read);
        let options = SplitOptions { unknown_domain: self.unknown_domain, unknown_split: self.unknown_split };
        let splits = match (&self.path, &self.split, &self.train, &self.val, &self.test) {
            (Some(path), Some(_), None, None, None) => Splits::of_table(&schema, &read(path)?, options)?,
            (None, None, Some(train), Some(val), Some(test)) => {
                let tables = [read(train)?, read(val)?, read(test)?];
                let rows = [0, 1, 2].map(|i| tables[i].all());
                Splits::encode(&schema, [0, 1, 2].map(|i| (&tables[i], &rows[i][..])), options)?
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "[data]: expected `path` and `split`, or `train`, `val` and `test`, and not both",
                ));
            }
        };
        for warning in &splits.report.warnings {
            err(format_args!("warning: {warning}"));
        }
        Ok(splits)
    }

    fn schema(&self, features: Features) -> Result<Schema> {
        let Features { categorical, numeric, bag, cross, sequence, target_statistics } = features;
        let features = categorical.into_iter().map(|named| Feature::from(named.0));
        let features = features.chain(numeric.into_iter().map(|named| Feature::from(named.0)));
        let features = features.chain(bag.into_iter().map(|column| Feature::from(column.bag())));
        let features = features.chain(cross.into_iter().map(Feature::from));
        let mut schema = Schema::builder().labels(self.labels.iter().cloned()).target_statistics(target_statistics);
        for feature in features {
            schema = schema.feature(feature);
        }
        for sequence in sequence {
            schema = schema.sequence(sequence);
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
