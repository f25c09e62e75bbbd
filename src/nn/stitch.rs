//! A learned linear combination of several stacks' outputs.

use ndarray::{Array2, ArrayRef2, ArrayView1, ArrayView2, ArrayViewMut2, s};

use super::{Decay, InputGrad};
use crate::math::dot_f32;

/// One output of a cross-stitch unit: a learned weighted sum of several matrices. It lets several stacks of layers (of tasks or domains) read
/// each other's hidden values.
///
/// With one block, `y = Σ_j α_j·x_j`: the inputs `x_1, x_2, …` and the output y are `[rows, width]`, and each input has one learned weight
/// `α_j` (Misra et al., CVPR 2016, section 3.1, equation 1; they can also have one weight for each channel).
///
/// With several blocks, the columns of each matrix are divided into blocks of equal width. Block o of the output is
/// `y_o = Σ_j Σ_i α_{o,(j,i)}·x_{j,i}`, where `x_{j,i}` is block i of input j, and the weight `α_{o,(j,i)}` is one learned number (Ruder et
/// al., AAAI 2019, section 3).
///
/// If the inputs are the outputs of the layers of one stack, a unit of one block is what Ruder et al. call the mixture of layers β.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{InputGrad, Params as _, Stitch};
///
/// // Two inputs, one block. The output starts with ¾ of input 0 and ¼ of the other input.
/// let stitch = Stitch::new(2, 1, 0, 0.75);
/// let (inputs, mut y) = ([array![[4.0, 8.0]], array![[0.0, 4.0]]], Array2::zeros((1, 2)));
/// stitch.forward(inputs.iter().map(|x| x.view()), &mut y);
/// assert_eq!(y, array![[3.0, 7.0]]); // ¾·x_0 + ¼·x_1
///
/// let (mut grad, mut dx) = (stitch.zeros_like(), Array2::zeros((1, 2)));
/// stitch.backward(0, &inputs[0], &array![[1.0, 1.0]], &mut grad, InputGrad::overwrite(&mut dx));
/// assert_eq!((grad.alpha[[0, 0]], dx), (12.0, array![[0.75, 0.75]]));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Stitch {
    /// The learned weights α, `[blocks, inputs · blocks]`. Row o has the weights for block o of the output. In it, the weight of block i of
    /// input j is at column `j·blocks + i`.
    pub alpha: Array2<f32>,
}

// Decay towards 0 would make all outputs 0.
crate::params!(Stitch { alpha: Decay::None });

impl Stitch {
    /// A unit that combines `inputs` matrices and divides each into `blocks` blocks of columns; `blocks` is at least 1.
    ///
    /// `own` is the position of one input, from 0: the input that continues the same stack. `own_weight` is its initial weight. At the start,
    /// block o of the output is `own_weight` times block o of input `own`, plus a small part of every other block of every input. These other
    /// blocks have equal weights, which sum to `1 − own_weight`. If there is no other block, the initial weight is 1. `own_weight` may be any
    /// number; 0 to 1 is usual.
    ///
    /// # Panics
    /// If `blocks` is 0, or `own` is not below `inputs`.
    pub fn new(inputs: usize, blocks: usize, own: usize, own_weight: f32) -> Self {
        assert!(blocks > 0 && own < inputs, "a unit reads blocks, its own among them");
        let others = inputs * blocks - 1;
        let (own_weight, other) =
            if others == 0 { (1.0, 0.0) } else { (own_weight, (1.0 - own_weight) / others as f32) };
        let weight = |(row, column): (usize, usize)| if column == own * blocks + row { own_weight } else { other };
        Self { alpha: Array2::from_shape_fn((blocks, inputs * blocks), weight) }
    }

    /// The number of input matrices that the unit combines, such as the outputs of several stacks of layers.
    pub fn inputs(&self) -> usize {
        self.alpha.ncols() / self.blocks()
    }

    /// The number of blocks of columns into which the unit divides each input and the output. 1 means that it does not divide them.
    pub fn blocks(&self) -> usize {
        self.alpha.nrows()
    }

    /// The forward pass: computes the output `y` from the matrices that `inputs` yields, by the formula of [`Stitch`]. All are
    /// `[rows, width]`.
    ///
    /// # Panics
    /// If `inputs` does not yield [`Stitch::inputs`] matrices, if one of them differs from `y` in shape, or if their number of columns is
    /// not a multiple of [`Stitch::blocks`].
    pub fn forward<'a>(&self, inputs: impl Iterator<Item = ArrayView2<'a, f32>>, y: &mut ArrayRef2<f32>) {
        y.fill(0.0);
        let mut read = 0;
        for (j, x) in inputs.enumerate() {
            self.assert_fits(&x, y);
            for ((o, i), &alpha) in self.of_input(j).indexed_iter() {
                self.block_mut(y, o).scaled_add(alpha, &self.block(&x, i));
            }
            read += 1;
        }
        assert_eq!(read, self.inputs(), "one input for each that the unit reads");
    }

    /// The backward pass for one input j. `input` is its position j, from 0, and `x` is its matrix. `dy` is the gradient of the output.
    /// Call it for each input.
    ///
    /// Adds the gradient of the weights, `dα_{o,(j,i)} += ⟨dy_o, x_{j,i}⟩`, the sum over all rows and columns of a block, to `grad`. The
    /// gradient of the input, `dx_{j,i} = Σ_o α_{o,(j,i)}·dy_o`, goes to `dx`; [`InputGrad`] says whether it overwrites the matrix or is
    /// added to it.
    ///
    /// # Panics
    /// If `input` is not below [`Stitch::inputs`], if `x`, `dy` and `dx` differ in shape, or if their number of columns is not a multiple
    /// of [`Stitch::blocks`].
    pub fn backward(&self, input: usize, x: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, grad: &mut Self, dx: InputGrad<'_>) {
        let InputGrad { mut dx, add } = dx;
        self.assert_fits(x, dy);
        self.assert_fits(x, &dx);
        for ((o, i), &alpha) in self.of_input(input).indexed_iter() {
            let (x, dy) = (self.block(x, i), self.block(dy, o));
            // A sum over all rows and columns: f32 would lose digits.
            let rows = x.rows().into_iter().zip(dy.rows());
            let product: f64 = rows.map(|(x, dy)| f64::from(dot_f32::<16>(contiguous(x), contiguous(dy)))).sum();
            grad.alpha[[o, input * self.blocks() + i]] += product as f32;
            let mut dx = self.block_mut(&mut dx, i);
            if add || o > 0 {
                dx.scaled_add(alpha, &dy);
            } else {
                dx.zip_mut_with(&dy, |dx, &dy| *dx = alpha * dy);
            }
        }
    }

    /// The weights of one input, `[blocks, blocks]`.
    fn of_input(&self, input: usize) -> ArrayView2<'_, f32> {
        let blocks = self.blocks();
        self.alpha.slice(s![.., input * blocks..(input + 1) * blocks])
    }

    fn block<'a>(&self, x: &'a ArrayRef2<f32>, index: usize) -> ArrayView2<'a, f32> {
        let width = x.ncols() / self.blocks();
        x.slice(s![.., index * width..(index + 1) * width])
    }

    fn block_mut<'a>(&self, x: &'a mut ArrayRef2<f32>, index: usize) -> ArrayViewMut2<'a, f32> {
        let width = x.ncols() / self.blocks();
        x.slice_mut(s![.., index * width..(index + 1) * width])
    }

    fn assert_fits(&self, x: &ArrayRef2<f32>, y: &ArrayRef2<f32>) {
        assert_eq!(x.dim(), y.dim(), "inputs and combination have one shape");
        assert_eq!(x.ncols() % self.blocks(), 0, "all blocks have one width");
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
fn contiguous(row: ArrayView1<'_, f32>) -> &[f32] {
    row.to_slice().expect("the values of a row are contiguous")
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn the_own_input_has_its_weight_at_the_start() {
        assert_eq!(Stitch::new(3, 1, 1, 0.5).alpha, array![[0.25, 0.5, 0.25]]);
        let two = array![[0.125, 0.125, 0.625, 0.125], [0.125, 0.125, 0.125, 0.625]];
        assert_eq!(Stitch::new(2, 2, 1, 0.625).alpha, two);
        assert_eq!(Stitch::new(1, 1, 0, 0.3).alpha, array![[1.0]]);
    }
}
