//! A row of a panel in registers.

use super::panels::WIDTH;
use crate::simd::fma;

/// [`WIDTH`] values side by side.
pub(super) trait Lanes: Copy {
    /// Zeros.
    fn zeros() -> Self;

    /// These values.
    fn load(values: &[f32; WIDTH]) -> Self;

    /// `self + a·b`, rounded once where the processor can.
    fn add_product(self, a: f32, b: Self) -> Self;

    /// Writes the values.
    fn store(self, to: &mut [f32; WIDTH]);

    /// The columns of a square of values, given its rows.
    #[inline(always)]
    fn turn(rows: [Self; WIDTH]) -> [Self; WIDTH] {
        let mut values = [[0.0; WIDTH]; WIDTH];
        for (values, row) in values.iter_mut().zip(rows) {
            row.store(values);
        }
        std::array::from_fn(|column| Self::load(&std::array::from_fn(|row| values[row][column])))
    }
}

/// Whatever vectors the compiler makes of it; `FUSED` as in [`fma`].
#[derive(Clone, Copy)]
pub(super) struct Plain<const FUSED: bool>([f32; WIDTH]);

impl<const FUSED: bool> Lanes for Plain<FUSED> {
    #[inline(always)]
    fn zeros() -> Self {
        Self([0.0; WIDTH])
    }

    #[inline(always)]
    fn load(values: &[f32; WIDTH]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    fn add_product(mut self, a: f32, b: Self) -> Self {
        self.0.iter_mut().zip(b.0).for_each(|(sum, b)| *sum = fma::<FUSED>(a, b, *sum));
        self
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; WIDTH]) {
        *to = self.0;
    }
}

/// Vectors written out: left to itself, the compiler keeps the sums of a large tile in memory, and those of any where crates are not
/// optimised as a whole.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "a register is an intrinsic's alone")]
pub(super) mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
        _mm512_castpd_ps, _mm512_castps_pd, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_shuffle_f32x4, _mm512_storeu_ps, _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd,
        _mm512_unpacklo_ps,
    };

    use super::{Lanes, WIDTH};

    /// For code inside [`with_fma`](crate::simd::with_fma).
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(__m256, __m256);

    impl Lanes for Avx2 {
        #[inline(always)]
        fn zeros() -> Self {
            // SAFETY: code that uses these lanes runs on processors with AVX2 and FMA only; so everywhere here.
            unsafe { Self(_mm256_setzero_ps(), _mm256_setzero_ps()) }
        }

        #[inline(always)]
        fn load(values: &[f32; WIDTH]) -> Self {
            // SAFETY: as above; the two halves of 16 values.
            unsafe { Self(_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values.as_ptr().add(WIDTH / 2))) }
        }

        #[inline(always)]
        fn add_product(self, a: f32, b: Self) -> Self {
            // SAFETY: as above.
            unsafe {
                let a = _mm256_set1_ps(a);
                Self(_mm256_fmadd_ps(a, b.0, self.0), _mm256_fmadd_ps(a, b.1, self.1))
            }
        }

        #[inline(always)]
        fn store(self, to: &mut [f32; WIDTH]) {
            // SAFETY: as above; the two halves of 16 values.
            unsafe {
                _mm256_storeu_ps(to.as_mut_ptr(), self.0);
                _mm256_storeu_ps(to.as_mut_ptr().add(WIDTH / 2), self.1);
            }
        }
    }

    /// For code inside [`with_avx512`](crate::simd::with_avx512).
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(__m512);

    impl Lanes for Avx512 {
        #[inline(always)]
        fn zeros() -> Self {
            // SAFETY: code that uses these lanes runs on processors with AVX-512 only; so everywhere here.
            unsafe { Self(_mm512_setzero_ps()) }
        }

        #[inline(always)]
        fn load(values: &[f32; WIDTH]) -> Self {
            // SAFETY: as above; 16 values.
            unsafe { Self(_mm512_loadu_ps(values.as_ptr())) }
        }

        #[inline(always)]
        fn add_product(self, a: f32, b: Self) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm512_fmadd_ps(_mm512_set1_ps(a), b.0, self.0)) }
        }

        #[inline(always)]
        fn store(self, to: &mut [f32; WIDTH]) {
            // SAFETY: as above; 16 values.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) };
        }

        #[inline(always)]
        fn turn(rows: [Self; WIDTH]) -> [Self; WIDTH] {
            // No closures: they would be compiled apart, for other vectors.
            // SAFETY: as above.
            unsafe {
                // Ever more rows side by side: two, then four, in each quarter of a vector for another column …
                let mut pairs = [_mm512_setzero_ps(); WIDTH];
                for i in (0..WIDTH).step_by(2) {
                    pairs[i] = _mm512_unpacklo_ps(rows[i].0, rows[i + 1].0);
                    pairs[i + 1] = _mm512_unpackhi_ps(rows[i].0, rows[i + 1].0);
                }
                let mut fours = pairs;
                for i in (0..WIDTH).step_by(4) {
                    for j in 0..2 {
                        let (a, b) = (_mm512_castps_pd(pairs[i + j]), _mm512_castps_pd(pairs[i + j + 2]));
                        fours[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                        fours[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                    }
                }
                // … whose quarters then come together.
                let mut eights = fours;
                for i in (0..WIDTH).step_by(8) {
                    for j in i..i + 4 {
                        eights[j] = _mm512_shuffle_f32x4::<0x88>(fours[j], fours[j + 4]);
                        eights[j + 4] = _mm512_shuffle_f32x4::<0xdd>(fours[j], fours[j + 4]);
                    }
                }
                let mut columns = rows;
                for i in 0..8 {
                    columns[i].0 = _mm512_shuffle_f32x4::<0x88>(eights[i], eights[i + 8]);
                    columns[i + 8].0 = _mm512_shuffle_f32x4::<0xdd>(eights[i], eights[i + 8]);
                }
                columns
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square of 0, 1, 2, …, turned by these lanes.
    #[inline(always)]
    fn turned<L: Lanes>() -> [[f32; WIDTH]; WIDTH] {
        let mut rows = [L::zeros(); WIDTH];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = L::load(&std::array::from_fn(|column| (r * WIDTH + column) as f32));
        }
        let mut turned = [[0.0; WIDTH]; WIDTH];
        for (to, column) in turned.iter_mut().zip(L::turn(rows)) {
            column.store(to);
        }
        turned
    }

    #[test]
    fn a_square_is_turned() {
        let expected: [[f32; WIDTH]; WIDTH] =
            std::array::from_fn(|column| std::array::from_fn(|row| (row * WIDTH + column) as f32));
        assert_eq!(turned::<Plain<false>>(), expected);
        #[cfg(target_arch = "x86_64")]
        if crate::simd::has_avx512() {
            // SAFETY: the processor has AVX-512.
            #[allow(unsafe_code, reason = "there is no safe way to call a function with target features")]
            let turned = unsafe {
                crate::simd::with_avx512(
                    (),
                    #[inline(always)]
                    |()| turned::<x86::Avx512>(),
                )
            };
            assert_eq!(turned, expected);
        }
    }
}
