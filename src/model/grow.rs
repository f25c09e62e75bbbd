//! A trained model for a layout that has grown: more rows in its tables, more domains.

use super::Model;
use crate::Result;
use crate::data::Layout;

/// What the new rows of an embedding table start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NewRows {
    /// A copy of row 0, the out-of-vocabulary row of a fitted vocabulary (the default). A value that gets its own row was read from row 0
    /// until then, so no score changes on the day it does; with a `min_count` above 1 that row has learned what rare values are like.
    #[default]
    OutOfVocabulary,
    /// Draws from the distribution that a new model's tables start from, for fields that already are ids, whose row 0 is a row like any
    /// other. A row's values depend on the model's seed, the table and the row's number alone.
    Drawn,
}

impl Model {
    /// Brings a trained model to a layout that has grown: rows behind those of its tables, domains behind its own.
    ///
    /// Every table gets its new rows, those that branches own too, and each new domain is added as by
    /// [`Model::add_domain`]. Whatever was there keeps its values: the score of a row whose ids and domain were there keeps its bits, and
    /// what `add_domain` says of rows of no known domain holds here.
    ///
    /// Make new gradients, caches, [`Step`](crate::train::Step)s and optimizers: those made before are for the smaller model. Moments start
    /// anew, as in every [`Trainer::fit`](crate::train::Trainer::fit). A layout that has not grown changes nothing.
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
    /// [`ErrorKind::Layout`](crate::ErrorKind::Layout), naming every difference, if `layout` is not the model's with rows and domains
    /// added: other fields, numeric inputs or tasks, or in another order; fewer rows; a field that was a bag and is none, or is pooled
    /// otherwise; a domain that is gone, renamed or elsewhere, or whose name cannot be. The model stays as it was.
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
