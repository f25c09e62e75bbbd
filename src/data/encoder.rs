//! Encodes rows by vocabularies, scales and domains that were fitted on other rows.

mod counts;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::batch::join;
use super::fitted::{Fitted, translate};
use super::names::listed;
use super::row_plan::{RowPlan, RowScratch};
use super::vocabulary::Vocabulary;
use super::{Batch, DataSet, DomainId, Growth, Layout, RawValue, Schema, Table, id_spelling};
use crate::error::{Error, ErrorKind, Problems, Result};

/// The name of the one domain when the schema names no domain column.
const ALL: &str = "all";

/// What to do with rows of a domain that the encoder was not fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownDomain {
    /// They are an error (the default).
    #[default]
    Error,
    /// They get [`DomainId::SHARED`], so that the model answers by its shared path.
    Shared,
}

/// Encodes rows by vocabularies, scales and domains that were fitted on other rows.
///
/// It learns from the rows given to [`Encoder::fit`] alone. It is saved with the model (as JSON, say): vocabularies are
/// lists in the order of ids. Reading one checks that it is whole.
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
/// let batch = encoder.encode(&table, &table.all())?;
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
}

impl TryFrom<Parts> for Encoder {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts { schema, fitted, domains, unknown_domain } = parts;
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
        problems.require(!domains.values().is_empty(), || "domains: at least one".into());
        problems.require(domains.values().iter().all(|name| !name.is_empty()), || {
            "domains: names that are not empty".into()
        });
        problems.require(schema.domain().is_some() || domains.values().len() <= 1, || {
            "domains: only one, as the schema names no domain column".into()
        });
        problems.into_result("Encoder")?;
        Ok(Self::assemble(schema, fitted, domains, unknown_domain))
    }
}

impl Encoder {
    /// Learns vocabularies, scales, quantiles and domains from these rows of the table and from no others.
    ///
    /// Values are numbered in order of first appearance among `rows`. Domains are sorted by name, or by number if all of
    /// them are integers.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] if there are no rows, a domain's name is empty, or all rows weigh 0; [`ErrorKind::Config`] if the schema names no label; [`ErrorKind::Layout`] if the table was read with
    /// another schema.
    ///
    /// # Panics
    /// If a row number is not one of the table.
    pub fn fit(schema: &Schema, table: &Table, rows: &[u32]) -> Result<Self> {
        if schema.labels().is_empty() {
            return Err(Error::new(ErrorKind::Config, "the schema names no label, so there is no task to learn")
                .with_help("declare one with SchemaBuilder::label"));
        }
        if rows.is_empty() {
            return Err(Error::new(ErrorKind::Data, "no rows to fit on").at_path(table.source()));
        }
        check_weights(schema, table, rows)?;
        let fitted = Fitted::fit_all(schema.features(), table, rows)?;
        let domains = fit_domains(schema, table, rows)?;
        Ok(Self::assemble(schema.clone(), fitted, domains, UnknownDomain::default()))
    }

    fn assemble(schema: Schema, fitted: Vec<Fitted>, domains: Vocabulary, unknown_domain: UnknownDomain) -> Self {
        let mut encoder = Self { schema, fitted, domains, unknown_domain, layout: Layout::default() };
        encoder.derive_layout();
        encoder
    }

    fn derive_layout(&mut self) {
        let mut layout = Layout { tasks: self.schema.labels().to_vec(), ..Layout::default() };
        layout.domains = self.domains.values().iter().map(ToString::to_string).collect();
        for (i, feature) in self.schema.features().iter().enumerate() {
            self.fitted(i).describe(feature, &mut layout);
        }
        self.layout = layout;
    }

    /// What to do with rows of a domain that is not among the fitted ones. Default: [`UnknownDomain::Error`].
    pub fn on_unknown_domain(mut self, unknown: UnknownDomain) -> Self {
        self.unknown_domain = unknown;
        self
    }

    /// The schema it was fitted with.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The shape of the batches it makes: what a model is built for.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The domain of this name, however it is spelled ([`id_spelling`](super::id_spelling)).
    ///
    /// # Errors
    /// [`ErrorKind::UnknownDomain`], listing the domains, if there is none; unless
    /// [`on_unknown_domain`](Encoder::on_unknown_domain) asked for [`UnknownDomain::Shared`].
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
                "set unknown_domain to \"shared\" for its shared path, or add the domain to the encoder and the model",
            )),
        }
    }

    /// Adds a domain after the others, for future rows. Add it to the model too.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the name is empty or is a domain's already, or if the schema names no domain column.
    pub fn add_domain(&mut self, name: &str) -> Result<DomainId> {
        let refuse = |reason: &str| Err(Error::new(ErrorKind::Config, reason).with_value(name));
        if self.schema.domain().is_none() {
            return refuse("cannot add a domain: the schema names no domain column");
        }
        if name.is_empty() {
            return refuse("cannot add a domain without a name");
        }
        if !self.domains.insert(id_spelling(name)) {
            return refuse("cannot add a domain that is there already");
        }
        self.layout.domains.push(id_spelling(name).to_owned());
        Ok(DomainId::new(self.layout.domains.len() - 1))
    }

    /// Gives ids to the values and domains of these rows that the encoder does not know yet, after the existing ids. Let the model grow with
    /// it ([`Model::grow`](crate::Model::grow)).
    ///
    /// * A value that occurs at least the feature's `min_count` times **among these rows** gets the next id, in order of first
    ///   appearance; until then it had id 0, and rarer values keep that. What came before these rows is not counted.
    /// * A name that is no domain yet gets the next [`DomainId`]; new ones are sorted as in [`Encoder::fit`].
    /// * Everything else stays what it was fitted to be: ids that were given, means and deviations, quantiles, hashed values and values
    ///   that are ids. So rows whose values and domain were known are encoded to the same bytes as before.
    ///
    /// No rows are nothing new.
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
    /// [`ErrorKind::Data`] if a domain's name is empty; [`ErrorKind::Layout`] if the table was read with another schema. Nothing
    /// changes then.
    ///
    /// # Panics
    /// If a row number is not one of the table.
    pub fn extend(&mut self, table: &Table, rows: &[u32]) -> Result<Growth> {
        let found = Fitted::values(self.schema.features(), table, rows)?;
        let domains = fit_domains(&self.schema, table, rows)?;
        let mut growth = Growth::default();
        for ((feature, fitted), found) in self.schema.features().iter().zip(&mut self.fitted).zip(&found) {
            if let Fitted::Vocabulary(values) = fitted {
                let new = values.extend(found).len();
                growth.values.extend((new > 0).then(|| (feature.table().unwrap_or(feature.name()).to_owned(), new)));
            }
        }
        growth.domains.extend(self.domains.extend(&domains).iter().map(ToString::to_string));
        self.derive_layout();
        Ok(growth)
    }

    /// Encodes these rows, in this order, of any table that was read with the encoder's schema.
    ///
    /// Values that the fitting rows did not hold get id 0 of a vocabulary. Labels and weights of a table that was read
    /// with [`Schema::unlabelled`] are missing: all labels are NaN. Groups are the table's own codes: equal inside one
    /// table where the group is, and without meaning across tables.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownDomain`] with the line of the row; [`ErrorKind::Layout`] if the table was read with another
    /// schema; [`ErrorKind::Data`] if the rows' bags hold 2³² values or more.
    ///
    /// # Panics
    /// If a row number is not one of the table.
    pub fn encode(&self, table: &Table, rows: &[u32]) -> Result<DataSet> {
        let mut ids = Vec::with_capacity(self.layout.fields.len());
        let mut numeric = Vec::with_capacity(self.layout.numeric.len());
        for (i, feature) in self.schema.features().iter().enumerate() {
            self.fitted(i).encode(feature, table, rows, &mut ids, &mut numeric)?;
        }
        let labels = self.schema.labels().iter().map(|column| match table.labels(column) {
            Some(labels) => rows.iter().map(|&row| labels[row as usize]).collect(),
            None => vec![f32::NAN; rows.len()],
        });
        let weights = self.schema.weight().and_then(|column| table.weights(column));
        let groups = self.schema.group().and_then(|column| table.text(column).ok());
        let rows = Batch {
            ids,
            numeric: join(&numeric, rows.len()),
            labels: join(&labels.collect::<Vec<_>>(), rows.len()),
            domains: self.encode_domains(table, rows)?,
            weights: weights.map_or_else(Vec::new, |all| rows.iter().map(|&row| all[row as usize]).collect()),
            groups: groups.map_or_else(Vec::new, |text| rows.iter().map(|&row| text.codes[row as usize]).collect()),
        };
        Ok(DataSet::of_valid(&self.layout, rows))
    }

    fn encode_domains(&self, table: &Table, rows: &[u32]) -> Result<Vec<DomainId>> {
        let Some(column) = self.schema.domain() else {
            return Ok(vec![DomainId::new(0); rows.len()]);
        };
        let domains = translate(table.text(column)?, rows, |name| self.domain(name));
        domains.map_err(|(error, row)| table.locate(error, row, column))
    }

    /// Encodes rows that are in memory, each a list of column and value as they would be written in a file.
    ///
    /// A row may be an array or a vector of pairs, or a reference to a map. It must hold every column of the features and
    /// of the domain; the schema's other columns are permitted and not used. Labels of the batch are NaN.
    ///
    /// # Errors
    /// The errors of [`Table::from_reader`] and of [`Encoder::encode`], and [`ErrorKind::Data`] for a column that is
    /// missing, named twice or unknown to the schema. Their texts say `rows:2` for the second row.
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

    /// What the feature at this position of the schema learned.
    pub(super) fn fitted(&self, feature: usize) -> &Fitted {
        match &self.fitted[feature] {
            Fitted::Shared(first) => &self.fitted[*first],
            own => own,
        }
    }
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
