//! What a model needs to know about its input: fields, numeric columns, domains and tasks, by name and size.

use serde::{Deserialize, Serialize};

use super::names::listed;
use crate::metrics::SHARED_DOMAIN;
use crate::{Error, ErrorKind, Result};

/// How the embeddings of a bag's values become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Their sum.
    Sum,
    /// Their mean (the default), so that long bags do not shout.
    #[default]
    Mean,
}

/// One embedded field of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// Rows of its embedding table; ids are `0 .. rows`. Row 0 is the out-of-vocabulary row of a fitted vocabulary.
    pub rows: usize,
    /// `None`: one id a row. `Some`: a bag of any number of ids a row, pooled this way.
    pub bag: Option<Pooling>,
}

/// The shape of encoded rows, by name: what the model's embeddings, its net and a data source must agree on.
///
/// An [`Encoder`](super::Encoder) derives it from data; write it by hand for rows that are already ids.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Layout {
    /// The embedded fields, in the order of their columns in the model's input.
    pub fields: Vec<Field>,
    /// The numeric inputs, behind the fields.
    pub numeric: Vec<String>,
    /// The domains; a [`DomainId`](super::DomainId) is a position in this list.
    pub domains: Vec<String>,
    /// The tasks: the columns of labels and logits.
    pub tasks: Vec<String>,
}

impl Layout {
    /// Whether `grown` is this layout with rows behind those of its fields and domains behind its own, and otherwise the same.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`], naming every difference that is none of those.
    pub(crate) fn check_growth(&self, grown: &Self) -> Result<()> {
        let what = "the layout does not extend the one there is";
        self.check_extended(grown, what, "extend the encoder that the model was built for")
    }

    /// Whether a model of this other layout can read rows of this one: its layout is the same, or has grown from it.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`], naming every difference that is none of growth.
    pub(crate) fn check_model(&self, model: &Self) -> Result<()> {
        let what = "the rows do not have the model's layout";
        self.check_extended(model, what, "encode them with the encoder that the model was built for")
    }

    fn check_extended(&self, grown: &Self, what: &str, help: &str) -> Result<()> {
        if self == grown {
            return Ok(());
        }
        let mut problems = Vec::new();
        let names = |layout: &Self| layout.fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>();
        for (what, old, new) in [
            ("fields", names(self), names(grown)),
            ("numeric", self.numeric.clone(), grown.numeric.clone()),
            ("tasks", self.tasks.clone(), grown.tasks.clone()),
        ] {
            if old != new {
                problems.push(format!("{what}: expected [{}], found [{}]", listed(&old), listed(&new)));
            }
        }
        let domains = &grown.domains;
        if !domains.starts_with(&self.domains) {
            let (old, new) = (listed(&self.domains), listed(domains));
            problems.push(format!("domains: expected [{old}] and others behind them, found [{new}]"));
        }
        let is_name =
            |i: usize, name: &str| !["", SHARED_DOMAIN].contains(&name) && !domains[..i].iter().any(|d| d == name);
        for (i, name) in domains.iter().enumerate().filter(|(i, name)| !is_name(*i, name)) {
            problems.push(format!(
                "domains: expected a name that no other has, and not {SHARED_DOMAIN:?}, found {name:?} as number {i}"
            ));
        }
        for field in &self.fields {
            let Some(new) = grown.fields.iter().find(|new| new.name == field.name) else { continue };
            if new.rows < field.rows {
                problems
                    .push(format!("field {:?}: expected {} rows or more, found {}", field.name, field.rows, new.rows));
            }
            if new.bag != field.bag {
                let ids = |bag| match bag {
                    None => "one id a row".to_owned(),
                    Some(pooling) => format!("bags of ids ({pooling:?})"),
                };
                let (old, new) = (ids(field.bag), ids(new.bag));
                problems.push(format!("field {:?}: expected {old}, found {new}", field.name));
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Layout, format!("{what}: {}", problems.join("; "))).with_help(help))
    }
}
