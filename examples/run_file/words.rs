//! Errors of reading a file, in the words of the file: keys and values, and what was meant.

use std::iter;

/// What the deserializer expected, and how a person who writes the file calls it.
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

/// What is said of a value that is neither a name nor a table where it should be one of them.
pub(crate) const NEITHER: &str = "invalid type: unit variant, expected string only";

/// Keys whose values have more than one form, and examples.
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

/// An example of a key's value, if its form is not plain.
pub(crate) fn example(key: &str) -> Option<String> {
    let (_, example) = EXAMPLES.iter().find(|(name, _)| *name == key)?;
    Some(format!("for example `{key} = {example}`"))
}

/// A message of the deserializer without the names of types, and with the key or name that was meant.
pub(crate) fn explained(message: &str) -> String {
    // Not a key of a file: it comes from the columns.
    let mut text = message.replace("`layout`, ", "").replace(NEITHER, "expected a name, or a table with one key");
    for (name, plain) in TYPES {
        for expected in [format!("expected {name}"), format!("expected an {name}")] {
            while let Some(start) = text.find(&expected) {
                let after = start + expected.len();
                // The type's own name comes after a blank.
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

/// The known name that is closest to an unknown one of which the message tells.
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

/// The path of the key whose value alone makes `parse` fail with this message, and that value.
///
/// `always` are keys without which nothing can be read.
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
    // What is missing beside a kind is no fault of the kind.
    let beside = |key: &str| always.contains(&key) && !message.starts_with("unknown variant");
    let mut others = table.iter().filter(|(key, _)| !beside(key));
    let (key, value) = others.find(|(key, value)| fails(((*key).clone(), (*value).clone())))?;
    // A key that is missing is missing beside any other.
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
