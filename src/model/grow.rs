//! Growth of a trained model: more rows in its tables, more domains.

use super::Model;
use crate::Result;
use crate::data::Layout;

/// The initial values of the rows that [`Model::grow`] adds to an embedding table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NewRows {
    /// Each new row is a copy of row 0, the out-of-vocabulary row of a fitted vocabulary; the default. A value without its own row reads
    /// row 0, so scores do not change when the value gets its own row. If the vocabulary was fitted with a `min_count` above 1, row 0 has
    /// been trained on rare values.
    #[default]
    OutOfVocabulary,
    /// Each new row has random values, from the distribution of a new model. Use it for fields whose values are already ids, where row 0
    /// has no special meaning. The values depend only on the seed of the model, the table and the number of the row.
    Drawn,
}

impl Model {
    /// Extends a trained model to a layout with more table rows and more domains. The new rows and domains come after the existing ones.
    ///
    /// Every table gets its new rows, also tables per branch. Each new domain is added as by [`Model::add_domain`]. All existing values
    /// stay. The score of a row whose ids and domain existed before keeps its bits. For rows of no known domain, see [`Model::add_domain`].
    /// If the layout has not grown, nothing changes.
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
    /// trainer.fit(&mut star, encoder.encode(&monday, &monday.all())?, None)?;
    ///
    /// let tuesday = read("item,page,click\nvase,home,0\nlamp,app,1\n")?;
    /// encoder.extend(&tuesday, &tuesday.all())?;
    /// let old = encoder.encode(&monday, &monday.all())?;
    /// let before = star.score(&old);
    /// star.grow(encoder.layout(), NewRows::OutOfVocabulary)?;
    /// assert_eq!(star.score(&old), before);
    /// trainer.fit(&mut star, encoder.encode(&tuesday, &tuesday.all())?, None)?;
    /// # Ok::<(), starple::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Layout`](crate::ErrorKind::Layout), naming every difference, if `layout` is not the model's layout plus rows and
    /// domains: it has other fields, numeric inputs or tasks, or another order of them; fewer rows; a field that changes between bag and no
    /// bag, or its pooling; or a domain that is missing, renamed, moved, or has an invalid name. The model then stays unchanged.
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
}
