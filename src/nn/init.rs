//! Initial values of parameters.

use std::ops::Range;

use ndarray::Array2;
use ndarray_rand::RandomExt as _;
use ndarray_rand::rand_distr::{Normal, Uniform};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Part, Path};
use crate::data::{DomainId, Layout};
use crate::random::{Purpose, keyed};

/// The distribution that the values of a weight matrix `[in, out]` are drawn from when a layer is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Xavier's rule: uniform in `±√(6 / (in + out))` (Glorot & Bengio 2010).
    Xavier,
    /// Uniform in `±√(6 / in)` (He et al. 2015), which keeps the variance of the values through a ReLU.
    He,
    /// Uniform in `±√(1 / in)`, the default. The values are smaller than those of [`Init::He`], so that the initial logits are nearly the
    /// same for all rows and the net memorises the embeddings of rare ids later.
    #[default]
    FanIn,
}

impl Init {
    /// The bound of the uniform distribution.
    fn bound(self, input: usize, output: usize) -> f32 {
        match self {
            Self::Xavier => (6.0 / (input + output) as f32).sqrt(),
            Self::He => (6.0 / input as f32).sqrt(),
            Self::FanIn => (1.0 / input as f32).sqrt(),
        }
    }

    /// A weight `[input, output]`.
    pub(crate) fn weight(self, input: usize, output: usize, rng: &mut InitRng) -> Array2<f32> {
        let bound = self.bound(input, output);
        let uniform = Uniform::new_inclusive(-bound, bound).expect("the bound is finite and not negative");
        Array2::random_using((input, output), uniform, &mut rng.next_rng())
    }
}

/// Random numbers for the initial values of a model. Each tensor that is drawn takes the next of a sequence of independent random streams.
/// The same seed and the same order of construction give the same values.
#[derive(Debug, Clone)]
pub struct InitRng {
    seed: u64,
    next: u64,
    /// The hash of the name of the layer that the streams are for; 0 for a whole model.
    of: u64,
}

impl InitRng {
    /// The streams for the construction of a model with this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, next: 0, of: 0 }
    }

    /// The streams for a component that is added to a model after its construction. `part` numbers such components from 0, at most 2³² − 2.
    /// The streams of one seed and different parts differ from each other and from those of [`InitRng::new`], as long as each source gives
    /// at most 2³² of them.
    pub fn later(seed: u64, part: usize) -> Self {
        Self { seed, next: (part as u64 + 1) << 32, of: 0 }
    }

    /// The streams of the layer with this parameter name, in a model of this layout.
    pub(crate) fn named(seed: u64, name: &[Part], layout: &Layout) -> Self {
        let mut path = Path::starting_at(0);
        let mut of = 0xcbf2_9ce4_8422_2325_u64;
        path.enter(name, |path| {
            for byte in path.name(layout).bytes() {
                of = (of ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        });
        Self { seed, next: 0, of }
    }

    /// The streams of a domain's own parameters in the layer: they depend on the domain's position alone.
    pub(crate) fn of_domain(&self, domain: DomainId) -> Self {
        self.of_part(domain.index().unwrap_or_default())
    }

    /// The streams of one of several parts of the layer, by its position.
    pub(crate) fn of_part(&self, position: usize) -> Self {
        Self { next: (position as u64 + 1) << 32, ..self.clone() }
    }

    /// The number of the next stream, for a layer that draws in every step.
    pub(crate) fn next_site(&mut self) -> u64 {
        self.next += 1;
        (self.next - 1).wrapping_add(self.of)
    }

    /// A normal table `[rows, columns]` of this standard deviation around 0.
    pub(crate) fn normal(&mut self, rows: usize, columns: usize, std: f32) -> Array2<f32> {
        let normal = Normal::new(0.0, std).expect("the deviation was checked");
        Array2::random_using((rows, columns), normal, &mut self.next_rng())
    }

    /// Values from a normal distribution for rows that are added to a table. Those of a row depend on the seed, the number of the table and
    /// the number of the row alone.
    pub(crate) fn normal_rows(seed: u64, table: usize, rows: Range<usize>, columns: usize, std: f32) -> Vec<f32> {
        let normal = Normal::new(0.0, std).expect("the deviation was checked");
        let row = |row| keyed(seed, Purpose::NewRows, table as u64, row as u64).sample_iter(normal).take(columns);
        rows.flat_map(row).collect()
    }

    fn next_rng(&mut self) -> ChaCha8Rng {
        self.next += 1;
        keyed(self.seed, Purpose::Init, self.next - 1, self.of)
    }
}
