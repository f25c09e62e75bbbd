//! Builds an ONNX graph.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use ndarray::{ArrayRef, Dimension};

use super::proto::{
    AttributeProto, DimensionProto, FLOAT, FLOAT_ATTRIBUTE, GraphProto, INT_ATTRIBUTE, INT64, INTS_ATTRIBUTE,
    NodeProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::Model;
use crate::nn::Leaf;

/// A tensor in a [`Graph`]: an input, a constant, or the output of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tensor(usize);

/// An attribute of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Attribute<'a> {
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

/// Builds an ONNX graph. Each call adds constants and nodes and returns a [`Tensor`].
///
/// A constant that is an unchanged parameter of the model gets the dotted name of the parameter, and is written only once. Other constants
/// get new names. Use every tensor that a call returns: unused nodes are written too.
#[derive(Debug)]
pub(super) struct Graph<'m> {
    /// The names of the tensors, by [`Tensor`].
    names: Vec<String>,
    taken: HashSet<String>,
    /// How often each name was requested.
    asked: HashMap<String, usize>,
    parameters: HashMap<usize, Parameter<'m>>,
    constants: Vec<TensorProto>,
    integers: HashMap<Vec<i64>, Tensor>,
    nodes: Vec<Node>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
}

/// A tensor of the model. It is found by the address of its values, which do not move during `'m`.
#[derive(Debug)]
struct Parameter<'m> {
    values: &'m [f32],
    shape: &'m [usize],
    name: String,
    value: Option<Tensor>,
}

#[derive(Debug)]
struct Node {
    op: String,
    inputs: Vec<Tensor>,
    output: Tensor,
    attributes: Vec<AttributeProto>,
}

impl<'m> Graph<'m> {
    /// An empty graph that knows the parameters of a model. No constant or node gets a name in `reserved`, which are for inputs and
    /// outputs.
    pub(super) fn new(model: &'m Model, reserved: impl IntoIterator<Item = String>) -> Self {
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

    /// A new tensor with this name.
    fn named(&mut self, name: String) -> Tensor {
        self.names.push(name);
        Tensor(self.names.len() - 1)
    }

    /// A new tensor with this name, followed by a number if the name is taken.
    fn fresh(&mut self, name: &str) -> Tensor {
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

    /// Adds an input of the graph.
    pub(super) fn input(&mut self, name: &str, data_type: i32, dims: &[Dim<'_>]) -> Tensor {
        self.inputs.push(info(name, data_type, dims));
        self.named(name.to_owned())
    }

    /// Adds an output of the graph.
    pub(super) fn output(&mut self, name: &str, value: Tensor, dims: &[Dim<'_>]) {
        let output = self.named(name.to_owned());
        let node = Node { op: "Identity".into(), inputs: vec![value], output, attributes: Vec::new() };
        self.nodes.push(node);
        self.outputs.push(info(name, FLOAT, dims));
    }

    /// A constant tensor.
    pub(super) fn constant<D: Dimension>(&mut self, tensor: &ArrayRef<f32, D>) -> Tensor {
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
    pub(super) fn number(&mut self, number: f32) -> Tensor {
        self.constant(&ndarray::arr0(number))
    }

    /// A constant list of integers, for axes and shapes.
    pub(super) fn integers(&mut self, integers: &[i64]) -> Tensor {
        if let Some(&value) = self.integers.get(integers) {
            return value;
        }
        let value = self.fresh("integers");
        self.integers.insert(integers.to_owned(), value);
        let raw = integers.iter().flat_map(|integer| integer.to_le_bytes()).collect();
        self.put(value, &[integers.len()], INT64, raw)
    }

    fn put(&mut self, value: Tensor, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> Tensor {
        let dims = dims.iter().map(|&dim| dim as i64).collect();
        self.constants.push(TensorProto { dims, data_type, name: self.names[value.0].clone(), raw_data });
        value
    }

    /// Adds a node with an operator of ONNX opset 17 and returns its first output.
    pub(super) fn node(&mut self, op: &str, inputs: &[Tensor], attributes: &[(&str, Attribute<'_>)]) -> Tensor {
        let attributes = attributes.iter().map(|&(name, value)| attribute(name, value)).collect();
        let output = self.fresh(op);
        self.nodes.push(Node { op: op.into(), inputs: inputs.to_vec(), output, attributes });
        output
    }

    /// The graph's message, with nodes in the order in which they were added.
    pub(super) fn finish(self, name: &str) -> GraphProto {
        let Self { names, constants, nodes, inputs, outputs, .. } = self;
        let written = |node: Node| NodeProto {
            input: node.inputs.iter().map(|value| names[value.0].clone()).collect(),
            output: vec![names[node.output.0].clone()],
            name: names[node.output.0].clone(),
            op_type: node.op,
            attribute: node.attributes,
        };
        GraphProto {
            node: nodes.into_iter().map(written).collect(),
            name: name.to_owned(),
            initializer: constants,
            input: inputs,
            output: outputs,
        }
    }
}

/// Operators. Shapes are broadcast as in numpy.
impl Graph<'_> {
    /// `x + y`.
    pub(super) fn add(&mut self, x: Tensor, y: Tensor) -> Tensor {
        self.node("Add", &[x, y], &[])
    }

    /// The sum of tensors of the same shape.
    ///
    /// # Panics
    /// If `values` is empty.
    pub(super) fn sum(&mut self, values: &[Tensor]) -> Tensor {
        match values {
            [] => panic!("a sum needs a term"),
            [only] => *only,
            _ => self.node("Sum", values, &[]),
        }
    }

    /// `x ⊙ y`.
    pub(super) fn mul(&mut self, x: Tensor, y: Tensor) -> Tensor {
        self.node("Mul", &[x, y], &[])
    }

    /// `s·x`.
    pub(super) fn scale(&mut self, x: Tensor, s: f32) -> Tensor {
        if s == 1.0 {
            return x;
        }
        let s = self.number(s);
        self.mul(x, s)
    }

    /// `scale ⊙ x + shift`.
    pub(super) fn scale_and_shift<D: Dimension>(
        &mut self,
        x: Tensor,
        scale: &ArrayRef<f32, D>,
        shift: &ArrayRef<f32, D>,
    ) -> Tensor {
        let (scale, shift) = (self.constant(scale), self.constant(shift));
        let scaled = self.mul(x, scale);
        self.add(scaled, shift)
    }

    /// `x·y`.
    pub(super) fn matmul(&mut self, x: Tensor, y: Tensor) -> Tensor {
        self.node("MatMul", &[x, y], &[])
    }

    /// `σ(x)`.
    pub(super) fn sigmoid(&mut self, x: Tensor) -> Tensor {
        self.node("Sigmoid", &[x], &[])
    }

    /// `e^x`.
    pub(super) fn exp(&mut self, x: Tensor) -> Tensor {
        self.node("Exp", &[x], &[])
    }

    /// `softmax(x)` along one axis; −1 is the last.
    pub(super) fn softmax(&mut self, x: Tensor, axis: i64) -> Tensor {
        self.node("Softmax", &[x], &[("axis", Attribute::Int(axis))])
    }

    /// The concatenation along one axis.
    ///
    /// # Panics
    /// If `values` is empty.
    pub(super) fn concat(&mut self, values: &[Tensor], axis: i64) -> Tensor {
        match values {
            [] => panic!("a concatenation needs a part"),
            [only] => *only,
            _ => self.node("Concat", values, &[("axis", Attribute::Int(axis))]),
        }
    }

    /// Stacks matrices `[rows, width]` to `[rows, matrices, width]`.
    pub(super) fn stack(&mut self, values: &[Tensor]) -> Tensor {
        let layers: Vec<Tensor> = values.iter().map(|&value| self.unsqueeze(value, 1)).collect();
        self.concat(&layers, 1)
    }

    /// Reshapes. A size of 0 means the size of `x` at the same position; use it for the rows.
    pub(super) fn reshape(&mut self, x: Tensor, shape: &[i64]) -> Tensor {
        let shape = self.integers(shape);
        self.node("Reshape", &[x, shape], &[])
    }

    /// Permutes the axes.
    pub(super) fn transpose(&mut self, x: Tensor, order: &[i64]) -> Tensor {
        self.node("Transpose", &[x], &[("perm", Attribute::Ints(order))])
    }

    /// Adds an axis of size 1.
    pub(super) fn unsqueeze(&mut self, x: Tensor, axis: i64) -> Tensor {
        let axis = self.integers(&[axis]);
        self.node("Unsqueeze", &[x, axis], &[])
    }

    /// Removes an axis of size 1.
    pub(super) fn squeeze(&mut self, x: Tensor, axis: i64) -> Tensor {
        let axis = self.integers(&[axis]);
        self.node("Squeeze", &[x, axis], &[])
    }

    /// A range of the last axis.
    pub(super) fn columns(&mut self, x: Tensor, columns: Range<usize>) -> Tensor {
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
