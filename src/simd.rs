//! Loops compiled for the widest vectors of the processor that runs them.
//!
//! A crate is compiled for the oldest processor of its target; on x86-64 that has neither vectors of more than 128 bits nor a fused
//! multiply-add. [`widest`] runs work in a copy that was compiled for what the processor has.

/// Work of which [`widest`] has a copy for the widest vectors.
///
/// A closure is work, but only the compiler's judgement brings what is in it into the copy, and a large one stays outside: as slow
/// as before, its fused multiply-adds calls into a library. A type of its own whose `run` is marked `#[inline(always)]` is always
/// compiled for the copy.
pub(crate) trait Work {
    /// What comes of it.
    type Output;

    /// Does it. Mark it, and what it calls, `#[inline(always)]`.
    fn run(self) -> Self::Output;
}

impl<R, F: FnOnce() -> R> Work for F {
    type Output = R;

    #[inline(always)]
    fn run(self) -> R {
        self()
    }
}

/// Runs `work`, compiled for AVX-512, or for AVX2 and FMA, where the processor has them.
///
/// Additions stay in the order in which they are written, so the result has the same bits on every path but where [`fma`] is used.
#[inline]
pub(crate) fn widest<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "there is no safe way to call a function with target features")]
    if has_avx512() {
        // SAFETY: the processor has the features that the copy is compiled for.
        return unsafe { with_avx512(work) };
    } else if has_fma() {
        // SAFETY: as above.
        return unsafe { with_fma(work) };
    }
    work.run()
}

/// Whether vectors have 512 bits and there are 32 of them: those of AVX-512 in every processor of its second generation, from 2017 on.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn has_avx512() -> bool {
    has_fma()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vl")
}

/// Whether a fused multiply-add is one instruction here.
#[inline]
pub(crate) fn has_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// Runs `work`, compiled for AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn with_fma<W: Work>(work: W) -> W::Output {
    work.run()
}

/// Runs `work`, compiled for AVX-512.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn with_avx512<W: Work>(work: W) -> W::Output {
    work.run()
}

/// `a·b + c`: rounded once where `FUSED`, which must be [`has_fma`]; without the instruction it would be a slow call.
#[inline(always)]
pub(crate) fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Tells the processor that this place is soon read or written.
#[inline(always)]
pub(crate) fn prefetch(place: *const f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect but on speed, wherever it points.
        #[allow(unsafe_code, reason = "the intrinsic takes a raw pointer")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(place.cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
