//! Splitting work over the threads of a pool that somebody chose.
//!
//! Work is cut into parts whose number depends on the work alone, and every value is computed by one part in one order:
//! the bits are the same for any number of threads. Inside a rayon pool the parts run side by side, elsewhere one after the
//! other. No global pool is ever started.

/// Whether this thread belongs to a rayon pool, so that work runs side by side.
pub(crate) fn in_pool() -> bool {
    rayon::current_thread_index().is_some()
}

/// Runs both, side by side inside a rayon pool.
pub(crate) fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    // `join` outside of a pool would start rayon's global one.
    if in_pool() { rayon::join(a, b) } else { (a(), b()) }
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
