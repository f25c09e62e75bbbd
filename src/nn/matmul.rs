//! The three matrix products of a layer, in one place.
//!
//! Work is cut into blocks whose number depends on the shapes alone; inside a rayon pool the blocks run side by side,
//! elsewhere one after the other, with the same bits either way. No global pool is ever started.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayRef2, ArrayView2, ArrayViewMut2, Axis};

/// Rows of the left operand a block takes: enough that packing the right one is small beside the product.
const ROWS: usize = 512;
/// Rows of the weight gradient a block takes.
const GRAD_ROWS: usize = 64;

/// `y = x · w`: `[rows, in] · [in, out]`.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn matmul(x: &ArrayRef2<f32>, w: &ArrayRef2<f32>, y: &mut ArrayRef2<f32>) {
    blocks(x.view(), y.view_mut(), ROWS, &|x, mut y| general_mat_mul(1.0, &x, w, 0.0, &mut y));
}

/// `dx = dy · wᵀ`: `[rows, out] · [in, out]ᵀ`.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn matmul_transposed(dy: &ArrayRef2<f32>, w: &ArrayRef2<f32>, dx: &mut ArrayRef2<f32>) {
    let wt = w.t();
    blocks(dy.view(), dx.view_mut(), ROWS, &|dy, mut dx| general_mat_mul(1.0, &dy, &wt, 0.0, &mut dx));
}

/// `dw = β·dw + xᵀ · dy`: `[rows, in]ᵀ · [rows, out]`.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn matmul_grad(x: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, beta: f32, dw: &mut ArrayRef2<f32>) {
    blocks(x.t(), dw.view_mut(), GRAD_ROWS, &|xt, mut dw| general_mat_mul(1.0, &xt, dy, beta, &mut dw));
}

/// Runs `f` on blocks of matching rows of `input` and `output`.
#[expect(clippy::needless_pass_by_value, reason = "views are halved on the way down")]
fn blocks(
    input: ArrayView2<'_, f32>,
    output: ArrayViewMut2<'_, f32>,
    block: usize,
    f: &(impl Fn(ArrayView2<'_, f32>, ArrayViewMut2<'_, f32>) + Sync),
) {
    let count = output.nrows().div_ceil(block);
    if count <= 1 {
        f(input, output);
        return;
    }
    let middle = count.div_ceil(2) * block;
    let (first_in, second_in) = input.split_at(Axis(0), middle);
    let (first_out, second_out) = output.split_at(Axis(0), middle);
    // Only inside a pool that somebody chose: `join` outside of one would start rayon's global pool.
    if rayon::current_thread_index().is_some() {
        rayon::join(|| blocks(first_in, first_out, block, f), || blocks(second_in, second_out, block, f));
    } else {
        blocks(first_in, first_out, block, f);
        blocks(second_in, second_out, block, f);
    }
}
