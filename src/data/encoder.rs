//! Encodes rows by vocabularies, scales and domains that were fitted on other rows.

mod counts;
mod statistics;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use self::statistics::Counted;
use super::batch::join;
use super::fitted::{Fitted, translate};
use super::names::listed;
use super::row_plan::{RowPlan, RowScratch};
use super::statistics::{Form, Statistics};
use super::target::{Label, Target};
use super::vocabulary::Vocabulary;
use super::{
    AttendedSequence, Batch, DataSet, DomainId, Growth, Layout, NumberReport, RawValue, Schema, Table, id_spelling,
};
use crate::error::{Error, ErrorKind, Problems, Result};

/// The name of the one domain when the schema names no domain column.
const ALL: &str = "all";

/// What an [`Encoder`] does with a row whose domain it does not know: no row on which it was fitted has this domain, and neither
/// [`Encoder::add_domain`] nor [`Encoder::extend`] added it. Set it with [`Encoder::on_unknown_domain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownDomain {
    /// Encoding such a row returns an error of [`ErrorKind::UnknownDomain`]. This is the default.
    #[default]
    Error,
    /// Such a row gets the id [`DomainId::SHARED`], whose documentation says how models score it. Training returns an error for such rows.
    Shared,
}

/// Turns the columns of a log into the ids and numbers that a model reads.
///
/// [`Encoder::fit`] learns from training rows: a vocabulary (a list of values, each with its own id) for features that have one, a mean and a
/// standard deviation for each number, and the list of domains. Afterwards the encoder encodes all other rows with what it learned. Save the
/// encoder with the model, for example in a [`ModelFile`](crate::persist::ModelFile) or as JSON with serde. Reading an encoder that is not
/// complete returns an error.
///
/// ```
/// use starple::data::{Encoder, Format, Schema, Table};
///
/// let schema = Schema::builder().categorical("item").numeric("price").domain("page").label("click").build()?;
/// let log = "item,price,page,click\nlamp,20,home,1\nsofa,400,search,0\nlamp,,home,0\n";
/// let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema)?;
/// let encoder = Encoder::fit(&schema, &table, &table.all())?;
/// assert_eq!(encoder.layout().domains, ["home", "search"]);
/// assert_eq!(encoder.layout().numeric, ["price", "price?"]);
/// let batch = encoder.encode_training(&table, &table.all())?;
/// assert_eq!(batch.rows(), 3);
///
/// // At serving time rows come from elsewhere, and without labels.
/// let batch = encoder.encode_rows([[("item", "sofa"), ("price", "380"), ("page", "home")]])?;
/// assert_eq!(batch.domains, [encoder.domain("home")?]);
/// # Ok::<(), starple::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Encoder {
    schema: Schema,
    /// By feature, in the schema's order; read by [`Encoder::fitted`].
    fitted: Vec<Fitted>,
    domains: Vocabulary,
    unknown_domain: UnknownDomain,
    /// Of the tasks; empty if all are binary.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<Target>,
    #[serde(skip_serializing_if = "Statistics::is_empty")]
    statistics: Statistics,
    #[serde(skip)]
    counted: Counted,
    /// Derived from the others.
    #[serde(skip)]
    layout: Layout,
}

/// An encoder as it is written to a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    schema: Schema,
    fitted: Vec<Fitted>,
    domains: Vocabulary,
    unknown_domain: UnknownDomain,
    #[serde(default)]
    targets: Vec<Target>,
    /// Files of encoders without statistics have none.
    #[serde(default)]
    statistics: Option<Form>,
}

impl TryFrom<Parts> for Encoder {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts { schema, fitted, domains, unknown_domain, targets, statistics } = parts;
        let features = schema.features();
        let mut problems = Problems::default();
        problems.require(fitted.len() == features.len(), || {
            format!("fitted: {} entries, one for each feature, found {}", features.len(), fitted.len())
        });
        let misfit = if fitted.len() == features.len() { Fitted::misfit(&fitted, features) } else { None };
        if let Some(feature) = misfit {
            problems.require(false, || {
                format!("fitted: what {:?} of the schema can have learned, found something else", feature.name())
            });
        }
        let given = if targets.is_empty() { vec![Target::Binary; schema.tasks().len()] } else { targets.clone() };
        let fit =
            given.len() == schema.tasks().len() && given.iter().zip(schema.tasks()).all(|(t, label)| t.is_of(label));
        problems.require(fit, || format!("targets: those of the labels, found {targets:?}"));
        problems.require(!domains.values().is_empty(), || "domains: at least one".into());
        problems.require(domains.values().iter().all(|name| !name.is_empty()), || {
            "domains: names that are not empty".into()
        });
        problems.require(schema.domain().is_some() || domains.values().len() <= 1, || {
            "domains: only one, as the schema names no domain column".into()
        });
        for (name, target) in schema.labels().iter().zip(&targets) {
            target.check(name, &mut problems);
        }
        problems.into_result("Encoder")?;
        let mut encoder = Self::assemble(schema, fitted, domains, unknown_domain, targets);
        if let Some(form) = statistics {
            let statistics = form.statistics(&encoder.layout);
            let wrong = |reason| Error::new(ErrorKind::Config, format!("Encoder: statistics: {reason}"));
            encoder.statistics = statistics.map_err(wrong)?;
            encoder.derive_layout();
        }
        Ok(encoder)
    }
}

impl Encoder {
    /// Makes an encoder for `schema` from some rows of `table`. It learns vocabularies, means, standard deviations, bucket boundaries, domains,
    /// target statistics, and the mean and standard deviation of regression labels. `rows` has the numbers of these rows, counted from 0; other
    /// rows have no effect.
    ///
    /// If features have [target statistics](super::TargetStatistics), which count labels, encode these rows with
    /// [`Encoder::encode_training`]; encode other rows with [`Encoder::encode`].
    ///
    /// The values of a vocabulary get the ids 1, 2, … in the order in which they first appear in `rows`. Domains are sorted by name, or as
    /// numbers if all names are integers, and get ids from 0.
    ///
    /// # Errors
    /// * [`ErrorKind::Config`] if `schema` has no label column.
    /// * [`ErrorKind::Data`] if `rows` is empty, if one of the rows has an empty domain or lacks the time that orders target statistics, or if all of the rows have the weight 0.
    /// * [`ErrorKind::Layout`] if `table` lacks a column of `schema`, because it was read with another schema.
    ///
    /// # Panics
    /// If a number in `rows` is not less than [`Table::rows`].
    pub fn fit(schema: &Schema, table: &Table, rows: &[u32]) -> Result<Self> {
        Ok(Self::fit_and_report(schema, table, rows)?.0)
    }

    /// [`Encoder::fit`], and what there is to report about numeric features.
    pub(super) fn fit_and_report(schema: &Schema, table: &Table, rows: &[u32]) -> Result<(Self, Vec<NumberReport>)> {
        if schema.labels().is_empty() {
            return Err(Error::new(ErrorKind::Config, "the schema names no label, so there is no task to learn")
                .with_help("declare one with SchemaBuilder::label"));
        }
        if rows.is_empty() {
            return Err(Error::new(ErrorKind::Data, "expected rows to fit on, found none").at_path(table.source()));
        }
        check_weights(schema, table, rows)?;
        let mut schema = schema.clone();
        let (fitted, numbers) = Fitted::fit_all(schema.features_mut(), table, rows)?;
        let domains = fit_domains(&schema, table, rows)?;
        let targets = fit_targets(&schema, table, rows);
        let mut encoder = Self::assemble(schema, fitted, domains, UnknownDomain::default(), targets);
        encoder.fit_statistics(table, rows)?;
        Ok((encoder, numbers))
    }

    fn assemble(
        schema: Schema,
        fitted: Vec<Fitted>,
        domains: Vocabulary,
        unknown_domain: UnknownDomain,
        targets: Vec<Target>,
    ) -> Self {
        let mut encoder = Self {
            schema,
            fitted,
            domains,
            unknown_domain,
            targets,
            statistics: Statistics::default(),
            counted: Counted::default(),
            layout: Layout::default(),
        };
        encoder.derive_layout();
        encoder
    }

    fn derive_layout(&mut self) {
        let (tasks, targets) = (self.schema.labels().to_vec(), self.targets.clone());
        let mut layout = Layout { tasks, targets, ..Layout::default() };
        layout.domains = self.domains.values().iter().map(ToString::to_string).collect();
        for (i, feature) in self.schema.features().iter().enumerate() {
            self.fitted(i).describe(feature, &mut layout);
        }
        layout.sequences = self.schema.sequences().iter().filter_map(AttendedSequence::of).collect();
        let names: Vec<String> = self.statistics.names(&layout).flat_map(|(_, names)| names).collect();
        layout.numeric.extend(names);
        self.layout = layout;
    }

    /// Sets what this encoder does with a row whose domain it does not know. By default, encoding such a row returns an error
    /// ([`UnknownDomain::Error`]); with [`UnknownDomain::Shared`] the row gets the id [`DomainId::SHARED`].
    pub fn on_unknown_domain(mut self, unknown: UnknownDomain) -> Self {
        self.unknown_domain = unknown;
        self
    }

    /// Returns the schema with which the encoder was fitted. It says what each column of a log is. Where the schema left the transform of a number
    /// to the data ([`Transform::Auto`](super::Transform::Auto)), it has the choice.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns the layout of the rows that this encoder makes: the names and sizes of their inputs, domains and tasks. Build the model's
    /// settings with it.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the id of the domain with this name. Different spellings of the same id count as the same name, for example `3` and `3.0`: see
    /// [`id_spelling`](super::id_spelling). If no domain has this name, an encoder that is set to [`UnknownDomain::Shared`] returns
    /// [`DomainId::SHARED`].
    ///
    /// # Errors
    /// [`ErrorKind::UnknownDomain`] if the encoder has no domain with this name and is set to [`UnknownDomain::Error`], the default. The
    /// message lists the known domains.
    pub fn domain(&self, name: &str) -> Result<DomainId> {
        match (self.domains.position(id_spelling(name)), self.unknown_domain) {
            (Some(position), _) => Ok(DomainId::new(position as usize)),
            (None, UnknownDomain::Shared) => Ok(DomainId::SHARED),
            (None, UnknownDomain::Error) => Err(Error::new(
                ErrorKind::UnknownDomain,
                format!("unknown domain; the domains are {}", listed(self.domains.values())),
            )
            .with_value(name)
            .with_help(
                "set unknown_domain to \"shared\" to score such rows by the shared path, or add the domain to the encoder and the model",
            )),
        }
    }

    /// Adds a domain with this name after the existing ones, for rows that are encoded later, and returns its id. Add it to the model too, with
    /// [`Model::add_domain`](crate::Model::add_domain).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if `name` is empty, if the encoder already has a domain with this name, or if the schema has no domain column.
    pub fn add_domain(&mut self, name: &str) -> Result<DomainId> {
        let refuse = |reason: &str| Err(Error::new(ErrorKind::Config, reason).with_value(name));
        if self.schema.domain().is_none() {
            return refuse("cannot add a domain: the schema names no domain column");
        }
        if name.is_empty() {
            return refuse("cannot add a domain: expected a name that is not empty");
        }
        if !self.domains.insert(id_spelling(name)) {
            return refuse("cannot add a domain: the encoder already has one with this name");
        }
        self.layout.domains.push(id_spelling(name).to_owned());
        Ok(DomainId::new(self.layout.domains.len() - 1))
    }

    /// Gives new ids to the unknown values and domains in some rows of `table`, and returns what it added. `rows` has the numbers of these rows,
    /// counted from 0; if it is empty, nothing changes. Afterwards, extend the model with [`Model::grow`](crate::Model::grow).
    ///
    /// * An unknown value gets the next id of its vocabulary if it occurs in `rows` at least as often as the feature's `min_count`. Occurrences
    ///   in rows of earlier calls do not count. New values are numbered in the order in which they first appear. Rarer values keep id 0.
    /// * An unknown domain gets the next [`DomainId`]. Several new domains are sorted as in [`Encoder::fit`].
    /// * [Target statistics](super::TargetStatistics) count the labels of these rows too, so pass each row only once. The strengths of their
    ///   priors and the scales of their inputs stay. Encode these rows with [`Encoder::encode_training`] to train on them.
    /// * Everything else stays the same: existing ids, means and standard deviations (also those of labels), bucket boundaries, and features
    ///   with hashed values or with values that are ids. So a row whose values and domain were known is encoded exactly as before, except for
    ///   target statistics.
    ///
    /// ```
    /// use starple::data::{Encoder, Format, Schema, Table};
    ///
    /// let schema = Schema::builder().categorical("item").domain("page").label("click").build()?;
    /// let read = |log: &str| Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema);
    /// let monday = read("item,page,click\nlamp,home,1\nsofa,search,0\n")?;
    /// let mut encoder = Encoder::fit(&schema, &monday, &monday.all())?;
    ///
    /// let tuesday = read("item,page,click\nvase,home,0\nlamp,app,1\n")?;
    /// let growth = encoder.extend(&tuesday, &tuesday.all())?;
    /// assert_eq!(growth.to_string(), "item: 1 new value; new domain: \"app\"");
    /// assert_eq!(encoder.layout().domains, ["home", "search", "app"]);
    /// assert_eq!(encoder.encode(&tuesday, &[0])?.ids[0].row(0), [3]);
    /// # Ok::<(), starple::Error>(())
    /// ```
    ///
    /// # Errors
    /// After an error the encoder is unchanged.
    ///
    /// * [`ErrorKind::Data`] if one of the rows has an empty domain, or lacks the time that orders target statistics.
    /// * [`ErrorKind::Layout`] if `table` lacks a column of the encoder's schema, because it was read with another schema.
    ///
    /// # Panics
    /// If a number in `rows` is not less than [`Table::rows`].
    pub fn extend(&mut self, table: &Table, rows: &[u32]) -> Result<Growth> {
        let found = Fitted::values(self.schema.features(), table, rows)?;
        let domains = fit_domains(&self.schema, table, rows)?;
        // What can still fail then.
        let before = (!self.statistics.is_empty()).then(|| self.clone());
        let mut growth = Growth::default();
        for ((feature, fitted), found) in self.schema.features().iter().zip(&mut self.fitted).zip(&found) {
            if let Fitted::Vocabulary(values) = fitted {
                let new = values.extend(found).len();
                growth.values.extend((new > 0).then(|| (feature.table().unwrap_or(feature.name()).to_owned(), new)));
            }
        }
        growth.domains.extend(self.domains.extend(&domains).iter().map(ToString::to_string));
        self.derive_layout();
        if let Some(before) = before
            && let Err(error) = self.extend_statistics(table, rows)
        {
            *self = before;
            return Err(error);
        }
        Ok(growth)
    }

    /// Encodes some rows of `table`, which must be read with the encoder's schema. `rows` has the numbers of these rows, counted from 0; the
    /// result has the rows in this order. A value that is not in the vocabulary of its feature gets id 0. Use this method for rows to validate,
    /// test, calibrate or serve; for rows to train on, use [`Encoder::encode_training`].
    ///
    /// A table can also be read with [`Schema::unlabelled`]. Then all labels are NaN (missing), and there are no weights. There are groups only
    /// if their column is also the column of a categorical feature or of the domain.
    ///
    /// The numbers of groups depend on the table: do not compare those of two tables.
    ///
    /// # Errors
    /// * [`ErrorKind::UnknownDomain`] if the encoder does not know the domain of a row and is set to [`UnknownDomain::Error`]. The error has the
    ///   file and line of the row.
    /// * [`ErrorKind::Layout`] if `table` lacks a column of the encoder's schema, because it was read with another schema.
    /// * [`ErrorKind::Data`] if the rows have 2³² or more values of one bag feature, or if the values of a feature must be ids and one of them
    ///   is out of range. The second cannot happen if the table was read with the encoder's schema.
    /// * [`ErrorKind::Config`] if features have target statistics and this encoder has learned from one of the rows: its inputs would show its
    ///   label.
    ///
    /// # Panics
    /// If a number in `rows` is not less than [`Table::rows`].
    pub fn encode(&self, table: &Table, rows: &[u32]) -> Result<DataSet> {
        self.check_uncounted(table, rows)?;
        let (mut batch, numeric) = self.encode_columns(table, rows)?;
        batch.numeric = join(&numeric, rows.len());
        self.write_statistics(&mut batch);
        Ok(DataSet::of_valid(&self.layout, batch))
    }

    /// Encodes rows, without statistics; the columns of numbers are apart.
    fn encode_columns(&self, table: &Table, rows: &[u32]) -> Result<(Batch, Vec<Vec<f32>>)> {
        let mut ids = Vec::with_capacity(self.layout.fields.len());
        let mut numeric = Vec::with_capacity(self.layout.numeric.len());
        for (i, feature) in self.schema.features().iter().enumerate() {
            self.fitted(i).encode(feature, table, rows, &mut ids, &mut numeric)?;
        }
        for sequence in self.schema.sequences() {
            let cut = sequence.cut(&self.layout, 0, &mut ids);
            cut.map_err(|(error, row)| {
                let column = error.column().unwrap_or_default().to_owned();
                table.locate(error, rows[row], &column)
            })?;
        }
        let labels = self.schema.labels().iter().map(|column| match table.labels(column) {
            Some(labels) => rows.iter().map(|&row| labels[row as usize]).collect(),
            None => vec![f32::NAN; rows.len()],
        });
        let weights = self.schema.weight().and_then(|column| table.weights(column));
        let groups = self.schema.group().and_then(|column| table.text(column).ok());
        let batch = Batch {
            ids,
            numeric: Array2::default((rows.len(), 0)),
            labels: join(&labels.collect::<Vec<_>>(), rows.len()),
            domains: self.encode_domains(table, rows)?,
            weights: weights.map_or_else(Vec::new, |all| rows.iter().map(|&row| all[row as usize]).collect()),
            groups: groups.map_or_else(Vec::new, |text| rows.iter().map(|&row| text.codes[row as usize]).collect()),
        };
        Ok((batch, numeric))
    }

    fn encode_domains(&self, table: &Table, rows: &[u32]) -> Result<Vec<DomainId>> {
        let Some(column) = self.schema.domain() else {
            return Ok(vec![DomainId::new(0); rows.len()]);
        };
        let domains = translate(table.text(column)?, rows, |name| self.domain(name));
        domains.map_err(|(error, row)| table.locate(error, row, column))
    }

    /// Encodes rows that are in memory, for example those of a request. Each row is a list of pairs of a column name and a value; the value is
    /// the text that a file would have in this column.
    ///
    /// A row can be an array or a vector of pairs, or a reference to a map. It must have all columns of the features and of the domain. It can
    /// also have the label, weight, split and group columns of the schema, which are ignored. All labels of the batch are NaN (missing), and it
    /// has no weights and no groups.
    ///
    /// # Errors
    /// The error has the number of the row, counted from 1: its text begins with `rows:2` for the second row.
    ///
    /// * [`ErrorKind::Data`] if a row lacks a column, has a column twice or has one that is not in the schema; if the value of a numeric
    ///   feature is not a finite number or empty; if an id is out of range; or if all rows have 2³² or more values in one bag feature.
    /// * [`ErrorKind::UnknownDomain`] if the encoder does not know the domain of a row and is set to [`UnknownDomain::Error`].
    pub fn encode_rows<R, K, V>(&self, rows: impl IntoIterator<Item = R>) -> Result<Batch>
    where
        R: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let plan = RowPlan::new(self, |_| None);
        let (mut batch, mut scratch) = (Batch::default(), RowScratch::default());
        // Without a column for it there is one domain.
        let mut writer = plan.write(self, DomainId::new(0), &mut batch, &mut scratch);
        for (line, row) in (1..).zip(rows) {
            let row = writer.row(row, |value| RawValue::Text(value.as_ref()));
            row.map_err(|error| error.at_path("rows").at_line(line))?;
        }
        writer.finish();
        batch.labels = Array2::from_elem((batch.rows(), self.layout.tasks.len()), f32::NAN);
        Ok(batch)
    }

    /// How many numeric inputs the feature at this position of the schema gives; 0 if it is an embedded field.
    pub(super) fn inputs(&self, feature: usize) -> usize {
        self.fitted(feature).inputs(&self.schema.features()[feature])
    }

    /// The fields with target statistics, each with the names of its numeric inputs, in the order of the inputs.
    pub(crate) fn statistics_inputs(&self) -> impl Iterator<Item = (usize, Vec<String>)> {
        self.statistics.names(&self.layout)
    }

    /// The inputs of the `i`-th field with target statistics by id, `[ids, inputs]`, for rows of a domain.
    #[cfg(feature = "onnx")]
    pub(crate) fn statistics_table(&self, i: usize, domain: DomainId) -> Array2<f32> {
        let field = self.statistics_inputs().nth(i).map_or(0, |(field, _)| field);
        self.statistics.table(i, self.layout.rows_of(field), domain)
    }

    /// Writes the inputs of an id of the `i`-th field with target statistics to the end of a row of numbers.
    pub(super) fn write_statistic(&self, i: usize, id: u32, domain: DomainId, numbers: &mut [f32]) {
        let first = numbers.len() - self.statistics.inputs();
        self.statistics.write(i, id, domain, &mut numbers[first..]);
    }

    /// What the feature at this position of the schema learned.
    pub(super) fn fitted(&self, feature: usize) -> &Fitted {
        match &self.fitted[feature] {
            Fitted::Shared(first) => &self.fitted[*first],
            own => own,
        }
    }
}

/// What the tasks predict, with the mean and deviation of regressions over these rows; empty if all tasks are binary.
fn fit_targets(schema: &Schema, table: &Table, rows: &[u32]) -> Vec<Target> {
    if schema.tasks().iter().all(|label| label.kind().is_binary()) {
        return Vec::new();
    }
    let target = |label: &Label| {
        let values = table.labels(label.name()).unwrap_or_default();
        Target::fit(label, rows.iter().filter_map(|&row| values.get(row as usize).copied()))
    };
    schema.tasks().iter().map(target).collect()
}

/// Rows that all weigh 0 teach nothing.
fn check_weights(schema: &Schema, table: &Table, rows: &[u32]) -> Result<()> {
    let weights = schema.weight().and_then(|column| Some((column, table.weights(column)?)));
    let Some((column, weights)) = weights else { return Ok(()) };
    if rows.iter().any(|&row| weights[row as usize] > 0.0) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Data, format!("all {} rows to learn from weigh 0", rows.len()))
        .at_path(table.source())
        .in_column(column)
        .with_help("leave `weight` out if all rows weigh the same"))
}

fn fit_domains(schema: &Schema, table: &Table, rows: &[u32]) -> Result<Vocabulary> {
    let mut domains = Vocabulary::default();
    let Some(column) = schema.domain() else {
        domains.insert(ALL);
        return Ok(domains);
    };
    let text = table.text(column)?;
    if let Some(&row) = rows.iter().find(|&&row| text.dictionary[text.codes[row as usize] as usize].is_empty()) {
        let error = Error::new(ErrorKind::Data, "expected the name of a domain, found an empty cell")
            .with_help("name the domain, or leave the row out");
        return Err(table.locate(error, row, column));
    }
    let found = Vocabulary::fit(&text.dictionary, rows.iter().map(|&row| text.codes[row as usize]), 1);
    let mut names: Vec<&str> = found.values().iter().map(AsRef::as_ref).collect();
    names.sort_unstable();
    let numbers: Option<Vec<i64>> = names.iter().map(|name| name.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut numbered: Vec<_> = numbers.into_iter().zip(names).collect();
        numbered.sort_unstable();
        names = numbered.into_iter().map(|(_, name)| name).collect();
    }
    for name in names {
        domains.insert(name);
    }
    Ok(domains)
}
