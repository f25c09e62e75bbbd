//! The gradient of a model.

use super::Net;
use crate::nn::dot::dot;
use crate::nn::{Leaf, Pair, Path, RowGrad};

/// The gradient of a [`Model`](super::Model): table rows that were read, and the dense part.
#[derive(Debug, Clone)]
pub struct Gradient<N: Net> {
    /// Of the embedding tables, in the order of [`Front::tables`](super::Front::tables).
    pub tables: Vec<RowGrad>,
    /// Of the net, in the net's own type.
    pub net: N,
}

impl<N: Net> Gradient<N> {
    /// Sets it back to zero, nobody present.
    pub fn zero(&mut self) {
        self.tables.iter_mut().for_each(RowGrad::clear);
        self.net.zero();
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
            Pair::Moving(statistics, other) if path.present() && other.steps > 0 => {
                statistics.add(&other.mean, &other.var);
            }
            Pair::Tensor(..) | Pair::Moving(..) => {}
        });
    }

    /// The inner product with another gradient of the same model, over all that is learned by gradient. (Both are
    /// borrowed to change because the walk that sees two at once is the one that moves parameters; no value changes.)
    pub(crate) fn dot(&mut self, other: &mut Self) -> f64 {
        let mut product: f64 = self.tables.iter().zip(&other.tables).map(|(table, other)| table.dot(other)).sum();
        self.net.visit_pair(&mut other.net, &mut Path::starting_at(0), &mut |path, pair| {
            if let (true, Pair::Tensor(values, other, _)) = (path.present(), pair) {
                product += dot(values, other);
            }
        });
        product
    }

    /// `Σ g²` over all that is learned by gradient.
    pub(crate) fn squares(&self) -> f64 {
        self.tables.iter().map(|table| dot(table.values(), table.values())).sum::<f64>() + self.squares_where(|_| true)
    }

    /// `Σ g²` over the dense tensors at these positions of the model's walk.
    pub(crate) fn squares_where(&self, counts: impl Fn(usize) -> bool) -> f64 {
        let mut squares = 0.0;
        self.net.visit(&mut Path::starting_at(self.tables.len()), &mut |path, leaf| {
            if let (true, Leaf::Tensor(values, ..)) = (path.present() && counts(path.slot()), leaf) {
                squares += dot(values, values);
            }
        });
        squares
    }
}
