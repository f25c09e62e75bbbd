//! The matrix products of a layer, in one place, with what follows a product done while it is in registers.

mod kernel;
mod lanes;
mod panels;
mod sink;
mod strided;
mod tile;

use ndarray::{ArrayRef2, ArrayView2};

pub(crate) use self::kernel::{Place, Sink};
use self::kernel::{Right, multiply};
use self::panels::Lent;
pub(crate) use self::panels::{Operand, Panels, WIDTH};
pub(crate) use self::sink::{Out, Then};
use self::strided::Strided;
pub(crate) use self::strided::{Rows, RowsMut};

/// Below so many rows, packing the right operand would take longer than the product.
const FEW: usize = 4;

/// `y = x · w`: `[rows, in] · [in, out]`.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn matmul(x: &ArrayRef2<f32>, w: &ArrayRef2<f32>, y: &mut ArrayRef2<f32>) {
    product(x.view(), Operand::One(w.view()), Out::set(y));
}

/// `dx = dy · wᵀ`: `[rows, out] · [in, out]ᵀ`.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn matmul_transposed(dy: &ArrayRef2<f32>, w: &ArrayRef2<f32>, dx: &mut ArrayRef2<f32>) {
    product(dy.view(), Operand::One(w.t()), Out::set(dx));
}

/// `dw += xᵀ · dy`: `[rows, in]ᵀ · [rows, out]`.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn matmul_grad(x: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, dw: &mut ArrayRef2<f32>) {
    product(x.t(), Operand::One(dy.view()), Out::add(dw));
}

/// `a · b`, into `sink`.
///
/// # Panics
/// If the shapes do not fit.
#[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
pub(crate) fn product(a: ArrayView2<'_, f32>, b: Operand<'_>, sink: impl Sink) {
    if let (true, Operand::One(b)) = (a.nrows() < FEW, &b)
        && let Some(values) = b.as_slice()
        && b.ncols().is_multiple_of(WIDTH)
    {
        multiply(Strided::new(a), a.dim(), Right::plain(values, b.nrows(), b.ncols()), sink);
        return;
    }
    let mut panels = Lent::new();
    panels.pack(b);
    product_packed(a, &panels, sink);
}

/// `a · b`, where `b` was packed before.
///
/// # Panics
/// If the shapes do not fit.
#[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
pub(crate) fn product_packed(a: ArrayView2<'_, f32>, b: &Panels, sink: impl Sink) {
    multiply(Strided::new(a), a.dim(), Right::packed(b), sink);
}

#[cfg(test)]
mod tests;
