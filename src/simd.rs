//! Loops compiled for the widest vectors of the processor that runs them.
//!
//! A crate is compiled for the oldest processor of its target; on x86-64 that has neither vectors of more than 128 bits nor a fused
//! multiply-add. [`widest`] runs a closure in a copy that is compiled for what the processor has.

/// `f(data)`, compiled for AVX-512, or for AVX2 and FMA, where the processor has them.
///
/// Mark the closure, and every function that it calls, `#[inline(always)]`: `widest(data, #[inline(always)] |data| …)`. Without the mark, the
/// compiler leaves a large closure outside of the copy: it is as slow as before, and its fused multiply-adds are calls into a library.
/// Put into `data` what the closure changes. It may capture the rest, by shared reference or, with `move`, by value, which is faster for
/// numbers that an inner loop reads.
///
/// Additions stay in the order in which they are written, so the result has the same bits on every path, except where [`fma`] is used.
#[inline]
pub(crate) fn widest<A, R>(data: A, f: impl Fn(A) -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "there is no safe way to call a function with target features")]
    if has_avx512() {
        // SAFETY: the processor has the features that the copy is compiled for.
        return unsafe { with_avx512(data, f) };
    } else if has_fma() {
        // SAFETY: as above.
        return unsafe { with_fma(data, f) };
    }
    f(data)
}

/// Whether the processor has 32 vectors of 512 bits and the AVX-512 instructions that servers have since 2017 (F, BW, DQ, VL).
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn has_avx512() -> bool {
    has_fma()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vl")
}

/// Whether the processor has a fused multiply-add.
#[inline]
pub(crate) fn has_fma() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

/// `f(data)`, compiled for AVX2 and FMA; see [`widest`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn with_fma<A, R>(data: A, f: impl Fn(A) -> R) -> R {
    f(data)
}

/// `f(data)`, compiled for AVX-512; see [`widest`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
pub(crate) fn with_avx512<A, R>(data: A, f: impl Fn(A) -> R) -> R {
    f(data)
}

/// `a·b + c`: rounded once where `FUSED`, which must be [`has_fma`]; without the instruction it would be a slow call.
#[inline(always)]
pub(crate) fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Asks the processor to load this place into its cache.
#[inline(always)]
pub(crate) fn prefetch(place: *const f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch affects speed alone, wherever it points.
        #[allow(unsafe_code, reason = "the intrinsic takes a raw pointer")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(place.cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
