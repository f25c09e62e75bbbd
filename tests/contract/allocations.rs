//! An allocator that counts, thread by thread.

#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static OURS: Cell<usize> = const { Cell::new(0) };
    static GEMM: Cell<usize> = const { Cell::new(0) };
}

/// The matrix product packs its operands into buffers aligned for vector registers; nothing of ours asks for that.
const GEMM_ALIGN: usize = 32;

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(layout: Layout) {
    let counter = if layout.align() >= GEMM_ALIGN { &GEMM } else { &OURS };
    // While a thread ends its counters are gone; nobody asks for them any more.
    let _ = counter.try_with(|count| count.set(count.get() + 1));
}

/// What `work` allocated on this thread: by us, and by the matrix product.
pub(crate) fn during(work: impl FnOnce()) -> (usize, usize) {
    let before = (OURS.get(), GEMM.get());
    work();
    (OURS.get() - before.0, GEMM.get() - before.1)
}

#[test]
fn the_counter_counts() {
    let (ours, _) = during(|| drop(std::hint::black_box(vec![0_u8; 100])));
    assert_eq!(ours, 1);
}
