//! Which tensors of a model names stand for.

use super::Model;
use crate::data::names::{closest, listed};
use crate::nn::Leaf;
use crate::{Error, ErrorKind, Result};

/// Whether a dotted name starts with `start`, in whole parts, of which `*` is any one.
pub(crate) fn is_below(name: &str, start: &str) -> bool {
    let mut parts = name.split('.');
    start.split('.').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
}

/// By position in the model's walk, whether the tensor is below one of `starts`; empty if there are none.
pub(super) fn frozen<S: AsRef<str>>(model: &Model, starts: &[S]) -> Result<Vec<bool>> {
    if starts.is_empty() {
        return Ok(Vec::new());
    }
    let (mut frozen, mut learns, mut names) = (Vec::new(), false, Vec::new());
    model.visit(|path, leaf| {
        let name = path.name(model.layout());
        let below = starts.iter().any(|start| is_below(&name, start.as_ref()));
        frozen.resize(path.slot() + 1, false);
        frozen[path.slot()] |= below;
        learns |= !below && matches!(leaf, Leaf::Tensor(..));
        names.push(name);
    });
    let unknown = |start: &&S| !names.iter().any(|name| is_below(name, start.as_ref()));
    let mut problems: Vec<String> =
        starts.iter().filter(unknown).map(|start| problem(start.as_ref(), &names)).collect();
    if !learns {
        problems.push("expected to leave something to learn, found every tensor".into());
    }
    if problems.is_empty() {
        return Ok(frozen);
    }
    Err(Error::new(ErrorKind::Config, format!("freeze: {}", problems.join("; "))))
}

/// What is wrong with the start of no tensor's name, and what there is.
fn problem(start: &str, names: &[String]) -> String {
    let parts: Vec<&str> = start.split('.').collect();
    let is_known = |depth: usize| names.iter().any(|name| is_below(name, &parts[..depth].join(".")));
    let depth = (1..parts.len()).rev().find(|&depth| is_known(depth)).unwrap_or_default();
    let known = parts[..depth].join(".");
    let mut next: Vec<&str> = Vec::new();
    for name in names.iter().filter(|name| depth == 0 || is_below(name, &known)) {
        next.extend(name.split('.').nth(depth).filter(|part| !next.contains(part)));
    }
    let there = match (next.is_empty(), known.is_empty()) {
        (true, _) => String::new(),
        (false, true) => format!("; names start with {}", listed(&next)),
        (false, false) => format!("; behind {known:?} there is {}", listed(&next)),
    };
    let close = closest(parts[depth], &next).map_or(String::new(), |close| {
        let meant = if known.is_empty() { close.to_owned() } else { format!("{known}.{close}") };
        format!(" (did you mean {meant:?}?)")
    });
    format!("no tensor has a name that starts with {start:?}{there}{close}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_whole_parts_and_a_star_is_any_one() {
        let name = "net.layers.0.domain.search.weight";
        for start in ["net", "net.layers.0", "net.layers.*.domain", "*.layers", name, "net.layers.0.domain.*.weight"] {
            assert!(is_below(name, start), "{start}");
        }
        for start in ["", "ne", "net.", "net.layers.1", "net.*.domain", "layers", "net.layers.0.domain.search.weight.*"]
        {
            assert!(!is_below(name, start), "{start}");
        }
    }

    #[test]
    fn what_is_unknown_is_told_what_there_is() {
        let names = ["embeddings.user", "net.layers.0.weight", "net.layers.1.weight"].map(String::from);
        let text = problem("net.layers.2.weight", &names);
        assert!(text.contains(r#"behind "net.layers" there is "0", "1""#), "{text}");
        let text = problem("embedings", &names);
        assert!(text.contains(r#"names start with "embeddings", "net" (did you mean "embeddings"?)"#), "{text}");
        assert_eq!(
            problem("embeddings.user.0", &names),
            r#"no tensor has a name that starts with "embeddings.user.0""#,
        );
    }
}
