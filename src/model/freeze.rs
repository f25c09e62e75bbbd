//! Finds the tensors of a model by the beginnings of their names.

use super::Model;
use crate::data::names::{closest, listed};
use crate::nn::Leaf;
use crate::{Error, ErrorKind, Result};

/// Whether a dotted name starts with `start`, compared in whole parts. `*` matches any one part.
pub(crate) fn is_below(name: &str, start: &str) -> bool {
    let mut parts = name.split('.');
    start.split('.').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
}

/// For every tensor, in the order of [`Model::visit`], whether its name starts with one of `starts`. Empty if `starts` is empty.
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
        problems.push("expected at least one tensor to train, found all of them frozen".into());
    }
    if problems.is_empty() {
        return Ok(frozen);
    }
    Err(Error::new(ErrorKind::Config, format!("freeze: {}", problems.join("; "))))
}

/// The error text for a start that matches no tensor, with the names that there are.
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
        (false, false) => format!("; after {known:?} comes {}", listed(&next)),
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
    fn starts_match_whole_parts_and_a_star_any_one() {
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
    fn an_unknown_start_is_answered_with_the_names_that_there_are() {
        let names = ["embeddings.user", "net.layers.0.weight", "net.layers.1.weight"].map(String::from);
        let text = problem("net.layers.2.weight", &names);
        assert!(text.contains(r#"after "net.layers" comes "0", "1""#), "{text}");
        let text = problem("embedings", &names);
        assert!(text.contains(r#"names start with "embeddings", "net" (did you mean "embeddings"?)"#), "{text}");
        assert_eq!(
            problem("embeddings.user.0", &names),
            r#"no tensor has a name that starts with "embeddings.user.0""#,
        );
    }
}
