//! Tests of what a builder refuses, and of the names that it gives.

use super::*;
use crate::StarConfig;
use crate::nn::{AttentionSettings, Combination};

fn config() -> StarConfig {
    let layout = Layout::new(["home", "search"], ["click", "buy"]).field("item", 9).numeric(["price"]);
    StarConfig::builder(&layout).build().unwrap()
}

/// Runs `describe` on a builder that makes layers, and the row.
fn built(describe: impl FnOnce(&mut Builder<'_>, Value)) -> Vec<String> {
    let config = config();
    let mut net = Builder::making(&config);
    let row = net.row().unwrap();
    describe(&mut net, row);
    let (program, layers) = net.finish();
    let names: Vec<String> =
        program.steps.iter().flat_map(|step| &step.names).map(|name| dotted(name, config.layout())).collect();
    assert_eq!(names.len(), layers.len());
    names
}

fn logits(net: &mut Builder<'_>, row: Value, width: usize) -> Value {
    net.mlp("last", row, &[], Some(width), HiddenSettings::default()).unwrap()
}

#[test]
fn a_star_layer_of_any_name_has_a_hidden_part_of_another_name() {
    let names = built(|net, row| {
        let style = Some(HiddenSettings::default());
        let first = net.star(("layers", 0), row, 4, Combination::Product, style).unwrap();
        let late = net.star("late", first, 4, Combination::Product, style).unwrap();
        let logits = logits(net, late, 2);
        net.answer(logits, None);
    });
    assert_eq!(names, ["layers.0", "hidden.0", "late", "late.hidden", "last"]);
}

#[test]
#[should_panic(expected = "two layers have the name \"towers.0\": give each layer another name")]
fn two_layers_of_one_name_are_refused() {
    built(|net, row| {
        for _ in 0..2 {
            net.mlp(("towers", 0), row, &[4], Some(2), HiddenSettings::default()).unwrap();
        }
    });
}

#[test]
#[should_panic(expected = "an answer has one column for each task that it is for")]
fn an_answer_of_another_width_is_refused() {
    built(|net, row| {
        let logits = logits(net, row, 1);
        net.answer(logits, None);
    });
}

#[test]
#[should_panic(expected = "an answer is for task 2, but the layout has 2 tasks")]
fn an_answer_for_a_task_beyond_the_layout_is_refused() {
    built(|net, row| {
        let logits = logits(net, row, 1);
        net.answer(logits, Some(2));
    });
}

#[test]
#[should_panic(expected = "an answer is the whole output of a step")]
fn an_answer_of_some_columns_is_refused() {
    built(|net, row| {
        let logits = logits(net, row, 2);
        net.answer(logits.columns(0..1), Some(0));
    });
}

#[test]
#[should_panic(expected = "0 tokens of equal width")]
fn attention_among_no_tokens_is_refused() {
    built(|net, row| {
        let settings = AttentionSettings { heads: 1, head_width: 2, scaled: true };
        net.attention("attention", row, 0, settings, HiddenSettings::default()).unwrap();
    });
}
