//! How the outputs of several bottoms become the input of a tower.

use ndarray::{ArrayRef2, ArrayView2, Axis, Slice};
use serde::{Deserialize, Serialize};

use crate::nn::InputGrad;

/// How several values are joined to one value: for example the outputs of several bottoms to the input of a tower (Tang et al., RecSys
/// 2020, section 3). A value is a matrix `[rows, width]`; all values that are joined have the same width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// `y = [x_1, …, x_n]`: puts the n values `x_i` side by side; this is the default. n values, each `[rows, width]`, become one value,
    /// `[rows, n · width]`.
    #[default]
    Concatenate,
    /// `y = Σ_i x_i`: adds the values `x_i` element by element. The result has the shape of one value, `[rows, width]`.
    Sum,
    /// `y = (1/n)·Σ_i x_i`: averages the n values `x_i` element by element. The result has the shape of one value, `[rows, width]`.
    Mean,
}

impl Fusion {
    /// The width of the result for `parts` outputs of `width` columns.
    pub(crate) fn width(self, parts: usize, width: usize) -> usize {
        if self == Self::Concatenate { parts * width } else { width }
    }

    /// The weight of each output.
    fn share(self, parts: usize) -> f32 {
        if self == Self::Mean { 1.0 / parts as f32 } else { 1.0 }
    }

    /// Joins outputs, which all have the same shape.
    pub(crate) fn forward<'a>(
        self,
        parts: impl ExactSizeIterator<Item = ArrayView2<'a, f32>>,
        joined: &mut ArrayRef2<f32>,
    ) {
        let count = parts.len();
        joined.fill(0.0);
        for (i, part) in parts.enumerate() {
            match self {
                Self::Concatenate => {
                    let width = part.ncols();
                    joined.slice_axis_mut(Axis(1), columns(i, width)).assign(&part);
                }
                Self::Sum | Self::Mean => joined.scaled_add(self.share(count), &part),
            }
        }
    }

    /// The gradient `dpart` of the `index`-th of `parts` outputs.
    pub(crate) fn backward(self, djoined: &ArrayRef2<f32>, index: usize, parts: usize, dpart: InputGrad<'_>) {
        match self {
            Self::Concatenate => {
                let width = dpart.dx.ncols();
                dpart.assign(&djoined.slice_axis(Axis(1), columns(index, width)));
            }
            Self::Sum | Self::Mean => {
                let (share, InputGrad { mut dx, add }) = (self.share(parts), dpart);
                dx.zip_mut_with(djoined, |dx, &d| *dx = if add { *dx + share * d } else { share * d });
            }
        }
    }
}

/// The columns of the `index`-th part.
fn columns(index: usize, width: usize) -> Slice {
    Slice::from(index * width..(index + 1) * width)
}
