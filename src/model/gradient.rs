//! The gradient of a model.

use std::ops::BitOrAssign;

use super::Model;
use super::freeze::frozen;
use crate::Result;
use crate::math::dot_f64;
use crate::net::Net;
use crate::nn::{Leaf, LeafMut, Pair, Params as _, Path, RowGrad};

/// The gradient of all parameters of a [`Model`]: of the table rows that a training step read, and of the net.
///
/// [`Model::zero_grad`] makes one, [`Model::backward`] adds to it, and [`Model::apply`] updates the model by it. [`Gradient::freeze`]
/// chooses tensors that are not trained.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// The gradients of the embedding tables, in the order of [`Embeddings::tables`](super::Embeddings::tables).
    pub tables: Vec<RowGrad>,
    /// The gradient of the net. It is a net with the same layers, in which each tensor holds the gradient of the same tensor of the model.
    pub net: Net,
    /// For every tensor, in the order of [`Model::visit`], whether it is frozen. Empty if none is.
    pub(super) frozen: Vec<bool>,
}

/// Which members of a [`Gradient`] are present, one bit for each member.
///
/// A member is a set of parameters: those that one domain owns in a layer, or those of one step of the net (an operation, often a layer). A
/// member is present if rows or labels of the training step reached it. [`Model::apply`] updates only members that are present. If the rows
/// of a training step are divided, for example among processes, each part has its own gradient: combine the presence of these gradients
/// with `|=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Presence {
    words: Vec<u64>,
}

impl Presence {
    /// The bits, 64 in each word: bit `i % 64` of word `i / 64` says whether member `i` is present. All gradients of a model have the same
    /// number of words.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The bits, to be changed: for example to combine those of several processes with OR. They have the order of [`Presence::words`].
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }
}

impl BitOrAssign<&Self> for Presence {
    /// Makes every member present that is present in `other`. Both must be from gradients of one model, usually of different rows of one
    /// training step.
    ///
    /// # Panics
    /// If `self` and `other` have different numbers of words, because they are from gradients of different models.
    fn bitor_assign(&mut self, other: &Self) {
        assert_eq!(self.words.len(), other.words.len(), "the presence of one model's gradients");
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }
}

impl Gradient {
    /// Freezes the tensors that match one of `names`, and unfreezes all other tensors. A frozen tensor is not trained. `model` is the model
    /// of this gradient.
    ///
    /// The gradients of frozen tensors stay 0. [`Model::apply`] changes neither their values nor their optimizer state, and does not update
    /// frozen moving averages. If `names` is empty, no tensor is frozen.
    ///
    /// A name of the list matches all tensors whose dotted name ([`Model::visit`]) starts with it. Dots separate the parts of a name, and
    /// only whole parts match; `*` matches any one part. For example, `embeddings` means all tables, `embeddings.user` the table `user`,
    /// and `net.layers.*.shared` the shared weights of STAR's layers. Freezing does not change the forward pass in training: rows are still
    /// normalised by the statistics of their batch, and dropout stays active.
    ///
    /// ```
    /// # use starple::data::Layout;
    /// # use starple::{Star, StarConfig};
    /// # let layout = Layout::new(["home", "search"], ["click"]).field("user", 9);
    /// let star = Star::new(StarConfig::builder(&layout).build()?);
    /// let mut gradient = star.zero_grad();
    /// // Train only the parameters that domains own.
    /// let shared = ["embeddings", "net.norm.gamma", "net.norm.beta", "net.layers.*.shared", "net.auxiliary.mlp"];
    /// gradient.freeze(&star, &shared)?;
    /// // A name that matches no tensor is an error.
    /// let error = gradient.freeze(&star, &["net.layer"]).unwrap_err().to_string();
    /// assert!(error.contains("did you mean \"net.layers\"?"), "{error}");
    /// # Ok::<(), starple::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if one of `names` matches no tensor, or if no tensor is left to train. The message
    /// names every problem, and the gradient does not change.
    pub fn freeze<S: AsRef<str>>(&mut self, model: &Model, names: &[S]) -> Result<()> {
        self.frozen = frozen(model, names)?;
        self.silence();
        Ok(())
    }

    /// Sets the gradients of frozen tensors to 0.
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

    /// For every tensor, in the order of [`Model::visit`], whether it is frozen. Empty if none is.
    pub(crate) fn frozen(&self) -> &[bool] {
        &self.frozen
    }

    /// Sets all values to 0 and marks all members as absent ([`Presence`]). Frozen tensors stay frozen.
    pub fn zero(&mut self) {
        self.tables.iter_mut().for_each(RowGrad::clear);
        self.net.zero();
    }

    /// Adds `other` to this gradient: the gradient of the same model on other rows of the same training step. A member ([`Presence`]) is
    /// present in the sum if it is present in one of the two.
    ///
    /// The batch statistics of normalisation layers, which a gradient holds too, are averaged. `other` does not change; it is borrowed
    /// mutably only because of how the code visits two gradients.
    ///
    /// # Panics
    /// If `other` is the gradient of another model.
    pub fn add(&mut self, other: &mut Self) {
        self.add_scaled(1.0, other);
    }

    /// Which members of [`Gradient::net`] are present: which domains, branches and steps of the net had rows or labels. The gradient does
    /// not change; it is borrowed mutably because [`Gradient::set_presence`] uses the same code.
    ///
    /// Embedding tables are not among the members. [`RowGrad::rows`] lists the table rows that have a gradient.
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

    /// Makes all members present that are present in `presence`. Use it to add up gradients of several processes: first give all gradients
    /// the same, combined presence, then add up their values. A member that was absent has only values 0.
    ///
    /// # Panics
    /// If `presence` is from the gradient of another model, or if a member that is present in this gradient is absent in `presence`.
    pub fn set_presence(&mut self, presence: &Presence) {
        let mut count = 0_usize;
        self.net.visit_presence(&mut |present| {
            let wanted = presence.words[count / 64] >> (count % 64) & 1 == 1;
            assert!(wanted || !*present, "a present member stays present until the gradient is set to zero");
            *present = wanted;
            count += 1;
        });
        assert_eq!(count.div_ceil(64), presence.words.len(), "the presence of another model's gradient");
    }

    /// Adds `scale` times another gradient of the same model, and its batch statistics. A member that is present in `other` becomes present
    /// in `self`. Statistics that both have from the same forward pass do not change.
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

    /// The inner product with another gradient of the same model, over all trained tensors. No value changes; both are borrowed mutably
    /// because the only walk over two nets is mutable.
    pub(crate) fn dot(&mut self, other: &mut Self) -> f64 {
        let mut product: f64 = self.tables.iter().zip(&other.tables).map(|(table, other)| table.dot(other)).sum();
        self.net.visit_pair(&mut other.net, &mut Path::starting_at(0), &mut |path, pair| {
            if let (true, Pair::Tensor(values, other, _)) = (path.present(), pair) {
                product += dot_f64(values, other);
            }
        });
        product
    }

    /// `Σ g²` over all trained tensors.
    pub(crate) fn squares(&self) -> f64 {
        self.tables.iter().map(|table| dot_f64(table.values(), table.values())).sum::<f64>()
            + self.squares_where(|_| true)
    }

    /// `Σ g²` over the net's tensors at the positions for which `counts` is true. Positions are in the order of [`Model::visit`].
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
