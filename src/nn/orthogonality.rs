//! A penalty that makes the blocks of a weight orthogonal to each other.

use ndarray::{Array2, ArrayRef2, Axis, Slice};

use super::buffer::resize;
use super::matmul::{matmul, matmul_grad};

/// `λ·Σ_{a<b} ‖G_aᵀ·G_b‖²_F` over `blocks` blocks `G` of equally many columns of a weight `[in, out]`: 0 if every column of one block is
/// orthogonal to every column of the others. Adds its gradient, `dG_a += 2λ·G_b·(G_aᵀ·G_b)ᵀ`, `dG_b += 2λ·G_a·(G_aᵀ·G_b)`, and
/// returns it.
///
/// # Panics
/// If there are no blocks, or the columns are no multiple of them.
pub(crate) fn orthogonality(
    weight: &ArrayRef2<f32>,
    blocks: usize,
    lambda: f32,
    products: &mut Array2<f32>,
    grad: &mut ArrayRef2<f32>,
) -> f64 {
    assert_eq!(weight.ncols() % blocks, 0, "all blocks have one width");
    let width = weight.ncols() / blocks;
    let columns = |block: usize| Slice::from(block * width..(block + 1) * width);
    resize(products, width, width);
    let mut penalty = 0.0;
    for b in 1..blocks {
        for a in 0..b {
            let (g_a, g_b) = (weight.slice_axis(Axis(1), columns(a)), weight.slice_axis(Axis(1), columns(b)));
            matmul(&g_a.t(), &g_b, products);
            penalty += products.iter().map(|&p| f64::from(p).powi(2)).sum::<f64>();
            *products *= 2.0 * lambda;
            matmul_grad(&g_b.t(), &products.t(), &mut grad.slice_axis_mut(Axis(1), columns(a)));
            matmul_grad(&g_a.t(), products, &mut grad.slice_axis_mut(Axis(1), columns(b)));
        }
    }
    f64::from(lambda) * penalty
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn three_blocks_by_hand() {
        // Columns (1, 2), (3, 0) and (0, 1): products 3, 2 and 0.
        let weight = array![[1.0, 3.0, 0.0], [2.0, 0.0, 1.0]];
        let mut grad = Array2::ones((2, 3));
        let penalty = orthogonality(&weight, 3, 0.5, &mut Array2::zeros((0, 0)), &mut grad);
        assert_eq!(penalty, 0.5 * (9.0 + 4.0));
        // 2λ Σ_b (g_a·g_b) g_b, added to the 1 before.
        assert_eq!(grad, array![[1.0 + 9.0, 1.0 + 3.0, 1.0 + 2.0], [1.0 + 2.0, 1.0 + 6.0, 1.0 + 4.0]]);
    }
}
