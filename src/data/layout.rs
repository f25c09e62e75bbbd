//! What a model needs to know about its input: tables, fields, numeric columns, domains and tasks, by name and size.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::InputColumns;
use super::names::listed;
use crate::error::Problems;
use crate::metrics::SHARED_DOMAIN;
use crate::model::MAX_WIDTH;
use crate::{Error, ErrorKind, Result};

/// How the embeddings of a bag's values enter the embedded row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Their sum.
    Sum,
    /// Their mean (the default), so that a long bag has no larger values than a short one.
    #[default]
    Mean,
    /// Each by itself, for attention over a history, say: the first `n` values side by side, zeros where a row has fewer, and one more
    /// column with the number of values over `n`. Further values are dropped, so put the most important ones first. `n` is
    /// in `1 ..= 4096`.
    Keep(usize),
}

impl Pooling {
    /// The largest `n` of [`Pooling::Keep`].
    pub(crate) const MOST: usize = 1 << 12;

    /// What is wrong with it, if anything is.
    pub(crate) fn problem(self) -> Option<String> {
        match self {
            Self::Keep(n) if !(1..=Self::MOST).contains(&n) => Some(format!("1 <= keep <= {}, found {n}", Self::MOST)),
            _ => None,
        }
    }
}

/// An embedding table: `rows` vectors of `dim` values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingTable {
    /// Its name, which parameters have too: `embeddings.NAME`.
    pub name: String,
    /// How many rows it has; ids are `0 .. rows`. Row 0 is the out-of-vocabulary row of a fitted vocabulary.
    pub rows: usize,
    /// The width of its rows, at least 1. `None`: the model's `embedding_dim`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dim: Option<usize>,
}

/// An embedded field of a row. It reads a table, alone or with other fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// The name of the table that it reads.
    pub table: String,
    /// `None`: one id a row. `Some`: a bag of any number of ids a row, pooled this way.
    pub bag: Option<Pooling>,
}

/// The shape of encoded rows, by name: what the model's embeddings, its net and a data source must agree on.
///
/// An [`Encoder`](super::Encoder) derives it from data; write it by hand for rows that are already ids:
///
/// ```
/// use starple::data::{Layout, Pooling};
///
/// // The history is a bag of items: it reads the item's table, and keeps its first 20 items apart.
/// let layout = Layout::new(["home", "search"], ["click"])
///     .field("user", 10_000)
///     .field("item", 500)
///     .field_of("history", "item", Some(Pooling::Keep(20)))
///     .bag("tags", 40, Pooling::Mean)
///     .width("tags", 8)
///     .numeric(["price"]);
/// assert_eq!(layout.tables.len(), 3);
/// // user, item, history and its share of 20, tags, price.
/// assert_eq!(layout.columns(16), 16 + 16 + (20 * 16 + 1) + 8 + 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "LayoutForm", into = "LayoutForm")]
pub struct Layout {
    /// The embedding tables.
    pub tables: Vec<EmbeddingTable>,
    /// The embedded fields, in the order of their columns in the model's input.
    pub fields: Vec<Field>,
    /// The numeric inputs, after the fields.
    pub numeric: Vec<String>,
    /// The domains; a [`DomainId`](super::DomainId) is a position in this list.
    pub domains: Vec<String>,
    /// The tasks: the columns of labels and logits.
    pub tasks: Vec<String>,
}

/// A layout as files have it. Where every field has a table of its own, fields and tables are one list.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Layout")]
struct LayoutForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tables: Option<Vec<EmbeddingTable>>,
    fields: Vec<FieldForm>,
    numeric: Vec<String>,
    domains: Vec<String>,
    tasks: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Field")]
struct FieldForm {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dim: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    bag: Option<Pooling>,
}

impl From<Layout> for LayoutForm {
    fn from(layout: Layout) -> Self {
        let Layout { tables, fields, numeric, domains, tasks } = layout;
        let names = tables.iter().map(|table| &table.name);
        let own =
            names.eq(fields.iter().map(|field| &field.table)) && fields.iter().all(|field| field.name == field.table);
        let (tables, fields) = if own {
            let both = fields.into_iter().zip(tables);
            let form = |(Field { name, bag, .. }, EmbeddingTable { rows, dim, .. })| FieldForm {
                name,
                rows: Some(rows),
                dim,
                table: None,
                bag,
            };
            (None, both.map(form).collect())
        } else {
            let form = |Field { name, table, bag }| FieldForm { name, rows: None, dim: None, table: Some(table), bag };
            (Some(tables), fields.into_iter().map(form).collect())
        };
        Self { tables, fields, numeric, domains, tasks }
    }
}

impl TryFrom<LayoutForm> for Layout {
    type Error = Error;

    fn try_from(form: LayoutForm) -> Result<Self> {
        let LayoutForm { tables, fields, numeric, domains, tasks } = form;
        let mut layout = Self { tables: tables.unwrap_or_default(), fields: Vec::new(), numeric, domains, tasks };
        for FieldForm { name, rows, dim, table, bag } in fields {
            let table = match (rows, dim, table) {
                (Some(rows), dim, None) => {
                    layout.tables.push(EmbeddingTable { name: name.clone(), rows, dim });
                    name.clone()
                }
                (None, None, Some(table)) => table,
                _ => {
                    let message = format!("field {name:?}: expected either the rows of its table or the table's name");
                    return Err(Error::new(ErrorKind::Layout, message));
                }
            };
            layout.fields.push(Field { name, table, bag });
        }
        let mut problems = Problems::default();
        layout.check_tables(&mut problems);
        problems.into_result("Layout")?;
        Ok(layout)
    }
}

impl Layout {
    /// A layout without inputs, to be filled.
    pub fn new<D: Into<String>, T: Into<String>>(
        domains: impl IntoIterator<Item = D>,
        tasks: impl IntoIterator<Item = T>,
    ) -> Self {
        let domains = domains.into_iter().map(Into::into).collect();
        Self { domains, tasks: tasks.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds a field with one id a row, and its table of this number of rows.
    #[must_use]
    pub fn field(self, name: impl Into<String>, rows: usize) -> Self {
        let name = name.into();
        self.table(name.clone(), rows).field_of(name.clone(), name, None)
    }

    /// Adds a field with a bag of ids a row, and its table of this number of rows.
    #[must_use]
    pub fn bag(self, name: impl Into<String>, rows: usize, pooling: Pooling) -> Self {
        let name = name.into();
        self.table(name.clone(), rows).field_of(name.clone(), name, Some(pooling))
    }

    /// Adds a table that no field reads yet.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>, rows: usize) -> Self {
        self.tables.push(EmbeddingTable { name: name.into(), rows, dim: None });
        self
    }

    /// Adds a field that reads this table: with one id a row (`None`) or a bag of ids.
    #[must_use]
    pub fn field_of(mut self, name: impl Into<String>, table: impl Into<String>, bag: Option<Pooling>) -> Self {
        self.fields.push(Field { name: name.into(), table: table.into(), bag });
        self
    }

    /// Gives the rows of a table this width, at least 1, in place of the model's `embedding_dim`.
    ///
    /// # Panics
    /// If there is no such table.
    #[must_use]
    pub fn width(mut self, table: &str, dim: usize) -> Self {
        let found = self.tables.iter_mut().find(|known| known.name == table);
        found.unwrap_or_else(|| panic!("no table {table:?}")).dim = Some(dim);
        self
    }

    /// Adds numeric inputs.
    #[must_use]
    pub fn numeric<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.numeric.extend(names.into_iter().map(Into::into));
        self
    }

    /// Notes invalid tables, and fields that read none.
    pub(crate) fn check_tables(&self, problems: &mut Problems) {
        for table in &self.tables {
            let (name, rows, most) = (&table.name, table.rows, u32::MAX);
            problems.require(rows > 0, || format!("layout.tables.{name}: at least one row"));
            problems
                .require(rows <= most as usize, || format!("layout.tables.{name}: at most {most} rows, found {rows}"));
            let dim = table.dim.unwrap_or(1);
            problems.require((1..=MAX_WIDTH).contains(&dim), || {
                format!("layout.tables.{name}: 1 <= dim <= {MAX_WIDTH}, found {dim}")
            });
        }
        let names: HashSet<&str> = self.tables.iter().map(|table| &*table.name).collect();
        let read: HashSet<&str> = self.fields.iter().map(|field| &*field.table).collect();
        for table in self.tables.iter().filter(|table| !read.contains(&*table.name)) {
            problems.require(false, || format!("layout.tables.{}: no field reads it", table.name));
        }
        for Field { name, table, bag } in &self.fields {
            problems.require(names.contains(&**table), || {
                let known: Vec<&String> = self.tables.iter().map(|table| &table.name).collect();
                format!("layout.fields.{name}: unknown table {table:?}; the tables are {}", listed(&known))
            });
            if let Some(problem) = bag.and_then(Pooling::problem) {
                problems.require(false, || format!("layout.fields.{name}: {problem}"));
            }
        }
    }

    /// The position of the table that the field at this position reads, if there is one of its name.
    pub fn table_of(&self, field: usize) -> Option<usize> {
        let is_read = |table: &EmbeddingTable| table.name == self.fields[field].table;
        // Where every field has its table, they stand at one position.
        if self.tables.get(field).is_some_and(is_read) { Some(field) } else { self.tables.iter().position(is_read) }
    }

    /// How many rows the table of the field at this position has: the field's ids are below that. 0 if there is no such table.
    pub fn rows_of(&self, field: usize) -> usize {
        self.table_of(field).map_or(0, |table| self.tables[table].rows)
    }

    /// How many values an embedded row has, where tables without a width of their own have `embedding_dim`: a pooled field has the width
    /// of its table, one that keeps `n` values has `n·width + 1`, a number is one value.
    ///
    /// # Panics
    /// If a field reads a table that the layout does not have.
    pub fn columns(&self, embedding_dim: usize) -> usize {
        InputColumns::new(self, embedding_dim).width
    }

    /// Whether `grown` is this layout, its tables perhaps with more rows, and perhaps with more domains after its own.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`], naming every other difference.
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
        let tables = |layout: &Self| layout.tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>();
        let own = |layout: &Self| tables(layout) == names(layout);
        // Where every field has its table, the fields say it all.
        let (old, new) = if own(self) && own(grown) { Default::default() } else { (tables(self), tables(grown)) };
        for (what, old, new) in [
            ("tables", old, new),
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
        for table in &self.tables {
            let Some(new) = grown.tables.iter().find(|new| new.name == table.name) else { continue };
            let name = &table.name;
            if new.rows < table.rows {
                problems.push(format!("table {name:?}: expected {} rows or more, found {}", table.rows, new.rows));
            }
            if new.dim != table.dim {
                let dim =
                    |dim: Option<usize>| dim.map_or("the model's embedding_dim".to_owned(), |dim| dim.to_string());
                problems.push(format!("table {name:?}: expected width {}, found {}", dim(table.dim), dim(new.dim)));
            }
        }
        for field in &self.fields {
            let Some(new) = grown.fields.iter().find(|new| new.name == field.name) else { continue };
            if new.table != field.table {
                problems
                    .push(format!("field {:?}: expected table {:?}, found {:?}", field.name, field.table, new.table));
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
