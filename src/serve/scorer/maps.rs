//! Affine maps, packed for the matrix product.

use std::iter;

use ndarray::{Array2, ArrayView2, Axis, concatenate};

use crate::model::PlanStep;
use crate::nn::matmul::{Operand, Panels, PostOp};

/// Affine maps that read one value, side by side: one product.
#[derive(Debug)]
pub(super) struct Maps {
    /// The part that reads what is given.
    pub(super) given: Panels,
    /// The rest.
    pub(super) weight: Panels,
    pub(super) bias: Vec<f32>,
    rectified: Rectified,
}

/// Which columns end with a rectifier.
#[derive(Debug)]
enum Rectified {
    None,
    All,
    /// Those whose floor is 0; that of the others is −∞.
    Some(Vec<f32>),
}

impl Maps {
    /// Packs the maps of these steps. Of a row, `row` has the columns that are given, and the others.
    pub(super) fn new(steps: &[&PlanStep<'_>], row: Option<(&[usize], &[usize])>) -> Self {
        let (mut weights, mut bias, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            let PlanStep::Affine { weight, bias: own, rectified, .. } = step else { unreachable!("an affine map") };
            let width = weight.ncols();
            weights.push(weight.view());
            match own {
                Some(own) => bias.extend(own.iter()),
                None => bias.extend(iter::repeat_n(0.0, width)),
            }
            floor.extend(iter::repeat_n(if *rectified { 0.0 } else { f32::NEG_INFINITY }, width));
        }
        let rectified = |&floor: &f32| floor == 0.0;
        let rectified = match floor.iter().filter(|floor| rectified(floor)).count() {
            0 => Rectified::None,
            count if count == floor.len() => Rectified::All,
            _ => Rectified::Some(floor),
        };
        let all: Vec<usize> = (0..weights[0].nrows()).collect();
        let (given, rest) = row.unwrap_or((&[], &all));
        Self { given: packed(&weights, given), weight: packed(&weights, rest), bias, rectified }
    }

    /// What follows the product.
    pub(super) fn post_op<'a>(&'a self, bias: &'a [f32]) -> PostOp<'a> {
        match &self.rectified {
            Rectified::None => PostOp::Bias(bias),
            Rectified::All => PostOp::BiasRelu(bias),
            Rectified::Some(floor) => PostOp::BiasFloor(bias, floor),
        }
    }
}

/// These rows of weights side by side.
fn packed(weights: &[ArrayView2<'_, f32>], rows: &[usize]) -> Panels {
    let selected: Vec<Array2<f32>> = weights.iter().map(|weight| weight.select(Axis(0), rows)).collect();
    let views: Vec<_> = selected.iter().map(|weight| weight.view()).collect();
    let side_by_side = concatenate(Axis(1), &views).expect("maps of one value have as many rows");
    let mut panels = Panels::default();
    panels.pack(Operand::One(side_by_side.view()));
    panels
}
