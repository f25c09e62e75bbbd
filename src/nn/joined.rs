//! `z = [x, e]·W + b`: an affine map of rows that end with a vector `e` of their segment.
//!
//! All rows of a segment have one `e`, so `e·W_e`, with `W_e` the last rows of `W`, is a part of the segment's bias: `z = x·W_x + (b + e·W_e)`.
//! `x` is not copied.

use ndarray::{Array1, ArrayRef1, ArrayRef2, Axis, s};

use super::buffer::grow;
use super::linear::{values, values_mut};
use super::matmul::{Operand, Output, PostOp, matmul_grad, prepare, product, product_with};
use super::segment::each_segment;
use super::sums::add_sums;
use super::{InputGrad, Linear, Segment};
use crate::math::dot_f32;
use crate::parallel::join;

/// What the map keeps from forward to backward.
#[derive(Debug, Default)]
pub(crate) struct JoinedCache {
    segments: Vec<JoinedSegment>,
}

#[derive(Debug, Default)]
struct JoinedSegment {
    /// `e`
    last: Array1<f32>,
    /// `W_e·Σ dz`
    dlast: Array1<f32>,
    /// `b + e·W_e`
    bias: Array1<f32>,
    /// `Σ dz` over its rows.
    dbias: Array1<f32>,
}

impl Linear {
    /// `z = [x, e]·W + b`, followed by a ReLU if `rectify`; `last` writes a segment's `e`.
    pub(crate) fn forward_joined(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        last: impl Fn(Segment, &mut ArrayRef1<f32>),
        cache: &mut JoinedCache,
        z: &mut ArrayRef2<f32>,
        rectify: bool,
    ) {
        let caches = &mut cache.segments;
        grow(caches, segments.len());
        let (weight, of_last) = self.weight.view().split_at(Axis(0), x.ncols());
        for (&segment, cache) in segments.iter().zip(&mut *caches) {
            if cache.last.len() != of_last.nrows() {
                cache.last = Array1::zeros(of_last.nrows());
            }
            last(segment, &mut cache.last);
            cache.bias.clone_from(&self.bias);
            for (&e, row) in cache.last.iter().zip(of_last.rows()) {
                cache.bias.scaled_add(e, &row);
            }
        }
        prepare(Operand::One(weight), x.nrows(), |weight| {
            each_segment(segments, caches, z, |segment, cache, z| {
                let post_op = PostOp::bias(values(&cache.bias), rectify);
                product_with(x.slice(s![segment.rows(), ..]), weight, Output::set(z).post_op(post_op));
            });
        });
    }

    /// `dW_x += xᵀ·dz`; with `Σ dz` over a segment's rows, `db += Σ dz`, `dW_e += e·Σ dz`, and `take` is given `de = W_e·Σ dz`;
    /// `dx = dz·W_xᵀ` (`None` if it is not needed).
    #[expect(clippy::too_many_arguments, reason = "those of `Linear::backward_into`, and the segments with theirs")]
    pub(crate) fn backward_joined(
        &self,
        x: &ArrayRef2<f32>,
        segments: &[Segment],
        dz: &ArrayRef2<f32>,
        cache: &mut JoinedCache,
        grad: &mut Self,
        mut take: impl FnMut(Segment, &ArrayRef1<f32>) + Send,
        dx: Option<InputGrad<'_>>,
    ) {
        let (weight, of_last) = self.weight.view().split_at(Axis(0), x.ncols());
        let (mut dweight, mut dof_last) = grad.weight.view_mut().split_at(Axis(0), x.ncols());
        let parameter_grad = || {
            matmul_grad(x, dz, &mut dweight);
            for (&segment, cache) in segments.iter().zip(&mut cache.segments) {
                let JoinedSegment { last, dlast, dbias, .. } = cache;
                dbias.clone_from(&self.bias);
                dbias.fill(0.0);
                add_sums(&dz.slice(s![segment.rows(), ..]), values_mut(dbias));
                grad.bias += &*dbias;
                dlast.clone_from(last);
                let rows = dof_last.rows_mut().into_iter().zip(of_last.rows());
                for (((mut drow, row), &e), de) in rows.zip(&*last).zip(&mut *dlast) {
                    drow.scaled_add(e, &*dbias);
                    *de = dot_f32::<16>(values(&row), values(dbias));
                }
                take(segment, dlast);
            }
        };
        let input_grad = || dx.map(|dx| product(dz.view(), Operand::One(weight.reversed_axes()), Output::to(dx)));
        join(parameter_grad, input_grad);
    }
}
