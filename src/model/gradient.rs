//! The gradient of a model.

use std::ops::BitOrAssign;

use super::Model;
use super::freeze::frozen;
use crate::Result;
use crate::math::dot_f64;
use crate::net::Net;
use crate::nn::{Leaf, LeafMut, Pair, Params as _, Path, RowGrad};

/// The gradient of a [`Model`](super::Model): table rows that were read, and the dense part.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// Of the embedding tables, in the order of [`Embeddings::tables`](super::Embeddings::tables).
    pub tables: Vec<RowGrad>,
    /// Of the net: a net of the same shape.
    pub net: Net,
    /// By position in the model's walk, what stays as it is; empty where nothing does.
    pub(super) frozen: Vec<bool>,
}

/// Which members of a gradient had rows or labels in the step (what domains, branches and steps of a program own), as bits: those of several parts of a step
/// are combined by OR.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Presence {
    words: Vec<u64>,
}

impl Presence {
    /// The bits, 64 in a word; how many words there are is the same for all gradients of a model.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The bits, to put in those of all parts of a step.
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }
}

impl BitOrAssign<&Self> for Presence {
    /// # Panics
    /// If the two are of different models.
    fn bitor_assign(&mut self, other: &Self) {
        assert_eq!(self.words.len(), other.words.len(), "the presence of one model's gradients");
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }
}

impl Gradient {
    /// Freezes these tensors of the model whose gradient it is, and no others: from now on their gradients are zero, and
    /// [`Model::apply`] leaves values, moving averages and optimizer state as they are, to the bit. No names freeze nothing.
    ///
    /// A name is the start of a dotted name as [`Model::visit`] gives it, in whole parts, `*` standing for any one part: `embeddings` is
    /// all tables, `embeddings.user` one, and `net.layers.*.shared` what STAR's layers share. Passes are not changed: rows are still
    /// normalised by their batch's statistics, and units still drop out.
    ///
    /// ```
    /// # use starple::data::Layout;
    /// # use starple::{Star, StarConfig};
    /// # let layout = Layout::new(["home", "search"], ["click"]).field("user", 9);
    /// let star = Star::new(StarConfig::builder(&layout).build()?);
    /// let mut gradient = star.zero_grad();
    /// // Only what each domain owns learns.
    /// let shared = ["embeddings", "net.norm.gamma", "net.norm.beta", "net.layers.*.shared", "net.auxiliary.mlp"];
    /// gradient.freeze(&star, &shared)?;
    /// let error = gradient.freeze(&star, &["net.layer"]).unwrap_err().to_string();
    /// assert!(error.contains("did you mean \"net.layers\"?"), "{error}");
    /// # Ok::<(), starple::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming all that is wrong, if a name is the start of no tensor's, or nothing is
    /// left to learn.
    pub fn freeze<S: AsRef<str>>(&mut self, model: &Model, names: &[S]) -> Result<()> {
        self.frozen = frozen(model, names)?;
        self.silence();
        Ok(())
    }

    /// Sets the gradients of what is frozen to zero, as they are before a pass adds to them.
    pub(super) fn silence(&mut self) {
        if self.frozen.is_empty() {
            return;
        }
        let (tables, net) = self.frozen.split_at(self.tables.len());
        for (table, _) in self.tables.iter_mut().zip(tables).filter(|(_, frozen)| **frozen) {
            table.clear();
        }
        self.net.visit_mut(&mut Path::starting_at(0), &mut |path, leaf| {
            if let (true, LeafMut::Tensor(values, ..)) = (net[path.slot()] && path.present(), leaf) {
                values.fill(0.0);
            }
        });
    }

    /// By position in the model's walk, what stays as it is; empty where nothing does.
    pub(crate) fn frozen(&self) -> &[bool] {
        &self.frozen
    }

    /// Sets it back to zero, with no member present.
    pub fn zero(&mut self) {
        self.tables.iter_mut().for_each(RowGrad::clear);
        self.net.zero();
    }

    /// Adds the gradient of other rows of the same step; what is present in either is from then on present here.
    ///
    /// Of batch statistics it keeps the mean over the parts, each of which has those of its own rows.
    ///
    /// # Panics
    /// If it is the gradient of another model.
    pub fn add(&mut self, other: &mut Self) {
        self.add_scaled(1.0, other);
    }

    /// Which members of [`Gradient::net`] are present. (The gradient is borrowed to change because its walk is also that of
    /// [`Gradient::set_presence`]; nothing changes.)
    ///
    /// Rows of tables are present where [`RowGrad::rows`] has them.
    pub fn presence(&mut self) -> Presence {
        let (mut words, mut count) = (Vec::new(), 0);
        self.net.visit_presence(&mut |present| {
            if count % 64 == 0 {
                words.push(0);
            }
            words[count / 64] |= u64::from(*present) << (count % 64);
            count += 1;
        });
        Presence { words }
    }

    /// Makes these members present. The values of a member that was absent are zero; add to them what other parts of the step have.
    ///
    /// # Panics
    /// If it is the presence of another model's gradient, or a member is left out that is present: its values would stay for a later step.
    pub fn set_presence(&mut self, presence: &Presence) {
        let mut count = 0_usize;
        self.net.visit_presence(&mut |present| {
            let wanted = presence.words[count / 64] >> (count % 64) & 1 == 1;
            assert!(wanted || !*present, "what is present stays so until the gradient is zero");
            *present = wanted;
            count += 1;
        });
        assert_eq!(count.div_ceil(64), presence.words.len(), "the presence of another model's gradient");
    }

    /// Adds `scale` times another gradient of the same model, and its batch statistics; who is present in either is
    /// from then on present here. Statistics that both have taken from one forward pass stay as they are.
    pub(crate) fn add_scaled(&mut self, scale: f32, other: &mut Self) {
        for (table, other) in self.tables.iter_mut().zip(&other.tables) {
            table.add_scaled(scale, other);
        }
        self.net.visit_pair(&mut other.net, &mut Path::starting_at(0), &mut |path, pair| match pair {
            Pair::Tensor(values, other, _) if path.present() => {
                values.iter_mut().zip(other).for_each(|(value, other)| *value += scale * *other);
            }
            Pair::Average(statistics, other) if path.present() && other.steps > 0 => {
                statistics.add(&other.mean, &other.var, other.rows());
            }
            Pair::Tensor(..) | Pair::Average(..) => {}
        });
    }

    /// The inner product with another gradient of the same model, over all that is learned by gradient. (Both are
    /// borrowed to change because the walk that sees two at once is the one that moves parameters; no value changes.)
    pub(crate) fn dot(&mut self, other: &mut Self) -> f64 {
        let mut product: f64 = self.tables.iter().zip(&other.tables).map(|(table, other)| table.dot(other)).sum();
        self.net.visit_pair(&mut other.net, &mut Path::starting_at(0), &mut |path, pair| {
            if let (true, Pair::Tensor(values, other, _)) = (path.present(), pair) {
                product += dot_f64(values, other);
            }
        });
        product
    }

    /// `Σ g²` over all that is learned by gradient.
    pub(crate) fn squares(&self) -> f64 {
        self.tables.iter().map(|table| dot_f64(table.values(), table.values())).sum::<f64>()
            + self.squares_where(|_| true)
    }

    /// `Σ g²` over the dense tensors at these positions of the model's walk.
    pub(crate) fn squares_where(&self, counts: impl Fn(usize) -> bool) -> f64 {
        let mut squares = 0.0;
        self.net.visit(&mut Path::starting_at(self.tables.len()), &mut |path, leaf| {
            if let (true, Leaf::Tensor(values, ..)) = (path.present() && counts(path.slot()), leaf) {
                squares += dot_f64(values, values);
            }
        });
        squares
    }
}
