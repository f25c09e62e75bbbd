//! What of some rows an encoder does not know, and what it was fitted on that is likely a mistake.

use std::collections::HashMap;

use super::Encoder;
use crate::data::feature::Transform;
use crate::data::fitted::Fitted;
use crate::data::{Batch, Feature, Ids, LeftOut, Share, Table};
use crate::error::{Result, quoted};

impl Encoder {
    /// Counts the unknown values in a batch. The result has one entry for each feature with a vocabulary, in the order of the schema: the name
    /// of the feature, and how many of its values in the batch are unknown, out of how many.
    ///
    /// A value is unknown, and has id 0, if it occurs in the rows on which the encoder was fitted less often than the feature's `min_count`, for
    /// example never. This encoder must have made `batch`; otherwise the counts have no meaning.
    pub fn unknown_values(&self, batch: &Batch) -> Vec<(String, Share)> {
        let with_fitted = self.schema.features().iter().enumerate().map(|(i, feature)| (feature, self.fitted(i)));
        let counted = with_fitted
            .filter(|(feature, fitted)| fitted.inputs(feature) == 0)
            .zip(&batch.ids)
            .filter(|((_, fitted), _)| matches!(fitted, Fitted::Vocabulary(_)));
        let share = |((feature, _), ids): ((&Feature, _), &Ids)| {
            let (Ids::One(ids) | Ids::Bag { ids, .. } | Ids::Interpolated { ids, .. }) = ids;
            let count = ids.iter().filter(|&&id| id == 0).count();
            (feature.name().to_owned(), Share { count, of: ids.len() })
        };
        counted.map(share).collect()
    }

    /// How many cells of each numeric feature are empty.
    pub(in crate::data) fn missing_numbers(&self, table: &Table, rows: &[u32]) -> Result<Vec<(String, Share)>> {
        let numeric = self.schema.features().iter().filter(|feature| matches!(feature, Feature::Numeric(_)));
        let share = |feature: &Feature| {
            let numbers = table.numbers(feature.column())?;
            let count = rows.iter().filter(|&&row| numbers[row as usize].is_nan()).count();
            Ok((feature.name().to_owned(), Share { count, of: rows.len() }))
        };
        numeric.map(share).collect()
    }

    /// The domains of these rows that are none of the fitted ones, with the number of their rows.
    pub(in crate::data) fn unknown_domains(&self, table: &Table, rows: &[u32]) -> Result<Vec<LeftOut>> {
        let Some(column) = self.schema.domain() else { return Ok(Vec::new()) };
        let text = table.text(column)?;
        let mut found: Vec<LeftOut> = Vec::new();
        // By code: unknown until it is met, then its place in `found`, if it is unknown to the encoder.
        let mut places: Vec<Option<Option<usize>>> = vec![None; text.dictionary.len()];
        for &row in rows {
            let code = text.codes[row as usize] as usize;
            let place = *places[code].get_or_insert_with(|| {
                let name = &*text.dictionary[code];
                self.domains.position(name).is_none().then(|| {
                    found.push(LeftOut::new(column, name, None, row));
                    found.len() - 1
                })
            });
            if let Some(place) = place {
                found[place].rows += 1;
            }
        }
        Ok(found)
    }

    /// Takes out the rows of domains that are none of the fitted ones.
    pub(in crate::data) fn retain_known_domains(&self, table: &Table, rows: &mut Vec<u32>) -> Result<()> {
        let Some(column) = self.schema.domain() else { return Ok(()) };
        let text = table.text(column)?;
        let known: Vec<bool> = text.dictionary.iter().map(|name| self.domains.position(name).is_some()).collect();
        rows.retain(|&row| known[text.codes[row as usize] as usize]);
        Ok(())
    }

    /// Returns warnings about probable mistakes in the rows on which the encoder was fitted, one sentence each. The list is empty if there are
    /// none. There is a warning if a numeric feature has fewer buckets than the schema asks for, and if the names of two domains differ only in
    /// case or spaces.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (feature, fitted) in self.schema.features().iter().zip(&self.fitted) {
            if let (Feature::Numeric(numeric), Fitted::Quantiles(quantiles)) = (feature, fitted)
                && let Transform::Buckets(asked) = numeric.encoding()
                && quantiles.buckets() < asked
            {
                let (name, buckets) = (quoted(feature.name()), quantiles.buckets());
                let plural = if buckets == 1 { "" } else { "s" };
                warnings.push(format!(
                    "feature {name}: {buckets} bucket{plural} of {asked}, as the training rows have no more different values"
                ));
            }
        }
        let mut alike: HashMap<String, &str> = HashMap::new();
        for name in self.domains.values() {
            let plain = name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
            if let Some(other) = alike.insert(plain, name) {
                let (other, name) = (quoted(other), quoted(name));
                warnings.push(format!("the domains {other} and {name} differ only by case or blanks: are they one?"));
            }
        }
        warnings
    }
}
