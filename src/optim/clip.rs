//! Gradient clipping.

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::math::dot_f64;
use crate::nn::{Leaf, LeafMut, Params, Path, RowGrad};
use crate::{Error, Result};

/// A limit on the gradient of a training step, applied before the optimizer. It limits the norm of the whole gradient ([`Clip::norm`]), or
/// each component of the gradient ([`Clip::value`]). In a TOML file, `{ norm = 5.0 }` is a norm of at most 5, and `{ value = 0.1 }` limits
/// each component to the range from −0.1 to 0.1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Kind", into = "Kind")]
pub struct Clip(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Value(f64),
    Norm(f64),
}

impl Clip {
    /// Limits each component of the gradient to the range from −`max` to `max`: a component outside of this range becomes −`max` or `max`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if `max` is not a finite number above 0.
    pub fn value(max: f64) -> Result<Self> {
        Kind::Value(max).try_into()
    }

    /// Limits the norm of the whole gradient to `max`: if it is above `max`, the gradient is multiplied by a factor that makes its norm
    /// `max` (Pascanu et al. 2013, algorithm 1).
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if `max` is not a finite number above 0.
    pub fn norm(max: f64) -> Result<Self> {
        Kind::Norm(max).try_into()
    }

    /// Clips the gradient of one training step: `grad` is the gradient of the net, and `tables` are the gradients of the embedding tables.
    /// Returns the norm of the whole gradient before clipping.
    ///
    /// The norm is `√Σ g²`, where g are all components of `grad` and `tables`; the sum is computed in f64. Moving averages do not count,
    /// nor do parameters without a gradient in this step (such as those of a domain without rows). If the norm is not finite, the gradient
    /// does not change, and the caller sees it from the returned norm.
    pub fn clip(&self, grad: &mut impl Params, tables: &mut [RowGrad]) -> f64 {
        let norm = norm(grad, tables);
        match self.0 {
            Kind::Value(max) if norm.is_finite() => {
                let max = max as f32;
                each(grad, tables, |g| *g = g.clamp(-max, max));
            }
            Kind::Norm(max) if norm.is_finite() && norm > max => {
                let scale = (max / norm) as f32;
                each(grad, tables, |g| *g *= scale);
            }
            Kind::Value(_) | Kind::Norm(_) => {}
        }
        norm
    }
}

impl TryFrom<Kind> for Clip {
    type Error = Error;

    fn try_from(kind: Kind) -> Result<Self> {
        let (Kind::Value(max) | Kind::Norm(max)) = kind;
        let name = if let Kind::Value(_) = kind { "value" } else { "norm" };
        let mut problems = Problems::default();
        problems.require(max.is_finite() && max > 0.0, || format!("{name}: a finite number above 0, found {max}"));
        problems.into_result("Clip")?;
        Ok(Self(kind))
    }
}

impl From<Clip> for Kind {
    fn from(Clip(kind): Clip) -> Self {
        kind
    }
}

/// `√Σ g²` over what is present.
fn norm(grad: &impl Params, tables: &[RowGrad]) -> f64 {
    let mut squares = 0.0;
    grad.visit(&mut Path::starting_at(0), &mut |path, leaf| {
        if let (true, Leaf::Tensor(values, ..)) = (path.present(), leaf) {
            squares += dot_f64(values, values);
        }
    });
    let tables: f64 = tables.iter().map(|table| dot_f64(table.values(), table.values())).sum();
    (squares + tables).sqrt()
}

/// Changes every component of what is present.
fn each(grad: &mut impl Params, tables: &mut [RowGrad], change: impl Fn(&mut f32)) {
    grad.visit_mut(&mut Path::starting_at(0), &mut |path, leaf| {
        if let (true, LeafMut::Tensor(values, ..)) = (path.present(), leaf) {
            values.iter_mut().for_each(&change);
        }
    });
    for table in tables {
        table.values_mut().iter_mut().for_each(&change);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, arr1};

    use super::*;
    use crate::data::DomainId;
    use crate::nn::{Decay, MovingAverage, PerDomain};

    #[derive(Clone)]
    struct Own {
        weight: Array2<f32>,
    }
    crate::params!(Own { weight: Decay::Towards(1.0) });

    #[derive(Clone)]
    struct Net {
        bias: Array1<f32>,
        own: PerDomain<Own>,
        average: MovingAverage,
    }
    crate::params!(Net { bias: Decay::None, own, average });

    /// A gradient of bias (1, −2, 2 …), domain 1 alone, batch statistics, and one table row: the norm is 13.
    fn gradient() -> (Net, [RowGrad; 1]) {
        let own = PerDomain::new([DomainId::new(0), DomainId::new(1)], |_| Own { weight: Array2::zeros((2, 1)) });
        let net = Net { bias: Array1::zeros(11), own, average: MovingAverage::new(2, 0.1) };
        let mut grad = net.zeros_like();
        grad.bias.assign(&arr1(&[1.0, -2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0]));
        grad.own.touch(1).weight[[1, 0]] = 12.0;
        grad.average.mean.fill(1e6);
        let mut table = RowGrad::new(9, 2);
        table.touch(5).copy_from_slice(&[0.0, 0.0]);
        (grad, [table])
    }

    #[test]
    fn the_norm_is_that_of_all_that_is_learned_together() {
        let (mut grad, mut tables) = gradient();
        // 1 + 4 + 4 + 16 + 144 = 169, and a row of (−3, 4) makes it 194.
        assert_eq!(Clip::norm(1e9).unwrap().clip(&mut grad, &mut tables), 13.0);
        tables[0].touch(5).copy_from_slice(&[-3.0, 4.0]);
        let before = grad.bias.clone();
        assert!((Clip::norm(1e9).unwrap().clip(&mut grad, &mut tables) - 194.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(grad.bias, before);
        let clip = Clip::norm(194.0_f64.sqrt() / 2.0).unwrap();
        clip.clip(&mut grad, &mut tables);
        assert_eq!(grad.bias, before / 2.0);
        assert_eq!(grad.own[1].weight[[1, 0]], 6.0);
        assert_eq!(tables[0].values(), [-1.5, 2.0]);
        assert_eq!(grad.average.mean, arr1(&[1e6, 1e6]));
    }

    #[test]
    fn values_are_limited_one_by_one() {
        let (mut grad, mut tables) = gradient();
        tables[0].touch(5).copy_from_slice(&[-3.0, 0.5]);
        let norm = Clip::value(1.5).unwrap().clip(&mut grad, &mut tables);
        assert!((norm - 178.25_f64.sqrt()).abs() < 1e-12);
        assert_eq!(grad.bias, arr1(&[1.0, -1.5, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5, 0.0]));
        assert_eq!(grad.own[1].weight, ndarray::arr2(&[[0.0], [1.5]]));
        assert_eq!(tables[0].values(), [-1.5, 0.5]);
        assert_eq!(grad.average.mean, arr1(&[1e6, 1e6]));
    }

    #[test]
    fn absent_members_are_not_looked_at() {
        let (mut grad, mut tables) = gradient();
        // No training step leaves this state; it shows which members are read.
        grad.own.member_mut(0).weight.fill(f32::NAN);
        assert_eq!(Clip::norm(6.5).unwrap().clip(&mut grad, &mut tables), 13.0);
        assert_eq!(grad.own[1].weight[[1, 0]], 6.0);
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_reported_and_left() {
        for clip in [Clip::norm(1.0).unwrap(), Clip::value(1.0).unwrap()] {
            let (mut grad, mut tables) = gradient();
            grad.bias[4] = f32::INFINITY;
            assert_eq!(clip.clip(&mut grad, &mut tables), f64::INFINITY);
            assert_eq!((grad.bias[1], grad.bias[4]), (-2.0, f32::INFINITY));
        }
    }

    #[test]
    fn a_bound_is_a_positive_number_in_code_and_file() {
        assert!(Clip::value(0.0).is_err() && Clip::norm(f64::NAN).is_err() && Clip::norm(f64::INFINITY).is_err());
        assert_eq!(toml::from_str::<Clip>("norm = 5").unwrap(), Clip::norm(5.0).unwrap());
        assert_eq!(serde_json::to_string(&Clip::value(0.5).unwrap()).unwrap(), r#"{"value":0.5}"#);
        let error = toml::from_str::<Clip>("norm = -1").unwrap_err().to_string();
        assert!(error.contains("norm: a finite number above 0, found -1"), "{error}");
        assert!(toml::from_str::<Clip>("norms = 1").unwrap_err().to_string().contains("norms"));
    }
}
