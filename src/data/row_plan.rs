//! Rows that are in memory, encoded cell by cell into a batch that is lent.

use std::collections::HashMap;
use std::ops::Range;

use ndarray::Array2;

use super::feature::spell;
use super::names::{closest, listed};
use super::{Batch, DomainId, Encoder, Feature, Ids, RawValue, id_spelling};
use crate::error::{Error, ErrorKind, Result};

/// Which columns such rows have, and where their values go.
#[derive(Debug)]
pub(crate) struct RowPlan {
    /// The columns that every row has, in the schema's order.
    names: Vec<String>,
    /// By column, its readers.
    readers: Vec<Vec<Reader>>,
    /// The fields with target statistics that such rows have, by their positions among all that have them and in the layout.
    statistics: Vec<(usize, usize)>,
    known: HashMap<Box<str>, Known>,
    /// The crosses whose last parts these rows have.
    crosses: Vec<CrossPlan>,
    /// The number of parts of all crosses of the schema.
    parts: usize,
    /// The positions of the sequences whose columns these are.
    sequences: Vec<usize>,
}

/// A cross that is complete when a row is.
#[derive(Debug)]
struct CrossPlan {
    /// Its position in the schema, and its field.
    feature: usize,
    field: usize,
    /// The places of its parts among those of all crosses, and how many of the parts these rows have.
    parts: Range<usize>,
    here: usize,
}

/// What a column of the schema is to these rows.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// They have it, at this place.
    Here(usize),
    /// They do not, and this is why.
    Elsewhere(&'static str),
    /// It may be there, and is not read.
    Unread,
}

#[derive(Debug, Clone, Copy)]
enum Reader {
    Domain,
    /// The feature at this position of the schema, and its field.
    Field {
        feature: usize,
        field: usize,
    },
    /// A numeric feature, and the position of its first numeric input.
    Numeric {
        feature: usize,
        input: usize,
    },
    /// A part of a cross, and its place among the parts of all crosses.
    Part(usize),
}

/// What [`RowWriter`] remembers from one call to the next to save the allocation.
#[derive(Debug, Default)]
pub(crate) struct RowScratch {
    /// By column, the last row that had it, counted from 1.
    seen: Vec<usize>,
    text: String,
    /// The parts of all crosses, spelled. Those that a request gives stay for its candidates.
    parts: Vec<String>,
}

/// Encodes rows into a batch, one after the other, whose buffers it keeps.
pub(crate) struct RowWriter<'a> {
    plan: &'a RowPlan,
    encoder: &'a Encoder,
    batch: &'a mut Batch,
    scratch: &'a mut RowScratch,
    numeric: Vec<f32>,
    /// Of rows that have no column for it.
    domain: DomainId,
    rows: usize,
    missing: usize,
}

impl RowPlan {
    /// A plan for rows that have the columns of all features and of the domain, except those that `elsewhere` gives a reason for.
    pub(crate) fn new(encoder: &Encoder, elsewhere: impl Fn(&str) -> Option<&'static str>) -> Self {
        let schema = encoder.schema();
        let time = schema.target_statistics().time();
        let others = [schema.weight(), schema.split(), schema.group(), time].into_iter().flatten();
        let unread = others.chain(schema.labels().iter().map(String::as_str));
        let known = unread.map(|name| (name.into(), Known::Unread)).collect();
        let (names, readers, statistics, crosses, sequences) = Default::default();
        let mut plan = Self { names, readers, statistics, known, crosses, parts: 0, sequences };
        let (mut field, mut input) = (0, 0);
        for (feature, declared) in schema.features().iter().enumerate() {
            if let Feature::Cross(_) = declared {
                plan.add_cross(feature, field, declared.columns(), &elsewhere);
                field += 1;
                continue;
            }
            let inputs = encoder.fitted(feature).inputs(declared);
            let reader =
                if inputs == 0 { Reader::Field { feature, field } } else { Reader::Numeric { feature, input } };
            field += usize::from(inputs == 0);
            input += inputs;
            plan.add(declared.column(), reader, &elsewhere);
        }
        if let Some(column) = schema.domain() {
            plan.add(column, Reader::Domain, &elsewhere);
        }
        let fields = encoder.statistics_inputs().map(|(field, _)| field).enumerate();
        plan.statistics = fields.filter(|&(_, field)| plan.reads(field)).collect();
        let features = schema.features().iter().map(|feature| (feature.name(), feature.column()));
        let columns: HashMap<&str, &str> = features.collect();
        for (i, sequence) in schema.sequences().iter().enumerate() {
            let is_here = |bag: &str| matches!(plan.known.get(columns[bag]), Some(Known::Here(_)));
            if sequence.columns().iter().all(|column| is_here(&column.bag)) {
                plan.sequences.push(i);
            }
        }
        plan
    }

    fn add(&mut self, column: &str, reader: Reader, elsewhere: &impl Fn(&str) -> Option<&'static str>) {
        let known = match (self.known.get(column), elsewhere(column)) {
            (Some(&known @ Known::Here(_)), _) => known,
            (_, Some(why)) => Known::Elsewhere(why),
            (_, None) => {
                self.names.push(column.to_owned());
                self.readers.push(Vec::new());
                Known::Here(self.names.len() - 1)
            }
        };
        self.known.insert(column.into(), known);
        if let Known::Here(place) = known {
            self.readers[place].push(reader);
        }
    }

    fn reads(&self, wanted: usize) -> bool {
        self.fields().any(|(_, field)| field == wanted)
    }

    fn add_cross(
        &mut self,
        feature: usize,
        field: usize,
        columns: &[String],
        elsewhere: &impl Fn(&str) -> Option<&'static str>,
    ) {
        let parts = self.parts..self.parts + columns.len();
        self.parts = parts.end;
        for (part, column) in parts.clone().zip(columns) {
            self.add(column, Reader::Part(part), elsewhere);
        }
        let is_here = |column: &&String| matches!(self.known.get(column.as_str()), Some(Known::Here(_)));
        let here = columns.iter().filter(is_here).count();
        if here > 0 {
            self.crosses.push(CrossPlan { feature, field, parts, here });
        }
    }

    /// The plan without the crosses of which other rows have a part. Of those it only keeps the parts, for the rows that are written next with
    /// the same scratch.
    pub(crate) fn whole_crosses(mut self) -> Self {
        self.crosses.retain(|cross| cross.here == cross.parts.len());
        let mut statistics = std::mem::take(&mut self.statistics);
        statistics.retain(|&(_, field)| self.reads(field));
        self.statistics = statistics;
        self
    }

    /// The columns that every row has.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The fields and the numeric inputs that are read from these columns, as the layout names them.
    ///
    /// Target statistics depend on a field and on the domain, which is known wherever the field is.
    pub(crate) fn inputs<'a>(&self, encoder: &'a Encoder) -> Vec<&'a str> {
        let (layout, mut inputs) = (encoder.layout(), Vec::new());
        let statistics: Vec<(usize, Vec<String>)> = encoder.statistics_inputs().collect();
        let mut at = layout.numeric.len() - statistics.iter().map(|(_, names)| names.len()).sum::<usize>();
        for (field, names) in statistics {
            let own = at..at + names.len();
            at = own.end;
            inputs.extend(layout.numeric[own].iter().map(String::as_str).filter(|_| self.reads(field)));
        }
        for &reader in self.readers.iter().flatten() {
            match reader {
                Reader::Domain | Reader::Part(_) => {}
                Reader::Field { field, .. } => inputs.push(layout.fields[field].name.as_str()),
                Reader::Numeric { feature, input } => {
                    let of_feature = &layout.numeric[input..input + encoder.inputs(feature)];
                    inputs.extend(of_feature.iter().map(String::as_str));
                }
            }
        }
        inputs.extend(self.crosses.iter().map(|cross| layout.fields[cross.field].name.as_str()));
        inputs
    }

    /// The fields that these rows give an id or a bag, with the positions of their features.
    fn fields(&self) -> impl Iterator<Item = (usize, usize)> {
        let read = self.readers.iter().flatten().filter_map(|reader| match *reader {
            Reader::Field { feature, field } => Some((feature, field)),
            _ => None,
        });
        read.chain(self.crosses.iter().map(|cross| (cross.feature, cross.field)))
    }

    /// How many values of encoded rows the encoder did not know, by feature, of those of these columns that have a vocabulary.
    pub(crate) fn unknown<'a>(
        &'a self,
        encoder: &'a Encoder,
        rows: &'a Batch,
    ) -> impl Iterator<Item = (&'a str, usize)> {
        self.fields().filter(|&(feature, _)| encoder.fitted(feature).has_vocabulary()).map(move |(feature, field)| {
            let name = encoder.schema().features()[feature].name();
            (name, rows.ids.get(field).map_or(0, Ids::unknown))
        })
    }

    /// Whether two encoded rows have the same domain and the same values in these columns.
    pub(crate) fn alike(&self, encoder: &Encoder, rows: &Batch, a: usize, b: usize) -> bool {
        let same = |reader: &Reader| match *reader {
            Reader::Domain | Reader::Field { .. } | Reader::Part(_) => true,
            Reader::Numeric { feature, input } => {
                let inputs = input..input + encoder.inputs(feature);
                inputs.into_iter().all(|input| rows.numeric[[a, input]] == rows.numeric[[b, input]])
            }
        };
        rows.domains[a] == rows.domains[b]
            && self.fields().all(|(_, field)| rows.ids[field].alike(a, b))
            && self.readers.iter().flatten().all(same)
    }

    /// A writer of these rows over whatever `batch` holds; `domain` is that of rows without a column for it.
    ///
    /// What such rows do not have becomes id 0, an empty bag or 0. The batch gets no labels.
    pub(crate) fn write<'a>(
        &'a self,
        encoder: &'a Encoder,
        domain: DomainId,
        batch: &'a mut Batch,
        scratch: &'a mut RowScratch,
    ) -> RowWriter<'a> {
        let fields = &encoder.layout().fields;
        batch.ids.resize_with(fields.len(), || Ids::One(Vec::new()));
        for (ids, field) in batch.ids.iter_mut().zip(fields) {
            ids.restart(field.bag);
        }
        let (mut numeric, _) = std::mem::take(&mut batch.numeric).into_raw_vec_and_offset();
        numeric.clear();
        batch.domains.clear();
        batch.weights.clear();
        batch.groups.clear();
        scratch.seen.clear();
        scratch.seen.resize(self.names.len(), 0);
        scratch.parts.resize_with(self.parts, String::new);
        RowWriter { plan: self, encoder, batch, scratch, numeric, domain, rows: 0, missing: 0 }
    }

    /// Why a row cannot have this column.
    #[cold]
    fn refuse(&self, column: &str) -> Error {
        if let Some(Known::Elsewhere(why)) = self.known.get(column) {
            return Error::new(ErrorKind::Data, *why).in_column(column);
        }
        let names = &self.names;
        let message = format!("the schema has no such column; its columns are {}", listed(names));
        let error = Error::new(ErrorKind::Data, message).in_column(column);
        match closest(column, names) {
            Some(name) => error.with_help(format!("did you mean {name:?}?")),
            None => error.with_help("leave it out"),
        }
    }
}

impl RowWriter<'_> {
    /// Adds a row of these cells. An error names the column, and ends the writing.
    pub(crate) fn row<K: AsRef<str>, V>(
        &mut self,
        cells: impl IntoIterator<Item = (K, V)>,
        raw: impl Fn(&V) -> RawValue<'_>,
    ) -> Result<()> {
        self.start();
        for (column, value) in cells {
            self.cell(column.as_ref(), raw(&value))?;
        }
        self.end()
    }

    fn start(&mut self) {
        self.rows += 1;
        self.missing = self.plan.names.len();
        self.numeric.resize(self.rows * self.encoder.layout().numeric.len(), 0.0);
    }

    fn cell(&mut self, column: &str, value: RawValue<'_>) -> Result<()> {
        let place = match self.plan.known.get(column) {
            Some(&Known::Here(place)) => place,
            Some(Known::Unread) => return Ok(()),
            Some(Known::Elsewhere(_)) | None => return Err(self.plan.refuse(column)),
        };
        if std::mem::replace(&mut self.scratch.seen[place], self.rows) == self.rows {
            return Err(Error::new(ErrorKind::Data, "the row has this column twice").in_column(column));
        }
        self.missing -= 1;
        for &reader in &self.plan.readers[place] {
            self.read(reader, value).map_err(|error| error.in_column(column).with_value(value.to_string()))?;
        }
        Ok(())
    }

    fn read(&mut self, reader: Reader, value: RawValue<'_>) -> Result<()> {
        let (features, text) = (self.encoder.schema().features(), &mut self.scratch.text);
        match reader {
            Reader::Domain => self.batch.domains.push(self.encoder.domain(value.text(text))?),
            Reader::Field { feature, field } => {
                let (declared, fitted) = (&features[feature], self.encoder.fitted(feature));
                fitted.push_id(declared, value, text, &mut self.batch.ids[field])?;
            }
            Reader::Numeric { feature, input } => {
                let start = self.numeric.len() - self.encoder.layout().numeric.len() + input;
                self.encoder.fitted(feature).write_number(
                    &features[feature],
                    value.number()?,
                    &mut self.numeric[start..],
                );
            }
            Reader::Part(part) => {
                let part = &mut self.scratch.parts[part];
                part.clear();
                part.push_str(id_spelling(value.text(text)));
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if self.missing > 0 {
            let place = self.scratch.seen.iter().position(|&row| row != self.rows).expect("some column is missing");
            return Err(Error::new(ErrorKind::Data, "the row has no value for this column")
                .in_column(&self.plan.names[place])
                .with_help("an empty value is a missing number, or an empty bag"));
        }
        let RowScratch { text, parts, .. } = &mut *self.scratch;
        for &CrossPlan { feature, field, parts: ref own, .. } in &self.plan.crosses {
            spell(parts[own.clone()].iter().map(String::as_str), text);
            let (declared, fitted) = (&self.encoder.schema().features()[feature], self.encoder.fitted(feature));
            fitted.push_id(declared, RawValue::Text(text), &mut String::new(), &mut self.batch.ids[field])?;
        }
        for &sequence in &self.plan.sequences {
            let (row, layout) = (self.rows - 1, self.encoder.layout());
            let sequence = &self.encoder.schema().sequences()[sequence];
            sequence.cut(layout, row, &mut self.batch.ids).map_err(|(error, _)| error)?;
        }
        if self.batch.domains.len() < self.rows {
            self.batch.domains.push(self.domain);
        }
        // Cells come in any order, so that ids and domain are known only now.
        let domain = self.batch.domains[self.rows - 1];
        let start = self.numeric.len() - self.encoder.layout().numeric.len();
        for &(i, field) in &self.plan.statistics {
            let id = self.batch.ids[field].row(self.rows - 1)[0];
            self.encoder.write_statistic(i, id, domain, &mut self.numeric[start..]);
        }
        Ok(())
    }

    /// The batch has all rows.
    pub(crate) fn finish(self) {
        for ids in &mut self.batch.ids {
            ids.pad(self.rows);
        }
        let shape = (self.rows, self.encoder.layout().numeric.len());
        self.batch.numeric = Array2::from_shape_vec(shape, self.numeric).expect("as many values as the shape holds");
    }
}
