//! Standardising columns by statistics of rows: the common part of the batch normalisations.
//!
//! Forward `y = a ⊙ x̂ + b` with `x̂ = (z − μ)·r`, `r = 1/√(σ² + ε)`; backward, where μ and σ² come from the `n` rows
//! themselves, `dz = a·r ⊙ (g − mean g − x̂ ⊙ mean(g ⊙ x̂))`, and where they are constants, `dz = a·r ⊙ g`.

use ndarray::{Array1, ArrayRef1, ArrayRef2, ArrayView1};

use crate::nn::linear::values;
use crate::nn::{InputGrad, MovingAverage};
use crate::parallel::{ByColumn, wide_blocks};

/// A column with a smaller variance counts as constant: its output is 0 in training, and in inference for every value.
pub(crate) const CONSTANT: f32 = 1e-8;

/// The number of columns that are processed at a time: their cache lines are used in all passes before they are evicted.
const AT_ONCE: usize = 64;

/// The statistics that some rows were standardised by, and what the backward pass needs.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    /// μ
    mean: Array1<f32>,
    /// r
    inv_std: Array1<f32>,
    /// Whether μ and σ² come from the rows, so that gradients flow through them.
    from_rows: bool,
    /// The rows' mean and unbiased variance, and the number of rows, for a moving average.
    batch_mean: Array1<f32>,
    batch_var: Array1<f32>,
    batch_rows: u64,
    /// Two sums for each column, in f64.
    sums: Vec<[f64; 2]>,
}

impl Columns {
    /// Takes μ and σ² (biased) from the rows of `z`; `epsilon` of a column is added to its σ².
    ///
    /// # Panics
    /// If there are fewer than 2 rows.
    pub(crate) fn take_rows(&mut self, z: &ArrayRef2<f32>, epsilon: impl Fn(usize) -> f32) {
        assert!(z.nrows() >= 2, "statistics need at least 2 rows");
        self.measure_rows(z);
        self.from_rows = true;
        self.mean.assign(&self.batch_mean);
        let n = z.nrows() as f64;
        for (j, (inv_std, &[_, squares])) in self.inv_std.iter_mut().zip(&self.sums).enumerate() {
            *inv_std = (1.0 / (squares / n + f64::from(epsilon(j))).sqrt()) as f32;
        }
    }

    /// The mean and the unbiased variance of the rows of `z`, for [`Columns::note`] alone; one row has the variance 0.
    pub(crate) fn measure_rows(&mut self, z: &ArrayRef2<f32>) {
        let (rows, width) = z.dim();
        self.fit(width);
        self.batch_rows = rows as u64;
        wide_blocks(
            width,
            AT_ONCE,
            (0..width, &mut self.sums[..]),
            #[inline(always)]
            |(block, sums)| {
                // Two arrays instead of pairs, so that the loops use vectors.
                let (mean, squares) = (&mut [0.0; AT_ONCE][..sums.len()], &mut [0.0; AT_ONCE][..sums.len()]);
                for z in z.rows() {
                    mean.iter_mut().zip(&contiguous(z)[block.clone()]).for_each(|(mean, &z)| *mean += f64::from(z));
                }
                let n = z.nrows() as f64;
                for mean in &mut *mean {
                    *mean /= n;
                }
                for z in z.rows() {
                    for ((squares, mean), &z) in squares.iter_mut().zip(&*mean).zip(&contiguous(z)[block.clone()]) {
                        let distance = f64::from(z) - mean;
                        *squares += distance * distance;
                    }
                }
                for ((sums, &mut mean), &mut squares) in sums.iter_mut().zip(mean).zip(squares) {
                    *sums = [mean, squares];
                }
            },
        );
        let freedom = (rows as f64 - 1.0).max(1.0);
        for (j, &[mean, squares]) in self.sums.iter().enumerate() {
            self.batch_mean[j] = mean as f32;
            self.batch_var[j] = (squares / freedom) as f32;
        }
    }

    /// Takes μ and σ² as constants. [`Columns::note`] then does nothing, unless [`Columns::measure_rows`] was called after this.
    pub(crate) fn take_constants(
        &mut self,
        mean: &ArrayRef1<f32>,
        var: &ArrayRef1<f32>,
        epsilon: impl Fn(usize) -> f32,
    ) {
        self.fit(mean.len());
        self.from_rows = false;
        self.mean.assign(mean);
        for (j, (r, &v)) in self.inv_std.iter_mut().zip(var).enumerate() {
            *r = if v < CONSTANT { 0.0 } else { 1.0 / (v + epsilon(j)).sqrt() };
        }
    }

    fn fit(&mut self, width: usize) {
        if self.mean.len() != width {
            self.mean = Array1::zeros(width);
            self.inv_std = Array1::zeros(width);
            self.batch_mean = Array1::zeros(width);
            self.batch_var = Array1::zeros(width);
        }
        self.batch_rows = 0;
        self.sums.clear();
        self.sums.resize(width, [0.0; 2]);
    }

    /// `y = a ⊙ x̂ + b`.
    pub(crate) fn forward(
        &mut self,
        z: &ArrayRef2<f32>,
        a: &ArrayRef1<f32>,
        b: &ArrayRef1<f32>,
        y: &mut ArrayRef2<f32>,
    ) {
        assert_eq!((z.ncols(), z.dim()), (self.mean.len(), y.dim()), "one column of z and y for each statistic");
        let (mean, inv_std, a, b) = (values(&self.mean), values(&self.inv_std), values(a), values(b));
        let data = (0..z.ncols(), mean, inv_std, a, b, ByColumn(y.view_mut()));
        wide_blocks(
            z.ncols(),
            AT_ONCE,
            data,
            #[inline(always)]
            |(block, mean, inv_std, a, b, ByColumn(mut y))| {
                for (z, mut y) in z.rows().into_iter().zip(y.rows_mut()) {
                    let y = y.as_slice_mut().expect(CONTIGUOUS);
                    let columns = y.iter_mut().zip(&contiguous(z)[block.clone()]).zip(mean).zip(inv_std).zip(a).zip(b);
                    for (((((y, &z), &mean), &r), &a), &b) in columns {
                        *y = (z - mean) * r * a + b;
                    }
                }
            },
        );
    }

    /// `dz` from `g = dy`; leaves Σg and Σ(g ⊙ x̂) for [`Columns::sum_g`] and [`Columns::sum_gx`].
    pub(crate) fn backward(&mut self, z: &ArrayRef2<f32>, a: &ArrayRef1<f32>, dy: &ArrayRef2<f32>, dz: InputGrad<'_>) {
        let InputGrad { dx: dz, add } = dz;
        assert_eq!((z.dim(), z.dim()), (dy.dim(), dz.dim()), "one gradient for each value");
        // `1/n`, or 0 where no gradient flows through the statistics.
        let flows = f64::from(u8::from(self.from_rows)) / z.nrows() as f64;
        let (mean, inv_std, a) = (values(&self.mean), values(&self.inv_std), values(a));
        let data = (0..z.ncols(), &mut self.sums[..], mean, inv_std, a, ByColumn(dz));
        wide_blocks(
            z.ncols(),
            AT_ONCE,
            data,
            #[inline(always)]
            move |(block, sums, mean, inv_std, a, ByColumn(mut dz))| {
                // Two arrays, as above.
                let (sum_g, sum_gx) = (&mut [0.0; AT_ONCE][..sums.len()], &mut [0.0; AT_ONCE][..sums.len()]);
                for (z, g) in z.rows().into_iter().zip(dy.rows()) {
                    let (z, g) = (&contiguous(z)[block.clone()], &contiguous(g)[block.clone()]);
                    let columns = sum_g.iter_mut().zip(&mut *sum_gx).zip(z).zip(g).zip(mean).zip(inv_std);
                    for (((((sum_g, sum_gx), &z), &g), &mean), &r) in columns {
                        *sum_g += f64::from(g);
                        *sum_gx += f64::from(g * ((z - mean) * r));
                    }
                }
                for ((sums, &mut g), &mut gx) in sums.iter_mut().zip(sum_g).zip(sum_gx) {
                    *sums = [g, gx];
                }
                // mean g and mean(g ⊙ x̂)
                let (mut mean_g, mut mean_gx) = ([0.0; AT_ONCE], [0.0; AT_ONCE]);
                for ((mean_g, mean_gx), s) in mean_g.iter_mut().zip(&mut mean_gx).zip(&*sums) {
                    (*mean_g, *mean_gx) = ((flows * s[0]) as f32, (flows * s[1]) as f32);
                }
                for ((z, g), mut dz) in z.rows().into_iter().zip(dy.rows()).zip(dz.rows_mut()) {
                    let (z, g) = (&contiguous(z)[block.clone()], &contiguous(g)[block.clone()]);
                    let dz = dz.as_slice_mut().expect(CONTIGUOUS);
                    let columns = dz.iter_mut().zip(z).zip(g).zip(mean).zip(inv_std).zip(a).zip(&mean_g).zip(&mean_gx);
                    for (((((((dz, &z), &g), &mean), &r), &a), &mean_g), &mean_gx) in columns {
                        let d = a * r * (g - mean_g - (z - mean) * r * mean_gx);
                        *dz = if add { *dz + d } else { d };
                    }
                }
            },
        );
    }

    /// Adds the rows' statistics, if they were taken, to the "gradient" of the moving averages.
    pub(crate) fn note(&self, moving: &mut MovingAverage) {
        if self.batch_rows > 0 {
            moving.add(&self.batch_mean, &self.batch_var, self.batch_rows);
        }
    }

    /// `Σ g` of each column, after [`Columns::backward`].
    pub(crate) fn sum_g(&self) -> impl Iterator<Item = f32> {
        self.sums.iter().map(|s| s[0] as f32)
    }

    /// `Σ g ⊙ x̂` of each column, after [`Columns::backward`].
    pub(crate) fn sum_gx(&self) -> impl Iterator<Item = f32> {
        self.sums.iter().map(|s| s[1] as f32)
    }
}

const CONTIGUOUS: &str = "rows are contiguous";

#[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
fn contiguous(row: ArrayView1<'_, f32>) -> &[f32] {
    row.to_slice().expect(CONTIGUOUS)
}
