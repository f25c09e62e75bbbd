//! The weights of an objective's units, step by step.

use super::gradnorm::{self, Measured};
use super::{Learned, Weighting, WeightingState, dwa, uncertainty};
use crate::Result;
use crate::loss::{Loss, Objective};
use crate::optim::Clock;

/// The weights `ω_k(t)·v_k` of the step, and what the weighting remembers.
///
/// For each step: [`UnitWeights::start`], the loss with [`UnitWeights::step`], then [`UnitWeights::finish`].
#[derive(Debug, Clone)]
pub(crate) struct UnitWeights {
    objective: Objective,
    /// `ω_k(t)`.
    fixed: Vec<f64>,
    /// `ω_k(t)·v_k`.
    step: Vec<f64>,
    state: WeightingState,
}

/// What a weighting has to know of the units' own gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: one backward pass of the whole loss.
    Nothing,
    /// Their norms.
    Norms,
    /// Their products with each other.
    Products,
}

impl UnitWeights {
    /// Those of step 0.
    pub(crate) fn new(objective: &Objective, units: usize) -> Self {
        let state = WeightingState::new(objective.weighting(), units);
        Self { objective: objective.clone(), fixed: vec![0.0; units], step: vec![0.0; units], state }
    }

    pub(crate) fn objective(&self) -> &Objective {
        &self.objective
    }

    pub(crate) fn needs(&self) -> Needs {
        match self.objective.weighting() {
            Weighting::GradNorm(_) => Needs::Norms,
            Weighting::PcGrad {} => Needs::Products,
            Weighting::Fixed {} | Weighting::Uncertainty(_) | Weighting::Dwa(_) => Needs::Nothing,
        }
    }

    /// The name under which norms are measured, where one was chosen.
    pub(crate) fn shared(&self) -> Option<&str> {
        match self.objective.weighting() {
            Weighting::GradNorm(settings) => settings.shared(),
            _ => None,
        }
    }

    /// Sets the weights of the step that is about to be taken.
    pub(crate) fn start(&mut self, clock: Clock) {
        for (unit, fixed) in self.fixed.iter_mut().enumerate() {
            *fixed = self.objective.weight(unit, clock);
        }
        self.state.learned.factors(self.objective.weighting(), &mut self.step);
        self.step.iter_mut().zip(&self.fixed).for_each(|(weight, fixed)| *weight *= fixed);
    }

    /// The weights of the step.
    pub(crate) fn step(&self) -> &[f64] {
        &self.step
    }

    /// The weight `ω_k(t)` of a unit.
    pub(crate) fn fixed(&self, unit: usize) -> f64 {
        self.fixed[unit]
    }

    /// Multiplies a unit's weight of the step.
    pub(crate) fn scale(&mut self, unit: usize, factor: f64) {
        self.step[unit] *= factor;
    }

    /// Learns from the step: its losses, and the norms where they were asked for. Completes `loss` by what the
    /// weighting adds to it, and counts the step. A unit without labels is left as it is.
    pub(crate) fn finish(&mut self, loss: &mut Loss, measured: &[Measured]) {
        match (&mut self.state.learned, self.objective.weighting()) {
            (Learned::Uncertainty { log_variances }, Weighting::Uncertainty(settings)) => {
                loss.total += uncertainty::penalty(log_variances, &self.fixed, &loss.units);
                uncertainty::learn(log_variances, settings.lr(), &self.fixed, &loss.units);
            }
            (Learned::GradNorm { weights, first }, Weighting::GradNorm(settings)) => {
                gradnorm::learn(weights, first, settings.alpha(), settings.lr(), measured);
            }
            _ => {}
        }
        for (unit, (sums, loss)) in self.state.epoch.iter_mut().zip(&loss.units).enumerate() {
            if let Some(loss) = loss.filter(|_| self.fixed[unit] > 0.0) {
                sums.steps += 1;
                sums.loss += loss;
                sums.weight += self.step[unit];
            }
        }
    }

    /// Ends an epoch: learns from its means, and starts the sums anew.
    pub(crate) fn end_epoch(&mut self) {
        if let Learned::Dwa { means } = &mut self.state.learned {
            dwa::end_epoch(means, self.state.epoch.iter().map(super::UnitSums::mean_loss));
        }
        self.state.epoch.fill(super::UnitSums::default());
    }

    /// What the weighting remembers.
    pub(crate) fn state(&self) -> &WeightingState {
        &self.state
    }

    /// Replaces its state by a saved one.
    ///
    /// # Errors
    /// [`ErrorKind::Layout`](crate::ErrorKind::Layout) if it does not fit.
    pub(crate) fn restore(&mut self, state: WeightingState) -> Result<()> {
        self.state.check_replacement(&state)?;
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::loss::weighting::UnitSums;
    use crate::loss::{DwaConfig, GradNormConfig, UncertaintyConfig};

    fn every() -> [Weighting; 5] {
        let (uncertainty, dwa) = (
            Weighting::Uncertainty(UncertaintyConfig::builder().lr(0.1).build().unwrap()),
            Weighting::Dwa(DwaConfig::default()),
        );
        [
            Weighting::default(),
            uncertainty,
            dwa,
            Weighting::GradNorm(GradNormConfig::builder().lr(0.1).build().unwrap()),
            Weighting::PcGrad {},
        ]
    }

    fn weights(weighting: Weighting) -> UnitWeights {
        let objective = Objective::builder().weights([1.0, 0.5, 2.0]).decays([1.0, 0.5, 1.0]).weighting(weighting);
        UnitWeights::new(&objective.build().unwrap(), 3)
    }

    /// A step with these losses, in an epoch.
    fn step(weights: &mut UnitWeights, epoch: u64, losses: [Option<f64>; 3]) -> Loss {
        weights.start(Clock { epoch, step: 0 });
        let mut loss = Loss::default();
        loss.units.extend(losses);
        let measured = losses.iter().enumerate().filter_map(|(unit, loss)| {
            Some(Measured { unit, norm: (unit + 1) as f64 * weights.step[unit] / weights.fixed[unit], loss: (*loss)? })
        });
        let measured: Vec<Measured> = measured.collect();
        weights.finish(&mut loss, &measured);
        loss
    }

    #[test]
    fn a_unit_without_labels_keeps_weight_and_state_with_every_kind() {
        for weighting in every() {
            let mut weights = weights(weighting);
            step(&mut weights, 0, [Some(0.7), Some(0.5), Some(0.2)]);
            let (before, state) = (weights.step.clone(), weights.state.clone());
            for _ in 0..5 {
                step(&mut weights, 0, [Some(0.6), None, Some(0.3)]);
            }
            weights.start(Clock::default());
            let kind = weights.objective.weighting();
            let learns = !matches!(weights.needs(), Needs::Products) && *kind != Weighting::default();
            match (&state.learned, &weights.state.learned) {
                (Learned::Uncertainty { log_variances: a }, Learned::Uncertainty { log_variances: b }) => {
                    assert!(a[1] == b[1] && a[0] != b[0], "{kind:?}");
                }
                (Learned::GradNorm { weights: a, first: f }, Learned::GradNorm { weights: b, first: g }) => {
                    assert!(a[1] == b[1] && a[0] != b[0] && f == g, "{kind:?}");
                }
                (a, b) => assert_eq!((a, &before), (b, &weights.step), "{kind:?} moves by epochs if at all"),
            }
            assert!(learns || weights.step == [1.0, 0.5, 2.0], "{kind:?}");
            assert_eq!([0, 1, 2].map(|unit| weights.state.epoch[unit].steps), [6, 1, 6]);
        }
    }

    #[test]
    fn given_weights_multiply_those_that_are_found() {
        let mut weights = weights(Weighting::Dwa(DwaConfig::default()));
        for (epoch, loss) in [(0, 0.8), (1, 0.4)] {
            step(&mut weights, epoch, [Some(loss), Some(0.5), Some(0.5)]);
            weights.end_epoch();
        }
        step(&mut weights, 2, [Some(0.1), Some(0.1), Some(0.1)]);
        let e = [0.5_f64, 1.0, 1.0].map(|r| (r / 2.0).exp());
        let factor = |unit: usize| 3.0 * e[unit] / e.iter().sum::<f64>();
        for (unit, omega) in [1.0, 0.5 * 0.25, 2.0].into_iter().enumerate() {
            assert!((weights.step[unit] - omega * factor(unit)).abs() < 1e-12);
        }
    }

    #[test]
    fn uncertainty_adds_its_terms_to_the_loss() {
        let mut weights = weights(Weighting::Uncertainty(UncertaintyConfig::builder().lr(0.1).build().unwrap()));
        assert_eq!(step(&mut weights, 0, [Some(0.9), Some(0.9), None]).total, 0.0, "s starts at 0");
        // s moved by −lr·ω·(½ − L) = 0.04 and 0.02.
        let total = step(&mut weights, 0, [Some(0.9), Some(0.9), None]).total;
        assert!((total - (0.04 / 2.0 + 0.5 * 0.02 / 2.0)).abs() < 1e-12, "{total}");
    }

    #[test]
    fn a_state_goes_through_a_file_and_the_next_step_is_the_same() {
        for weighting in every() {
            let mut one = weights(weighting.clone());
            for epoch in 0..3 {
                step(&mut one, epoch, [Some(0.7 / (epoch + 1) as f64), Some(0.5), None]);
                step(&mut one, epoch, [Some(0.3), Some(0.5), Some(0.1)]);
                if epoch < 2 {
                    one.end_epoch();
                }
            }
            let text = serde_json::to_string(one.state()).unwrap();
            let mut other = weights(weighting);
            other.restore(serde_json::from_str(&text).unwrap()).unwrap();
            for weights in [&mut one, &mut other] {
                step(weights, 3, [Some(0.2), None, Some(0.9)]);
                weights.end_epoch();
                weights.start(Clock { epoch: 4, step: 0 });
            }
            assert_eq!((&one.state, &one.step), (&other.state, &other.step));
            assert!(serde_json::from_str::<WeightingState>(&text.replace("\"epoch\"", "\"epochs\"")).is_err());
        }
    }

    #[test]
    fn a_state_that_does_not_fit_is_refused_with_all_that_is_wrong() {
        let mut gradnorm = weights(Weighting::GradNorm(GradNormConfig::builder().lr(0.1).build().unwrap()));
        let before = gradnorm.state.clone();
        let sums = vec![UnitSums::default(); 3];
        let learned = Learned::GradNorm { weights: vec![1.0, -1.0], first: vec![None; 3] };
        let error = gradnorm.restore(WeightingState { learned, epoch: sums[..2].to_vec() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Layout);
        let text = error.to_string();
        for part in ["weights: one for each of 3 units, found 2", "epoch: one for", "not above 0"] {
            assert!(text.contains(part), "{text}");
        }
        let learned = Learned::Uncertainty { log_variances: vec![0.0; 3] };
        let error = gradnorm.restore(WeightingState { learned, epoch: sums }).unwrap_err().to_string();
        assert!(error.contains("learned: expected \"gradnorm\", found \"uncertainty\""), "{error}");
        assert_eq!(gradnorm.state, before);
    }
}
