//! Writes what `check.py` compares: graphs of all models, rows, and what the models themselves make of them.
//!
//! ```text
//! onnx_cases FOLDER
//! ```

mod cases;
#[path = "../reading/mod.rs"]
mod reading;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use ndarray::Array2;
use serde_json::{Value, json};
use starple::data::{Batch, Layout};
use starple::onnx;

use crate::cases::{cases, counted, counted_rows, fractions, ids, rows};

const ROWS: usize = 10_000;

/// Writes what `check.py` compares.
#[derive(Parser)]
struct Arguments {
    /// Where to.
    folder: PathBuf,
}

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let Arguments { folder } = Arguments::parse();
    let folder = folder.as_path();
    fs::create_dir_all(folder)?;
    let (mut inputs, mut written) = (BTreeMap::new(), Vec::new());
    for (index, case) in cases().enumerate() {
        // Rows have no domain: models of one layout, but for its domains, read the same.
        let layout = Layout { domains: Vec::new(), tasks: Vec::new(), ..case.model.layout().clone() };
        let number = inputs.len();
        let of_layout = inputs.entry(serde_json::to_string(&layout)?);
        let (batch, listed) = match of_layout {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let batch = rows(&layout, ROWS, number as u64);
                let listed = write_rows(folder, number, &layout, &batch)?;
                entry.insert((batch, listed))
            }
        };
        let name = format!("{index:03}-{}", case.kind);
        let paths = onnx::save_all(&case.model, folder.join(&name))?;
        let mut graphs = Vec::new();
        for (domain, path) in case.domains().zip(paths) {
            let logits = path.with_extension("logits");
            write_floats(&logits, &case.model.forward(batch, domain))?;
            graphs.push(json!({ "graph": path, "logits": logits }));
        }
        written.push(json!({
            "kind": case.kind,
            "settings": case.settings,
            "tasks": case.model.layout().tasks,
            "inputs": listed,
            "graphs": graphs,
        }));
    }
    written.extend(write_counted(folder)?);
    fs::write(folder.join("cases.json"), serde_json::to_string(&json!({ "rows": ROWS, "cases": written }))?)?;
    Ok(())
}

/// A model with its encoder: the graphs compute target statistics by themselves. One case for each domain, as the statistics that the model
/// gets depend on it.
fn write_counted(folder: &Path) -> Outcome<Vec<Value>> {
    let (case, encoder) = counted();
    let paths = onnx::save_all((&case.model, &encoder), folder.join("counted"))?;
    let mut written = Vec::new();
    for (number, (domain, path)) in case.domains().zip(paths).enumerate() {
        let mut batch = counted_rows(&encoder, domain, ROWS);
        let logits = path.with_extension("logits");
        write_floats(&logits, &case.model.forward(&batch, domain))?;
        // Only the age is a number of the caller.
        let layout = Layout { numeric: vec!["age".into()], ..case.model.layout().clone() };
        batch.numeric = batch.numeric.slice(ndarray::s![.., ..1]).to_owned();
        written.push(json!({
            "kind": case.kind,
            "settings": case.settings,
            "tasks": layout.tasks,
            "inputs": write_rows(folder, 1000 + number, &layout, &batch)?,
            "graphs": [json!({ "graph": path, "logits": logits })],
        }));
    }
    Ok(written)
}

/// Writes one file for each input of a graph, and lists them.
fn write_rows(folder: &Path, number: usize, layout: &Layout, batch: &Batch) -> Outcome<Value> {
    let mut listed = Vec::new();
    let mut list = |name: &str, of: &str, shape: Vec<usize>, bytes: Vec<u8>| -> Outcome {
        let path = folder.join(format!("rows-{number}-{}", listed.len()));
        fs::write(&path, bytes)?;
        listed.push(json!({ "name": name, "type": of, "shape": shape, "path": path }));
        Ok(())
    };
    for (i, field) in layout.fields.iter().enumerate() {
        let ids = ids(layout, batch, i);
        list(&field.name, "<i8", ids.shape().to_vec(), ids.iter().flat_map(|id| id.to_le_bytes()).collect())?;
    }
    for (name, fractions) in (0..layout.fields.len()).filter_map(|f| fractions(layout, batch, f)) {
        let bytes = fractions.iter().flat_map(|fraction| fraction.to_le_bytes()).collect();
        list(&name, "<f4", vec![fractions.len()], bytes)?;
    }
    if !layout.numeric.is_empty() {
        list("numeric", "<f4", batch.numeric.shape().to_vec(), floats(&batch.numeric))?;
    }
    Ok(listed.into())
}

fn write_floats(path: &Path, values: &Array2<f32>) -> Outcome {
    Ok(fs::write(path, floats(values))?)
}

fn floats(values: &Array2<f32>) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
