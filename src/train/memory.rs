//! The memory that a training run needs, estimated before it starts.

use super::{Average, TrainConfig};
use crate::data::Pooling;
use crate::memory::{self, shown};
use crate::model::fits::{advice, parameters, refusal};
use crate::model::{AnyConfig, Embeddings, NetConfig, PIECE};
use crate::net::Net;
use crate::{Error, ErrorKind, Result};

/// Below this number of bytes, memory is not checked.
const SMALL: f64 = 64e6;

/// The most threads that are started.
pub(crate) const MAX_THREADS: usize = 1024;

/// An estimate of the memory that a training run needs, in bytes, as [`TrainConfig::memory`] computes it from the settings. The memory of the
/// training and validation rows themselves is not part of it, nor is the overhead of the allocator. In a batch, a list of ids counts as one
/// id, because the length of lists is not known: with long lists, a run needs more.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MemoryNeed {
    /// The bytes of the model's parameters, embedding tables included: 4 for each value.
    pub parameters: f64,
    /// The bytes of everything else that grows with the number of parameters: the copy of the best epoch's parameters, the average of weights
    /// ([`TrainConfig::average`]), the gradients, the state of the optimizers, and the counts of ids ([`IdCounts`](super::IdCounts)).
    pub copies: f64,
    /// The bytes of two training batches (the next one is built during a step), and of the activations and their gradients for one batch.
    pub batch: f64,
    /// The bytes that an evaluation needs: the activations of the rows that all threads score at the same time (4096 rows for each thread),
    /// and the scores of all validation rows. It is 0 without validation rows.
    pub evaluation: f64,
}

impl MemoryNeed {
    /// Returns the sum of the four fields, in bytes: the memory that one run needs, its model included.
    pub fn total(self) -> f64 {
        self.parameters + self.copies + self.batch + self.evaluation
    }
}

impl TrainConfig {
    /// Estimates the memory of a training run with these settings. Nothing is allocated. `model` has the settings of the model; `rows` is the
    /// number of training rows, and `val` is the number of validation rows, 0 if there are none.
    pub fn memory(&self, model: &dyn NetConfig, rows: usize, val: usize) -> MemoryNeed {
        let config = &self.0;
        let (tables, net, table_rows) = (Embeddings::size(model), Net::size(model), Embeddings::table_rows(model));
        let layout = model.layout();
        // A position is an id and a fraction.
        let positions = layout.fields.iter().filter(|field| field.bag == Some(Pooling::Interpolate)).count();
        let (fields, tasks) = ((layout.fields.len() + positions) as f64, layout.tasks.len() as f64);
        let batch = config.batch_rows.min(rows) as f64;

        let embedding = config.embedding_optimizer.as_ref().unwrap_or(&config.optimizer);
        let (of_value, _) = config.optimizer.remembers();
        let (of_table_value, of_table_row) = embedding.remembers();
        let kept = config.objective.weighting().gradients(config.objective.units().count(layout)) as f64;
        let answering = model.own_tables().map_or(1.0, |branches| branches.answering(layout) as f64);
        let touched = (batch * answering * (model.width_f64() - layout.numeric.len() as f64)).min(tables.values);
        let gradient = net.bytes() + 4.0 * (table_rows + touched);
        let remembered = of_value * net.bytes() + 4.0 * (of_table_value * tables.values + of_table_row * table_rows);

        // The average's position of a row has 8 bytes, the count of an id 4.
        let averaged = match config.average {
            Average::Off => 0.0,
            Average::Ema { .. } if !self.exact_rows() => parameters(model) + 8.0 * table_rows,
            Average::Ema { .. } | Average::Swa { .. } => parameters(model),
        };
        let counts =
            if self.counts_ids(layout) { 4.0 * layout.tables.iter().map(|t| t.rows as f64).sum::<f64>() } else { 0.0 };
        // The batch, and the next one, which is built during the step.
        let data = 2.0 * (fields + layout.numeric.len() as f64 + tasks + 3.0);
        let row = 2.0 * model.width_f64() * answering + 5.0 * tasks + Net::row(model);
        // Buffers for the rows of one domain have the size of its largest batch so far, and grow in larger steps than needed.
        let slack = if model.reads_domain() && layout.domains.len() > 1 { 1.6 } else { 1.0 };
        let at_once = (self.threads() as f64 * PIECE as f64).min(val as f64);
        MemoryNeed {
            parameters: parameters(model),
            copies: parameters(model) + (1.0 + kept) * gradient + remembered + averaged + counts,
            batch: 4.0 * batch * (slack * row + data),
            // Inference keeps no gradients. All scores are kept; metrics need about three copies of them.
            evaluation: 4.0 * (at_once * 0.6 * row + val as f64 * tasks * 13.0),
        }
    }

    /// Checks, before the model is built, that there is enough memory for a training run: it compares the total of [`TrainConfig::memory`] with
    /// the memory that this process can still allocate. `model` has the settings of the model; `rows` is the number of training rows, and
    /// `val` is the number of validation rows, 0 if there are none. A run that needs less than 64 MB passes without a check.
    /// [`Trainer::fit`](super::Trainer::fit) checks it again. If the system does not report its memory, the check passes unless the run needs
    /// more than 10 TB.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the run needs more memory than is available. The message says how much it needs, how much is available, and
    /// which settings to change.
    pub fn check_memory(&self, model: &dyn NetConfig, rows: usize, val: usize) -> Result<()> {
        self.check_runs(model, rows, val, 1)
    }

    /// Checks that there is enough memory for `runs` training runs at the same time, all with these settings, before their models are built.
    /// `model` has the settings of the model; `rows` is the number of training rows of one run, and `val` is the number of its validation
    /// rows, 0 if there are none. Runs that together need less than 64 MB pass without a check.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the runs together need more memory than is available. The message says how much they need, how much is
    /// available, and which settings to change.
    pub fn check_runs(&self, model: &dyn NetConfig, rows: usize, val: usize, runs: usize) -> Result<()> {
        self.check_need(model, rows, val, |need| runs as f64 * need.total())
    }

    /// [`TrainConfig::check_memory`] for a model that is already in memory.
    pub(crate) fn check_rest(&self, model: &dyn NetConfig, rows: usize, val: usize) -> Result<()> {
        self.check_need(model, rows, val, |need| need.total() - need.parameters)
    }

    fn check_need(&self, model: &dyn NetConfig, rows: usize, val: usize, of: impl Fn(MemoryNeed) -> f64) -> Result<()> {
        let need = self.memory(model, rows, val);
        let bytes = of(need);
        if bytes < SMALL {
            return Ok(());
        }
        let available = memory::available();
        if bytes <= available {
            return Ok(());
        }
        let MemoryNeed { parameters, copies, batch, evaluation } = need;
        let (batch_rows, threads) = (self.0.batch_rows.min(rows), self.threads());
        let needs = format!(
            "a run takes {}: parameters {}, gradient, optimizer and best epoch {}, a batch of {batch_rows} rows {}, evaluating {} rows a \
             thread {}",
            shown(bytes),
            shown(parameters),
            shown(copies),
            shown(batch),
            PIECE.min(val),
            shown(evaluation)
        );
        let measure = |config: &dyn NetConfig| of(self.memory(config, rows, val));
        let other = |change: &dyn Fn(&mut TrainConfig)| {
            let mut other = self.clone();
            change(&mut other);
            of(other.memory(model, rows, val))
        };
        let own = vec![
            (other(&|config| config.0.batch_rows = 1), format!("batch_rows = {batch_rows}")),
            (other(&|config| config.0.threads = 1), format!("threads = {threads}")),
        ];
        let settings = serde_json::to_value(model).unwrap_or_default();
        let with = |key: &str, value| model.with(key, value).map(AnyConfig::from);
        let advice = advice(model, &settings, bytes, own, measure, with);
        Err(Error::new(ErrorKind::Config, refusal(&needs, available, &advice)))
    }
}
