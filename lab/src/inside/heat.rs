//! Heat maps.

use std::fmt;

use crate::table::{Cell, TextTable};
use serde::Serialize;

/// A matrix of numbers with a name for every row and column. It displays as a table; [`Heat::svg`] draws a heat map.
///
/// It serialises as `{"title", "unit", "rows", "columns", "values"}`, where `values` has a list for each row and an undefined
/// value is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Heat {
    /// The title.
    pub title: String,
    /// The quantity that the numbers are.
    pub unit: String,
    /// The rows' names.
    pub rows: Vec<String>,
    /// The columns' names.
    pub columns: Vec<String>,
    /// `[rows, columns]`; `None` is undefined.
    pub values: Vec<Vec<Option<f64>>>,
}

impl Heat {
    /// The value in the row and column with these names; `None` if it is undefined, or there is no such row or column.
    pub fn value(&self, row: &str, column: &str) -> Option<f64> {
        let place = |names: &[String], wanted: &str| names.iter().position(|name| name == wanted);
        self.values[place(&self.rows, row)?][place(&self.columns, column)?]
    }
}

/// The title, and a table with the unit in its corner.
impl fmt::Display for Heat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = TextTable::new([&self.unit].into_iter().chain(&self.columns));
        for (name, values) in self.rows.iter().zip(&self.values) {
            table.row([Cell::from(name.as_str())].into_iter().chain(values.iter().map(|&value| value.into())));
        }
        table.note("undefined.");
        writeln!(f, "{}", self.title)?;
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heat() -> Heat {
        Heat {
            title: "Distances".into(),
            unit: "ratio".into(),
            rows: vec!["first".into(), "second".into()],
            columns: vec!["search".into(), "feed".into()],
            values: vec![vec![Some(0.5), None], vec![Some(12.0), Some(0.125)]],
        }
    }

    #[test]
    fn displays_as_a_table() {
        let expected = "\
Distances
ratio    search    feed
───────────────────────
first    0.5000       –
second  12.0000  0.1250
–: undefined.
";
        assert_eq!(heat().to_string(), expected);
    }

    #[test]
    fn serialises_row_by_row_with_null_for_undefined() {
        let expected = r#"{"title":"Distances","unit":"ratio","rows":["first","second"],"columns":["search","feed"],"values":[[0.5,null],[12.0,0.125]]}"#;
        assert_eq!(serde_json::to_string(&heat()).unwrap(), expected);
    }

    #[test]
    fn a_value_is_found_by_its_names() {
        let heat = heat();
        assert_eq!(heat.value("second", "feed"), Some(0.125));
        assert_eq!(heat.value("first", "feed"), None);
        assert_eq!(heat.value("third", "feed"), None);
        assert_eq!(heat.value("first", "cart"), None);
    }
}
