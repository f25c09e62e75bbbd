//! Splits work over the threads of the current rayon pool.
//!
//! How work is cut depends on the work alone, and every value is computed by one part in one order: the bits are the same for any number of
//! threads. Inside a rayon pool the parts run side by side, outside of one they run one after the other. rayon's global pool is never started.
//!
//! [`blocks`] cuts slices and matrices into blocks; [`each`] runs work that implements [`Divide`] itself; [`join`] runs two closures.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ndarray::{ArrayViewMut2, Axis};
use rayon::{FnContext, ThreadPool, Yield};

use crate::simd::widest;

/// Whether this thread belongs to a rayon pool, so that work runs side by side.
pub(crate) fn in_pool() -> bool {
    rayon::current_thread_index().is_some()
}

/// Runs `work` in a pool whose other threads keep looking for work until `work` ends.
///
/// By default an idle thread of a pool sleeps after some microseconds. In a step of a small model there are tens of moments in which only one
/// thread has work: waking the others each time would take longer than their share of the work.
pub(crate) fn in_wakeful<R: Send>(pool: &ThreadPool, work: impl FnOnce() -> R + Send) -> R {
    let work = Mutex::new(Some(work));
    let (done, all) = (AtomicBool::new(false), Barrier::new(pool.current_num_threads()));
    let results = pool.broadcast(|thread| {
        // All threads reach this barrier first: a thread that already polls could otherwise be given work that waits for its own poll loop, a deadlock.
        all.wait();
        if thread.index() > 0 {
            look_for_work(&done);
            return None;
        }
        let _done = SetAtEnd(&done);
        let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.map(|work| work())
    });
    results.into_iter().flatten().next().expect("the first thread has run the work")
}

/// Sets a flag when it is dropped, by a panic too.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// After this number of looks without finding work a thread gives up: about a millisecond.
const PATIENCE: u32 = 2000;
/// How long it then sleeps before it looks again.
const NAP: Duration = Duration::from_millis(1);

/// Runs work of this pool until `end` is set, or until there was none for [`PATIENCE`] looks.
fn help(end: &AtomicBool) {
    let mut in_vain = 0;
    while in_vain < PATIENCE && !end.load(Ordering::Acquire) {
        if rayon::yield_now() == Some(Yield::Executed) {
            in_vain = 0;
        } else {
            in_vain += 1;
            thread::yield_now();
        }
    }
}

/// Runs work of this pool until `end` is set.
fn look_for_work(end: &AtomicBool) {
    while !end.load(Ordering::Acquire) {
        help(end);
        while !end.load(Ordering::Acquire) && rayon::yield_now() != Some(Yield::Executed) {
            thread::sleep(NAP);
        }
    }
}

/// Runs both, side by side inside a rayon pool.
pub(crate) fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    // `join` outside of a pool would start rayon's global one.
    if !in_pool() {
        return (a(), b());
    }
    let (elsewhere, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let first = || {
        let a = a();
        if elsewhere.load(Ordering::Acquire) {
            // `b` ends soon: this thread runs other work until then, instead of sleeping.
            help(&done);
        }
        a
    };
    let second = |context: FnContext| {
        elsewhere.store(context.migrated(), Ordering::Release);
        let _done = SetAtEnd(&done);
        b()
    };
    rayon::join_context(|_| first(), second)
}

/// Data that can be cut at a position: a slice before a value, a matrix before a row, a tuple in each of its parts.
pub(crate) trait Cut: Sized + Send {
    /// The part before `at`, and the rest.
    fn cut(self, at: usize) -> (Self, Self);
}

/// Data of this number of positions (or values of a slice) for each position of the whole.
pub(crate) struct Lines<S>(pub(crate) S, pub(crate) usize);

/// A matrix that is cut between columns.
pub(crate) struct ByColumn<'a>(pub(crate) ArrayViewMut2<'a, f32>);

impl Cut for Range<usize> {
    fn cut(self, at: usize) -> (Self, Self) {
        let middle = self.start + at;
        (self.start..middle, middle..self.end)
    }
}

impl<T: Sync> Cut for &[T] {
    fn cut(self, at: usize) -> (Self, Self) {
        self.split_at(at)
    }
}

impl<T: Send> Cut for &mut [T] {
    fn cut(self, at: usize) -> (Self, Self) {
        self.split_at_mut(at)
    }
}

impl<T: Send, const N: usize> Cut for [&mut [T]; N] {
    fn cut(mut self, at: usize) -> (Self, Self) {
        let rest = self.each_mut().map(|part| part.split_off_mut(at..).expect("the cut lies inside"));
        (self, rest)
    }
}

impl Cut for ArrayViewMut2<'_, f32> {
    fn cut(self, at: usize) -> (Self, Self) {
        self.split_at(Axis(0), at)
    }
}

impl Cut for ByColumn<'_> {
    fn cut(self, at: usize) -> (Self, Self) {
        let (first, rest) = self.0.split_at(Axis(1), at);
        (Self(first), Self(rest))
    }
}

impl<S: Cut> Cut for Lines<S> {
    fn cut(self, at: usize) -> (Self, Self) {
        let (first, rest) = self.0.cut(at * self.1);
        (Self(first, self.1), Self(rest, self.1))
    }
}

macro_rules! cut_tuples {
    ($($($type:ident)+,)+) => {$(
        impl<$($type: Cut),+> Cut for ($($type,)+) {
            #[allow(non_snake_case)]
            fn cut(self, at: usize) -> (Self, Self) {
                let ($($type,)+) = self;
                $(let $type = $type.cut(at);)+
                (($($type.0,)+), ($($type.1,)+))
            }
        }
    )+};
}

cut_tuples! { A B, A B C, A B C D, A B C D E, A B C D E F, }

/// Runs `f` on blocks of `data`, which has `len` positions: `block` of them in each but the last, which has the rest.
pub(crate) fn blocks<D: Cut>(len: usize, block: usize, data: D, f: &(impl Fn(D) + Sync)) {
    match len.div_ceil(block) {
        0 => {}
        1 => f(data),
        count => {
            let at = count / 2 * block;
            let (first, rest) = data.cut(at);
            join(|| blocks(at, block, first, f), || blocks(len - at, block, rest, f));
        }
    }
}

/// [`blocks`] with `f` compiled for wide vectors: see [`widest`](crate::simd::widest) for how to mark it.
pub(crate) fn wide_blocks<D: Cut>(len: usize, block: usize, data: D, f: impl Fn(D) + Copy + Sync) {
    blocks(len, block, data, &|data| widest(data, f));
}

/// Work with its own way to be divided in two.
pub(crate) trait Divide: Sized + Send {
    /// The number of indivisible pieces.
    fn pieces(&self) -> usize;

    /// The first `pieces`, 0 < `pieces` < all, and the rest.
    fn divide(self, pieces: usize) -> (Self, Self);
}

/// Runs `f` on every single piece of `work`.
pub(crate) fn each<W: Divide>(work: W, f: &(impl Fn(W) + Sync)) {
    match work.pieces() {
        0 => {}
        1 => f(work),
        count => {
            let (first, second) = work.divide(count / 2);
            join(|| each(first, f), || each(second, f));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::train::in_pool;

    #[test]
    fn all_threads_run_whenever_there_is_work() {
        for threads in [2, 3, 4] {
            let met = in_pool(threads, || {
                let all = Barrier::new(threads);
                let met = AtomicUsize::new(0);
                for _ in 0..3 {
                    blocks(threads, 1, 0..threads, &|_| {
                        all.wait();
                        met.fetch_add(1, Ordering::Relaxed);
                    });
                    // Longer than they look for work.
                    thread::sleep(20 * NAP);
                }
                met.into_inner()
            });
            assert_eq!(met.unwrap(), 3 * threads);
        }
    }

    #[test]
    fn blocks_are_cut_at_their_size_and_have_all_data_once() {
        for (len, block) in [(0, 3), (1, 3), (3, 3), (7, 3), (64, 1), (65, 8)] {
            let values: Vec<usize> = (0..len).collect();
            let (mut copy, mut lines) = (vec![0; len], vec![0; 2 * len]);
            blocks(len, block, (0..len, &values[..], &mut copy[..], Lines(&mut lines[..], 2)), &|data| {
                let (range, values, copy, Lines(lines, _)) = data;
                assert!(range.start.is_multiple_of(block) && (range.len() == block || range.end == len));
                assert_eq!(values, range.collect::<Vec<_>>());
                copy.copy_from_slice(values);
                lines.chunks_exact_mut(2).zip(values).for_each(|(line, &value)| line.fill(value));
            });
            assert_eq!(copy, values);
            assert!(lines.iter().enumerate().all(|(i, &value)| value == i / 2));
        }
    }

    #[test]
    fn a_panic_comes_through_and_no_thread_waits_for_ever() {
        let message = |work: &(dyn Fn() + Sync)| {
            let panic = catch_unwind(AssertUnwindSafe(|| in_pool(3, work))).unwrap_err();
            panic.downcast_ref::<&str>().copied().unwrap_or_default().to_owned()
        };
        assert_eq!(message(&|| panic!("by itself")), "by itself");
        let together = Barrier::new(2);
        for fails in [0, 1] {
            let half = |i: usize| {
                together.wait();
                assert!(i != fails, "in a half");
            };
            let both = || {
                join(|| half(0), || half(1));
            };
            assert_eq!(message(&both), "in a half");
        }
    }
}
