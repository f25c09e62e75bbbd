//! Growth of a trained model: more rows in its tables, more domains.

use super::Model;
use crate::Result;
use crate::data::Layout;

/// The initial values of the rows that [`Model::grow`] adds to an embedding table. All new rows of one call start in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NewRows {
    /// Each new row is a copy of row 0 of the table; this is the default. Use it for fields with a fitted vocabulary, where row 0 is the
    /// out-of-vocabulary row: a value without a row of its own reads row 0. So scores do not change when such a value gets its own row.
    /// [`Unknown`](crate::train::Unknown) says how training fills row 0.
    #[default]
    OutOfVocabulary,
    /// Each new row has random values, drawn like those of a new model. Use it for fields whose values are already ids, where row 0 has no
    /// special meaning. The random values depend only on the seed of the model, the position of the table and the number of the row.
    Drawn,
}

impl Model {
    /// Extends a trained model to the layout `layout`, which has more table rows or more domains than the layout of the model. New rows
    /// come after the existing rows of a table, and new domains after the existing domains. `rows` says which initial values new rows have.
    ///
    /// If branches have their own tables, the tables of every branch get the new rows. Each new domain is added as by
    /// [`Model::add_domain`]. All existing values stay. A row whose ids and domain existed before has bit for bit the same score as before.
    /// The score of a row of no known domain changes at most by rounding. If the layout has not grown, nothing changes.
    ///
    /// After this call, make new gradients, caches, [`Step`](crate::train::Step)s and optimizers: the old ones do not fit the larger model.
    /// The optimizer state starts from zero, as in every [`Trainer::fit`](crate::train::Trainer::fit).
    ///
    /// ```
    /// use starple::data::{Encoder, Format, Schema, Table};
    /// use starple::model::NewRows;
    /// use starple::train::{TrainConfig, Trainer};
    /// use starple::{Star, StarConfig};
    ///
    /// let schema = Schema::builder().categorical("item").domain("page").label("click").build()?;
    /// let read = |log: &str| Table::from_reader(log.as_bytes(), Format::Csv, "log.csv", &schema);
    /// let monday = read("item,page,click\nlamp,home,1\nsofa,search,0\nlamp,search,1\n")?;
    /// let mut encoder = Encoder::fit(&schema, &monday, &monday.all())?;
    /// let mut star = Star::new(StarConfig::builder(encoder.layout()).build()?);
    /// let mut trainer = Trainer::new(TrainConfig::builder().build()?);
    /// trainer.fit(&mut star, encoder.encode_training(&monday, &monday.all())?, None)?;
    ///
    /// let tuesday = read("item,page,click\nvase,home,0\nlamp,app,1\n")?;
    /// encoder.extend(&tuesday, &tuesday.all())?;
    /// let old = encoder.encode_training(&monday, &monday.all())?;
    /// let before = star.score(&old);
    /// star.grow(encoder.layout(), NewRows::OutOfVocabulary)?;
    /// assert_eq!(star.score(&old), before);
    /// trainer.fit(&mut star, encoder.encode_training(&tuesday, &tuesday.all())?, None)?;
    /// # Ok::<(), starple::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Layout`](crate::ErrorKind::Layout) in these cases. The message names every difference, and the model does not change.
    ///
    /// * `layout` has other tables, fields, numeric inputs or tasks than the model, or has them in another order.
    /// * A table has fewer rows than in the model, or another width.
    /// * A field reads another table, changes between one id and a bag of ids, or has another [`Pooling`](crate::data::Pooling).
    /// * A domain of the model is missing, renamed or at another position, or a domain has an invalid name (see [`Model::add_domain`]).
    pub fn grow(&mut self, layout: &Layout, rows: NewRows) -> Result<()> {
        self.layout().check_growth(layout)?;
        self.config.layout_mut().tables.clone_from(&layout.tables);
        self.embeddings.add_rows(&*self.config, rows);
        for name in &layout.domains[self.layout().domains.len()..] {
            self.push_domain(name)?;
        }
        self.settle();
        Ok(())
    }

    /// Marks the tables that have a row for unknown values in `layout`: older model files do not say so, but their encoders do.
    pub(crate) fn mark_unknown(&mut self, layout: &Layout) {
        for (table, known) in self.config.layout_mut().tables.iter_mut().zip(&layout.tables) {
            table.unknown |= known.unknown;
        }
    }
}
