//! What a model needs to know about its input: tables, fields, numeric columns, domains and tasks, by name and size.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::names::listed;
use super::target::{Target, Task};
use super::{AttendedSequence, InputColumns};
use crate::error::Problems;
use crate::metrics::SHARED_DOMAIN;
use crate::model::MAX_WIDTH;
use crate::nn::TargetAttentionSettings;
use crate::{Error, ErrorKind, Result};

/// How the net receives the vectors of a bag, or of an embedded number. A bag is the input of a [`Field`] that has any number of ids in a row.
///
/// The model replaces each id of the bag by its row of the [`EmbeddingTable`]: a vector of `dim` values. The variant of `Pooling` decides how
/// the vectors of one bag become input values of the net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The vectors are added. The net has `dim` input values, the number of values of a vector; they are 0 for an empty bag.
    Sum,
    /// The vectors are averaged. This is the default. The net has `dim` input values, the number of values of a vector; they are 0 for an empty
    /// bag. Unlike a sum, a mean does not become larger with the number of ids.
    #[default]
    Mean,
    /// The vectors of the first `n` ids are not combined. They stand side by side, and the net has `n * dim + 1` input values, where `dim` is
    /// the number of values of a vector. Choose it, for example, for attention over a user's history.
    ///
    /// If a bag has fewer than `n` ids, zeros fill the places of the missing vectors. Ids after the first `n` are ignored, so put the most
    /// important ids first. The last input value is the number of used ids, at most `n`, divided by `n`.
    ///
    /// `n` is 1 to 4096. For another `n`, [`SchemaBuilder::build`](super::SchemaBuilder::build) and `build` of a model's settings return an
    /// error.
    Keep(usize),
    /// The vector at a position between two neighbouring table rows: `(1 − f)·e[i] + f·e[i + 1]` for the id `i` and the fraction `f`.
    ///
    /// This is how an [embedded number](super::Transform::PiecewiseEmbedding) reads its table. A bag of a schema cannot have it.
    Interpolate,
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

/// The shape of an embedding table, a trained matrix with one vector of `dim` values for each id. A [`Field`] of a [`Layout`] names the
/// table in which its ids are looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingTable {
    /// The name of the table. It must not be empty, and no other table can have the same name; otherwise `build` of a model's settings returns
    /// an error. The name of the model's parameter is `embeddings.NAME`, with the name of the table for `NAME`.
    pub name: String,
    /// The number of vectors, 1 to 2³² − 1; for another number, `build` of a model's settings returns an error. Valid ids are 0 to `rows - 1`.
    pub rows: usize,
    /// The number of values in each vector, 1 to 65,536; for another number, `build` of a model's settings returns an error. `None` means the
    /// `embedding_dim` of these settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dim: Option<usize>,
    /// Whether row 0 is for values that the vocabulary does not have, as in every table of a fitted vocabulary. Tables of hashed values,
    /// of ids and of buckets have no such row. [`Unknown`](crate::train::Unknown) says how training fills it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unknown: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// An input of a model that is given by ids. The model replaces each id by a vector from an [`EmbeddingTable`]. Several fields can name the
/// same table: equal ids of these fields then have the same vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name of the field. It must not be empty, and no other field can have the same name; otherwise `build` of a model's settings returns
    /// an error.
    pub name: String,
    /// The [name](EmbeddingTable::name) of the table in which the ids of the field are looked up.
    pub table: String,
    /// `None` if every row of a batch has exactly one id. With [`Pooling::Interpolate`], every row has a position between two
    /// ids. Another `Some` if a row has a bag, which is a list of any number of ids; the
    /// [`Pooling`] says how the net receives their vectors.
    pub bag: Option<Pooling>,
}

/// The names and sizes of a model's inputs and outputs: embedding tables, fields, numeric inputs, domains and tasks. A model and the batches
/// that it reads must have the same layout.
///
/// An [`Encoder`](super::Encoder) derives the layout from data; [`Encoder::layout`](super::Encoder::layout) returns it. Write it by hand if
/// your rows are already ids. Names and sizes are checked when a model's settings are built.
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
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "LayoutForm", into = "LayoutForm")]
pub struct Layout {
    /// The embedding tables. Their order can differ from that of the fields. At least one field must read each table; otherwise `build` of a
    /// model's settings returns an error.
    pub tables: Vec<EmbeddingTable>,
    /// The inputs that are given by ids. In this order, their vectors are the first columns of the net's input.
    pub fields: Vec<Field>,
    /// The sequences whose events are pooled by attention of the row's target.
    pub sequences: Vec<AttendedSequence>,
    /// The names of the numeric inputs. Each is one column of the net's input. These columns are in this order, after those of the fields.
    pub numeric: Vec<String>,
    /// The names of the domains: at least one, all different, and none of them empty or `(shared)`, which is a reserved name; otherwise `build`
    /// of a model's settings returns an error. A [`DomainId`](super::DomainId) is a position in this list, counted from 0.
    pub domains: Vec<String>,
    /// The names of the tasks: at least one, all different, and none of them empty; otherwise `build` of a model's settings returns an error.
    /// Labels and logits have one column for each task, in this order.
    pub tasks: Vec<String>,
    /// What each task predicts, in the order of `tasks`. An empty list: all tasks are binary.
    pub targets: Vec<Target>,
}

/// A layout as files have it. Where every field has a table of its own, fields and tables are one list.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Layout")]
struct LayoutForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tables: Option<Vec<EmbeddingTable>>,
    fields: Vec<FieldForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sequences: Vec<AttendedSequence>,
    numeric: Vec<String>,
    domains: Vec<String>,
    tasks: Vec<Task>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename = "Field")]
struct FieldForm {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dim: Option<usize>,
    #[serde(default, skip_serializing_if = "is_false")]
    unknown: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    bag: Option<Pooling>,
}

impl From<Layout> for LayoutForm {
    fn from(layout: Layout) -> Self {
        let task = |(task, name): (usize, &String)| Task { name: name.clone(), target: layout.target(task) };
        let tasks = layout.tasks.iter().enumerate().map(task).collect();
        let Layout { tables, fields, sequences, numeric, domains, .. } = layout;
        let names = tables.iter().map(|table| &table.name);
        let own =
            names.eq(fields.iter().map(|field| &field.table)) && fields.iter().all(|field| field.name == field.table);
        let (tables, fields) = if own {
            let both = fields.into_iter().zip(tables);
            let form = |(Field { name, bag, .. }, EmbeddingTable { rows, dim, unknown, .. })| FieldForm {
                name,
                rows: Some(rows),
                dim,
                unknown,
                table: None,
                bag,
            };
            (None, both.map(form).collect())
        } else {
            let form = |Field { name, table, bag }| FieldForm {
                name,
                rows: None,
                dim: None,
                unknown: false,
                table: Some(table),
                bag,
            };
            (Some(tables), fields.into_iter().map(form).collect())
        };
        Self { tables, fields, sequences, numeric, domains, tasks }
    }
}

impl TryFrom<LayoutForm> for Layout {
    type Error = Error;

    fn try_from(form: LayoutForm) -> Result<Self> {
        let LayoutForm { tables, fields, sequences, numeric, domains, tasks } = form;
        let targets: Vec<Target> = tasks.iter().map(|task| task.target).collect();
        let targets = if targets.iter().all(|target| *target == Target::Binary) { Vec::new() } else { targets };
        let tasks = tasks.into_iter().map(|task| task.name).collect();
        let tables = tables.unwrap_or_default();
        let mut layout = Self { tables, fields: Vec::new(), sequences, numeric, domains, tasks, targets };
        for FieldForm { name, rows, dim, unknown, table, bag } in fields {
            let table = match (rows, dim, table) {
                (Some(rows), dim, None) => {
                    layout.tables.push(EmbeddingTable { name: name.clone(), rows, dim, unknown });
                    name.clone()
                }
                (None, None, Some(table)) if !unknown => table,
                _ => {
                    let message = format!("field {name:?}: expected either the rows of its table or the table's name");
                    return Err(Error::new(ErrorKind::Layout, message));
                }
            };
            layout.fields.push(Field { name, table, bag });
        }
        let mut problems = Problems::default();
        layout.check_tables(&mut problems);
        layout.check_targets(&mut problems);
        problems.into_result("Layout")?;
        Ok(layout)
    }
}

impl Layout {
    /// Makes a layout with these names of domains and tasks, and without inputs. Add inputs with [`Layout::field`], [`Layout::bag`] and
    /// [`Layout::numeric()`].
    pub fn new<D: Into<String>, T: Into<String>>(
        domains: impl IntoIterator<Item = D>,
        tasks: impl IntoIterator<Item = T>,
    ) -> Self {
        let domains = domains.into_iter().map(Into::into).collect();
        Self { domains, tasks: tasks.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds a [`Field`] with one id in each row, and an [`EmbeddingTable`] with the same name. `rows` is the number of vectors in the table, 1
    /// to 2³² − 1; for another number, `build` of a model's settings returns an error. The field's ids are 0 to `rows - 1`.
    #[must_use]
    pub fn field(self, name: impl Into<String>, rows: usize) -> Self {
        let name = name.into();
        self.table(name.clone(), rows).field_of(name.clone(), name, None)
    }

    /// Adds a [`Field`] with a bag in each row, which is a list of any number of ids, and an [`EmbeddingTable`] with the same name. `rows` is
    /// the number of vectors in the table, 1 to 2³² − 1; for another number, `build` of a model's settings returns an error. The field's ids are
    /// 0 to `rows - 1`. `pooling` says how the net receives the vectors of a bag; with [`Pooling::Interpolate`], the field has a position in
    /// each row instead of a list.
    #[must_use]
    pub fn bag(self, name: impl Into<String>, rows: usize, pooling: Pooling) -> Self {
        let name = name.into();
        self.table(name.clone(), rows).field_of(name.clone(), name, Some(pooling))
    }

    /// Adds an [`EmbeddingTable`] with this name. `rows` is the number of vectors in the table, 1 to 2³² − 1. Then add at least one field that
    /// reads the table, with [`Layout::field_of`]. For another number of rows, or if no field reads the table, `build` of a model's settings
    /// returns an error.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>, rows: usize) -> Self {
        self.tables.push(EmbeddingTable { name: name.into(), rows, dim: None, unknown: false });
        self
    }

    /// Adds a [`Field`] that looks up its ids in the table with the name `table`. Other fields can use this table too, and it can be added
    /// later. `bag` is `None` for a field with one id in each row. For a field with a list of ids or a position in each row, it is the
    /// [`Pooling`] of their vectors.
    #[must_use]
    pub fn field_of(mut self, name: impl Into<String>, table: impl Into<String>, bag: Option<Pooling>) -> Self {
        self.fields.push(Field { name: name.into(), table: table.into(), bag });
        self
    }

    /// Pools bags by attention of the row's target: `columns` has the fields of the events' values, each with the field of the target.
    /// See [`Sequence`](super::Sequence).
    #[must_use]
    pub fn attended<B: Into<String>, T: Into<String>>(
        mut self,
        name: impl Into<String>,
        columns: impl IntoIterator<Item = (B, T)>,
        max_len: usize,
        attention: TargetAttentionSettings,
    ) -> Self {
        let (fields, targets) = columns.into_iter().map(|(bag, target)| (bag.into(), target.into())).unzip();
        self.sequences.push(AttendedSequence { name: name.into(), fields, targets, max_len, attention });
        self
    }

    /// Sets the number of values in each vector of the table named `table` to `dim`, 1 to 65,536. For another number, `build` of a model's
    /// settings returns an error. Without this call, it is the `embedding_dim` of the model's settings.
    ///
    /// # Panics
    /// If the layout has no table with the name `table`.
    #[must_use]
    pub fn width(mut self, table: &str, dim: usize) -> Self {
        let found = self.tables.iter_mut().find(|known| known.name == table);
        found.unwrap_or_else(|| panic!("no table {table:?}")).dim = Some(dim);
        self
    }

    /// Says that row 0 of a table is for unknown values ([`EmbeddingTable::unknown`]).
    ///
    /// # Panics
    /// If there is no such table.
    #[must_use]
    pub fn unknown(mut self, table: &str) -> Self {
        let found = self.tables.iter_mut().find(|known| known.name == table);
        found.unwrap_or_else(|| panic!("no table {table:?}")).unknown = true;
        self
    }

    /// Adds numeric inputs with these names, after the numeric inputs that the layout already has. Each has one `f32` value in each row.
    #[must_use]
    pub fn numeric<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.numeric.extend(names.into_iter().map(Into::into));
        self
    }

    /// Says what a task predicts. By default, it is binary.
    ///
    /// # Panics
    /// If there is no such task.
    #[must_use]
    pub fn predicts(mut self, task: &str, target: Target) -> Self {
        let position = self.tasks.iter().position(|name| name == task).unwrap_or_else(|| panic!("no task {task:?}"));
        self.targets.resize(self.tasks.len(), Target::Binary);
        self.targets[position] = target;
        self
    }

    /// What the task at this position predicts.
    pub fn target(&self, task: usize) -> Target {
        self.targets.get(task).copied().unwrap_or_default()
    }

    /// Whether all tasks are binary.
    pub fn all_binary(&self) -> bool {
        self.targets.iter().all(|target| *target == Target::Binary)
    }

    /// Notes invalid targets.
    pub(crate) fn check_targets(&self, problems: &mut Problems) {
        let (targets, tasks) = (self.targets.len(), self.tasks.len());
        problems.require(targets == 0 || targets == tasks, || {
            format!("layout.targets: one for each of {tasks} tasks, or none, found {targets}")
        });
        for (name, target) in self.tasks.iter().zip(&self.targets) {
            target.check(name, problems);
        }
    }

    /// Notes invalid tables and sequences, and fields that read no table.
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
        AttendedSequence::check_all(self, problems);
    }

    /// Returns the position in [`Layout::tables`] of the table that a field reads. `field` is the position of the field in [`Layout::fields`].
    /// Both positions are counted from 0. The result is `None` if no table has the name that the field gives, and always if the layout has no
    /// tables.
    ///
    /// # Panics
    /// If the layout has tables and `field` is not a position in [`Layout::fields`].
    pub fn table_of(&self, field: usize) -> Option<usize> {
        let is_read = |table: &EmbeddingTable| table.name == self.fields[field].table;
        // Where every field has its table, they stand at one position.
        if self.tables.get(field).is_some_and(is_read) { Some(field) } else { self.tables.iter().position(is_read) }
    }

    /// Returns the number of vectors in the table that a field reads. Valid ids of the field are less than this number. `field` is the position
    /// of the field in [`Layout::fields`], counted from 0. The result is 0 if no table has the name that the field gives, and always if the
    /// layout has no tables.
    ///
    /// # Panics
    /// If the layout has tables and `field` is not a position in [`Layout::fields`].
    pub fn rows_of(&self, field: usize) -> usize {
        self.table_of(field).map_or(0, |table| self.tables[table].rows)
    }

    /// Returns the number of input values that the net has for one row: the number of columns of its input matrix. `embedding_dim` is the number
    /// of values in a vector of each table whose [`dim`](EmbeddingTable::dim) is `None`.
    ///
    /// The result is the sum over all inputs. A field has as many input values as a vector of its table. A field with [`Pooling::Keep`] of `n`
    /// has `n` times as many, plus 1. A numeric input has one.
    ///
    /// # Panics
    /// If a field names a table that the layout does not have.
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
        for (task, name) in self.tasks.iter().enumerate().filter(|_| self.tasks == grown.tasks) {
            let (old, new) = (self.target(task), grown.target(task));
            if old != new {
                problems.push(format!("task {name:?}: expected {old:?}, found {new:?}"));
            }
        }
        let domains = &grown.domains;
        if !domains.starts_with(&self.domains) {
            let (old, new) = (listed(&self.domains), listed(domains));
            problems.push(format!("domains: expected [{old}] and others after them, found [{new}]"));
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
                    Some(Pooling::Interpolate) => "one position between ids a row".to_owned(),
                    Some(pooling) => format!("bags of ids ({pooling:?})"),
                };
                let (old, new) = (ids(field.bag), ids(new.bag));
                problems.push(format!("field {:?}: expected {old}, found {new}", field.name));
            }
        }
        let sequences = |layout: &Self| layout.sequences.iter().map(|own| own.name.clone()).collect::<Vec<_>>();
        let (old, new) = (sequences(self), sequences(grown));
        if old != new {
            problems.push(format!("sequences: expected [{}], found [{}]", listed(&old), listed(&new)));
        }
        for (old, _) in
            self.sequences.iter().zip(&grown.sequences).filter(|(old, new)| old.name == new.name && old != new)
        {
            problems.push(format!("sequence {:?}: expected the same fields, targets, max_len and attention", old.name));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Layout, format!("{what}: {}", problems.join("; "))).with_help(help))
    }
}
