//! Whether a model fits into memory, before it is made.

use std::fmt::Write as _;

use serde_json::Value;

use super::{AnyConfig, Embeddings, NetConfig};
use crate::data::Layout;
use crate::memory;
use crate::net::Net;

/// Below this number of bytes, memory is not checked.
const SMALL: f64 = 64e6;

/// How many settings an error names.
const NAMED: usize = 3;

/// Why a model of these settings does not fit into memory, what takes the most, and what to make smaller; `None` if it fits.
///
/// `with` gives the same settings with another value of one of them, unchecked.
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

/// The bytes of a model's parameters.
pub(crate) fn parameters(config: &dyn NetConfig) -> f64 {
    (Embeddings::size(config) + Net::size(config)).bytes()
}

/// The text of an error about memory.
pub(crate) fn refusal(needs: &str, there_is: f64, advice: &str) -> String {
    let (there_is, variable) = (memory::shown(there_is), memory::VARIABLE);
    format!("memory: {needs}, there is {there_is}{advice}, or set {variable} if there is more")
}

/// What to make smaller, the settings that matter most first: `; make smaller: …`.
///
/// `bytes` is what the settings take now, and `measure` what others would; `found` has further settings, and what is left with the
/// least of each.
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
        // What some settings are cannot be changed alone: such a one is not named.
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
    // What does not take a fifth off is not worth a word.
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
