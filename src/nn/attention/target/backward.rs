//! The backward pass of the attention of a target over a history.

use ndarray::{Array2, ArrayRef2, Zip, s};

use super::kernel::{self, Small, Start};
use super::{BLOCK, LINES, PerBlock, Ragged, TargetAttention, TargetAttentionCache, of_product};
use crate::math::dot_f32;
use crate::nn::Linear;
use crate::nn::buffer::{clear, resize};
use crate::nn::linear::{values, values_mut};
use crate::nn::matmul::{Operand, Output, product};
use crate::nn::sums::add_sums;
use crate::parallel::{Lines, wide_blocks};
use crate::simd::has_fma;

/// What a row's part of the backward pass writes.
type Written<'a> =
    (std::ops::Range<usize>, Ragged<'a>, Lines<&'a mut [f32]>, Lines<&'a mut [f32]>, PerBlock<'a>, PerBlock<'a>);

/// What the backward pass of the first layer reads.
#[derive(Clone, Copy)]
struct Read<'a> {
    of_key: &'a [f32],
    of_product: &'a [f32],
    q: &'a [f32],
    k: &'a [f32],
    dz: &'a [f32],
    /// The number of the first event.
    start: usize,
    dim: usize,
    width: usize,
}

impl TargetAttention {
    /// The backward pass. `q`, `k`, `offsets` and `cache` are those of the forward pass, and `dp`, `[rows, D]`, is the gradient of its
    /// result. Adds the gradient of the net to `grad`, and overwrites `dq`, `[rows, D]`, and `dk`, `[events, D]`, by the gradients of queries
    /// and keys. For one row, whose line of `dp` is g:
    ///
    /// ```text
    ///   dw_t = ⟨g, k_t⟩      ds_t = dw_t, or w_t·(dw_t − Σ_j w_j·dw_j)/√D      dz_t from ds_t, through the net
    ///   dM = Σ_t k_tᵀ·dz_t   Z = Σ_t dz_t
    ///   dW_a += qᵀ·Z   dW_b += dM   dW_c += qᵀ·Z − dM   dW_d += diag(q)·dM   db += Z
    ///   dk_t = w_t·g + dz_t·Mᵀ      dq = Z·(W_a + W_c)ᵀ + the sums of the lines of dM ⊙ W_d
    /// ```
    ///
    /// The letters are those of [`TargetAttention`], and:
    ///
    /// - `Σ_t` and `Σ_j` are sums over the events of the row. `dw_t` and `ds_t` are the gradients of the weight and the score of event t; the
    ///   second formula for `ds_t` is that for softmax weights.
    /// - `z_t` is the output of the first affine map of the net for event t, before its activation, and `dz_t` its gradient. The weight of
    ///   this map has the four parts `W_a`, `W_b`, `W_c` and `W_d`, each with D rows, which read `q`, `k_t`, `q − k_t` and `q ⊙ k_t`. b is
    ///   its bias.
    /// - `M = W_b − W_c + diag(q)·W_d` is the matrix of the row with which `z_t = k_t·M + q·(W_a + W_c) + b`.
    ///
    /// # Panics
    /// If a matrix does not have the shape of the forward pass, or is not in standard layout (row-major and contiguous).
    #[expect(clippy::too_many_arguments, reason = "two inputs, two gradients of inputs")]
    pub fn backward(
        &self,
        q: &ArrayRef2<f32>,
        k: &ArrayRef2<f32>,
        offsets: &[u32],
        dp: &ArrayRef2<f32>,
        cache: &mut TargetAttentionCache,
        grad: &mut Self,
        dq: &mut ArrayRef2<f32>,
        dk: &mut ArrayRef2<f32>,
    ) {
        self.check(q, k, offsets);
        assert_eq!((dp.dim(), dq.dim(), dk.dim()), (q.dim(), q.dim(), k.dim()), "the shapes of the forward pass");
        if k.nrows() == 0 {
            clear(dq);
            return;
        }
        let TargetAttentionCache { of_query, of_key, scratch, mlp, weights, dscores, sums, partial, dquery, .. } =
            cache;
        resize(dscores, k.nrows(), 1);
        self.pool_back(k, offsets, weights, dp, dscores, dk);
        let first = |first: &Linear, dz: &ArrayRef2<f32>, grad: &mut Linear| {
            let (rows, dim, width) = (q.nrows(), q.ncols(), of_key.ncols());
            let (len, blocks) = (dim * width, rows.div_ceil(BLOCK));
            scratch.resize(2 * blocks * len, 0.0);
            partial.resize(2 * blocks * len, 0.0);
            resize(sums, rows, width);
            let read = Read {
                of_key: values(of_key),
                of_product: of_product(first),
                q: q.as_slice().expect(LINES),
                k: k.as_slice().expect(LINES),
                dz: dz.as_slice().expect(LINES),
                start: offsets[0] as usize,
                dim,
                width,
            };
            let written = (
                0..rows,
                Ragged { values: dk.as_slice_mut().expect(LINES), offsets, width: dim },
                Lines(dq.as_slice_mut().expect(LINES), dim),
                Lines(values_mut(sums), width),
                PerBlock(&mut scratch[..], 2 * len),
                PerBlock(&mut partial[..], 2 * len),
            );
            if has_fma() {
                rows_back::<true>(read, written);
            } else {
                rows_back::<false>(read, written);
            }
            resize(dquery, dim, width);
            product(q.t(), Operand::One(sums.view()), Output::set(dquery));
            product(sums.view(), Operand::One(of_query.t()), Output::add(dq));
            add_sums(sums, values_mut(&mut grad.bias));
            // The parts of a batch, one after the other: the sum does not depend on the number of threads.
            let (first, rest) = partial.split_at_mut(2 * len);
            for block in rest.chunks_exact(2 * len) {
                first.iter_mut().zip(block).for_each(|(sum, d)| *sum += d);
            }
            add(grad, dquery, first);
        };
        self.mlp.backward_after(first, dscores, mlp, &mut grad.mlp);
    }

    /// `ds` by event, and `dk_t = w_t·g`.
    fn pool_back(
        &self,
        k: &ArrayRef2<f32>,
        offsets: &[u32],
        weights: &[f32],
        dp: &ArrayRef2<f32>,
        dscores: &mut Array2<f32>,
        dk: &mut ArrayRef2<f32>,
    ) {
        let (rows, dim) = dp.dim();
        let (k, first, softmax) = (k.as_slice().expect(LINES), offsets[0] as usize, self.scale());
        let data = (
            0..rows,
            Ragged { values: values_mut(dscores), offsets, width: 1 },
            Ragged { values: dk.as_slice_mut().expect(LINES), offsets, width: dim },
        );
        wide_blocks(
            rows,
            BLOCK,
            data,
            #[inline(always)]
            |(rows, mut dscores, mut dk)| {
                for ((row, (event, ds)), (_, dk)) in rows.zip(dscores.rows()).zip(dk.rows()) {
                    let g = dp.row(row);
                    let g = g.to_slice().expect(LINES);
                    let weights = &weights[event - first..][..ds.len()];
                    let keys = k[(event - first) * dim..].chunks_exact(dim);
                    for (((ds, k), dk), &w) in ds.iter_mut().zip(keys).zip(dk.chunks_exact_mut(dim)).zip(weights) {
                        *ds = dot_f32::<8>(g, k);
                        dk.iter_mut().zip(g).for_each(|(dk, &g)| *dk = w * g);
                    }
                    if let Some(scale) = softmax {
                        let mean: f32 = ds.iter().zip(weights).map(|(d, w)| d * w).sum();
                        ds.iter_mut().zip(weights).for_each(|(ds, &w)| *ds = scale * w * (*ds - mean));
                    }
                }
            },
        );
    }
}

/// The first layer's part of `dk` (added) and `dq` (overwritten), `Z`, and the gradients of `W_b − W_c` and `W_d` by block.
fn rows_back<const FUSED: bool>(read: Read<'_>, written: Written<'_>) {
    let Read { of_key, of_product, q, k, dz, start, dim, width } = read;
    wide_blocks(
        written.0.len(),
        BLOCK,
        written,
        #[inline(always)]
        |(rows, mut dk, Lines(dq, _), Lines(sums, _), PerBlock(scratch, _), PerBlock(partial, _))| {
            let len = dim * width;
            let (turned, dm) = scratch.split_at_mut(len);
            let (of_keys, of_products) = partial.split_at_mut(len);
            of_keys.fill(0.0);
            of_products.fill(0.0);
            let rows = rows.zip(dk.rows()).zip(dq.chunks_exact_mut(dim)).zip(sums.chunks_exact_mut(width));
            for (((row, (event, dk)), dq), sums) in rows {
                sums.fill(0.0);
                let count = dk.len() / dim;
                if count == 0 {
                    dq.fill(0.0);
                    continue;
                }
                let (q, event) = (&q[row * dim..][..dim], event - start);
                let (k, dz) = (&k[event * dim..][..count * dim], &dz[event * width..][..count * width]);
                for dz in dz.chunks_exact(width) {
                    sums.iter_mut().zip(dz).for_each(|(sum, &d)| *sum += d);
                }
                for (c, ((of_key, of_product), &q)) in
                    of_key.chunks_exact(width).zip(of_product.chunks_exact(width)).zip(q).enumerate()
                {
                    for (j, (&of_key, &of_product)) in of_key.iter().zip(of_product).enumerate() {
                        turned[j * dim + c] = of_key + q * of_product;
                    }
                }
                let lines = Small { values: dz, line: width, column: 1 };
                kernel::product::<FUSED>(lines, width, turned, Start::Out, dk, dim);
                let columns = Small { values: k, line: 1, column: dim };
                kernel::product::<FUSED>(columns, count, dz, Start::Zero, dm, width);
                let lines = of_keys.chunks_exact_mut(width).zip(of_products.chunks_exact_mut(width));
                let lines = lines.zip(dm.chunks_exact(width)).zip(of_product.chunks_exact(width));
                for ((((of_keys, of_products), dm), of_product), (dq, &q)) in lines.zip(dq.iter_mut().zip(q)) {
                    for ((of_keys, of_products), &dm) in of_keys.iter_mut().zip(of_products).zip(dm) {
                        *of_keys += dm;
                        *of_products += q * dm;
                    }
                    *dq = dot_f32::<8>(dm, of_product);
                }
            }
        },
    );
}

/// Adds the gradients of the four parts of the weight; `by_key` has those of `W_b − W_c` and `W_d`.
fn add(grad: &mut Linear, dquery: &Array2<f32>, by_key: &[f32]) {
    let (dim, width) = dquery.dim();
    let of = |part: usize| {
        ndarray::ArrayView2::from_shape((dim, width), &by_key[part * dim * width..][..dim * width]).expect(LINES)
    };
    let (dkey, dproduct) = (of(0), of(1));
    let mut part = |part: usize, change: &dyn Fn(&mut f32, f32, f32, f32)| {
        let rows = grad.weight.slice_mut(s![part * dim..(part + 1) * dim, ..]);
        Zip::from(rows)
            .and(dquery)
            .and(&dkey)
            .and(&dproduct)
            .for_each(|d, &dquery, &dkey, &dproduct| change(d, dquery, dkey, dproduct));
    };
    part(0, &|d, dquery, _, _| *d += dquery);
    part(1, &|d, _, dkey, _| *d += dkey);
    part(2, &|d, dquery, dkey, _| *d += dquery - dkey);
    part(3, &|d, _, _, dproduct| *d += dproduct);
}
