//! Turns errors of the deserializer into texts about keys and values of the file, with suggestions.

use std::iter;

/// Names of types in messages of the deserializer, and words for the author of a file.
const TYPES: [(&str, &str); 14] = [
    ("string or map", "a name, or a table with one key"),
    ("internally tagged enum ", "a table with `kind`"),
    ("struct variant ", "a table"),
    ("newtype variant ", "one value"),
    ("unit variant ", "a name without settings"),
    ("struct ", "a table"),
    ("enum ", "a name, or a table with one key"),
    ("a sequence", "a list"),
    ("a map", "a table"),
    ("usize", "a whole number, at least 0"),
    ("u64", "a whole number, at least 0"),
    ("u32", "a whole number, at least 0"),
    ("f64", "a number"),
    ("f32", "a number"),
];

/// The expectation for a value that must be a name or a table.
pub(crate) const NEITHER: &str = "invalid type: unit variant, expected string only";

/// Keys whose values have several forms, with examples.
const EXAMPLES: [(&str, &str); 10] = [
    ("optimizer", "{ kind = \"adam\", lr = 0.001 }"),
    ("embedding_optimizer", "{ kind = \"rowwise_adagrad\", lr = 0.05 }"),
    ("schedule", "{ kind = \"cosine\", total_steps = 2000 }"),
    ("clip", "{ norm = 5.0 }` or `clip = { value = 1.0 }"),
    ("early_stop", "{ patience = 3 }"),
    ("batches", "\"mixed\"`, `batches = \"one_domain\"` or `batches = { mixed = { max_domains = 4 } }"),
    ("objective", "{ units = \"domains\" }"),
    ("weighting", "{ kind = \"gradnorm\", alpha = 1.5 }"),
    ("monitor", "{ metric = \"auc\", task = \"click\" }"),
    ("freeze", "[\"embeddings.user\"]"),
];

/// An example of the value of a key, if it has several forms.
pub(crate) fn example(key: &str) -> Option<String> {
    let (_, example) = EXAMPLES.iter().find(|(name, _)| *name == key)?;
    Some(format!("for example `{key} = {example}`"))
}

/// A message of the deserializer without names of types, and with the key or name that was probably meant.
pub(crate) fn explained(message: &str) -> String {
    // Not a key of the file: it is fitted on the columns.
    let mut text = message.replace("`layout`, ", "").replace(NEITHER, "expected a name, or a table with one key");
    for (name, plain) in TYPES {
        for expected in [format!("expected {name}"), format!("expected an {name}")] {
            while let Some(start) = text.find(&expected) {
                let after = start + expected.len();
                // The name of the type follows a blank.
                let end = if name.ends_with(' ') {
                    let rest = &text[after..];
                    after + rest.find(|c: char| !(c.is_alphanumeric() || "_:<>".contains(c))).unwrap_or(rest.len())
                } else {
                    after
                };
                text.replace_range(start..end, &format!("expected {plain}"));
            }
        }
    }
    match meant(&text) {
        Some(name) => format!("{} (did you mean `{name}`?)", text.trim_end()),
        None => text,
    }
}

/// The known name that is most similar to the unknown name in the message.
fn meant(message: &str) -> Option<String> {
    let start = ["unknown field `", "unknown variant `", "unknown key `", "unknown kind \""]
        .iter()
        .find_map(|start| message.find(start).map(|at| at + start.len()))?;
    let (unknown, rest) = message[start..].split_once(['`', '"'])?;
    let (_, known) = rest.split_once("expected ")?;
    let known = known.lines().next()?.trim_start_matches("one of ");
    let names: Vec<&str> = if known.contains('`') {
        known.split('`').skip(1).step_by(2).collect()
    } else {
        known.split(", ").map(str::trim).collect()
    };
    starple::closest(unknown, &names).map(str::to_owned)
}

/// The path of the key whose value causes this message of `parse`, and that value.
///
/// `always` are keys that are always required.
pub(crate) fn culprit<'t>(
    table: &'t toml::Table,
    always: &[&str],
    message: &str,
    parse: &dyn Fn(toml::Table) -> Result<(), String>,
) -> Option<(Vec<&'t str>, &'t toml::Value)> {
    let kept = || always.iter().filter_map(|&key| Some((key.to_owned(), table.get(key)?.clone())));
    let fails = |entry: (String, toml::Value)| {
        parse(kept().chain(iter::once(entry)).collect()).is_err_and(|error| error == message)
    };
    // A missing key next to `kind` is not an error of `kind`.
    let beside = |key: &str| always.contains(&key) && !message.starts_with("unknown variant");
    let mut others = table.iter().filter(|(key, _)| !beside(key));
    let (key, value) = others.find(|(key, value)| fails(((*key).clone(), (*value).clone())))?;
    // A missing key is missing in all attempts.
    if let toml::Value::Table(inner) = value
        && !message.starts_with("missing field")
    {
        let parse =
            |inner: toml::Table| parse(kept().chain(iter::once((key.clone(), toml::Value::Table(inner)))).collect());
        if let Some((mut path, value)) = culprit(inner, &["kind"], message, &parse) {
            path.insert(0, key);
            return Some((path, value));
        }
    }
    Some((vec![key], value))
}
