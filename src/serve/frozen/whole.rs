//! A net that is served by its forward pass.

use std::any::Any;

use ndarray::{Array2, ArrayRef2};

use crate::model::{Input, Net};
use crate::nn::Infer;

/// A net of any type.
pub(super) trait Whole: Send + Sync {
    /// Its forward pass, in a cache that no other net has used.
    fn run(&self, input: Input<'_>, cache: &mut WholeCache, logits: &mut ArrayRef2<f32>);
}

/// The cache of a net of any type, and the rows it reads.
#[derive(Debug, Default)]
pub(super) struct WholeCache {
    pub(super) x: Array2<f32>,
    net: Option<Box<dyn Any + Send>>,
}

impl<N: Net> Whole for N {
    fn run(&self, input: Input<'_>, cache: &mut WholeCache, logits: &mut ArrayRef2<f32>) {
        let cache = cache.net.get_or_insert_with(|| Box::new(N::Cache::default()));
        let cache = cache.downcast_mut().expect("the cache of this net");
        self.forward(input, Infer, cache, logits);
    }
}
