//! L2 regularisation of embeddings by the frequency of their ids.

use super::IdCounts;
use crate::model::{Gradient, Model};

/// Adds `λ/n_j·w_j` to the gradient of each table row `w_j` that the step read, where `n_j` is its number of training rows. Rows that no
/// training row reads, such as those of unknown values, get nothing.
pub(super) fn add_l2(lambda: f64, counts: &IdCounts, model: &Model, grad: &mut Gradient) {
    let number = model.layout().tables.len();
    let Gradient { tables, .. } = grad;
    for (slot, (table, grad)) in model.embeddings().tables().iter().zip(tables).enumerate() {
        let (counts, dim) = (counts.table(slot % number), grad.dim());
        let values = table.as_slice().expect("tables are in standard layout");
        for i in 0..grad.rows().len() {
            let row = grad.rows()[i] as usize;
            if counts[row] == 0 {
                continue;
            }
            let factor = (lambda / f64::from(counts[row])) as f32;
            let (grad, values) = (&mut grad.values_mut()[i * dim..][..dim], &values[row * dim..][..dim]);
            grad.iter_mut().zip(values).for_each(|(d, &w)| *d += factor * w);
        }
    }
}
