//! What a forward pass lends and leaves: order of rows, activations, logits.

use ndarray::{Array2, Axis};

use super::embeddings::Blocks;
use crate::data::{Batch, DomainId, Domains};
use crate::net::Tape;
use crate::nn::Segment;
use crate::nn::buffer::resize;

/// Activations and buffers of one forward pass, and in training of its backward pass.
///
/// The caller keeps one for each thread and lends it to [`Model::forward_with`](super::Model::forward_with); a warm one
/// makes no allocation. `M` says what it is for: [`Infer`](crate::nn::Infer) or [`Train`](crate::nn::Train).
#[derive(Debug)]
pub struct Cache<M> {
    /// How the pass runs; in training, set seed and step here before each step.
    pub mode: M,
    pub(super) order: Order,
    pub(super) blocks: Blocks,
    pub(super) x: Array2<f32>,
    pub(super) dx: Array2<f32>,
    /// In the order of `order`; then in the caller's.
    pub(super) grouped: Array2<f32>,
    pub(super) logits: Array2<f32>,
    pub(super) tape: Tape,
}

impl<M> Cache<M> {
    /// An empty cache for passes of this mode.
    pub fn new(mode: M) -> Self {
        Self {
            mode,
            order: Order::default(),
            blocks: Blocks::default(),
            x: Array2::default((0, 0)),
            dx: Array2::default((0, 0)),
            grouped: Array2::default((0, 0)),
            logits: Array2::default((0, 0)),
            tape: Tape::default(),
        }
    }

    /// The logits of the last pass, `[rows, tasks]`, in the order of its batch.
    pub fn logits(&self) -> &Array2<f32> {
        &self.logits
    }

    /// Which rows of the last pass, in the order that the net saw them, belong to which domain.
    pub fn segments(&self) -> &[Segment] {
        &self.order.segments
    }

    /// The values of the net's steps, to look inside after a pass.
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
    /// The batch's row at each place.
    pub(super) rows: Vec<u32>,
    pub(super) segments: Vec<Segment>,
    /// Whether the batch stood in this order already.
    identity: bool,
    starts: Vec<usize>,
}

impl Order {
    /// Groups the rows by domain, in order of domain, rows of no known domain last; stable, in two passes.
    ///
    /// # Panics
    /// If a domain is out of range or there is not one for each row.
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
        let segment = |place: usize, start, end| Segment { domain: (place < known).then_some(place), start, end };
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
        assert_eq!(domains.len(), count, "one domain for each row");
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

    /// From the batch's order to the grouped one.
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

    /// From the grouped order to the batch's.
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
