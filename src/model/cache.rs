//! The buffers of a forward and backward pass: order of rows, activations, logits.

use ndarray::{Array2, Axis};

use super::embeddings::{Blocks, Events};
use super::field_dropout::FieldDropout;
use crate::data::{Batch, DomainId, Domains};
use crate::net::Tape;
use crate::nn::Segment;
use crate::nn::buffer::resize;

/// The buffers of a model's forward pass, such as the outputs of its layers; in training also those of the backward pass.
///
/// Keep one per thread and pass it to [`Model::forward_with`](super::Model::forward_with). A pass allocates only if it needs more memory
/// than the earlier passes with this cache. The mode `M` is [`Infer`](crate::nn::Infer) (inference) or [`Train`](crate::nn::Train)
/// (training).
#[derive(Debug)]
pub struct Cache<M> {
    /// The mode of the next pass. In training, set [`Train::seed`](crate::nn::Train::seed) once and [`Train::step`](crate::nn::Train::step)
    /// before each step: the dropout masks depend on them.
    pub mode: M,
    pub(super) order: Order,
    pub(super) blocks: Blocks,
    pub(super) fields: FieldDropout,
    pub(super) x: Array2<f32>,
    pub(super) events: Vec<Events>,
    pub(super) dx: Array2<f32>,
    /// Logits, or their gradients, in the order of `order`. `logits` has the order of the batch.
    pub(super) grouped: Array2<f32>,
    pub(super) logits: Array2<f32>,
    pub(super) tape: Tape,
}

impl<M> Cache<M> {
    /// An empty cache for passes in the mode `mode`: `Cache::new(Infer)` or `Cache::new(Train::default())`, for example. Its memory is
    /// allocated by the first pass.
    pub fn new(mode: M) -> Self {
        Self {
            mode,
            order: Order::default(),
            blocks: Blocks::default(),
            fields: FieldDropout::default(),
            x: Array2::default((0, 0)),
            events: Vec::new(),
            dx: Array2::default((0, 0)),
            grouped: Array2::default((0, 0)),
            logits: Array2::default((0, 0)),
            tape: Tape::default(),
        }
    }

    /// The logits that the last pass computed, `[rows, tasks]`, with the rows in the order of the batch. Before the first pass it is a
    /// matrix without rows.
    pub fn logits(&self) -> &Array2<f32> {
        &self.logits
    }

    /// The rows of each domain in the last pass. The net sorts the rows of a batch by domain, with rows of no known domain last; a
    /// [`Segment`] is the range of the rows of one domain in this order. Domains without rows in the batch have no segment. Before the
    /// first pass the list is empty.
    pub fn segments(&self) -> &[Segment] {
        &self.order.segments
    }

    /// The values that the steps of the net computed in the last pass. Pass it to [`Net::visit_gates`](crate::net::Net::visit_gates) to see
    /// the weights of gates.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }
}

impl<M: Default> Default for Cache<M> {
    fn default() -> Self {
        Self::new(M::default())
    }
}

/// The rows of a batch grouped by domain.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// For each position in the grouped order, the row of the batch.
    pub(super) rows: Vec<u32>,
    pub(super) segments: Vec<Segment>,
    /// Whether the batch has this order already.
    identity: bool,
    starts: Vec<usize>,
}

impl Order {
    /// Groups the rows by domain, in the order of domains, with rows of no known domain last. Rows of one domain keep their order.
    ///
    /// # Panics
    /// If a domain is out of range, or the number of domains is not the number of rows.
    pub(super) fn group(&mut self, batch: &Batch, domains: Domains<'_>, known: usize) {
        let count = batch.rows();
        let last =
            u32::try_from(count).expect("one pass takes fewer than 2^32 rows: Model::score takes more, in pieces");
        self.segments.clear();
        self.rows.clear();
        let place = |domain: DomainId| match domain.index() {
            None => known,
            Some(d) => {
                assert!(d < known, "domain {d} is out of range: the model has {known} domains");
                d
            }
        };
        let segment = |place: usize, start, end| {
            let domain = if place < known { DomainId::new(place) } else { DomainId::SHARED };
            Segment { domain, start, end }
        };
        let domains = match domains {
            Domains::One(domain) => {
                self.identity = true;
                self.rows.extend(0..last);
                if count > 0 {
                    self.segments.push(segment(place(domain), 0, count));
                }
                return;
            }
            Domains::PerRow(domains) => domains,
        };
        assert_eq!(domains.len(), count, "one domain per row");
        self.starts.clear();
        self.starts.resize(known + 2, 0);
        for &domain in domains {
            self.starts[place(domain) + 1] += 1;
        }
        for d in 0..=known {
            self.starts[d + 1] += self.starts[d];
            if self.starts[d] < self.starts[d + 1] {
                self.segments.push(segment(d, self.starts[d], self.starts[d + 1]));
            }
        }
        self.identity = domains.is_sorted_by_key(|&domain| place(domain));
        if self.identity {
            self.rows.extend(0..last);
            return;
        }
        self.rows.resize(count, 0);
        for (row, &domain) in domains.iter().enumerate() {
            let start = &mut self.starts[place(domain)];
            self.rows[*start] = row as u32;
            *start += 1;
        }
    }

    /// Copies rows from the order of the batch to the grouped order.
    pub(super) fn gather(&self, from: &Array2<f32>, to: &mut Array2<f32>) {
        resize(to, from.nrows(), from.ncols());
        if self.identity {
            to.assign(from);
            return;
        }
        for (mut to, &row) in to.axis_iter_mut(Axis(0)).zip(&self.rows) {
            to.assign(&from.row(row as usize));
        }
    }

    /// Copies rows from the grouped order to the order of the batch.
    pub(super) fn scatter(&self, from: &Array2<f32>, to: &mut Array2<f32>) {
        resize(to, from.nrows(), from.ncols());
        if self.identity {
            to.assign(from);
            return;
        }
        for (from, &row) in from.axis_iter(Axis(0)).zip(&self.rows) {
            to.row_mut(row as usize).assign(&from);
        }
    }
}
