//! What a feature learned from the fitting rows, and how it encodes others.

use serde::{Deserialize, Serialize};

use super::feature::{Coding, Feature, Numeric, Transform};
use super::numbers::{NumberReport, Piecewise, Quantiles, Ranks, Runs, Scaler};
use super::table::{Bags, Table, Text};
use super::vocabulary::{ValueCounts, Vocabulary};
use super::{Bag, EmbeddingTable, Field, Ids, Layout, Pooling, RawValue, id_spelling, interner};
use crate::error::{Error, ErrorKind, Result};

/// A feature after fitting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fitted {
    /// The value at position `i` has id `i + 1`.
    Vocabulary(Vocabulary),
    /// The number of buckets.
    Hashed(usize),
    /// The number of ids.
    Ids(usize),
    Quantiles(Quantiles),
    Scaler(Scaler),
    Ranks(Ranks),
    Piecewise(Piecewise),
    /// What the feature at this position learned, which reads the same table.
    Shared(usize),
}

impl Fitted {
    /// What each feature learns from these rows, and what there is to report about numbers. Features of one table learn together: the first of
    /// them has it. A number whose transform is to be chosen gets the choice.
    pub(super) fn fit_all(
        features: &mut [Feature],
        table: &Table,
        rows: &[u32],
    ) -> Result<(Vec<Self>, Vec<NumberReport>)> {
        let (mut all, mut reports) = (Vec::with_capacity(features.len()), Vec::new());
        for i in 0..features.len() {
            if let Feature::Numeric(_) = features[i] {
                let (fitted, report) = Self::fit_number(&mut features[i], table, rows)?;
                all.push(fitted);
                reports.push(report);
                continue;
            }
            all.push(match first_of_table(features, i) {
                first if first < i => Self::Shared(first),
                _ => Self::fit(features, i, table, rows)?,
            });
        }
        Ok((all, reports))
    }

    fn fit_number(feature: &mut Feature, table: &Table, rows: &[u32]) -> Result<(Self, NumberReport)> {
        let numbers = table.numbers(feature.column())?;
        let values = rows.iter().map(|&row| numbers[row as usize]);
        let runs = Runs::of(values.clone());
        let Feature::Numeric(numeric) = feature else { unreachable!("the feature is a number") };
        let report = NumberReport::new(numeric.name(), numeric.encoding(), &runs);
        numeric.choose(report.transform);
        let fitted = match report.transform {
            Transform::Buckets(count) => Self::Quantiles(Quantiles::fit(count, &runs)),
            Transform::Quantile => Self::Ranks(Ranks::fit(&runs)),
            Transform::Piecewise(bins) | Transform::PiecewiseEmbedding(bins) => {
                Self::Piecewise(Piecewise::fit(bins, &runs))
            }
            transform => Self::Scaler(Scaler::fit(transform, values)),
        };
        Ok((fitted, report))
    }

    fn fit(features: &[Feature], i: usize, table: &Table, rows: &[u32]) -> Result<Self> {
        match features[i].coding().unwrap_or_default() {
            Coding::Vocabulary { min_count } => {
                let mut counts = ValueCounts::default();
                let name = features[i].table();
                for feature in features[i..].iter().filter(|feature| feature.table() == name) {
                    if let Feature::Bag(bag) = feature {
                        let bags = table.bags(feature.column(), bag.separator())?;
                        counts.add(&bags.dictionary, rows.iter().flat_map(|&row| bags.row(row)).copied());
                    } else {
                        let text = table.text_of(feature)?;
                        counts.add(&text.dictionary, rows.iter().map(|&row| text.codes[row as usize]));
                    }
                }
                Ok(Self::Vocabulary(counts.at_least(min_count)))
            }
            Coding::Hashed { buckets } => Ok(Self::Hashed(buckets)),
            Coding::Ids { rows } => Ok(Self::Ids(rows)),
        }
    }

    /// What each feature's vocabulary would hold if these rows alone had been fitted on; empty where it has none, or shares one with a
    /// feature before it. The table must hold the columns.
    pub(super) fn values(features: &[Feature], table: &Table, rows: &[u32]) -> Result<Vec<Vocabulary>> {
        let values = |i: usize| match &features[i] {
            Feature::Numeric(_) => table.numbers(features[i].column()).map(|_| Vocabulary::default()),
            _ if first_of_table(features, i) < i => Ok(Vocabulary::default()),
            _ => match Self::fit(features, i, table, rows)? {
                Self::Vocabulary(values) => Ok(values),
                _ => Ok(Vocabulary::default()),
            },
        };
        (0..features.len()).map(values).collect()
    }

    /// Whether these can be what the features learned: it is checked when an encoder is read from a file. Gives the first that cannot.
    pub(super) fn misfit<'a>(fitted: &[Self], features: &'a [Feature]) -> Option<&'a Feature> {
        let fits = |i: usize| match &fitted[i] {
            Self::Shared(first) => *first < i && *first == first_of_table(features, i),
            own => first_of_table(features, i) == i && own.fits(&features[i]),
        };
        (0..features.len()).find(|&i| !fits(i)).map(|i| &features[i])
    }

    fn fits(&self, feature: &Feature) -> bool {
        let coding = match feature {
            Feature::Categorical(categorical) => categorical.coding(),
            Feature::Bag(bag) => bag.coding(),
            Feature::Cross(cross) => cross.coding(),
            Feature::Numeric(numeric) => {
                return match (self, numeric.encoding()) {
                    (Self::Quantiles(quantiles), Transform::Buckets(count)) => {
                        quantiles.is_valid() && quantiles.rows() <= count.saturating_add(1)
                    }
                    (Self::Scaler(scaler), Transform::Standard | Transform::SignedLog | Transform::Unscaled) => {
                        scaler.is_valid()
                    }
                    (Self::Ranks(ranks), Transform::Quantile) => ranks.is_valid(),
                    (Self::Piecewise(pieces), Transform::Piecewise(bins) | Transform::PiecewiseEmbedding(bins)) => {
                        pieces.is_valid() && pieces.bins() <= bins
                    }
                    _ => false,
                };
            }
        };
        match (self, coding) {
            (Self::Vocabulary(_), Coding::Vocabulary { .. }) => true,
            (Self::Hashed(fitted), Coding::Hashed { buckets }) => *fitted == buckets,
            (Self::Ids(fitted), Coding::Ids { rows }) => *fitted == rows,
            _ => false,
        }
    }

    /// Adds the feature's field, with its table unless another feature has brought it, or its inputs.
    pub(super) fn describe(&self, feature: &Feature, layout: &mut Layout) {
        let name = feature.name().to_owned();
        let rows = match self {
            Self::Vocabulary(vocabulary) => vocabulary.values().len() + 1,
            Self::Hashed(rows) | Self::Ids(rows) => *rows,
            Self::Quantiles(quantiles) => quantiles.rows(),
            Self::Piecewise(pieces) if is_embedded(feature) => pieces.rows(),
            Self::Scaler(_) | Self::Ranks(_) | Self::Piecewise(_) => {
                let indicator = self.missing().then(|| format!("{name}?"));
                match self {
                    Self::Piecewise(pieces) => {
                        layout.numeric.extend((1..=pieces.bins()).map(|t| format!("{name}[{t}]")));
                    }
                    _ => layout.numeric.push(name),
                }
                layout.numeric.extend(indicator);
                return;
            }
            Self::Shared(_) => unreachable!("a shared vocabulary is looked up first"),
        };
        let bag = match (feature, self) {
            (Feature::Bag(bag), _) => Some(bag.pooled()),
            (_, Self::Piecewise(_)) => Some(Pooling::Interpolate),
            _ => None,
        };
        let table = feature.table().unwrap_or(&name).to_owned();
        if !layout.tables.iter().any(|known| known.name == table) {
            layout.tables.push(EmbeddingTable {
                name: table.clone(),
                rows,
                dim: feature.dim(),
                unknown: self.has_vocabulary(),
            });
        }
        layout.fields.push(Field { name, table, bag });
    }

    /// Encodes the feature's column of `rows`: adds to `ids`, or to `numeric`, the columns of numeric inputs.
    pub(super) fn encode(
        &self,
        feature: &Feature,
        table: &Table,
        rows: &[u32],
        ids: &mut Vec<Ids>,
        numeric: &mut Vec<Vec<f32>>,
    ) -> Result<()> {
        let column = feature.column();
        match feature {
            Feature::Categorical(_) | Feature::Cross(_) => {
                let text = table.text_of(feature)?;
                let encoded = translate(text, rows, |value| self.id(value));
                ids.push(Ids::One(encoded.map_err(|(error, row)| table.locate(error, row, column))?));
            }
            Feature::Bag(bag) => ids.push(self.encode_bags(table, column, bag, rows)?),
            Feature::Numeric(numeric_feature) => {
                self.encode_numbers(numeric_feature, table.numbers(column)?, rows, ids, numeric);
            }
        }
        Ok(())
    }

    fn encode_bags(&self, table: &Table, column: &str, bag: &Bag, rows: &[u32]) -> Result<Ids> {
        let bags: &Bags = table.bags(column, bag.separator())?;
        let total: usize = rows.iter().map(|&row| bags.row(row).len()).sum();
        if u32::try_from(total).is_err() {
            return Err(too_many().at_path(table.source()).in_column(column));
        }
        let mut known = vec![None; bags.dictionary.len()];
        let (mut offsets, mut ids) = (Vec::with_capacity(rows.len() + 1), Vec::with_capacity(total));
        offsets.push(0);
        for &row in rows {
            for &code in bags.row(row) {
                let id = remembered(&mut known[code as usize], || self.id(&bags.dictionary[code as usize]));
                ids.push(id.map_err(|error| table.locate(error, row, column))?);
            }
            offsets.push(ids.len() as u32);
        }
        Ok(Ids::Bag { offsets, ids })
    }

    /// Whether id 0 stands for values that the fitting rows did not have.
    pub(super) fn has_vocabulary(&self) -> bool {
        matches!(self, Self::Vocabulary(_))
    }

    /// Whether a number's fitting rows had missing values.
    fn missing(&self) -> bool {
        match self {
            Self::Scaler(scaler) => scaler.missing(),
            Self::Ranks(ranks) => ranks.missing(),
            Self::Piecewise(pieces) => pieces.missing(),
            _ => false,
        }
    }

    /// How many numeric inputs it gives to this feature; 0 if the feature is an embedded field.
    pub(super) fn inputs(&self, feature: &Feature) -> usize {
        let values = match self {
            Self::Scaler(_) | Self::Ranks(_) => 1,
            Self::Piecewise(pieces) if !is_embedded(feature) => pieces.bins(),
            _ => return 0,
        };
        values + usize::from(self.missing())
    }

    /// Adds a row of one value to the feature's field.
    pub(super) fn push_id(
        &self,
        feature: &Feature,
        value: RawValue<'_>,
        text: &mut String,
        ids: &mut Ids,
    ) -> Result<()> {
        match (feature, self, ids) {
            (_, Self::Quantiles(quantiles), Ids::One(ids)) => ids.push(quantiles.encode(value.number()?)),
            (_, Self::Piecewise(pieces), Ids::Interpolated { ids, fractions }) => {
                let (id, fraction) = pieces.encode(value.number()?);
                ids.push(id);
                fractions.push(fraction);
            }
            (Feature::Bag(bag), _, Ids::Bag { offsets, ids }) => {
                for piece in value.text(text).split(bag.separator()).filter(|piece| !piece.is_empty()) {
                    ids.push(self.id(piece)?);
                }
                let end = u32::try_from(ids.len()).map_err(|_| too_many())?;
                offsets.push(end);
            }
            (_, _, Ids::One(ids)) => ids.push(self.id(value.text(text))?),
            (_, _, Ids::Bag { .. } | Ids::Interpolated { .. }) => {
                unreachable!("the layout has bags for bags, and positions for embedded numbers")
            }
        }
        Ok(())
    }

    /// Writes the feature's numeric inputs for one number to the front of `inputs`.
    pub(super) fn write_number(&self, feature: &Feature, number: f64, inputs: &mut [f32]) {
        let values = self.inputs(feature) - usize::from(self.missing());
        match (self, feature) {
            (Self::Scaler(scaler), Feature::Numeric(numeric)) => {
                inputs[0] = scaler.encode(numeric.encoding(), number);
            }
            (Self::Ranks(ranks), _) => inputs[0] = ranks.encode(number),
            (Self::Piecewise(pieces), _) => pieces.write(number, &mut inputs[..values]),
            _ => unreachable!("numeric inputs come from numbers that are not embedded"),
        }
        if self.missing() {
            inputs[values] = f32::from(number.is_nan());
        }
    }

    fn encode_numbers(
        &self,
        feature: &Numeric,
        numbers: &[f64],
        rows: &[u32],
        all_ids: &mut Vec<Ids>,
        numeric: &mut Vec<Vec<f32>>,
    ) {
        let values = rows.iter().map(|&row| numbers[row as usize]);
        match self {
            Self::Quantiles(quantiles) => all_ids.push(Ids::One(values.clone().map(|x| quantiles.encode(x)).collect())),
            Self::Piecewise(pieces) if feature.encoding().embeds() => {
                let (ids, fractions) = values.clone().map(|x| pieces.encode(x)).unzip();
                all_ids.push(Ids::Interpolated { ids, fractions });
            }
            Self::Piecewise(pieces) => {
                let mut columns = vec![Vec::with_capacity(rows.len()); pieces.bins()];
                let mut inputs = vec![0.0; pieces.bins()];
                for x in values.clone() {
                    pieces.write(x, &mut inputs);
                    columns.iter_mut().zip(&inputs).for_each(|(column, &input)| column.push(input));
                }
                numeric.append(&mut columns);
            }
            Self::Scaler(scaler) => {
                numeric.push(values.clone().map(|x| scaler.encode(feature.encoding(), x)).collect());
            }
            Self::Ranks(ranks) => numeric.push(values.clone().map(|x| ranks.encode(x)).collect()),
            _ => unreachable!("a number is fitted as a number"),
        }
        if self.missing() && !feature.encoding().embeds() {
            numeric.push(values.map(|x| f32::from(x.is_nan())).collect());
        }
    }

    /// The id of a value, however it is spelled.
    fn id(&self, value: &str) -> Result<u32> {
        let value = id_spelling(value);
        match self {
            Self::Vocabulary(vocabulary) => Ok(vocabulary.position(value).map_or(0, |position| position + 1)),
            Self::Hashed(buckets) => Ok(bucket(value, *buckets)),
            Self::Ids(rows) => interner::id(value, *rows).map_err(|error| error.with_value(value)),
            Self::Quantiles(_) | Self::Scaler(_) | Self::Ranks(_) | Self::Piecewise(_) | Self::Shared(_) => {
                unreachable!("text has a coding")
            }
        }
    }
}

/// Whether the feature is a field with embeddings.
fn is_embedded(feature: &Feature) -> bool {
    feature.table().is_some()
}

/// The position of the first feature that reads the table of the feature at this position; its own if it is a number.
fn first_of_table(features: &[Feature], i: usize) -> usize {
    let table = features[i].table();
    if table.is_none() {
        return i;
    }
    features[..i].iter().position(|other| other.table() == table).unwrap_or(i)
}

fn too_many() -> Error {
    Error::new(ErrorKind::Data, "expected fewer than 2^32 values in the bags of one column, found more")
        .with_help("encode the rows in parts")
}

/// `⌊crc32(value) · buckets / 2³²⌋`: the same on every machine and in every version.
fn bucket(value: &str, buckets: usize) -> u32 {
    ((u64::from(crc32fast::hash(value.as_bytes())) * buckets as u64) >> 32) as u32
}

/// Encodes the values of `rows`, each distinct one once; an error comes with its row.
pub(super) fn translate<T: Copy>(
    text: &Text,
    rows: &[u32],
    id: impl Fn(&str) -> Result<T>,
) -> Result<Vec<T>, (Error, u32)> {
    let mut known = vec![None; text.dictionary.len()];
    let encode = |&row: &u32| {
        let code = text.codes[row as usize] as usize;
        remembered(&mut known[code], || id(&text.dictionary[code])).map_err(|error| (error, row))
    };
    rows.iter().map(encode).collect()
}

fn remembered<T: Copy>(known: &mut Option<T>, find: impl FnOnce() -> Result<T>) -> Result<T> {
    match *known {
        Some(id) => Ok(id),
        None => Ok(*known.insert(find()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_pinned() {
        // crc32("123456789") is the check value of CRC-32/ISO-HDLC: 0xCBF43926; crc32("") is 0.
        assert_eq!(bucket("123456789", 1 << 16), 0xCBF4);
        assert_eq!(bucket("123456789", 10), (0xCBF4_3926_u64 * 10 / (1 << 32)) as u32);
        assert_eq!(bucket("", 1000), 0);
        assert_eq!(bucket("123456789", u32::MAX as usize), 0xCBF4_3925);
    }

    #[test]
    fn numbered_values_spread_over_the_buckets() {
        let buckets = 1000;
        let mut full = vec![0_i32; buckets];
        for i in 0..100_000 {
            full[bucket(&i.to_string(), buckets) as usize] += 1;
        }
        // Chance alone would give 100 ± 10 a bucket.
        assert!(full.iter().all(|&count| (40..=160).contains(&count)), "{:?}", full.iter().max());
    }
}
