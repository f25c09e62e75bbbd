//! What stands in front of a net: the steps of [`InteractionsConfig`](crate::model::InteractionsConfig).

use super::{Builder, Built};
use crate::model::{CrossStructure, InteractionsConfig};
use crate::net::layer::{Layer, Name};
use crate::net::program::Value;
use crate::nn::{Combination, HiddenSettings, Part};

impl Builder<'_> {
    /// Adds the terms of the logits that are computed from the row embedded by the tables of `owner`.
    pub(super) fn add_terms(&mut self, owner: usize, row: Value) -> Built {
        let Some(settings) = self.interactions.clone() else { return Ok(()) };
        if settings.fm() {
            self.add_fm(owner, row)?;
        }
        if settings.cross_structure() == CrossStructure::Parallel {
            let crossed = self.crossed(&settings, owner, row)?;
            self.add_affine(owner, "cross_logits", crossed)?;
        }
        Ok(())
    }

    /// The input of the net: the row, or the output of stacked cross layers.
    pub(super) fn input_of(&mut self, owner: usize, row: Value) -> Built<Value> {
        match self.interactions.clone() {
            Some(settings) if settings.cross_structure() == CrossStructure::Stacked => {
                self.crossed(&settings, owner, row)
            }
            _ => Ok(row),
        }
    }

    fn crossed(&mut self, settings: &InteractionsConfig, owner: usize, row: Value) -> Built<Value> {
        let mut value = row;
        for layer in 0..settings.cross_layers() {
            let name = self.term_name(owner, &[Part::Field("cross"), Part::Index(layer)]);
            value = self.cross(name, row, value, settings.cross_rank())?;
        }
        Ok(value)
    }

    fn add_fm(&mut self, owner: usize, row: Value) -> Built {
        let fields = InteractionsConfig::paired(&self.columns, self.embedding_dim);
        let parts: Vec<Value> = fields.map(|field| row.columns(field.values())).collect();
        assert!(parts.len() >= 2, "a factorization machine has at least two fields of width {}", self.embedding_dim);
        let pairs = self.pairwise(parts)?;
        let (name, outputs) = (self.term_name(owner, &[Part::Field("fm")]), self.outputs_of(owner));
        let own_domain = self.own_tables && self.branches[owner].domain().is_some();
        // A branch for one domain has one weight and one bias for each of its tasks anyway.
        let logits = if own_domain {
            self.mlp(name, pairs, &[], Some(outputs), HiddenSettings::default())?
        } else {
            self.star(name, pairs, outputs, Combination::Add, None)?
        };
        if let Some((_, layers)) = &mut self.made {
            match layers.last_mut() {
                Some(Layer::Mlp(mlp)) => mlp.layers[0].weight.fill(1.0),
                Some(Layer::Star(star)) => star.shared.weight.fill(1.0),
                _ => unreachable!("the layer was just made"),
            }
        }
        self.answer_of(owner, logits);
        self.add_affine(owner, "linear", row)
    }

    /// Adds an affine map of a value, which starts at 0, to the logits.
    fn add_affine(&mut self, owner: usize, name: &'static str, value: Value) -> Built {
        let (name, outputs) = (self.term_name(owner, &[Part::Field(name)]), self.outputs_of(owner));
        let logits = self.mlp_from_zero(name, value, &[], outputs, HiddenSettings::default())?;
        self.answer_of(owner, logits);
        Ok(())
    }

    fn outputs_of(&self, owner: usize) -> usize {
        if self.own_tables { self.outputs(self.branches[owner]) } else { self.layout.tasks.len() }
    }

    fn answer_of(&mut self, owner: usize, logits: Value) {
        if self.own_tables {
            self.answer_branch(owner, logits);
        } else {
            self.answer(logits, None);
        }
    }

    fn term_name(&self, owner: usize, last: &[Part]) -> Name {
        let branch = self.own_tables.then(|| Part::Branch(self.branches[owner]));
        [Part::Field("interactions")].into_iter().chain(branch).chain(last.iter().copied()).collect()
    }
}
