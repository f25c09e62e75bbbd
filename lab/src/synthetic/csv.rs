//! A synthetic log as a file.

use std::io;

use starple::{Error, ErrorKind, Result};

use super::config::{PROBABILITY_PREFIX, SPLIT_COLUMN};
use super::log::SyntheticLog;

impl SyntheticLog {
    /// Writes the log as CSV with a header.
    ///
    /// The columns are the categorical fields, the numeric columns, the bags (values joined by `|`), the domain, the labels
    /// (empty where missing), `split`, and for every task t the column `p_t`, the true probability of its label rounded to
    /// five decimals. **The `p_` columns are the answer, not features.**
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if `writer` fails.
    pub fn write_csv(&self, writer: impl io::Write) -> Result<()> {
        let failed = |error: ::csv::Error| Error::new(ErrorKind::Io, format!("writing a synthetic log: {error}"));
        let settings = self.config.settings();
        let mut writer = ::csv::Writer::from_writer(writer);

        let mut header: Vec<String> = settings.categorical.iter().map(|field| field.name.clone()).collect();
        header.extend(settings.numeric.iter().map(|column| column.name.clone()));
        header.extend(settings.bags.iter().map(|bag| bag.name.clone()));
        header.push(settings.domain_column.clone());
        header.extend(settings.tasks.iter().map(|task| task.name.clone()));
        header.push(SPLIT_COLUMN.to_owned());
        header.extend(settings.tasks.iter().map(|task| format!("{PROBABILITY_PREFIX}{}", task.name)));
        writer.write_record(&header).map_err(failed)?;

        for row in 0..self.rows() {
            writer.write_record(self.cells(row)).map_err(failed)?;
        }
        writer.flush().map_err(|error| failed(error.into()))
    }

    fn cells(&self, row: usize) -> Vec<String> {
        let settings = self.config.settings();
        let value = |name: &str, id: u32| format!("{}{id}", name.chars().next().expect("a checked name"));
        let mut cells = Vec::new();
        for (field, ids) in settings.categorical.iter().zip(&self.columns.ids) {
            cells.push(value(&field.name, ids[row]));
        }
        for (numeric, column) in settings.numeric.iter().zip(&self.columns.numeric) {
            let cell = column.cells[row];
            cells.push(if cell.is_nan() { String::new() } else { format!("{cell:.*}", numeric.decimals) });
        }
        for (bag, column) in settings.bags.iter().zip(&self.columns.bags) {
            let values: Vec<_> = column.row(row).iter().map(|&id| value(&bag.name, id)).collect();
            cells.push(values.join("|"));
        }
        let domain = self.domains[row].index().expect("a generated row has a domain");
        cells.push(settings.domains[domain].clone());
        for label in self.labels().row(row) {
            cells.push(if label.is_nan() { String::new() } else { format!("{label:.0}") });
        }
        cells.push(self.splits[row].to_owned());
        cells.extend(self.probabilities().row(row).iter().map(|probability| format!("{probability:.5}")));
        cells
    }
}
