//! Runs a graph in f64, operator by operator, from what the ONNX specification says of each.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayView2, ArrayViewD, Axis, IxDyn, Slice, Zip, concatenate, s};

use crate::proto::{GraphProto, INT64, NodeProto, TensorProto};

pub(crate) type Tensor = ArrayD<f64>;

/// The outputs of a graph, by name; integers are numbers too.
pub(crate) fn run(graph: &GraphProto, inputs: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let mut values = inputs;
    for tensor in &graph.initializer {
        values.insert(tensor.name.clone(), constant(tensor));
    }
    for node in &graph.node {
        let of: Vec<&Tensor> = node.input.iter().map(|name| &values[name]).collect();
        let value = operator(node, &of);
        values.insert(node.output[0].clone(), value);
    }
    graph.output.iter().map(|output| (output.name.clone(), values[&output.name].clone())).collect()
}

/// The values of an initialiser.
pub(crate) fn constant(tensor: &TensorProto) -> Tensor {
    let shape: Vec<usize> = tensor.dims.iter().map(|&dim| dim as usize).collect();
    let raw = &tensor.raw_data;
    let values = if tensor.data_type == INT64 {
        raw.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as f64).collect()
    } else {
        raw.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect()
    };
    ArrayD::from_shape_vec(shape, values).expect("as many values as the shape has")
}

fn operator(node: &NodeProto, of: &[&Tensor]) -> Tensor {
    let x = of[0];
    match node.op_type.as_str() {
        "Identity" => x.clone(),
        "Cast" => {
            assert_eq!(integer(node, "to", 0), 1, "only to float");
            x.clone()
        }
        "Add" => broadcast(x, of[1], |x, y| x + y),
        "Sub" => broadcast(x, of[1], |x, y| x - y),
        "Mul" => broadcast(x, of[1], |x, y| x * y),
        "Less" => broadcast(x, of[1], |x, y| f64::from(u8::from(x < y))),
        "Div" => broadcast(x, of[1], |x, y| x / y),
        "Max" => broadcast(x, of[1], f64::max),
        "Min" => broadcast(x, of[1], f64::min),
        "GreaterOrEqual" => broadcast(x, of[1], |x, y| f64::from(u8::from(x >= y))),
        "PRelu" => broadcast(x, of[1], |x, slope| if x < 0.0 { slope * x } else { x }),
        "Sum" => of[1..].iter().fold(x.clone(), |sum, x| broadcast(&sum, x, |x, y| x + y)),
        "Relu" => x.mapv(|x| x.max(0.0)),
        "Tanh" => x.mapv(f64::tanh),
        "Exp" => x.mapv(f64::exp),
        "Sigmoid" => x.mapv(|x| 1.0 / (1.0 + (-x).exp())),
        "Softmax" => softmax(x, axis(integer(node, "axis", -1), x.ndim())),
        "LayerNormalization" => layer_normalization(node, of),
        "MatMul" => matmul(x, of[1]),
        "Gemm" => broadcast(&matmul(x, of[1]), of[2], |x, y| x + y),
        "Concat" => {
            let views: Vec<ArrayViewD<'_, f64>> = of.iter().map(|x| x.view()).collect();
            concatenate(axis(integer(node, "axis", 0), x.ndim()), &views).expect("parts that fit")
        }
        "Gather" => {
            let (vectors, ids) = (x, of[1]);
            let shape = [ids.shape(), &vectors.shape()[1..]].concat();
            let rows = ids.iter().flat_map(|&id| vectors.index_axis(Axis(0), id as usize).to_owned());
            ArrayD::from_shape_vec(shape, rows.collect()).expect("a row for each id")
        }
        "Reshape" => {
            let size = |(i, &size): (usize, &f64)| if size == 0.0 { x.shape()[i] } else { size as usize };
            let shape: Vec<usize> = of[1].iter().enumerate().map(size).collect();
            ArrayD::from_shape_vec(shape, x.iter().copied().collect()).expect("as many values as before")
        }
        "Transpose" => {
            let order: Vec<usize> = attribute(node, "perm").ints.iter().map(|&axis| axis as usize).collect();
            x.clone().permuted_axes(order)
        }
        "Unsqueeze" => x.clone().insert_axis(axis(only(of[1]), x.ndim() + 1)),
        "Squeeze" => x.index_axis(axis(only(of[1]), x.ndim()), 0).to_owned(),
        "Slice" => {
            let along = axis(only(of[3]), x.ndim());
            let end = (only(of[2]) as usize).min(x.len_of(along));
            x.slice_axis(along, Slice::from(only(of[1]) as usize..end)).to_owned()
        }
        "Pad" => {
            assert_eq!(
                (x.ndim(), of[1].len(), of[2].ndim()),
                (2, 4, 0),
                "a matrix, and how many rows and columns on each side"
            );
            let pads: Vec<usize> = of[1].iter().map(|&pad| pad as usize).collect();
            let (rows, columns) = (x.shape()[0], x.shape()[1]);
            let shape = IxDyn(&[rows + pads[0] + pads[2], columns + pads[1] + pads[3]]);
            let mut padded = ArrayD::from_elem(shape, of[2].first().copied().expect("a value"));
            padded.slice_mut(s![pads[0]..pads[0] + rows, pads[1]..pads[1] + columns]).assign(x);
            padded
        }
        "ReduceSum" => {
            let along = axis(only(of[1]), x.ndim());
            let sum = x.sum_axis(along);
            if integer(node, "keepdims", 1) == 1 { sum.insert_axis(along) } else { sum }
        }
        other => panic!("{other}: an operator that no graph has needed so far"),
    }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> &'a crate::proto::AttributeProto {
    node.attribute.iter().find(|attribute| attribute.name == name).expect("the attribute is there")
}

fn integer(node: &NodeProto, name: &str, default: i64) -> i64 {
    let found = node.attribute.iter().find(|attribute| attribute.name == name);
    found.map_or(default, |attribute| attribute.i.expect("an integer"))
}

fn only(tensor: &Tensor) -> i64 {
    assert_eq!(tensor.len(), 1, "one integer");
    tensor.first().copied().unwrap_or_default() as i64
}

fn axis(axis: i64, dims: usize) -> Axis {
    Axis(if axis < 0 { dims as i64 + axis } else { axis } as usize)
}

/// The shape that both have when sizes of 1, and axes in front that one lacks, are repeated.
fn common(x: &[usize], y: &[usize]) -> Vec<usize> {
    let dims = x.len().max(y.len());
    let size = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(dims).map_or(1, |i| shape[i]);
    let both = |i| match (size(x, i), size(y, i)) {
        (1, size) | (size, 1) => size,
        (a, b) => {
            assert_eq!(a, b, "shapes that fit");
            a
        }
    };
    (0..dims).map(both).collect()
}

fn broadcast(x: &Tensor, y: &Tensor, f: impl Fn(f64, f64) -> f64) -> Tensor {
    let shape = IxDyn(&common(x.shape(), y.shape()));
    let x = x.broadcast(shape.clone()).expect("the shape of both");
    let y = y.broadcast(shape).expect("the shape of both");
    Zip::from(x).and(y).map_collect(|&x, &y| f(x, y))
}

fn matmul(x: &Tensor, y: &Tensor) -> Tensor {
    let ((lists_x, matrix_x), (lists_y, matrix_y)) =
        (x.shape().split_at(x.ndim() - 2), y.shape().split_at(y.ndim() - 2));
    let (lists, shape) = (common(lists_x, lists_y), [matrix_x[0], matrix_y[1]]);
    let flat = |x: &Tensor, matrix: &[usize]| {
        let wide = x.broadcast(IxDyn(&[&lists, matrix].concat())).expect("the lists of both").to_owned();
        let count = lists.iter().product::<usize>();
        let values = wide.iter().copied().collect();
        ndarray::Array3::from_shape_vec((count, matrix[0], matrix[1]), values).expect("the same values")
    };
    let (x, y) = (flat(x, matrix_x), flat(y, matrix_y));
    let products = x.outer_iter().zip(y.outer_iter()).flat_map(|(x, y): (ArrayView2<'_, f64>, _)| x.dot(&y));
    ArrayD::from_shape_vec([&lists[..], &shape].concat(), products.collect()).expect("a product for each list")
}

fn softmax(x: &Tensor, axis: Axis) -> Tensor {
    let mut x = x.clone();
    for mut lane in x.lanes_mut(axis) {
        let top = lane.fold(f64::NEG_INFINITY, |top, &x| top.max(x));
        lane.mapv_inplace(|x| (x - top).exp());
        let sum = lane.sum();
        lane.mapv_inplace(|x| x / sum);
    }
    x
}

fn layer_normalization(node: &NodeProto, of: &[&Tensor]) -> Tensor {
    assert_eq!(integer(node, "axis", -1), -1, "over the last axis");
    let epsilon = f64::from(attribute(node, "epsilon").f.expect("a number"));
    let mut x = of[0].clone();
    let last = Axis(x.ndim() - 1);
    for mut lane in x.lanes_mut(last) {
        let n = lane.len() as f64;
        let mean = lane.sum() / n;
        let var = lane.fold(0.0, |sum, &x| sum + (x - mean).powi(2)) / n;
        lane.mapv_inplace(|x| (x - mean) / (var + epsilon).sqrt());
    }
    broadcast(&broadcast(&x, of[1], |x, gamma| x * gamma), of[2], |x, beta| x + beta)
}
