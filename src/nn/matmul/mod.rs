//! The matrix products of a layer, in one place, with what follows a product done while it is in registers.

mod epilogue;
mod kernel;
mod lanes;
mod panels;
mod strided;
mod tile;

use ndarray::{ArrayRef2, ArrayView2};

pub(crate) use self::epilogue::{Output, PostOp};
use self::kernel::{DEPTH, multiply};
pub(crate) use self::kernel::{Epilogue, PanelRow, Right};
use self::panels::Lent;
pub(crate) use self::panels::{Operand, Panels, WIDTH};
use self::strided::Strided;
pub(crate) use self::strided::{RowMajor, RowMajorMut};

/// The number of values of the right operand that are packed at a time: they stay in the second-level cache.
const NEAR: usize = 1 << 16;

/// Below this number of rows, packing the right operand would take longer than the product.
const FEW: usize = 4;

/// `y = x · w`: `[rows, in] · [in, out]`.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn matmul(x: &ArrayRef2<f32>, w: &ArrayRef2<f32>, y: &mut ArrayRef2<f32>) {
    product(x.view(), Operand::One(w.view()), Output::set(y));
}

/// `dx = dy · wᵀ`: `[rows, out] · [in, out]ᵀ`.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn matmul_transposed(dy: &ArrayRef2<f32>, w: &ArrayRef2<f32>, dx: &mut ArrayRef2<f32>) {
    product(dy.view(), Operand::One(w.t()), Output::set(dx));
}

/// `dw += xᵀ · dy`: `[rows, in]ᵀ · [rows, out]`.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn matmul_grad(x: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, dw: &mut ArrayRef2<f32>) {
    product(x.t(), Operand::One(dy.view()), Output::add(dw));
}

/// `a · b`, into `epilogue`.
///
/// # Panics
/// If the shapes do not fit.
#[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
pub(crate) fn product(a: ArrayView2<'_, f32>, mut b: Operand<'_>, mut epilogue: impl Epilogue) {
    let mut a = Strided::new(a);
    let ((rows, k), n) = (a.dim(), b.dim().1);
    let near = (NEAR / n.max(1)).next_multiple_of(DEPTH);
    if !epilogue.overwrites() {
        // What is packed at a time, and the columns of the left operand that it is multiplied with, stay in cache.
        let mut left = k;
        while left > near {
            let (first, rest) = b.split_rows(near);
            prepare(first, rows, |first| multiply(a.block(0, rows, 0, near), first, epilogue.lend(), false));
            left -= near;
            (a, b) = (a.block(0, rows, near, left), rest);
        }
    }
    prepare(b, rows, |b| multiply(a, b, epilogue, true));
}

/// Makes `b` ready for products with this number of rows in all: packs it, unless that would take longer than they do.
pub(crate) fn prepare<R>(b: Operand<'_>, rows: usize, products: impl FnOnce(Right<'_>) -> R) -> R {
    if let (true, Operand::One(b)) = (rows < FEW, &b)
        && let Some(values) = b.as_slice()
        && b.ncols().is_multiple_of(WIDTH)
    {
        return products(Right::plain(values, b.nrows(), b.ncols()));
    }
    let mut panels = Lent::new();
    panels.pack(b);
    products(Right::packed(&panels))
}

/// `a · b`, where `b` is ready.
///
/// # Panics
/// If the shapes do not fit.
#[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
pub(crate) fn product_with(a: ArrayView2<'_, f32>, b: Right<'_>, epilogue: impl Epilogue) {
    multiply(Strided::new(a), b, epilogue, true);
}

#[cfg(test)]
mod tests;
