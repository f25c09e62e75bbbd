//! Compares every optimizer with the published equations in f64.

use proptest::prelude::*;
use starple::nn::{Decay, RowGrad};
use starple::optim::{
    AdagradConfig, AdamConfig, Optimizer, OptimizerConfig, RowUpdates, SgdConfig, SlotShape, SlotState,
};

const ROWS: usize = 4;
const DIM: usize = 3;
const LR: f64 = 0.05;
const LAMBDA: f64 = 0.1;

/// The published update of one value, in f64.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    Sgd { mu: f64, nesterov: bool },
    Adam { decoupled: bool },
    Adagrad,
}

/// One value and its state: `a` is the momentum, the first moment or the sum; `b` is the second moment.
#[derive(Debug, Clone, Copy, Default)]
struct Scalar {
    w: f64,
    a: f64,
    b: f64,
}

impl Rule {
    fn update(self, s: &mut Scalar, grad: f64, target: f64, decays: bool, t: i32) {
        let lambda = if decays { LAMBDA } else { 0.0 };
        let l2 = grad + lambda * (s.w - target);
        match self {
            Rule::Sgd { mu, nesterov } => {
                s.a = mu * s.a + l2;
                s.w -= LR * if nesterov { l2 + mu * s.a } else { s.a };
            }
            Rule::Adam { decoupled } => {
                let g = if decoupled { grad } else { l2 };
                if decoupled {
                    s.w -= LR * lambda * (s.w - target);
                }
                s.a = 0.9 * s.a + 0.1 * g;
                s.b = 0.99 * s.b + 0.01 * g * g;
                let (m, v) = (s.a / (1.0 - 0.9_f64.powi(t)), s.b / (1.0 - 0.99_f64.powi(t)));
                s.w -= LR * m / (v.sqrt() + 1e-3);
            }
            Rule::Adagrad => {
                s.a += l2 * l2;
                s.w -= LR * l2 / (s.a.sqrt() + 1e-3);
            }
        }
    }
}

/// Every update rule, with the configuration that should follow it.
fn rules(updates: RowUpdates) -> Vec<(Rule, OptimizerConfig)> {
    let sgd = SgdConfig::builder().lr(LR).weight_decay(LAMBDA).row_updates(updates);
    let adam = AdamConfig::builder().lr(LR).beta1(0.9).beta2(0.99).eps(1e-3).row_updates(updates);
    let adagrad = AdagradConfig::builder().lr(LR).eps(1e-3).weight_decay(LAMBDA).row_updates(updates);
    vec![
        (Rule::Sgd { mu: 0.0, nesterov: false }, OptimizerConfig::Sgd(sgd.clone().build().unwrap())),
        (Rule::Sgd { mu: 0.8, nesterov: false }, OptimizerConfig::Sgd(sgd.clone().momentum(0.8).build().unwrap())),
        (
            Rule::Sgd { mu: 0.8, nesterov: true },
            OptimizerConfig::Sgd(sgd.momentum(0.8).nesterov(true).build().unwrap()),
        ),
        (Rule::Adam { decoupled: false }, OptimizerConfig::Adam(adam.clone().weight_decay(LAMBDA).build().unwrap())),
        (Rule::Adam { decoupled: true }, OptimizerConfig::AdamW(adam.weight_decay(LAMBDA).build().unwrap())),
        (Rule::Adagrad, OptimizerConfig::Adagrad(adagrad.build().unwrap())),
    ]
}

/// All optimizers, also row-wise Adagrad.
fn configs(updates: RowUpdates) -> Vec<OptimizerConfig> {
    let rowwise = AdagradConfig::builder().lr(LR).weight_decay(LAMBDA).row_updates(updates);
    let plain = SgdConfig::builder().lr(LR).row_updates(updates).build().unwrap();
    let mut configs: Vec<_> = rules(updates).into_iter().map(|(_, config)| config).collect();
    configs.push(OptimizerConfig::RowwiseAdagrad(rowwise.build().unwrap()));
    configs.push(OptimizerConfig::Sgd(plain));
    configs
}

/// A few steps: the gradient of each row, or `None` if the step does not read the row.
type Steps = Vec<Vec<Option<[f32; DIM]>>>;

fn steps(read: f64) -> impl Strategy<Value = Steps> {
    let row = prop::option::weighted(read, prop::array::uniform3(-2.0..2.0_f32));
    prop::collection::vec(prop::collection::vec(row, ROWS), 1..12)
}

/// Rows in reverse order: rows are not used in the order of the table.
fn row_grad(step: &[Option<[f32; DIM]>]) -> RowGrad {
    let mut grad = RowGrad::new(ROWS, DIM);
    for (row, values) in step.iter().enumerate().rev() {
        if let Some(values) = values {
            grad.touch(row as u32).copy_from_slice(values);
        }
    }
    grad
}

fn dense_grad(step: &[Option<[f32; DIM]>]) -> Vec<f32> {
    step.iter().flat_map(|row| row.unwrap_or_default()).collect()
}

fn start() -> Vec<f32> {
    (0..ROWS * DIM).map(|i| i as f32 / 4.0 - 1.0).collect()
}

fn assert_close(found: &[f32], expected: &[Scalar], what: &dyn std::fmt::Debug) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected.w).abs() < 2e-5, "{what:?}: {found} is not {}", expected.w);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn dense_steps_follow_the_equations(steps in steps(0.7)) {
        for (rule, config) in rules(RowUpdates::Lazy) {
            for decay in [Decay::Towards(0.0), Decay::Towards(1.0), Decay::None] {
                let mut optimizer = config.build();
                let mut values = start();
                let mut oracle: Vec<Scalar> =
                    values.iter().map(|&w| Scalar { w: f64::from(w), ..Scalar::default() }).collect();
                for (t, step) in (1..).zip(&steps) {
                    let grad = dense_grad(step);
                    optimizer.dense(3, &mut values, &mut grad.clone(), decay);
                    let (target, decays) = match decay {
                        Decay::Towards(target) => (f64::from(target), true),
                        Decay::None => (0.0, false),
                    };
                    for (scalar, &g) in oracle.iter_mut().zip(&grad) {
                        rule.update(scalar, f64::from(g), target, decays, t);
                    }
                }
                assert_close(&values, &oracle, &(rule, decay));
            }
        }
    }

    #[test]
    fn lazy_rows_follow_the_equations_when_read_and_stand_still_when_not(steps in steps(0.4)) {
        for (rule, config) in rules(RowUpdates::Lazy) {
            let mut optimizer = config.build();
            let mut table = start();
            let mut oracle: Vec<Scalar> =
                table.iter().map(|&w| Scalar { w: f64::from(w), ..Scalar::default() }).collect();
            for (t, step) in (1..).zip(&steps) {
                let before = table.clone();
                optimizer.rows(0, &mut table, &mut row_grad(step));
                for (row, grad) in step.iter().enumerate() {
                    let at = row * DIM..(row + 1) * DIM;
                    let Some(grad) = grad else {
                        prop_assert_eq!(&table[at.clone()], &before[at]);
                        continue;
                    };
                    for (scalar, &g) in oracle[at].iter_mut().zip(grad) {
                        // t counts the steps of the table, not of the row.
                        rule.update(scalar, f64::from(g), 0.0, true, t);
                    }
                }
            }
            assert_close(&table, &oracle, &rule);
        }
    }

    #[test]
    fn exact_rows_are_bit_for_bit_the_dense_update(steps in steps(0.4)) {
        for (rule, config) in rules(RowUpdates::Exact) {
            let (mut by_row, mut dense) = (config.build(), config.build());
            let (mut table, mut values) = (start(), start());
            for step in &steps {
                by_row.rows(0, &mut table, &mut row_grad(step));
                dense.dense(0, &mut values, &mut dense_grad(step), Decay::Towards(0.0));
            }
            prop_assert_eq!(&table, &values, "{:?}", rule);
            prop_assert_eq!(by_row.state(0), dense.state(0), "{:?}", rule);
        }
    }

    #[test]
    fn lazy_and_exact_agree_when_every_row_is_read(mut steps in steps(0.8)) {
        // A row that was read can have a gradient of 0.
        steps.iter_mut().flatten().for_each(|row| *row = Some(row.unwrap_or_default()));
        for (lazy, exact) in configs(RowUpdates::Lazy).iter().zip(configs(RowUpdates::Exact)) {
            let (mut lazy, mut exact) = (lazy.build(), exact.build());
            let (mut by_lazy, mut by_exact) = (start(), start());
            for step in &steps {
                lazy.rows(0, &mut by_lazy, &mut row_grad(step));
                exact.rows(0, &mut by_exact, &mut row_grad(step));
            }
            prop_assert_eq!(&by_lazy, &by_exact);
            prop_assert_eq!(lazy.state(0), exact.state(0));
        }
    }

    #[test]
    fn rowwise_adagrad_follows_its_definition(steps in steps(0.5), exact in any::<bool>()) {
        let updates = if exact { RowUpdates::Exact } else { RowUpdates::Lazy };
        let builder = AdagradConfig::builder().lr(LR).eps(1e-3).initial_accumulator(0.2);
        let config = builder.weight_decay(LAMBDA).row_updates(updates).build().unwrap();
        let mut optimizer = OptimizerConfig::RowwiseAdagrad(config).build();
        let mut table = start();
        let mut oracle: Vec<f64> = table.iter().map(|&w| f64::from(w)).collect();
        let mut sums = [0.2; ROWS];
        for step in &steps {
            optimizer.rows(0, &mut table, &mut row_grad(step));
            for (row, grad) in step.iter().enumerate().filter(|(_, grad)| exact || grad.is_some()) {
                let grad = grad.unwrap_or_default();
                let w = &mut oracle[row * DIM..][..DIM];
                let g: Vec<f64> = w.iter().zip(grad).map(|(w, g)| f64::from(g) + LAMBDA * w).collect();
                sums[row] += g.iter().map(|g| g * g).sum::<f64>() / DIM as f64;
                for (w, g) in w.iter_mut().zip(g) {
                    *w -= LR * g / (sums[row].sqrt() + 1e-3);
                }
            }
        }
        for (found, expected) in table.iter().zip(oracle) {
            prop_assert!((f64::from(*found) - expected).abs() < 2e-5, "{} is not {}", found, expected);
        }
    }

    #[test]
    fn a_restored_optimizer_takes_the_same_next_step(steps in steps(0.5), again in steps(0.5)) {
        for config in configs(RowUpdates::Lazy).into_iter().chain(configs(RowUpdates::Exact)) {
            let mut saved = config.build();
            let (mut table, mut values) = (start(), start());
            for step in &steps {
                saved.rows(0, &mut table, &mut row_grad(step));
                saved.dense(2, &mut values, &mut dense_grad(step), Decay::Towards(1.0));
            }
            let mut resumed = config.build();
            for (slot, shape) in [
                (0, SlotShape::Table { rows: ROWS, dim: DIM }),
                (2, SlotShape::Dense(ROWS * DIM)),
            ] {
                if let Some(state) = saved.state(slot) {
                    prop_assert_eq!(state.steps, steps.len() as u64);
                    resumed.restore(slot, shape, &state).unwrap();
                }
                prop_assert_eq!(resumed.state(slot), saved.state(slot));
            }
            let (mut table_again, mut values_again) = (table.clone(), values.clone());
            for step in &again {
                saved.rows(0, &mut table, &mut row_grad(step));
                saved.dense(2, &mut values, &mut dense_grad(step), Decay::Towards(1.0));
                resumed.rows(0, &mut table_again, &mut row_grad(step));
                resumed.dense(2, &mut values_again, &mut dense_grad(step), Decay::Towards(1.0));
            }
            prop_assert_eq!(&table, &table_again);
            prop_assert_eq!(&values, &values_again);
        }
    }
}

/// Sizes of several blocks, and rows in another order than the table.
#[test]
fn any_number_of_threads_moves_to_the_same_bits_and_leaves_no_gradient() {
    const ROWS: usize = 9000;
    let value = |i: usize| (i * 7919 % 1013) as f32 / 256.0 - 2.0;
    for config in configs(RowUpdates::Lazy).into_iter().chain(configs(RowUpdates::Exact)) {
        let run = |threads| {
            let mut optimizer = config.build();
            let mut values: Vec<f32> = (0..ROWS * DIM).map(value).collect();
            let mut table = values.clone();
            let mut row_grad = RowGrad::new(ROWS, DIM);
            starple::train::in_pool(threads, || {
                for step in 0..3 {
                    let mut grad: Vec<f32> = (0..ROWS * DIM).map(|i| value(i + 31 * step)).collect();
                    optimizer.dense(1, &mut values, &mut grad, Decay::Towards(1.0));
                    assert!(grad.iter().all(|&g| g == 0.0));
                    for i in 0..ROWS * 4 / 5 {
                        let row = (i * 5_881 + step) % ROWS;
                        row_grad.touch(row as u32).copy_from_slice(&[value(i), value(i + 1), value(i + 2)]);
                    }
                    optimizer.rows(0, &mut table, &mut row_grad);
                    assert!(row_grad.rows().is_empty() && row_grad.row(step).is_none());
                }
            })
            .unwrap();
            let state = |slot| {
                optimizer.state(slot).map(|state| state.tensors.iter().map(|(_, values)| values.to_vec()).collect())
            };
            let states: [Option<Vec<Vec<f32>>>; 2] = [state(0), state(1)];
            (values, table, states)
        };
        let one = run(1);
        for threads in [2, 3, 4] {
            assert!(run(threads) == one, "{config:?}: {threads} threads");
        }
    }
}

/// A step `from` the given state; a state that was not restored would change the result.
#[test]
fn a_restored_state_is_used() {
    let mut optimizer = OptimizerConfig::adagrad(1.0).unwrap().build();
    let state = SlotState { steps: 5, tensors: vec![("sum", &[9.0])] };
    optimizer.restore(0, SlotShape::Dense(1), &state).unwrap();
    let mut w = [0.0];
    optimizer.dense(0, &mut w, &mut [4.0], Decay::None);
    assert!((w[0] + 0.8).abs() < 1e-6, "4/√(9 + 16)");
    assert_eq!(optimizer.state(0).unwrap().steps, 6);
}

#[test]
fn the_rate_set_is_the_rate_of_the_next_step() {
    for config in configs(RowUpdates::Lazy) {
        let mut optimizer = config.build();
        let mut values = start();
        optimizer.set_lr(0.0);
        optimizer.dense(0, &mut values, &mut [1.0; ROWS * DIM], Decay::Towards(0.0));
        optimizer.rows(1, &mut values, &mut row_grad(&[Some([1.0; DIM]); ROWS]));
        assert_eq!(values, start(), "{config:?}");
        optimizer.set_lr(0.5);
        optimizer.dense(0, &mut values, &mut [1.0; ROWS * DIM], Decay::Towards(0.0));
        assert_ne!(values, start(), "{config:?}");
    }
}

#[test]
#[should_panic(expected = "a learning rate is finite and at least 0, found NaN")]
fn a_rate_that_is_no_number_is_refused() {
    OptimizerConfig::sgd(0.1).unwrap().build().set_lr(f64::NAN);
}

#[test]
#[should_panic(expected = "slot 2: values and gradient differ in length")]
fn values_and_gradient_of_different_lengths_are_refused() {
    let mut optimizer: Box<dyn Optimizer> = OptimizerConfig::adam(0.1).unwrap().build();
    optimizer.dense(2, &mut [0.0; 2], &mut [0.0; 3], Decay::None);
}
