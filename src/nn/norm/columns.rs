//! Standardising columns by statistics of rows: the part that every batch normalisation shares.
//!
//! Forward `y = a ⊙ x̂ + b` with `x̂ = (z − μ)·r`, `r = 1/√(σ² + ε)`; backward, where μ and σ² come from the `n` rows
//! themselves, `dz = a·r ⊙ (g − mean g − x̂ ⊙ mean(g ⊙ x̂))`, and where they are constants, `dz = a·r ⊙ g`.

use ndarray::{Array1, ArrayRef1, ArrayRef2, Axis, Zip};

use crate::nn::Moving;

/// The statistics that one run of rows was standardised by, and what its backward pass needs.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    /// μ
    mean: Array1<f32>,
    /// r
    inv_std: Array1<f32>,
    /// σ², unbiased: what a moving average takes.
    var: Array1<f32>,
    /// Whether μ and σ² come from the rows, so that gradients flow through them.
    from_rows: bool,
    /// Two sums for each column, in f64.
    sums: Vec<[f64; 2]>,
    /// mean g and mean(g ⊙ x̂), then also the factors of the backward pass.
    means: Vec<[f32; 2]>,
}

impl Columns {
    /// Takes μ and σ² (biased) from the rows of `z`.
    ///
    /// # Panics
    /// If there are fewer than 2 rows.
    pub(crate) fn take_rows(&mut self, z: &ArrayRef2<f32>, epsilon: f32) {
        let (rows, width) = z.dim();
        assert!(rows >= 2, "statistics need at least 2 rows");
        self.fit(width);
        self.from_rows = true;
        for row in z.axis_iter(Axis(0)) {
            self.sums.iter_mut().zip(&row).for_each(|(s, &z)| s[0] += f64::from(z));
        }
        let n = rows as f64;
        self.sums.iter_mut().for_each(|s| s[0] /= n);
        for row in z.axis_iter(Axis(0)) {
            self.sums.iter_mut().zip(&row).for_each(|(s, &z)| {
                let distance = f64::from(z) - s[0];
                s[1] += distance * distance;
            });
        }
        for (j, &[mean, squares]) in self.sums.iter().enumerate() {
            self.mean[j] = mean as f32;
            self.inv_std[j] = (1.0 / (squares / n + f64::from(epsilon)).sqrt()) as f32;
            self.var[j] = (squares / (n - 1.0)) as f32;
        }
    }

    /// Takes μ and σ² as constants.
    pub(crate) fn take_constants(&mut self, mean: &ArrayRef1<f32>, var: &ArrayRef1<f32>, epsilon: f32) {
        self.fit(mean.len());
        self.from_rows = false;
        self.mean.assign(mean);
        Zip::from(&mut self.inv_std).and(var).for_each(|r, &v| *r = 1.0 / (v + epsilon).sqrt());
    }

    fn fit(&mut self, width: usize) {
        if self.mean.len() != width {
            self.mean = Array1::zeros(width);
            self.inv_std = Array1::zeros(width);
            self.var = Array1::zeros(width);
        }
        self.sums.clear();
        self.sums.resize(width, [0.0; 2]);
    }

    /// `y = a ⊙ x̂ + b`.
    pub(crate) fn forward(&self, z: &ArrayRef2<f32>, a: &ArrayRef1<f32>, b: &ArrayRef1<f32>, y: &mut ArrayRef2<f32>) {
        assert_eq!((z.ncols(), z.dim()), (self.mean.len(), y.dim()), "one column of z and y for each statistic");
        for (z, mut y) in z.axis_iter(Axis(0)).zip(y.axis_iter_mut(Axis(0))) {
            let columns = y.iter_mut().zip(&z).zip(&self.mean).zip(&self.inv_std).zip(a).zip(b);
            for (((((y, &z), &mean), &r), &a), &b) in columns {
                *y = (z - mean) * r * a + b;
            }
        }
    }

    /// `dz` from `g = dy`; leaves Σg and Σ(g ⊙ x̂) for [`Columns::sum_g`] and [`Columns::sum_gx`].
    pub(crate) fn backward(
        &mut self,
        z: &ArrayRef2<f32>,
        a: &ArrayRef1<f32>,
        dy: &ArrayRef2<f32>,
        dz: &mut ArrayRef2<f32>,
    ) {
        assert_eq!((z.dim(), z.dim()), (dy.dim(), dz.dim()), "one gradient for each value");
        let n = z.nrows() as f64;
        self.sums.iter_mut().for_each(|s| *s = [0.0; 2]);
        for (z, g) in z.axis_iter(Axis(0)).zip(dy.axis_iter(Axis(0))) {
            let columns = self.sums.iter_mut().zip(&z).zip(&g).zip(&self.mean).zip(&self.inv_std);
            for ((((s, &z), &g), &mean), &r) in columns {
                s[0] += f64::from(g);
                s[1] += f64::from(g * ((z - mean) * r));
            }
        }
        let flows = f64::from(u8::from(self.from_rows));
        self.means.clear();
        self.means.extend(self.sums.iter().map(|s| [(flows * s[0] / n) as f32, (flows * s[1] / n) as f32]));
        let rows = z.axis_iter(Axis(0)).zip(dy.axis_iter(Axis(0))).zip(dz.axis_iter_mut(Axis(0)));
        for ((z, g), mut dz) in rows {
            let columns = dz.iter_mut().zip(&z).zip(&g).zip(&self.mean).zip(&self.inv_std).zip(a).zip(&self.means);
            for ((((((dz, &z), &g), &mean), &r), &a), &[mean_g, mean_gx]) in columns {
                *dz = a * r * (g - mean_g - (z - mean) * r * mean_gx);
            }
        }
    }

    /// Makes the rows' statistics the "gradient" of the moving averages; constants leave none.
    pub(crate) fn note(&self, moving: &mut Moving) {
        if self.from_rows {
            moving.add(&self.mean, &self.var);
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
