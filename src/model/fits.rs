//! Checks, before a model is made, whether it fits into memory.

use std::fmt::Write as _;

use serde_json::Value;

use super::{AnyConfig, Embeddings, NetConfig};
use crate::data::Layout;
use crate::memory;
use crate::net::Net;

/// Memory is not checked for models smaller than this, in bytes.
const SMALL: f64 = 64e6;

/// How many settings an error text names.
const NAMED: usize = 3;

/// An error text if a model with these settings does not fit into memory: what it needs, and what to make smaller. `None` if it fits.
///
/// `with` returns the settings with one of them changed, unchecked.
pub(crate) fn too_large<C: NetConfig>(
    config: &C,
    settings: impl Fn() -> Value,
    with: impl Fn(&str, Value) -> Option<C>,
) -> Option<String> {
    let bytes = parameters(config);
    if bytes < SMALL {
        return None;
    }
    let total = memory::total();
    (bytes > total || bytes.is_nan()).then(|| {
        let needs = if bytes.is_finite() {
            format!("the parameters take {}", memory::shown(bytes))
        } else {
            "the net has too many layers to count".into()
        };
        let with = |key: &str, value| with(key, value).map(AnyConfig::from);
        let advice = advice(config, &settings(), bytes, Vec::new(), parameters, with);
        refusal(&needs, total, &advice)
    })
}

/// The bytes of a model's parameters and moving averages.
pub(crate) fn parameters(config: &dyn NetConfig) -> f64 {
    (Embeddings::size(config) + Net::size(config)).bytes()
}

/// The text of an error about memory.
pub(crate) fn refusal(needs: &str, there_is: f64, advice: &str) -> String {
    let (there_is, variable) = (memory::shown(there_is), memory::VARIABLE);
    format!("memory: {needs}, there is {there_is}{advice}, or set {variable} if there is more")
}

/// The text `; make smaller: …`, which names the settings that save the most first.
///
/// `bytes` is the size with the current settings; `measure` computes it for others. `found` has further settings, each with the size that
/// remains at its smallest value.
pub(crate) fn advice(
    config: &dyn NetConfig,
    settings: &Value,
    bytes: f64,
    mut found: Vec<(f64, String)>,
    measure: impl Fn(&dyn NetConfig) -> f64,
    with: impl Fn(&str, Value) -> Option<AnyConfig>,
) -> String {
    for (key, value) in settings.as_object().into_iter().flatten() {
        let least = match value {
            Value::Number(number) if number.as_u64().is_some_and(|n| n > 1) && key != "seed" => Value::from(1),
            Value::Array(list) if !list.is_empty() && list.iter().all(Value::is_u64) => Value::from(vec![1]),
            _ => continue,
        };
        // Some settings are valid only together with others: they are not named.
        if let Some(smaller) = with(key, least) {
            found.push((measure(&*smaller), format!("{key} = {}", cut(&value.to_string()))));
        }
    }
    let layout = config.layout();
    let without = |change: &dyn Fn(&mut Layout)| {
        let mut smaller = config.boxed();
        change(smaller.layout_mut());
        measure(&*smaller)
    };
    if let Some((largest, table)) = layout.tables.iter().enumerate().max_by_key(|(_, table)| table.rows) {
        let bytes = without(&|layout| layout.tables[largest].rows = 1);
        found.push((bytes, format!("the table {:?} ({} rows)", cut(&table.name), table.rows)));
    }
    let numbers = layout.numeric.len();
    if numbers > 1 {
        let bytes = without(&|layout| layout.numeric.truncate(1));
        found.push((bytes, format!("the number of numeric features ({numbers})")));
    }
    // Name only settings that save at least a fifth.
    found.retain(|(left, _)| *left < 0.8 * bytes);
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut advice = String::new();
    for (number, (_, name)) in found.iter().take(NAMED).enumerate() {
        let _ = write!(advice, "{}{name}", if number == 0 { "; make smaller: " } else { ", " });
    }
    advice
}

/// The beginning of a long text.
fn cut(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { short + "…" } else { short }
}
