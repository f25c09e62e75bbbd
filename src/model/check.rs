//! Checks that the settings of several models share.

use crate::data::{InputColumns, Layout};
use crate::error::Problems;
use crate::metrics::SHARED_DOMAIN;
use crate::nn::HiddenSettings;

/// The largest width of a layer or embedding. It is far above practical sizes, and no size computation overflows below it.
pub(crate) const MAX_WIDTH: usize = 1 << 16;

/// The largest number of values of an embedded row.
const MAX_COLUMNS: f64 = (1_u32 << 31) as f64;

/// The largest number of experts, heads or subspaces.
pub(crate) const MAX_COUNT: usize = 1 << 12;

/// The largest number of levels or layers.
pub(crate) const MAX_DEPTH: usize = 1 << 8;

/// Checks a dropout rate.
pub(crate) fn check_rate(name: &str, rate: f32, problems: &mut Problems) {
    problems.require((0.0..1.0).contains(&rate), || format!("{name}: 0 <= {name} < 1, found {rate}"));
}

/// Notes invalid values in the settings that all models have.
pub(crate) fn check_common(layout: &Layout, dim: usize, std: f32, style: HiddenSettings, problems: &mut Problems) {
    let Layout { tables, fields, sequences, numeric, domains, tasks, .. } = layout;
    problems.require(!fields.is_empty() || !numeric.is_empty(), || "layout: at least one field or number".into());
    problems.require(!domains.is_empty(), || "layout.domains: at least one".into());
    problems.require(!tasks.is_empty(), || "layout.tasks: at least one".into());
    layout.check_tables(problems);
    layout.check_targets(problems);
    let lists: [(&str, Vec<&String>); 6] = [
        ("tables", tables.iter().map(|table| &table.name).collect()),
        ("fields", fields.iter().map(|field| &field.name).collect()),
        ("sequences", sequences.iter().map(|sequence| &sequence.name).collect()),
        ("numeric", numeric.iter().collect()),
        ("domains", domains.iter().collect()),
        ("tasks", tasks.iter().collect()),
    ];
    problems.require(!domains.iter().any(|name| name == SHARED_DOMAIN), || {
        format!("layout.domains: {SHARED_DOMAIN:?} names the rows of no known domain; rename the domain")
    });
    for (what, mut names) in lists {
        problems.require(names.iter().all(|name| !name.is_empty()), || format!("layout.{what}: no name may be empty"));
        names.sort_unstable();
        for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
            problems.require(false, || format!("layout.{what}: {:?} is listed twice", pair[0]));
        }
    }
    problems.require(dim >= 1, || format!("embedding_dim: at least 1, found {dim}"));
    problems.require(dim <= MAX_WIDTH, || format!("embedding_dim: at most {MAX_WIDTH}, found {dim}"));
    let columns = InputColumns::width_f64(layout, dim);
    problems.require(columns <= MAX_COLUMNS, || {
        format!("layout: an embedded row has at most {MAX_COLUMNS} values, found {columns}; use smaller widths, or keep fewer values")
    });
    problems.require(std.is_finite() && std >= 0.0, || format!("embedding_std: finite and at least 0, found {std}"));
    check_rate("dropout", style.dropout, problems);
}

/// The first widths of a list, for an error text.
pub(crate) fn shown(widths: &[usize]) -> String {
    let more = if widths.len() > 16 { ", …" } else { "" };
    let first: Vec<String> = widths.iter().take(16).map(usize::to_string).collect();
    format!("[{}{more}]", first.join(", "))
}

/// Notes an invalid list of layer widths.
pub(crate) fn check_widths(name: &str, widths: &[usize], problems: &mut Problems) {
    let count = widths.len();
    if count > MAX_DEPTH {
        return problems.require(false, || format!("{name}: at most {MAX_DEPTH} layers, found {count}"));
    }
    problems.require(!widths.contains(&0), || format!("{name}: every width at least 1, found {}", shown(widths)));
    problems.require(widths.iter().all(|&width| width <= MAX_WIDTH), || {
        format!("{name}: every width at most {MAX_WIDTH}, found {}", shown(widths))
    });
}

/// Notes a number above its maximum.
pub(crate) fn check_most(name: &str, number: usize, most: usize, problems: &mut Problems) {
    problems.require(number <= most, || format!("{name}: at most {most}, found {number}"));
}

/// Notes invalid settings of experts. `count` is the number of experts that a gate mixes; the settings `keys` determine it.
pub(crate) fn check_experts(hidden: &[usize], keys: &str, count: usize, problems: &mut Problems) {
    check_widths("expert_hidden", hidden, problems);
    problems.require(!hidden.is_empty(), || "expert_hidden: at least one layer, found none".into());
    problems.require(count >= 1, || format!("{keys}: at least one expert for a gate to mix, found 0"));
    check_most(keys, count, MAX_COUNT, problems);
}

/// Notes invalid widths of a bottom.
pub(crate) fn check_bottoms(hidden: &[usize], problems: &mut Problems) {
    check_widths("bottom_hidden", hidden, problems);
    problems.require(!hidden.is_empty(), || "bottom_hidden: at least one layer, found none".into());
}

/// Notes invalid widths of stitched stacks, and an invalid `own_weight`.
pub(crate) fn check_stacks(hidden: &[usize], own_weight: f32, problems: &mut Problems) {
    check_widths("hidden", hidden, problems);
    problems.require(!hidden.is_empty(), || "hidden: at least one layer, found none".into());
    problems
        .require((0.0..=1.0).contains(&own_weight), || format!("own_weight: 0 <= own_weight <= 1, found {own_weight}"));
}
