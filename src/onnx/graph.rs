//! A graph while it is being built.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use ndarray::{ArrayRef, Dimension};

use super::proto::{
    AttributeProto, DimensionProto, FLOAT, FLOAT_ATTRIBUTE, GraphProto, INT_ATTRIBUTE, INT64, INTS_ATTRIBUTE,
    NodeProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::Model;
use crate::model::Net;
use crate::nn::Leaf;

/// A tensor in a [`Graph`]: an input, a constant, or what a node gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value(usize);

/// An attribute of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attribute<'a> {
    /// A number.
    Float(f32),
    /// An integer.
    Int(i64),
    /// Several integers.
    Ints(&'a [i64]),
}

/// A dimension of an input or output.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dim<'a> {
    Named(&'a str),
    Fixed(usize),
}

/// An ONNX graph while it is being built: constants and nodes in, a [`Value`] out of each call.
///
/// A constant that is a parameter of the model as it stands gets the parameter's dotted name, and is written once however often it is
/// used; all others get names of their own. What no output needs is left out when the graph is written, so an
/// [`Export`](super::Export) may say more than one domain reads.
///
/// Layers of the crate have a call each ([`Graph::linear`], [`Graph::mlp`], …); [`Graph::node`] takes any operator of opset 17.
#[derive(Debug)]
pub struct Graph<'m> {
    /// By value.
    names: Vec<String>,
    taken: HashSet<String>,
    /// How often a name was asked for.
    asked: HashMap<String, usize>,
    parameters: HashMap<usize, Parameter<'m>>,
    constants: Vec<(Value, TensorProto)>,
    integers: HashMap<Vec<i64>, Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<(Value, ValueInfoProto)>,
}

/// A tensor of the model, by the address of its values, which stay where they are for `'m`.
#[derive(Debug)]
struct Parameter<'m> {
    values: &'m [f32],
    shape: &'m [usize],
    name: String,
    value: Option<Value>,
}

#[derive(Debug)]
struct Node {
    op: String,
    inputs: Vec<Value>,
    output: Value,
    attributes: Vec<AttributeProto>,
}

impl<'m> Graph<'m> {
    /// An empty graph that knows the parameters of a model by name; `reserved` names are for inputs and outputs alone.
    pub(super) fn new<N: Net>(model: &'m Model<N>, reserved: impl IntoIterator<Item = String>) -> Self {
        let mut parameters = HashMap::new();
        model.visit(|path, leaf| {
            let (Leaf::Tensor(values, shape, _) | Leaf::Average(values, shape)) = leaf else { return };
            let name = path.name(model.layout());
            parameters.insert(values.as_ptr().addr(), Parameter { values, shape, name, value: None });
        });
        Self {
            names: Vec::new(),
            taken: reserved.into_iter().collect(),
            asked: HashMap::new(),
            parameters,
            constants: Vec::new(),
            integers: HashMap::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// A value of this name.
    fn named(&mut self, name: String) -> Value {
        self.names.push(name);
        Value(self.names.len() - 1)
    }

    /// A value of this name, or if there is one already, of this name and a number.
    fn fresh(&mut self, name: &str) -> Value {
        let asked = self.asked.entry(name.to_owned()).or_default();
        let name = loop {
            *asked += 1;
            let name = if *asked == 1 { name.to_owned() } else { format!("{name}_{asked}") };
            if self.taken.insert(name.clone()) {
                break name;
            }
        };
        self.named(name)
    }

    /// A tensor that whoever runs the graph gives.
    pub(super) fn input(&mut self, name: &str, data_type: i32, dims: &[Dim<'_>]) -> Value {
        self.inputs.push(info(name, data_type, dims));
        self.named(name.to_owned())
    }

    /// Makes a value an output of the graph.
    pub(super) fn output(&mut self, name: &str, value: Value, dims: &[Dim<'_>]) {
        let output = self.named(name.to_owned());
        let node = Node { op: "Identity".into(), inputs: vec![value], output, attributes: Vec::new() };
        self.nodes.push(node);
        self.outputs.push((output, info(name, FLOAT, dims)));
    }

    /// A constant tensor.
    pub fn constant<D: Dimension>(&mut self, tensor: &ArrayRef<f32, D>) -> Value {
        let dims: Vec<usize> = tensor.shape().to_vec();
        let address = tensor.as_slice().map(|values| (values.as_ptr().addr(), values.len()));
        let name = match address.and_then(|(address, len)| Some((address, self.parameters.get(&address)?, len))) {
            Some((address, parameter, len)) if len > 0 && len == parameter.values.len() && dims == parameter.shape => {
                if let Some(value) = parameter.value {
                    return value;
                }
                let name = parameter.name.clone();
                let value = self.fresh(&name);
                self.parameters.entry(address).and_modify(|parameter| parameter.value = Some(value));
                value
            }
            _ => self.fresh("constant"),
        };
        let mut raw = Vec::with_capacity(4 * tensor.len());
        tensor.iter().for_each(|value| raw.extend_from_slice(&value.to_le_bytes()));
        self.put(name, &dims, FLOAT, raw)
    }

    /// A constant number.
    pub fn number(&mut self, number: f32) -> Value {
        self.constant(&ndarray::arr0(number))
    }

    /// A constant list of integers: axes, shapes, ends.
    pub fn integers(&mut self, integers: &[i64]) -> Value {
        if let Some(&value) = self.integers.get(integers) {
            return value;
        }
        let value = self.fresh("integers");
        self.integers.insert(integers.to_owned(), value);
        let raw = integers.iter().flat_map(|integer| integer.to_le_bytes()).collect();
        self.put(value, &[integers.len()], INT64, raw)
    }

    fn put(&mut self, value: Value, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> Value {
        let dims = dims.iter().map(|&dim| dim as i64).collect();
        self.constants.push((value, TensorProto { dims, data_type, name: self.names[value.0].clone(), raw_data }));
        value
    }

    /// What an operator of ONNX opset 17 gives; its first output, if it has several.
    pub fn node(&mut self, op: &str, inputs: &[Value], attributes: &[(&str, Attribute<'_>)]) -> Value {
        let attributes = attributes.iter().map(|&(name, value)| attribute(name, value)).collect();
        let output = self.fresh(op);
        self.nodes.push(Node { op: op.into(), inputs: inputs.to_vec(), output, attributes });
        output
    }

    /// What is asked for, as it is written: nodes in the order they were made, without those that no output needs.
    pub(super) fn finish(self, name: &str) -> GraphProto {
        let Self { names, constants, nodes, inputs, outputs, .. } = self;
        let mut needed: HashSet<Value> = outputs.iter().map(|&(value, _)| value).collect();
        let mut kept: Vec<Node> = Vec::with_capacity(nodes.len());
        for node in nodes.into_iter().rev() {
            if needed.contains(&node.output) {
                needed.extend(&node.inputs);
                kept.push(node);
            }
        }
        let written = |node: Node| NodeProto {
            input: node.inputs.iter().map(|value| names[value.0].clone()).collect(),
            output: vec![names[node.output.0].clone()],
            name: names[node.output.0].clone(),
            op_type: node.op,
            attribute: node.attributes,
        };
        GraphProto {
            node: kept.into_iter().rev().map(written).collect(),
            name: name.to_owned(),
            initializer: constants
                .into_iter()
                .filter(|(value, _)| needed.contains(value))
                .map(|(_, tensor)| tensor)
                .collect(),
            input: inputs,
            output: outputs.into_iter().map(|(_, info)| info).collect(),
        }
    }
}

/// Operators, as equations are written in them. Shapes are those of numpy: the shorter one is broadcast.
impl Graph<'_> {
    /// `x + y`.
    pub fn add(&mut self, x: Value, y: Value) -> Value {
        self.node("Add", &[x, y], &[])
    }

    /// The sum of several values of one shape.
    ///
    /// # Panics
    /// If there are none.
    pub fn sum(&mut self, values: &[Value]) -> Value {
        match values {
            [] => panic!("a sum has terms"),
            [only] => *only,
            _ => self.node("Sum", values, &[]),
        }
    }

    /// `x ⊙ y`.
    pub fn mul(&mut self, x: Value, y: Value) -> Value {
        self.node("Mul", &[x, y], &[])
    }

    /// `s·x`.
    pub fn scale(&mut self, x: Value, s: f32) -> Value {
        if s == 1.0 {
            return x;
        }
        let s = self.number(s);
        self.mul(x, s)
    }

    /// `scale ⊙ x + shift`.
    pub fn affine<D: Dimension>(&mut self, x: Value, scale: &ArrayRef<f32, D>, shift: &ArrayRef<f32, D>) -> Value {
        let (scale, shift) = (self.constant(scale), self.constant(shift));
        let scaled = self.mul(x, scale);
        self.add(scaled, shift)
    }

    /// `x·y`.
    pub fn matmul(&mut self, x: Value, y: Value) -> Value {
        self.node("MatMul", &[x, y], &[])
    }

    /// `σ(x)`.
    pub fn sigmoid(&mut self, x: Value) -> Value {
        self.node("Sigmoid", &[x], &[])
    }

    /// `softmax(x)` along one axis; −1 is the last.
    pub fn softmax(&mut self, x: Value, axis: i64) -> Value {
        self.node("Softmax", &[x], &[("axis", Attribute::Int(axis))])
    }

    /// Values side by side along one axis.
    ///
    /// # Panics
    /// If there are none.
    pub fn concat(&mut self, values: &[Value], axis: i64) -> Value {
        match values {
            [] => panic!("something to put side by side"),
            [only] => *only,
            _ => self.node("Concat", values, &[("axis", Attribute::Int(axis))]),
        }
    }

    /// Matrices `[rows, width]` below each other in every row, `[rows, matrices, width]`.
    pub fn stack(&mut self, values: &[Value]) -> Value {
        let layers: Vec<Value> = values.iter().map(|&value| self.unsqueeze(value, 1)).collect();
        self.concat(&layers, 1)
    }

    /// The same values in another shape. A size of 0 is that of `x` in the same place, so that the first may be that of the rows.
    pub fn reshape(&mut self, x: Value, shape: &[i64]) -> Value {
        let shape = self.integers(shape);
        self.node("Reshape", &[x, shape], &[])
    }

    /// The axes in another order.
    pub fn transpose(&mut self, x: Value, order: &[i64]) -> Value {
        self.node("Transpose", &[x], &[("perm", Attribute::Ints(order))])
    }

    /// A new axis of size 1.
    pub fn unsqueeze(&mut self, x: Value, axis: i64) -> Value {
        let axis = self.integers(&[axis]);
        self.node("Unsqueeze", &[x, axis], &[])
    }

    /// Without an axis of size 1.
    pub fn squeeze(&mut self, x: Value, axis: i64) -> Value {
        let axis = self.integers(&[axis]);
        self.node("Squeeze", &[x, axis], &[])
    }

    /// Some entries along the last axis.
    pub fn columns(&mut self, x: Value, columns: Range<usize>) -> Value {
        let [start, end, axis] = [columns.start as i64, columns.end as i64, -1].map(|at| self.integers(&[at]));
        self.node("Slice", &[x, start, end, axis], &[])
    }
}

fn attribute(name: &str, value: Attribute<'_>) -> AttributeProto {
    let name = name.to_owned();
    match value {
        Attribute::Float(f) => {
            AttributeProto { name, r#type: FLOAT_ATTRIBUTE, f: Some(f), ..AttributeProto::default() }
        }
        Attribute::Int(i) => AttributeProto { name, r#type: INT_ATTRIBUTE, i: Some(i), ..AttributeProto::default() },
        Attribute::Ints(ints) => {
            AttributeProto { name, r#type: INTS_ATTRIBUTE, ints: ints.to_vec(), ..AttributeProto::default() }
        }
    }
}

fn info(name: &str, elem_type: i32, dims: &[Dim<'_>]) -> ValueInfoProto {
    let dim = |dim: &Dim<'_>| match *dim {
        Dim::Named(name) => DimensionProto { dim_param: Some(name.to_owned()), dim_value: None },
        Dim::Fixed(size) => DimensionProto { dim_value: Some(size as i64), dim_param: None },
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor_type = Some(TensorTypeProto { elem_type, shape });
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type }) }
}
