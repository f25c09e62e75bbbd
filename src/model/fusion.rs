//! How the outputs of several bottoms become the input of a tower.

use ndarray::{ArrayRef2, ArrayView2, Axis, Slice};
use serde::{Deserialize, Serialize};

/// How a tower joins the outputs of the bottoms that it reads (Tang et al., RecSys 2020, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// Side by side; the default.
    #[default]
    Concatenate,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
}

impl Fusion {
    /// The width of what `parts` outputs of `width` values become.
    pub(crate) fn width(self, parts: usize, width: usize) -> usize {
        if self == Self::Concatenate { parts * width } else { width }
    }

    /// What each output counts for.
    fn share(self, parts: usize) -> f32 {
        if self == Self::Mean { 1.0 / parts as f32 } else { 1.0 }
    }

    /// Joins outputs of one shape.
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

    /// Adds the `index`-th of `parts` outputs' share of the gradient to `dpart`.
    pub(crate) fn backward(self, djoined: &ArrayRef2<f32>, index: usize, parts: usize, dpart: &mut ArrayRef2<f32>) {
        match self {
            Self::Concatenate => {
                let width = dpart.ncols();
                let share = djoined.slice_axis(Axis(1), columns(index, width));
                dpart.zip_mut_with(&share, |sum, &d| *sum += d);
            }
            Self::Sum | Self::Mean => dpart.scaled_add(self.share(parts), djoined),
        }
    }
}

/// The columns of the `index`-th part.
fn columns(index: usize, width: usize) -> Slice {
    Slice::from(index * width..(index + 1) * width)
}
