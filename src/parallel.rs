//! Splitting work over the threads of a pool that somebody chose.
//!
//! Work is cut into parts whose number depends on the work alone, and every value is computed by one part in one order:
//! the bits are the same for any number of threads. Inside a rayon pool the parts run side by side, elsewhere one after the
//! other. No global pool is ever started.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rayon::{FnContext, ThreadPool, Yield};

/// Whether this thread belongs to a rayon pool, so that work runs side by side.
pub(crate) fn in_pool() -> bool {
    rayon::current_thread_index().is_some()
}

/// Runs `work` in a pool, whose other threads look for work all the while.
///
/// Left to itself, an idle thread of a pool sleeps after some microseconds, and the step of a small model has tens of moments in which one
/// thread alone has something to do: waking the others each time takes longer than what they then do.
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
    results.into_iter().flatten().next().expect("the first thread has done it")
}

/// Sets a flag when it is dropped, by a panic too.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// How often in a row a thread finds nothing to do before it gives up: for about a millisecond.
const PATIENCE: u32 = 2000;
/// How long it then sleeps before it looks again.
const NAP: Duration = Duration::from_millis(1);

/// Does what there is to do in this pool until `end`, or there was nothing for long.
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

/// Does what there is to do in this pool until `end`.
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
            // The other one is not far: this thread does not sleep until then.
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

/// Work that can be cut in two.
pub(crate) trait Divide: Sized + Send {
    /// How many indivisible pieces it has.
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

    /// So many pieces, each of which ends when all have begun.
    struct Meeting<'a> {
        pieces: usize,
        all: &'a Barrier,
    }

    impl Divide for Meeting<'_> {
        fn pieces(&self) -> usize {
            self.pieces
        }

        fn divide(self, pieces: usize) -> (Self, Self) {
            (Self { pieces, ..self }, Self { pieces: self.pieces - pieces, ..self })
        }
    }

    #[test]
    fn all_threads_take_part_whenever_there_is_work() {
        for threads in [2, 3, 4] {
            let met = in_pool(threads, || {
                let all = Barrier::new(threads);
                let met = AtomicUsize::new(0);
                for _ in 0..3 {
                    each(Meeting { pieces: threads, all: &all }, &|Meeting { all, .. }| {
                        all.wait();
                        met.fetch_add(1, Ordering::Relaxed);
                    });
                    // Longer than their patience.
                    thread::sleep(20 * NAP);
                }
                met.into_inner()
            });
            assert_eq!(met.unwrap(), 3 * threads);
        }
    }

    #[test]
    fn a_panic_comes_through_and_nobody_waits_for_ever() {
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
