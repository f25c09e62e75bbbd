//! A net that reads values by field: a table that two fields share, attention over a history, a product, a gate on the columns of a table of
//! another width, and a stopped gradient.

use serde::{Deserialize, Serialize};
use starple::data::{Layout, Pooling};
use starple::model::NetConfig;
use starple::net::{Builder, Built, Describe};
use starple::nn::{Combination, HiddenSettings};

/// The width of tables that have none of their own.
pub(crate) const DIM: usize = 4;

/// The width of the tags' table.
#[allow(dead_code, reason = "not every user of this file counts columns")]
pub(crate) const TAGS: usize = 2;

/// How many items of a history are kept.
pub(crate) const KEPT: usize = 3;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reading {
    pub(crate) layout: Layout,
}

pub(crate) fn layout() -> Layout {
    Layout::new(["home", "search"], ["click", "buy"])
        .field("user", 5)
        .field("item", 7)
        .field_of("history", "item", Some(Pooling::Keep(KEPT)))
        .bag("tags", 6, Pooling::Mean)
        .width("tags", TAGS)
        .numeric(["price"])
}

impl NetConfig for Reading {
    fn kind(&self) -> &'static str {
        "reading"
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn layout_mut(&mut self) -> &mut Layout {
        &mut self.layout
    }

    fn embedding_dim(&self) -> usize {
        DIM
    }

    fn embedding_std(&self) -> f32 {
        0.5
    }

    fn seed(&self) -> u64 {
        4
    }
}

/// ```text
///   logits  star([a, user ⊙ item, 2·σ(g) ⊙ tags, sg(user)])
///   a       Σ_m α_m·history_m,  α = softmax_m(⟨q, history_m⟩ / √DIM)
///   q       item·W_q + b_q
///   g       sg(x)·W_g + b_g
/// ```
impl Describe for Reading {
    fn describe(&self, net: &mut Builder<'_>) -> Built {
        let (style, tasks) = (HiddenSettings::default(), net.layout().tasks.len());
        let (row, user, item) = (net.row()?, net.field("user")?, net.field("item")?);
        let (history, tags) = (net.sequence("history")?, net.field("tags")?);
        let query = net.mlp("query", item, &[], Some(item.width()), style)?;
        let attended = net.attend(query, history)?;
        let crossed = net.product(user, item)?;
        let gate = net.mlp("gate", row.stopped(), &[], Some(tags.width()), style)?;
        let gated = net.scale(tags, gate, 2.0)?;
        let all = net.concat(vec![attended, crossed, gated, user.stopped()])?;
        let logits = net.star("last", all, tasks, Combination::Product, None)?;
        net.answer(logits, None);
        Ok(())
    }
}
