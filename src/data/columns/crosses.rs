//! The combinations of several columns, from the codes of their values.

use std::collections::HashMap;

use crate::data::feature::spell;
use crate::data::interner::{Interner, VALUE_BYTES};
use crate::data::table::{Column, Text};
use crate::error::{Error, ErrorKind, Result};

/// Gives codes to the combinations of the values of several columns. Rows are compared by the codes of the parts; each distinct combination is
/// spelled once, at the end.
pub(super) struct CrossBuilder {
    columns: Vec<String>,
    /// The positions of the columns of text.
    parts: Vec<usize>,
    /// For each part but the first: from the code of the combination so far, and the code of this part, to the code of both.
    stages: Vec<HashMap<(u32, u32), u32>>,
    codes: Vec<u32>,
    /// By code, the codes of the parts.
    combinations: Vec<u32>,
    /// The approximate bytes of the combinations.
    bytes: u64,
}

impl CrossBuilder {
    /// The bytes of a row, without those that [`CrossBuilder::value_bytes`] counts.
    pub(super) const ROW_BYTES: u64 = 4;

    pub(super) fn new(columns: Vec<String>, parts: Vec<usize>) -> Self {
        let stages = vec![HashMap::new(); parts.len().saturating_sub(1)];
        Self { columns, parts, stages, codes: Vec::new(), combinations: Vec::new(), bytes: 0 }
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The bytes of the distinct combinations.
    pub(super) fn value_bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the rows that the columns have and the cross does not have yet. `text` gives the codes and values of a column.
    pub(super) fn extend<'a>(&mut self, text: impl Fn(usize) -> (&'a [u32], &'a Interner)) -> Result<()> {
        let Some((&first, others)) = self.parts.split_first() else { return Ok(()) };
        let (first_codes, _) = text(first);
        for (row, &first_code) in first_codes.iter().enumerate().skip(self.codes.len()) {
            let mut code = first_code;
            let last = self.stages.len() - 1;
            for (i, (stage, &part)) in self.stages.iter_mut().zip(others).enumerate() {
                let next = stage.len();
                let pair = (code, text(part).0[row]);
                if let Some(&known) = stage.get(&pair) {
                    code = known;
                    continue;
                }
                code = u32::try_from(next)
                    .map_err(|_| Error::new(ErrorKind::Data, "columns have fewer than 2^32 distinct combinations"))?;
                stage.insert(pair, code);
                // The combination of the parts so far, or of all of them with its text.
                self.bytes += VALUE_BYTES / 2;
                if i == last {
                    let start = self.combinations.len();
                    self.combinations.extend(self.parts.iter().map(|&part| text(part).0[row]));
                    let parts = self.parts.iter().zip(&self.combinations[start..]);
                    let len: u64 = parts.map(|(&part, &code)| text(part).1.len_of(code) + 1).sum();
                    self.bytes += len + VALUE_BYTES;
                }
            }
            self.codes.push(code);
        }
        Ok(())
    }

    /// The combinations as a column of text, from the finished columns.
    pub(super) fn finish(self, columns: &[(String, Column)]) -> (Vec<String>, Text) {
        let dictionaries: Vec<&[Box<str>]> = self.parts.iter().map(|&part| dictionary(&columns[part].1)).collect();
        let mut text = String::new();
        let spelled = self.combinations.chunks_exact(self.parts.len().max(1)).map(|codes| {
            let values = dictionaries.iter().zip(codes).map(|(values, &code)| &*values[code as usize]);
            spell(values, &mut text);
            Box::from(text.as_str())
        });
        let dictionary = spelled.collect();
        (self.columns, Text { codes: self.codes, dictionary })
    }
}

fn dictionary(column: &Column) -> &[Box<str>] {
    let Column::Text(text) = column else { unreachable!("the parts of a cross are text") };
    &text.dictionary
}
