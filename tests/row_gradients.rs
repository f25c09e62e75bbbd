//! Checks the gradients of embedding tables: the rows that were read have the values of a dense gradient.

use ndarray::Array2;
use proptest::prelude::*;
use starple::data::{Batch, DomainId, Ids, Layout, Pooling};
use starple::model::Cache;
use starple::nn::{DomainMlp, RowGrad, Train};
use starple::{Model, PooledConfig};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn touched_rows_are_the_dense_scatter(
        uses in prop::collection::vec((0_u32..13, -4_i8..5, -4_i8..5), 0..60),
        again in prop::collection::vec((0_u32..13, -4_i8..5, -4_i8..5), 0..20),
    ) {
        // Sums of small integers are exact in every order.
        let mut grad = RowGrad::new(13, 2);
        for uses in [&uses, &again] {
            grad.clear();
            let mut dense = Array2::<f32>::zeros((13, 2));
            for &(row, a, b) in uses {
                let values = grad.touch(row);
                values[0] += f32::from(a);
                values[1] += f32::from(b);
                dense[[row as usize, 0]] += f32::from(a);
                dense[[row as usize, 1]] += f32::from(b);
            }
            let mut rows = grad.rows().to_vec();
            prop_assert_eq!(grad.values().len(), 2 * rows.len());
            for (i, &row) in rows.iter().enumerate() {
                prop_assert_eq!(grad.values()[2 * i..2 * i + 2].to_vec(), dense.row(row as usize).to_vec());
                prop_assert_eq!(grad.row(row as usize).unwrap(), dense.row(row as usize).to_vec());
            }
            rows.sort_unstable();
            let mut used: Vec<u32> = uses.iter().map(|u| u.0).collect();
            used.sort_unstable();
            used.dedup();
            prop_assert_eq!(&rows, &used, "every used row once");
            for row in (0..13).filter(|row| !used.contains(row)) {
                prop_assert!(grad.row(row as usize).is_none());
            }
        }
    }

    #[test]
    fn a_models_row_gradients_are_the_dense_scatter_of_its_inputs_gradient(
        ids in prop::collection::vec(0_u32..7, 6),
        bags in prop::collection::vec(prop::collection::vec(0_u32..5, 0..4), 6),
        mean in any::<bool>(),
    ) {
        let pooling = if mean { Pooling::Mean } else { Pooling::Sum };
        let layout = Layout::new(["all"], ["click"]).field("item", 7).bag("tags", 5, pooling);
        let mut offsets = vec![0];
        offsets.extend(bags.iter().scan(0, |end, bag| { *end += bag.len() as u32; Some(*end) }));
        let batch = Batch {
            ids: vec![Ids::One(ids.clone()), Ids::Bag { offsets, ids: bags.concat() }],
            numeric: Array2::zeros((6, 0)),
            labels: Array2::zeros((6, 1)),
            domains: vec![DomainId::new(0); 6],
            ..Batch::default()
        };
        // Without hidden layers the logit is x·W + b, so the gradient of x is a row of W times the gradient of the logit.
        let config = PooledConfig::builder(&layout).embedding_dim(3).hidden([]).domain_dim(1).build().unwrap();
        let model = Model::new(config);
        let mut cache = Cache::<Train>::default();
        let mut grad = model.zero_grad();
        model.forward_with(&batch, batch.domains(), &mut cache);
        let dlogits = Array2::from_shape_fn((6, 1), |(i, _)| i as f32 - 2.0);
        model.backward(&batch, &dlogits, &mut cache, &mut grad);

        let w = &model.net().get::<DomainMlp>(()).unwrap().mlp.layers[0].weight;
        let mut dense = [Array2::<f64>::zeros((7, 3)), Array2::<f64>::zeros((5, 3))];
        for i in 0..6 {
            let share = if mean { 1.0 / bags[i].len() as f64 } else { 1.0 };
            for j in 0..3 {
                let dx = |column: usize| f64::from(dlogits[[i, 0]] * w[[column, 0]]);
                dense[0][[ids[i] as usize, j]] += dx(j);
                for &tag in &bags[i] {
                    dense[1][[tag as usize, j]] += share * dx(3 + j);
                }
            }
        }
        for (grad, dense) in grad.tables.iter().zip(&dense) {
            for (row, dense) in dense.rows().into_iter().enumerate() {
                match grad.row(row) {
                    None => prop_assert!(dense.iter().all(|&d| d == 0.0)),
                    Some(values) => for (&ours, &dense) in values.iter().zip(&dense) {
                        prop_assert!((f64::from(ours) - dense).abs() < 1e-5, "{} and {}", ours, dense);
                    },
                }
            }
        }
    }
}
