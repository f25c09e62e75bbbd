//! One token for each input of a row.

use ndarray::{Array2, ArrayRef2};

use super::add_scaled;
use crate::math::dot_f32;
use crate::nn::{Decay, InitRng};

/// Makes the tokens of a row for attention: one vector of `width` values for each categorical field and for each numeric input. The input is
/// an embedded row `[e_1, …, e_F, x_1, …, x_N]`: the embeddings `e_1, …, e_F` of F fields, then N numbers `x_1, …, x_N`.
///
/// The token of a field is its embedding. The token of the number `x_j` is `t_j = x_j·v_j + b_j` with learned vectors `v_j` and `b_j`. Song
/// et al. ("AutoInt", CIKM 2019, section 4.3) have no `b_j`. With `b_j`, the token of a missing number, whose value is 0, is not 0 and still
/// tells which number it is.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{InitRng, NumberTokens, Tokens};
///
/// // One field and one number; tokens of 2 values; initial vectors of standard deviation 0.1.
/// let mut tokens = Tokens::new(1, 1, 2, 0.1, &mut InitRng::new(1));
/// tokens.numbers = Some(NumberTokens { weight: array![[1.0, 2.0]], bias: array![[0.0, 0.5]] });
/// // A row: an embedding of two values, and the number 3.
/// let (x, mut t) = (array![[7.0, 8.0, 3.0]], Array2::zeros((2, 2)));
/// tokens.forward(&x, &mut t);
/// assert_eq!(t, array![[7.0, 8.0], [3.0, 6.5]]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    /// The parameters of the tokens of numeric inputs; `None` if the rows have no numeric inputs.
    pub numbers: Option<NumberTokens>,
    fields: usize,
    width: usize,
}

/// The parameters of the tokens of numeric inputs in [`Tokens`]: the token of number `x_j` is `t_j = x_j·v_j + b_j`.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberTokens {
    /// The learned vectors `v_j`, `[numbers, width]`: line j has that of the numeric input `x_j`, by which the number is multiplied.
    pub weight: Array2<f32>,
    /// The learned vectors `b_j`, `[numbers, width]`: line j has that of the numeric input `x_j`, which is added to the product; 0 at the
    /// start.
    pub bias: Array2<f32>,
}

crate::params!(Tokens { numbers });
crate::params!(NumberTokens { weight: Decay::Towards(0.0), bias: Decay::None });

impl Tokens {
    /// A layer for rows that have `fields` embeddings of `width` values each, followed by `numbers` numeric inputs. Each token has `width`
    /// values. `rng` gives the initial vectors `v_j` of the numbers, from a normal distribution of mean 0 and standard deviation `std`. The
    /// vectors `b_j` start at 0. `std` should be a finite number of at least 0.
    ///
    /// # Panics
    /// If `std` is infinite or NaN and `numbers` is above 0. A negative `std` gives the distribution of its absolute value.
    pub fn new(fields: usize, numbers: usize, width: usize, std: f32, rng: &mut InitRng) -> Self {
        let numbers = (numbers > 0)
            .then(|| NumberTokens { weight: rng.normal(numbers, width, std), bias: Array2::zeros((numbers, width)) });
        Self { numbers, fields, width }
    }

    /// The number of values of an embedded row.
    pub(crate) fn input(&self) -> usize {
        self.fields * self.width + self.count() - self.fields
    }

    /// The number of tokens that are fields; they come first.
    #[cfg(feature = "onnx")]
    pub(crate) fn fields(&self) -> usize {
        self.fields
    }

    /// The number of tokens of a row: the number of fields plus the number of numeric inputs.
    pub fn count(&self) -> usize {
        self.fields + self.numbers.as_ref().map_or(0, |numbers| numbers.weight.nrows())
    }

    /// The number of values of a token.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The forward pass: writes the tokens `[e_1, …, e_F, x_1·v_1 + b_1, …, x_N·v_N + b_N]` of each row to `t`. `x` is
    /// `[rows, fields·width + numbers]`. `t` is `[rows·tokens, width]`: one line for each token, where `tokens` is [`Tokens::count`].
    ///
    /// # Panics
    /// If `x` or `t` has another shape, or if `t` is not in standard layout (row-major and contiguous).
    pub fn forward(&self, x: &ArrayRef2<f32>, t: &mut ArrayRef2<f32>) {
        self.assert_shapes(x, t);
        let embedded = self.fields * self.width;
        let t = t.as_slice_mut().expect("tokens are contiguous");
        for (x, t) in x.rows().into_iter().zip(t.chunks_exact_mut(self.count() * self.width)) {
            let (fields, numbers) = t.split_at_mut(embedded);
            fields.iter_mut().zip(&x).for_each(|(t, &x)| *t = x);
            let Some(own) = &self.numbers else { continue };
            for (j, t) in numbers.chunks_exact_mut(self.width).enumerate() {
                t.iter_mut().zip(own.bias.row(j)).for_each(|(t, &b)| *t = b);
                add_scaled(t, x[embedded + j], row(&own.weight, j));
            }
        }
    }

    /// The backward pass. `x` is the input of the forward pass and `dt` the gradient of the tokens. For the numbers it adds
    /// `dv_j += Σ x_j·dt_j` and `db_j += Σ dt_j`, sums over all rows, to `grad`. It writes the gradient of the row to `dx`: `de = dt` for
    /// an embedding e, and `dx_j = ⟨v_j, dt_j⟩` for a number.
    ///
    /// # Panics
    /// If `x`, `dt` or `dx` has another shape than `x`, `t` and `x` of the forward pass, or if `dt` is not in standard layout (row-major
    /// and contiguous).
    pub fn backward(&self, x: &ArrayRef2<f32>, dt: &ArrayRef2<f32>, grad: &mut Self, dx: &mut ArrayRef2<f32>) {
        self.assert_shapes(x, dt);
        assert_eq!(x.dim(), dx.dim(), "one gradient for each value");
        let embedded = self.fields * self.width;
        let dt = dt.as_slice().expect("tokens are contiguous");
        let rows = x.rows().into_iter().zip(dx.rows_mut()).zip(dt.chunks_exact(self.count() * self.width));
        for ((x, mut dx), dt) in rows {
            dx.iter_mut().zip(&dt[..embedded]).for_each(|(dx, &dt)| *dx = dt);
            let (Some(own), Some(grad)) = (&self.numbers, &mut grad.numbers) else { continue };
            for (j, dt) in dt[embedded..].chunks_exact(self.width).enumerate() {
                dx[embedded + j] = dot_f32::<8>(row(&own.weight, j), dt);
                add_scaled(row_mut(&mut grad.weight, j), x[embedded + j], dt);
                add_scaled(row_mut(&mut grad.bias, j), 1.0, dt);
            }
        }
    }

    fn assert_shapes(&self, x: &ArrayRef2<f32>, t: &ArrayRef2<f32>) {
        assert_eq!(x.ncols(), self.input(), "the embeddings of all fields, then all numbers");
        assert_eq!(t.dim(), (x.nrows() * self.count(), self.width), "a line for each token");
    }
}

fn row(matrix: &Array2<f32>, j: usize) -> &[f32] {
    let width = matrix.ncols();
    &matrix.as_slice().expect("parameters are kept in standard layout")[j * width..][..width]
}

fn row_mut(matrix: &mut Array2<f32>, j: usize) -> &mut [f32] {
    let width = matrix.ncols();
    &mut matrix.as_slice_mut().expect("parameters are kept in standard layout")[j * width..][..width]
}
