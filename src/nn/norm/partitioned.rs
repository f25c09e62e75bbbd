//! Partitioned Normalization: each domain's rows are normalised by that domain's statistics.

use ndarray::{Array1, ArrayRef2, s};

use super::{CONSTANT, Columns};
use crate::data::DomainId;
use crate::nn::buffer::grow;
use crate::nn::segment::each_segment;
use crate::nn::{Decay, InputGrad, Mode, MovingAverage, PerDomain, Segment, Size};

/// Partitioned Normalization (Sheng et al. 2021, section 3.3, equations 3 and 4). It is batch normalisation with the statistics of the row's
/// domain d, and with a scale and a shift that have a shared part and a part of the domain:
///
/// `y = (γ ⊙ γ_d) ⊙ (z − μ_d)/√(σ²_d + f·Var + ε) + (β + β_d)`
///
/// - z is a row of the input and y its output. ⊙ is the elementwise product.
/// - γ and β are the shared scale and shift, `γ_d` and `β_d` those of domain d. All are learned.
/// - `μ_d` and `σ²_d` are the mean and the variance of each column. In training they are those of the batch's rows of domain d. In inference
///   they are the moving averages `E_d` and `Var_d` of the domain ([`MovingAverage`]).
/// - Var is the moving variance of each column over all domains together: that of the mixture of the domains, each weighted by its number of
///   training steps. f is the setting [`floor`](PartitionedNormSettings::floor), 0 by default. Before the first step, the term `f·Var` is 0.
/// - ε is the setting [`epsilon`](PartitionedNormSettings::epsilon).
///
/// Some rows use other statistics:
///
/// - In training, a domain with fewer rows in the batch than [`min_rows`](PartitionedNormSettings::min_rows) uses `E_d` and `Var_d` too, as
///   constants. If it has 2 rows or more, these rows still update `E_d` and `Var_d`.
/// - A domain that would use `E_d` and `Var_d`, but has none yet, uses the moving mean and variance of all domains together.
/// - Rows of no known domain ([`DomainId::SHARED`]) use the moving mean and variance of all domains together too. Their scale is γ and their
///   shift β.
///
/// A column whose moving variance is below 1e-8 in a domain counts as constant there: `(z − μ_d)/√…` is set to 0 for all its values, as it is
/// in training. Otherwise a value that is new to the domain would be multiplied by `1/√ε`, which is 316. With f above 0, for example 0.1,
/// nearly constant columns are bounded too. The scores of a domain then depend on the statistics of all domains, so that training on one
/// domain changes the scores of all a little.
///
/// Moving averages lag while the layers before the normalisation learn. [`recompute_statistics`](crate::train::recompute_statistics) replaces
/// them by the statistics of many rows, and [`Trainer`](crate::train::Trainer) does so before each evaluation.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::data::DomainId;
/// use starple::nn::{PartitionedNorm, PartitionedNormCache, PartitionedNormSettings, Segment, Train};
///
/// // One column and two domains, of which each has two rows in the batch.
/// let settings = PartitionedNormSettings { min_rows: 2, ..PartitionedNormSettings::default() };
/// let norm = PartitionedNorm::new(1, [DomainId::new(0), DomainId::new(1)], settings);
/// let segments = [Segment { domain: DomainId::new(0), start: 0, end: 2 }, Segment { domain: DomainId::new(1), start: 2, end: 4 }];
/// let (z, mut y) = (array![[0.0], [2.0], [10.0], [30.0]], Array2::zeros((4, 1)));
/// norm.forward(&z, &segments, Train::default().into(), &mut PartitionedNormCache::default(), &mut y);
/// // Domain 0 has mean 1 and deviation 1, domain 1 mean 20 and deviation 10.
/// assert!((y - array![[-1.0], [1.0], [-1.0], [1.0]]).iter().all(|d: &f32| d.abs() < 1e-4));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionedNorm {
    /// The scale γ, `[width]`, that all domains share: one value for each column, 1 at the start. It is multiplied by the scale of the row's
    /// domain.
    pub gamma: Array1<f32>,
    /// The shift β, `[width]`, that all domains share: one value for each column, 0 at the start. The shift of the row's domain is added to
    /// it.
    pub beta: Array1<f32>,
    /// The parameters of each domain d: the scale `γ_d`, the shift `β_d` and the moving averages.
    pub domain: PerDomain<DomainNorm>,
    settings: PartitionedNormSettings,
}

/// The parameters of one domain d in a [`PartitionedNorm`], which computes `y = (γ ⊙ γ_d) ⊙ x̂ + (β + β_d)` from the normalised row `x̂`. γ
/// and β are shared by all domains.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainNorm {
    /// The learned scale `γ_d` of the domain, `[width]`: one value for each column, 1 at the start. A normalised value is multiplied by `γ_d`
    /// and by the shared scale γ of its column. Only rows of this domain train it.
    pub gamma: Array1<f32>,
    /// The learned shift `β_d` of the domain, `[width]`: one value for each column, 0 at the start. It is added to the output, together with
    /// the shared shift β. Only rows of this domain train it.
    pub beta: Array1<f32>,
    /// The moving averages `E_d` and `Var_d` of the mean and the variance of each column over the rows of the domain. Inference normalises by
    /// them.
    pub moving: MovingAverage,
}

crate::params!(PartitionedNorm { gamma: Decay::Towards(1.0), beta: Decay::None, domain });
crate::params!(DomainNorm { gamma: Decay::Towards(1.0), beta: Decay::None, moving });

/// The settings of a [`PartitionedNorm`]: batch normalisation with the mean and variance of each domain. The models set them by
/// [`StarConfig`](crate::StarConfig).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartitionedNormSettings {
    /// The constant ε, above 0; default 1e-5. It is added to every variance before the square root.
    pub epsilon: f32,
    /// The rate of the moving averages, 0 < rate ≤ 1; default 0.05. [`MovingAverage`] has the formula; a larger rate follows the batches
    /// faster.
    pub rate: f32,
    /// In training, a domain with fewer rows than this in a batch is normalised by its moving averages instead of the statistics of these
    /// rows. If it has no moving averages yet, those of all domains together are used. At least 2; default 64. The paper has no such
    /// minimum; 2 comes closest to it.
    pub min_rows: usize,
    /// The factor f, a finite number of at least 0; default 0, as in the paper. f times the moving variance of all domains together is added
    /// to the variance of each domain. With f above 0, a column that is nearly constant in a domain is not divided by almost 0.
    pub floor: f32,
}

impl Default for PartitionedNormSettings {
    fn default() -> Self {
        Self { epsilon: 1e-5, rate: 0.05, min_rows: 64, floor: 0.0 }
    }
}

/// The values that the forward pass of [`PartitionedNorm`] keeps for its backward pass. Make it by `Default::default()`, and pass the same
/// cache to both passes.
#[derive(Debug, Default)]
pub struct PartitionedNormCache {
    segments: Vec<NormSegment>,
    /// Mean and variance of all domains, where they are needed.
    mean: Array1<f32>,
    var: Array1<f32>,
}

#[derive(Debug, Default)]
struct NormSegment {
    columns: Columns,
    /// `γ ⊙ γ_d`
    scale: Array1<f32>,
    /// `β + β_d`
    shift: Array1<f32>,
}

impl DomainNorm {
    fn neutral(width: usize, rate: f32) -> Self {
        Self { gamma: Array1::ones(width), beta: Array1::zeros(width), moving: MovingAverage::new(width, rate) }
    }
}

impl PartitionedNorm {
    /// A normalisation for matrices of `width` columns, with parameters for each domain of `domains`. All scales start at 1 and all shifts
    /// at 0. The moving averages do not contain any batch yet.
    ///
    /// # Panics
    /// If a value of `settings` is out of its range; [`PartitionedNormSettings`] has the ranges.
    pub fn new(width: usize, domains: impl IntoIterator<Item = DomainId>, settings: PartitionedNormSettings) -> Self {
        assert!(settings.min_rows >= 2 && settings.epsilon > 0.0, "min_rows >= 2 and epsilon > 0");
        assert!(settings.floor >= 0.0 && settings.floor.is_finite(), "floor >= 0");
        assert!(settings.rate > 0.0 && settings.rate <= 1.0, "0 < rate <= 1");
        let domain = PerDomain::new(domains, |_| DomainNorm::neutral(width, settings.rate));
        Self { gamma: Array1::ones(width), beta: Array1::zeros(width), domain, settings }
    }

    /// The size of what [`PartitionedNorm::new`] makes.
    pub(crate) fn size(width: f64, domains: f64) -> Size {
        (2.0 + 4.0 * domains) * Size::tensor(width)
    }

    /// Adds parameters for a new domain: scale 1, shift 0, and moving averages without a batch. `domain` must be the number of domains that
    /// the layer has now, as a [`DomainId`]; this is not checked. Until the domain has moving averages of its own, its rows are normalised
    /// by those of all domains together.
    pub fn add_domain(&mut self, domain: DomainId) {
        self.domain.push(domain, DomainNorm::neutral(self.gamma.len(), self.settings.rate));
    }

    /// Mean and variance of the mixture of all domains, each weighing by the statistics it has taken:
    /// `E = Σ w_d E_d`, `Var = Σ w_d (Var_d + (E_d − E)²)`; 0 and 1 while there are none. Returns φ, or 0 while there are none.
    fn pooled(&self, mean: &mut Array1<f32>, var: &mut Array1<f32>) -> f32 {
        mean.clone_from(&self.gamma);
        var.clone_from(&self.gamma);
        let averages = || self.domain.iter().map(|own| &own.moving).filter(|moving| moving.steps > 0);
        let steps: u64 = averages().map(|moving| moving.steps).sum();
        if steps == 0 {
            mean.fill(0.0);
            var.fill(1.0);
            return 0.0;
        }
        let share = |moving: &MovingAverage| moving.steps as f64 / steps as f64;
        for (j, (mean, var)) in mean.iter_mut().zip(var).enumerate() {
            let center = averages().map(|m| share(m) * f64::from(m.mean[j])).sum::<f64>();
            let of = |m: &MovingAverage| f64::from(m.var[j]) + (f64::from(m.mean[j]) - center).powi(2);
            *var = averages().map(|m| share(m) * of(m)).sum::<f64>() as f32;
            *mean = center as f32;
        }
        self.settings.floor
    }

    /// Scale and shift of the layer in inference, `y = scale ⊙ z + shift`, for rows of a domain.
    pub(crate) fn affine(&self) -> impl Fn(DomainId) -> (Vec<f64>, Vec<f64>) {
        let (mut mean, mut var) = (Array1::zeros(0), Array1::zeros(0));
        let floor = self.pooled(&mut mean, &mut var);
        let epsilon = var.mapv(|var| f64::from(self.settings.epsilon + floor * var));
        move |domain| {
            let own = self.domain.of(domain);
            let moving = own.map(|own| &own.moving).filter(|moving| moving.steps > 0);
            let (mean, var) = moving.map_or((&mean, &var), |moving| (&moving.mean, &moving.var));
            let column = |j: usize| {
                let (gamma, beta) = own.map_or((1.0, 0.0), |own| (own.gamma[j], own.beta[j]));
                let scale = f64::from(self.gamma[j]) * f64::from(gamma) / (f64::from(var[j]) + epsilon[j]).sqrt();
                let scale = if var[j] < CONSTANT { 0.0 } else { scale };
                (scale, f64::from(self.beta[j]) + f64::from(beta) - f64::from(mean[j]) * scale)
            };
            (0..self.gamma.len()).map(column).unzip()
        }
    }

    /// The forward pass: computes `y`, `[rows, width]`, from `z`, `[rows, width]`, by the formula of [`PartitionedNorm`]. `segments` says
    /// which rows belong to which domain. `mode` says whether it uses the statistics of the batch. `cache` keeps values for the backward
    /// pass.
    ///
    /// # Panics
    /// If `z` does not have `width` columns, if `y` has another shape than `z`, if `segments` does not cover all rows in order, or if the
    /// layer does not have the domain of a segment.
    pub fn forward(
        &self,
        z: &ArrayRef2<f32>,
        segments: &[Segment],
        mode: Mode<'_>,
        cache: &mut PartitionedNormCache,
        y: &mut ArrayRef2<f32>,
    ) {
        let PartitionedNormCache { segments: caches, mean, var } = cache;
        grow(caches, segments.len());
        let of_rows = |segment: &Segment| mode.batch_statistics() && segment.len() >= self.settings.min_rows;
        let moving =
            |segment: &Segment| self.domain.of(segment.domain).map(|own| &own.moving).filter(|moving| moving.steps > 0);
        // Once for all segments: their number and that of the domains may both be large.
        let pooled = self.settings.floor > 0.0 || segments.iter().any(|s| !of_rows(s) && moving(s).is_none());
        let floor = if pooled { self.pooled(mean, var) } else { 0.0 };
        let (mean, var) = (&*mean, &*var);
        let epsilon = |j: usize| self.settings.epsilon + if floor > 0.0 { floor * var[j] } else { 0.0 };
        each_segment(segments, caches, y, |segment, cache, y| {
            let z = z.slice(s![segment.rows(), ..]);
            cache.scale.clone_from(&self.gamma);
            cache.shift.clone_from(&self.beta);
            let own = self.domain.of(segment.domain);
            if let Some(own) = own {
                cache.scale *= &own.gamma;
                cache.shift += &own.beta;
            }
            if of_rows(&segment) {
                cache.columns.take_rows(&z, epsilon);
            } else if let Some(moving) = moving(&segment) {
                cache.columns.take_constants(&moving.mean, &moving.var, epsilon);
            } else {
                cache.columns.take_constants(mean, var, epsilon);
            }
            if mode.batch_statistics() && !of_rows(&segment) && segment.len() >= 2 {
                cache.columns.measure_rows(&z);
            }
            cache.columns.forward(&z, &cache.scale, &cache.shift, y);
        });
    }

    /// In a gradient: adds the statistics of each segment's rows, as [`PartitionedNorm::backward`] does, of a single row too. Its variance
    /// is 0.
    ///
    /// # Panics
    /// If the shapes do not fit or a segment has no domain.
    pub(crate) fn note_statistics(&mut self, z: &ArrayRef2<f32>, segments: &[Segment]) {
        let mut columns = Columns::default();
        for segment in segments {
            columns.measure_rows(&z.slice(s![segment.rows(), ..]));
            columns.note(&mut self.domain.touch(segment.trained_domain()).moving);
        }
    }

    /// The backward pass. `z`, `segments` and `cache` are those of the forward pass, and `dy` is the gradient of its output. For the rows of
    /// each domain d, with `a = γ ⊙ γ_d`, `s = √(σ²_d + f·Var + ε)` and `x̂ = (z − μ_d)/s`, as in the formula of [`PartitionedNorm`]:
    ///
    /// - `dγ += γ_d ⊙ Σ dy ⊙ x̂`, `dγ_d += γ ⊙ Σ dy ⊙ x̂`, `dβ += Σ dy` and `dβ_d += Σ dy`, sums over the rows of d, are added to `grad`.
    /// - `dz = (a/s) ⊙ (dy − mean(dy) − x̂ ⊙ mean(dy ⊙ x̂))` overwrites `dz`, where mean is the mean over the rows of d. If the forward pass
    ///   used moving averages for these rows, `dz = (a/s) ⊙ dy`.
    ///
    /// It also adds the mean and the variance of each domain's rows to the `moving` of the domain in `grad`.
    /// [`Model::apply`](crate::Model::apply) later moves the moving averages of the layer towards them.
    ///
    /// # Panics
    /// If `z`, `dy` or `dz` does not have the shape of the forward pass, or if the domain of a segment is [`DomainId::SHARED`].
    pub fn backward(
        &self,
        z: &ArrayRef2<f32>,
        segments: &[Segment],
        dy: &ArrayRef2<f32>,
        cache: &mut PartitionedNormCache,
        grad: &mut Self,
        dz: &mut ArrayRef2<f32>,
    ) {
        self.backward_into(z, segments, dy, cache, grad, InputGrad::overwrite(dz));
    }

    /// [`PartitionedNorm::backward`], which may add to `dz`.
    pub(crate) fn backward_into(
        &self,
        z: &ArrayRef2<f32>,
        segments: &[Segment],
        dy: &ArrayRef2<f32>,
        cache: &mut PartitionedNormCache,
        grad: &mut Self,
        dz: InputGrad<'_>,
    ) {
        let InputGrad { dx: mut dz, add } = dz;
        each_segment(segments, &mut cache.segments, &mut dz, |segment, cache, dz| {
            let dz = InputGrad { dx: dz.view_mut(), add };
            let rows = s![segment.rows(), ..];
            cache.columns.backward(&z.slice(rows), &cache.scale, &dy.slice(rows), dz);
        });
        for (segment, cache) in segments.iter().zip(&cache.segments) {
            let d = segment.trained_domain();
            let (own, own_grad) = (&self.domain[d], grad.domain.touch(d));
            for (j, (gx, g)) in cache.columns.sum_gx().zip(cache.columns.sum_g()).enumerate() {
                grad.gamma[j] += gx * own.gamma[j];
                own_grad.gamma[j] += gx * self.gamma[j];
                grad.beta[j] += g;
                own_grad.beta[j] += g;
            }
            cache.columns.note(&mut own_grad.moving);
        }
    }
}
