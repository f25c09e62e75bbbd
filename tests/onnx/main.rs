//! Exported graphs: well formed, and the models that they are of. `check.sh` lets ONNX Runtime say the same.

mod cases;
mod own;
#[path = "../../src/onnx/proto.rs"]
mod proto;
#[path = "../reading/mod.rs"]
mod reading;
mod run;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use starple::data::{Batch, DomainId, Layout};
use starple::model::Model;
use starple::nn::Leaf;
use starple::{ErrorKind, Pooled, PooledConfig, onnx};

use crate::cases::{Case, cases, counted, counted_rows, fractions, ids, layout, rows};
use crate::proto::{
    FLOAT, FLOAT_ATTRIBUTE, GraphProto, INT_ATTRIBUTE, INT64, INTS_ATTRIBUTE, ModelProto, ValueInfoProto,
};
use crate::run::{Tensor, constant, run};

/// The graph of a model for a domain.
fn graph(model: &Model, domain: DomainId) -> GraphProto {
    read(&onnx::export(model, domain).unwrap()).graph.unwrap()
}

fn read(bytes: &[u8]) -> ModelProto {
    ModelProto::decode(bytes).unwrap()
}

fn first_of(kind: &str) -> Case {
    cases().find(|case| case.kind == kind).unwrap()
}

fn inputs(layout: &Layout, batch: &Batch) -> BTreeMap<String, Tensor> {
    let fields = layout.fields.iter().enumerate();
    let mut inputs: BTreeMap<String, Tensor> =
        fields.map(|(i, field)| (field.name.clone(), ids(layout, batch, i).mapv(|id| id as f64))).collect();
    for (name, fractions) in (0..layout.fields.len()).filter_map(|f| fractions(layout, batch, f)) {
        inputs.insert(
            name,
            fractions.iter().map(|&fraction| f64::from(fraction)).collect::<ndarray::Array1<f64>>().into_dyn(),
        );
    }
    if !layout.numeric.is_empty() {
        inputs.insert("numeric".into(), batch.numeric.mapv(f64::from).into_dyn());
    }
    inputs
}

/// Everything is defined once and before it is used, used by somebody, and as large as it says.
fn assert_well_formed(graph: &GraphProto) {
    let mut defined = BTreeSet::new();
    let mut define = |name: &str| assert!(defined.insert(name.to_owned()), "{name:?} is defined twice");
    graph.input.iter().for_each(|input| define(&input.name));
    for tensor in &graph.initializer {
        define(&tensor.name);
        let size = match tensor.data_type {
            FLOAT => 4,
            INT64 => 8,
            other => panic!("{}: data type {other}", tensor.name),
        };
        let len = tensor.dims.iter().product::<i64>() as usize;
        assert!(len > 0 && tensor.raw_data.len() == size * len, "{}: {:?}", tensor.name, tensor.dims);
    }
    let mut used: BTreeSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    let mut names = BTreeSet::new();
    for node in &graph.node {
        assert!(names.insert(&node.name), "two nodes are named {:?}", node.name);
        for attribute in &node.attribute {
            let expected = match (attribute.f, attribute.i, &attribute.ints[..]) {
                (Some(_), None, []) => FLOAT_ATTRIBUTE,
                (None, Some(_), []) => INT_ATTRIBUTE,
                (None, None, [_, ..]) => INTS_ATTRIBUTE,
                _ => panic!("{}: {attribute:?}", node.name),
            };
            assert_eq!(attribute.r#type, expected, "{}: {attribute:?}", node.name);
        }
        for input in &node.input {
            assert!(defined.contains(input), "{}: {input:?} is not defined yet", node.name);
            used.insert(input);
        }
        node.output.iter().for_each(|output| assert!(defined.insert(output.clone()), "{output:?} is defined twice"));
    }
    let unused: Vec<&String> = defined.iter().filter(|name| !used.contains(name.as_str())).collect();
    assert!(unused.is_empty() && used.len() == defined.len(), "nobody uses {unused:?}");
}

#[test]
fn every_graph_is_well_formed_and_scores_as_its_model() {
    let mut kinds = BTreeSet::new();
    for case in cases() {
        let batch = rows(case.model.layout(), 12, 5);
        for domain in case.domains() {
            let graph = graph(&case.model, domain);
            assert_well_formed(&graph);
            let outputs = run(&graph, inputs(case.model.layout(), &batch));
            let (logits, probabilities) = (case.model.forward(&batch, domain), case.model.predict(&batch, domain));
            for (name, expected) in [("logits", logits), ("probabilities", probabilities)] {
                let found = &outputs[name];
                assert_eq!(found.shape(), expected.shape());
                for (found, &expected) in found.iter().zip(&expected) {
                    let apart = (found - f64::from(expected)).abs();
                    assert!(
                        apart < 1e-5,
                        "{} {}, {domain:?}: {name} {found}, the model has {expected}",
                        case.kind,
                        case.settings
                    );
                }
            }
        }
        kinds.insert(case.kind);
    }
    // Every kind of the crate, and the net of the tests.
    assert_eq!(kinds.len(), starple::AnyConfig::KINDS.len() + 1);
}

#[test]
fn a_graph_with_an_encoder_computes_target_statistics() {
    let (case, encoder) = counted();
    for domain in case.domains() {
        let batch = counted_rows(&encoder, domain, 200);
        let file = read(&onnx::export((&case.model, &encoder), domain).unwrap());
        let numeric = file.metadata_props.iter().find(|entry| entry.key == "numeric").unwrap();
        assert_eq!(numeric.value, r#"["age"]"#);
        let graph = file.graph.unwrap();
        assert_well_formed(&graph);
        let mut inputs = inputs(case.model.layout(), &batch);
        inputs.insert("numeric".into(), batch.numeric.slice(ndarray::s![.., ..1]).mapv(f64::from).into_dyn());
        let outputs = run(&graph, inputs);
        for (found, &expected) in outputs["logits"].iter().zip(&case.model.forward(&batch, domain)) {
            assert!((found - f64::from(expected)).abs() < 1e-5, "{domain:?}: {found}, the model has {expected}");
        }
    }
    // Without the encoder the caller gives all numbers.
    let graph = graph(&case.model, DomainId::new(0));
    let batch = counted_rows(&encoder, DomainId::new(0), 20);
    let outputs = run(&graph, inputs(case.model.layout(), &batch));
    let expected = case.model.forward(&batch, DomainId::new(0));
    assert!(outputs["logits"].iter().zip(&expected).all(|(found, &y)| (found - f64::from(y)).abs() < 1e-5));
    // The encoder of another model is refused.
    let other = first_of("star");
    let error = onnx::export((&other.model, &encoder), DomainId::new(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Layout);
}

#[test]
fn a_parameter_as_it_stands_keeps_its_name_and_its_values() {
    for case in cases() {
        let mut parameters = BTreeMap::new();
        case.model.visit(|path, leaf| {
            if let Leaf::Tensor(values, shape, _) | Leaf::Average(values, shape) = leaf {
                parameters.insert(path.name(case.model.layout()), (values.to_vec(), shape.to_vec()));
            }
        });
        for domain in case.domains() {
            let graph = graph(&case.model, domain);
            let mut tables = 0;
            for tensor in &graph.initializer {
                let Some((values, shape)) = parameters.get(&tensor.name) else {
                    let name = tensor.name.split('_').next().unwrap();
                    assert!(matches!(name, "constant" | "integers"), "{}: {}", case.kind, tensor.name);
                    continue;
                };
                let found = constant(tensor);
                assert_eq!(found.shape(), shape);
                assert!(found.iter().zip(values).all(|(&found, &value)| found == f64::from(value)));
                tables += usize::from(tensor.name.starts_with("embeddings."));
            }
            assert!(tables >= case.model.layout().tables.len(), "{}: all tables", case.kind);
        }
    }
    // Nothing of MMoE is folded: what reads all rows is there with all its tensors.
    let case = first_of("mmoe");
    let graph = graph(&case.model, DomainId::new(0));
    let names: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    case.model.visit(|path, _| {
        let name = path.name(case.model.layout());
        assert!(names.contains(name.as_str()), "{name} is not in the graph");
    });
}

#[test]
fn what_other_domains_own_is_left_out() {
    let single = cases().find(|case| case.kind == "single" && case.settings["branches"] == "domains").unwrap();
    let graph = graph(&single.model, DomainId::new(1));
    let others = |name: &str| ["home", "new", "quiet"].iter().any(|other| name.contains(other));
    assert!(graph.initializer.iter().any(|tensor| tensor.name == "embeddings.search.user"));
    assert!(graph.initializer.iter().all(|tensor| !others(&tensor.name)));
}

#[test]
fn tasks_that_are_not_binary_answer_in_their_own_unit() {
    use starple::data::Target;
    let layout = layout();
    let layout = Layout { tasks: vec!["watch".into(), "orders".into(), "click".into()], ..layout }
        .predicts("watch", Target::Regression { delta: None, mean: 31.5, deviation: 7.25 })
        .predicts("orders", Target::Count);
    let model = Pooled::new(PooledConfig::builder(&layout).embedding_dim(4).hidden([6]).build().unwrap());
    let (batch, domain) = (rows(&layout, 12, 5), DomainId::new(1));
    let graph = graph(&model, domain);
    assert_well_formed(&graph);
    let outputs = run(&graph, inputs(&layout, &batch));
    let expected = model.predict(&batch, domain);
    assert!(!outputs.contains_key("probabilities"));
    for (found, &expected) in outputs["predictions"].iter().zip(&expected) {
        assert!((found - f64::from(expected)).abs() < 1e-4, "{found}, the model has {expected}");
    }
    assert!(expected.column(0).iter().all(|watch| (10.0..60.0).contains(watch)), "{expected}");
    assert!(expected.column(2).iter().all(|p| (0.0..1.0).contains(p)));
}

#[test]
fn a_file_says_what_it_is() {
    let case = first_of("star");
    let file = |domain| read(&onnx::export(&case.model, domain).unwrap());
    let model = file(DomainId::new(2));
    assert_eq!((model.ir_version, model.opset_import[0].version, model.opset_import[0].domain.as_str()), (8, 17, ""));
    assert_eq!((model.producer_name.as_str(), model.producer_version.as_str()), ("starple", env!("CARGO_PKG_VERSION")));
    let metadata = |model: &ModelProto| -> BTreeMap<String, String> {
        model.metadata_props.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
    };
    let expected = [
        ("kind", "star"),
        ("domain", "quiet/1.5%"),
        ("tasks", r#"["click","buy"]"#),
        ("kinds", r#"["binary","binary"]"#),
        ("numeric", r#"["age","price"]"#),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(metadata(&model), expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    assert_eq!(metadata(&file(DomainId::SHARED))["domain"], "(shared)");

    let graph = model.graph.unwrap();
    let described = |values: &[ValueInfoProto]| -> Vec<(String, i32, Vec<String>)> {
        let described = |value: &ValueInfoProto| {
            let tensor = value.r#type.clone().unwrap().tensor_type.unwrap();
            let dims = tensor.shape.unwrap().dim.into_iter();
            let dims = dims.map(|dim| dim.dim_param.or(dim.dim_value.map(|size| size.to_string())).unwrap());
            (value.name.clone(), tensor.elem_type, dims.collect())
        };
        values.iter().map(described).collect()
    };
    let described_as =
        |name: &str, of, dims: &[&str]| (name.to_owned(), of, dims.iter().map(ToString::to_string).collect());
    assert_eq!(
        described(&graph.input),
        [
            described_as("user", INT64, &["rows"]),
            described_as("item id", INT64, &["rows"]),
            described_as("tags", INT64, &["rows", "tags length"]),
            described_as("words", INT64, &["rows", "words length"]),
            described_as("height", INT64, &["rows"]),
            described_as("height fraction", FLOAT, &["rows"]),
            described_as("numeric", FLOAT, &["rows", "2"]),
        ]
    );
    let output = |name| described_as(name, FLOAT, &["rows", "2"]);
    assert_eq!(described(&graph.output), [output("logits"), output("probabilities")]);
}

#[test]
fn a_folder_has_a_file_for_each_domain() {
    let folder = tempfile::tempdir().unwrap();
    let case = first_of("ple");
    let paths = onnx::save_all(&case.model, folder.path().join("graphs")).unwrap();
    let names: Vec<&str> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["home.onnx", "search.onnx", "quiet%2F1%2E5%25.onnx", "new.onnx", "(shared).onnx"]);
    for (domain, path) in case.domains().zip(&paths) {
        assert_eq!(std::fs::read(path).unwrap(), onnx::export(&case.model, domain).unwrap());
    }
    let error = onnx::save(&case.model, DomainId::new(0), folder.path()).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(folder.path())));
    let error = onnx::save_all(&case.model, &paths[0]).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(&*paths[0])));
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let error = onnx::export(&first_of("pooled").model, DomainId::new(4)).unwrap_err();
    assert_eq!((error.kind(), error.value()), (ErrorKind::UnknownDomain, Some("4")));

    let mut layout = layout().field("numeric", 3).field("logits", 3);
    let export =
        |layout: &Layout| onnx::export(&Pooled::new(PooledConfig::builder(layout).build().unwrap()), DomainId::new(0));
    let error = export(&layout).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains("field \"numeric\"") && text.contains("field \"logits\""), "{text}");
    let error = export(&layout.clone().field("height fraction", 3)).unwrap_err().to_string();
    assert!(error.contains("field \"height fraction\""), "{error}");
    // Without numbers there is no such input.
    layout.numeric.clear();
    layout.fields.pop();
    layout.tables.pop();
    assert!(export(&layout).is_ok());
    // A field may have the name of a parameter, or of a node.
    layout = layout.field("embeddings.user", 3).field("Gemm", 3);
    let bytes = export(&layout).unwrap();
    assert_well_formed(&read(&bytes).graph.unwrap());
}
