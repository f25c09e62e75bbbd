//! Writes the ONNX file of a model.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use prost::Message as _;

use super::embeddings::Rows;
use super::graph::{Dim, Graph, Tensor};
use super::lower::lower;
use super::proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use super::{FRACTION, LOGITS, NUMERIC, PREDICTIONS, PROBABILITIES, ROWS};
use crate::data::{DomainId, Encoder, Layout, Pooling, Target};
use crate::error::Problems;
use crate::metrics::SHARED_DOMAIN;
use crate::model::{Model, PlanStep};
use crate::nn::escape;
use crate::persist::check_layouts;
use crate::{Error, ErrorKind, Result, persist};

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// The argument of [`export`], [`save`] and [`save_all`]: a model, or a model with its encoder. Write `&model` or `(&model, &encoder)`; both convert
/// into this type. The encoder is the one with which the model was trained.
///
/// The encoder matters only if it has [target statistics](crate::data::TargetStatistics), which are numeric inputs computed from ids. With the
/// encoder, the graph computes them, and its input `numeric` has only the other numbers. Without it, `numeric` also has the statistics, and the
/// caller must compute them. If there are no statistics, both graphs are equal.
#[derive(Debug, Clone, Copy)]
pub struct Exported<'a> {
    model: &'a Model,
    encoder: Option<&'a Encoder>,
}

impl<'a> From<&'a Model> for Exported<'a> {
    fn from(model: &'a Model) -> Self {
        Self { model, encoder: None }
    }
}

impl<'a> From<(&'a Model, &'a Encoder)> for Exported<'a> {
    fn from((model, encoder): (&'a Model, &'a Encoder)) -> Self {
        Self { model, encoder: Some(encoder) }
    }
}

/// Exports a model for the rows of one domain, and returns the bytes of the ONNX file. The file contains a graph that computes logits, and
/// probabilities or predicted numbers; [the module](super) describes its inputs and outputs.
///
/// * `exported` is the model, `&model`, or the model with its encoder, `(&model, &encoder)`; [`Exported`] says when the encoder matters.
/// * `domain` is the domain. [`DomainId::SHARED`] exports the graph for rows of no known domain.
///
/// Every graph contains a copy of the embedding tables that it reads.
///
/// # Errors
/// * [`ErrorKind::UnknownDomain`]: the model does not have this domain.
/// * [`ErrorKind::Layout`]: the encoder has another layout than the model.
/// * [`ErrorKind::Config`]: a field of the model has the name of an output (`logits`, and `probabilities` or `predictions`) or of another input
///   (`numeric`, or the fractions of an embedded number); the net has a [layer of your own](crate::net::CustomLayer); or the file would have 2 GiB
///   or more, the limit of the format.
///
/// # Panics
/// If the model has a net of your own that gives no logit for a task in this domain, or adds a value of the wrong width to logits.
pub fn export<'a>(exported: impl Into<Exported<'a>>, domain: DomainId) -> Result<Vec<u8>> {
    let Exported { model, encoder } = exported.into();
    let layout = model.layout();
    let name = domain_name(layout, domain)?;
    let mut statistics = 0;
    if let Some(encoder) = encoder {
        check_layouts(encoder, model)?;
        statistics = encoder.statistics_inputs().map(|(_, names)| names.len()).sum();
    }
    let numeric = &layout.numeric[..layout.numeric.len() - statistics];
    check_names(layout, !numeric.is_empty())?;
    let fields = layout.fields.iter().map(|field| field.name.clone());
    let plan = model.plan();
    if plan.steps.iter().any(|step| matches!(step, PlanStep::Custom { .. })) {
        let message = "expected a net of this crate's layers, found a layer of your own, which has no ONNX form";
        return Err(Error::new(ErrorKind::Config, message).with_help("serve it with starple::serve"));
    }
    let answers = if layout.all_binary() { PROBABILITIES } else { PREDICTIONS };
    let mut graph = Graph::new(model, [NUMERIC, LOGITS, answers].map(String::from).into_iter().chain(fields));
    let encoder = encoder.map(|encoder| (encoder, domain));
    let rows = Rows::new(&mut graph, layout, numeric.len(), encoder, model.embeddings());
    let logits = lower(&plan, domain, layout.tasks.len(), &rows, &mut graph);
    let answered = answer(&mut graph, layout, logits);
    let dims = [Dim::Named(ROWS), Dim::Fixed(layout.tasks.len())];
    graph.output(LOGITS, logits, &dims);
    graph.output(answers, answered, &dims);

    let kind = model.config().kind();
    let kinds: Vec<String> = (0..layout.tasks.len()).map(|task| layout.target(task).kind().to_string()).collect();
    let list = |names: &[String]| serde_json::json!(names).to_string();
    let metadata = [
        ("kind", kind.to_owned()),
        ("domain", name.to_owned()),
        ("tasks", list(&layout.tasks)),
        ("kinds", list(&kinds)),
        ("numeric", list(numeric)),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let file = ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph.finish(kind)),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata.map(|(key, value)| StringStringEntryProto { key: key.to_owned(), value }).into(),
    };
    let size = file.encoded_len();
    if i32::try_from(size).is_err() {
        let message = format!("expected an ONNX file of less than 2 GiB, found {size} bytes for this model");
        return Err(Error::new(ErrorKind::Config, message).with_help("make embedding tables smaller"));
    }
    Ok(file.encode_to_vec())
}

/// The answer of each task for its logit.
fn answer(graph: &mut Graph<'_>, layout: &Layout, logits: Tensor) -> Tensor {
    if layout.all_binary() {
        return graph.sigmoid(logits);
    }
    let column = |task: usize| {
        let z = graph.columns(logits, task..task + 1);
        match layout.target(task) {
            Target::Binary => graph.sigmoid(z),
            Target::Regression { mean, deviation, .. } => {
                let scaled = graph.scale(z, deviation as f32);
                let mean = graph.number(mean as f32);
                graph.add(scaled, mean)
            }
            Target::Count => graph.exp(z),
        }
    };
    let columns: Vec<Tensor> = (0..layout.tasks.len()).map(column).collect();
    graph.concat(&columns, 1)
}

/// Exports a model for the rows of one domain, as [`export`] does, and writes the ONNX file to `path`. An existing file is replaced.
///
/// `exported` is the model, `&model`, or the model with its encoder, `(&model, &encoder)` ([`Exported`]). `domain` is the domain, or
/// [`DomainId::SHARED`] for rows of no known domain.
///
/// # Errors
/// [`ErrorKind::UnknownDomain`], [`ErrorKind::Layout`] and [`ErrorKind::Config`] for the reasons that [`export`] lists. [`ErrorKind::Io`] if the
/// file cannot be written. After an error, an existing file is unchanged.
///
/// # Panics
/// If the model has a net of your own that gives no logit for a task in this domain, or adds a value of the wrong width to logits.
pub fn save<'a>(exported: impl Into<Exported<'a>>, domain: DomainId, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let bytes = export(exported, domain)?;
    persist::replace(path, |file| file.write_all(&bytes))
}

/// Exports a model for every domain into a folder: one file `NAME.onnx` for each domain, and `(shared).onnx` for rows of no known domain.
/// NAME is the name of the domain, in which `.`, `/` and `%` are written as `%2E`, `%2F` and `%25`. The folder is created if it does not exist, and
/// existing files are replaced. Returns the paths of the files in the order of [`Layout::domains`](crate::data::Layout::domains), with
/// `(shared).onnx` last.
///
/// `exported` is the model, `&model`, or the model with its encoder, `(&model, &encoder)` ([`Exported`]).
///
/// # Errors
/// [`ErrorKind::Layout`] and [`ErrorKind::Config`] for the reasons that [`export`] lists. [`ErrorKind::Io`] if the folder cannot be created or a
/// file cannot be written. Files that were written before the error stay.
///
/// # Panics
/// If the model has a net of your own that gives no logit for a task in a domain, or adds a value of the wrong width to logits.
pub fn save_all<'a>(exported: impl Into<Exported<'a>>, folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let exported = exported.into();
    let (folder, layout) = (folder.as_ref(), exported.model.layout());
    std::fs::create_dir_all(folder).map_err(|error| Error::new(ErrorKind::Io, error.to_string()).at_path(folder))?;
    let domains = (0..layout.domains.len()).map(DomainId::new).chain([DomainId::SHARED]);
    let save = |domain| {
        let path = folder.join(format!("{}.onnx", escape(domain_name(layout, domain)?)));
        save(exported, domain, &path).map(|()| path)
    };
    domains.map(save).collect()
}

fn domain_name(layout: &Layout, domain: DomainId) -> Result<&str> {
    let Some(index) = domain.index() else { return Ok(SHARED_DOMAIN) };
    layout.domains.get(index).map(String::as_str).ok_or_else(|| {
        let message = format!("expected the position of a domain, below {}", layout.domains.len());
        Error::new(ErrorKind::UnknownDomain, message).with_value(index.to_string())
    })
}

/// An input has the name of its field. So a field must not have the name of another input or of an output.
fn check_names(layout: &Layout, numeric: bool) -> Result<()> {
    let mut problems = Problems::default();
    let numeric = numeric.then_some(NUMERIC);
    let positions = layout.fields.iter().filter(|field| field.bag == Some(Pooling::Interpolate));
    let fractions: Vec<String> = positions.map(|field| format!("{}{FRACTION}", field.name)).collect();
    let output = if layout.all_binary() { PROBABILITIES } else { PREDICTIONS };
    for name in [LOGITS, output].into_iter().chain(numeric).chain(fractions.iter().map(String::as_str)) {
        let free = layout.fields.iter().all(|field| field.name != name);
        problems.require(free, || {
            format!("field {name:?}: an ONNX graph has another tensor of that name; rename the field")
        });
    }
    problems.into_result("onnx")
}
