//! A model as bits, to see that two are the same.

use starple::Model;
use starple::nn::Leaf;

/// All values of a model, and how many statistics its averages have taken.
pub(crate) fn bits(model: &Model) -> Vec<u32> {
    let mut bits = Vec::new();
    model.visit(|_, leaf| match leaf {
        Leaf::Tensor(values, ..) | Leaf::Average(values, _) => bits.extend(values.iter().map(|v| v.to_bits())),
        Leaf::Count(&count) => bits.push(count as u32),
    });
    bits
}
