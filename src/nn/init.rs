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

/// The distribution from which the initial values of a weight matrix are drawn. The matrix is `[in, out]`: `in` is the number of inputs of
/// the layer and `out` the number of its outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Xavier's rule (Glorot & Bengio 2010): uniform between `−√(6 / (in + out))` and `√(6 / (in + out))`, for a layer of `in` inputs and
    /// `out` outputs.
    Xavier,
    /// Uniform between `−√(6 / in)` and `√(6 / in)` (He et al. 2015), for a layer of `in` inputs. With this distribution the values keep
    /// their variance through layers with a ReLU.
    He,
    /// Uniform between `−√(1 / in)` and `√(1 / in)`, for a layer of `in` inputs; the default. The values are smaller than those of
    /// [`Init::He`]. The initial logits are then nearly the same for all rows, and the net begins later in the training to overfit the
    /// embeddings of rare ids.
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

/// Random numbers for the initial values of a model. It numbers a sequence of independent random streams, and each tensor takes the next
/// stream. The same seed and the same order of construction give the same values.
#[derive(Debug, Clone)]
pub struct InitRng {
    seed: u64,
    next: u64,
    /// The hash of the name of the layer that the streams are for; 0 for a whole model.
    of: u64,
}

impl InitRng {
    /// The streams for the construction of a model. The same `seed` gives the same streams.
    pub fn new(seed: u64) -> Self {
        Self { seed, next: 0, of: 0 }
    }

    /// The streams for a component that is added to a model after its construction, such as the parameters of a new domain. `seed` is the
    /// seed of the model. `part` numbers the components that are added, from 0; it is at most 2³² − 2.
    ///
    /// Different parts have different streams, which also differ from those of [`InitRng::new`]. This holds as long as no part takes more
    /// than 2³² streams.
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
