//! A model and its encoder, as one thing.

use ndarray::Array2;

use crate::data::{DomainId, Encoder, Table};
use crate::model::{Model, Net};
use crate::{Error, ErrorKind, Result};

/// A trained model kept with the [`Encoder`] that was fitted for it: it takes raw values, and gives probabilities.
///
/// ```
/// use starple::data::{Encoder, Format, Schema, Table, UnknownDomain};
/// use starple::serve::Predictor;
/// use starple::{Star, StarConfig};
///
/// let schema = Schema::builder().categorical("item").numeric("price").domain("page").label("click").build()?;
/// let log = "item,price,page,click\nlamp,20,home,1\nsofa,400,search,0\n";
/// let table = Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema)?;
/// let encoder = Encoder::fit(&schema, &table, &table.all())?.on_unknown_domain(UnknownDomain::Shared);
/// let star = Star::new(StarConfig::builder(encoder.layout()).build()?);
///
/// let predictor = Predictor::new(encoder, star)?;
/// let p = predictor.predict([
///     [("item", "sofa"), ("price", "380"), ("page", "home")],
///     [("item", "lamp"), ("price", "25"), ("page", "a page nobody has seen")],
/// ])?;
/// assert_eq!(p.dim(), (2, 1));
/// # Ok::<(), starple::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Predictor<N: Net> {
    encoder: Encoder,
    model: Model<N>,
}

impl<N: Net> Predictor<N> {
    /// The two as one.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`] if the model was not built for what the encoder gives.
    pub fn new(encoder: Encoder, model: Model<N>) -> Result<Self> {
        if encoder.layout() != model.layout() {
            let message = "the model was built for other fields, domains or tasks than the encoder gives";
            return Err(Error::new(ErrorKind::Layout, message).with_help("build it with encoder.layout()"));
        }
        Ok(Self { encoder, model })
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The model.
    pub fn model(&self) -> &Model<N> {
        &self.model
    }

    /// The two again.
    pub fn into_parts(self) -> (Encoder, Model<N>) {
        (self.encoder, self.model)
    }

    /// The probabilities of rows that are in memory, `[rows, tasks]`; each row is a list of column and value as they would
    /// be written in a file. Values that training did not see take the out-of-vocabulary row.
    ///
    /// # Errors
    /// Those of [`Encoder::encode_rows`]: a column that is missing or unknown, text in a numeric column, and a domain
    /// that is not known, unless the encoder was told to let it take the shared path.
    pub fn predict<R, K, V>(&self, rows: impl IntoIterator<Item = R>) -> Result<Array2<f32>>
    where
        R: IntoIterator<Item = (K, V)>,
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let batch = self.encoder.encode_rows(rows)?;
        Ok(self.model.predict(&batch, batch.domains()))
    }

    /// The probabilities of rows of a table, `[rows, tasks]`.
    ///
    /// # Errors
    /// Those of [`Encoder::encode`].
    ///
    /// # Panics
    /// If a row number is not one of the table.
    pub fn predict_table(&self, table: &Table, rows: &[u32]) -> Result<Array2<f32>> {
        let logits = self.model.score(&self.encoder.encode(table, rows)?);
        Ok(logits.mapv_into(crate::model::probability))
    }

    /// Adds a domain to both; see [`Model::add_domain`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is a domain of that name, or the schema names no domain column.
    pub fn add_domain(&mut self, name: &str) -> Result<DomainId> {
        self.encoder.add_domain(name)?;
        self.model.add_domain(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Format, Schema};
    use crate::{Star, StarConfig};

    const LOG: &str = "item,price,page,click\nlamp,20,home,1\nsofa,400,search,0\nlamp,,search,1\n";

    fn fitted() -> (Table, Predictor<crate::model::StarNet>) {
        let schema = Schema::builder().categorical("item").numeric("price").domain("page").label("click").build();
        let schema = schema.unwrap();
        let table = Table::from_reader(LOG.as_bytes(), Format::Csv, "log.csv", &schema).unwrap();
        let encoder = Encoder::fit(&schema, &table, &table.all()).unwrap();
        let star = Star::new(StarConfig::builder(encoder.layout()).hidden([4]).embedding_std(1.0).build().unwrap());
        (table, Predictor::new(encoder, star).unwrap())
    }

    #[test]
    fn raw_rows_and_the_same_rows_of_a_table_get_the_same_probabilities() {
        let (table, predictor) = fitted();
        let of_table = predictor.predict_table(&table, &[1, 0]).unwrap();
        let raw = [
            [("item", "sofa"), ("price", "400"), ("page", "search")],
            [("item", "lamp"), ("price", "20"), ("page", "home")],
        ];
        assert_eq!(predictor.predict(raw).unwrap(), of_table);
        assert!(of_table.iter().all(|&p| p > 0.0 && p < 1.0) && of_table[[0, 0]] != of_table[[1, 0]]);
    }

    #[test]
    fn an_added_domain_is_known_to_both() {
        let (_, mut predictor) = fitted();
        let row = [[("item", "lamp"), ("price", "20"), ("page", "partner")]];
        assert_eq!(predictor.predict(row).unwrap_err().kind(), ErrorKind::UnknownDomain);
        predictor.add_domain("partner").unwrap();
        assert_eq!(predictor.predict(row).unwrap().dim(), (1, 1));
        assert_eq!(predictor.add_domain("partner").unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn a_model_of_another_layout_is_refused() {
        let (_, predictor) = fitted();
        let (encoder, mut model) = predictor.into_parts();
        model.add_domain("partner").unwrap();
        assert_eq!(Predictor::new(encoder, model).unwrap_err().kind(), ErrorKind::Layout);
    }
}
