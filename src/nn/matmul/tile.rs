//! Tiles: the sums of a few rows and panels, which stay in registers until all products are in them.

#[cfg(target_arch = "x86_64")]
use super::lanes::x86::{Avx2, Avx512};
use super::lanes::{Lanes, Plain};
use super::panels::WIDTH;
use super::strided::Strided;
use crate::simd::has_fma;
#[cfg(target_arch = "x86_64")]
use crate::simd::{has_avx512, with_avx512, with_fma};

/// The vectors that a processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vectors {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Those of the target, with a fused multiply-add.
    Fused,
    /// Those of the target, without.
    Plain,
}

impl Vectors {
    /// All that this processor has, the widest first.
    fn all() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let wide = [(has_avx512(), Self::Avx512), (has_fma(), Self::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let wide = [];
        let all = wide.into_iter().chain([(has_fma(), Self::Fused), (true, Self::Plain)]);
        all.filter(|&(has, _)| has).map(|(_, vectors)| vectors)
    }

    fn widest() -> Self {
        Self::all().next().expect("every processor has some")
    }

    /// See [`shape`].
    fn shape(self, rows: usize) -> (usize, usize) {
        match (self, rows) {
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, 1) => (1, 8),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, 2..=3) => (3, 4),
            #[cfg(target_arch = "x86_64")]
            (Self::Avx512, _) => (12, 2),
            (_, 1) => (1, 4),
            (_, 2..=3) => (3, 2),
            (_, _) => (6, 1),
        }
    }

    /// See [`kernel`].
    fn kernel(self, rows: usize, panels: usize) -> TileKernel {
        macro_rules! sizes {
            ($kernel:ident: $($panels:literal: $($rows:literal)*;)*) => {
                match (panels, rows) {
                    $($(($panels, $rows) => $kernel::<$rows, $panels>,)*)*
                    _ => unreachable!("no tile has {rows} rows and {panels} panels"),
                }
            };
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => sizes! { avx512:
                1: 1 2 3 4 5 6 7 8 9 10 11 12;
                2: 1 2 3 4 5 6 7 8 9 10 11 12;
                4: 1 2 3;
                8: 1;
            },
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => sizes! { avx2:
                1: 1 2 3 4 5 6;
                2: 1 2 3;
                4: 1;
            },
            Self::Fused => sizes! { fused:
                1: 1 2 3 4 5 6;
                2: 1 2 3;
                4: 1;
            },
            Self::Plain => sizes! { plain:
                1: 1 2 3 4 5 6;
                2: 1 2 3;
                4: 1;
            },
        }
    }
}

/// The size of tiles for this number of rows: the largest number of rows, and the number of panels.
///
/// 6 rows of one panel are 12 vectors of sums with AVX2; 2 of the right operand and 1 value of the left fill 16 registers. With AVX-512 a
/// vector is as wide as a panel, and 12 rows of two panels leave some of 32 registers for operands. Few rows make few sums, each of which
/// waits for its last addition: there several panels at once are not slower than one.
pub(super) fn shape(rows: usize) -> (usize, usize) {
    Vectors::widest().shape(rows)
}

/// The kernel for tiles of one of the sizes that [`shape`] asks for, or of fewer rows, or of one panel. It panics if it is given other
/// rows, or an operand ends too early.
///
/// # Panics
/// If there is none of this size.
pub(super) fn kernel(rows: usize, panels: usize) -> TileKernel {
    Vectors::widest().kernel(rows, panels)
}

/// The sums of a tile, row by row, its panels in order; as many as the largest has.
pub(super) type Sums = [[f32; WIDTH]; 24];

/// What a tile is summed of: `Σ_k a[r, k] · panel[k, j]`.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a, 'p> {
    /// All its rows.
    pub(super) a: Strided<'a>,
    /// From the first value of its first panel on.
    pub(super) panels: &'p [f32],
    pub(super) panel_step: usize,
    pub(super) row_step: usize,
}

/// What sums a tile of one size, and adds that to the sums that are there, or overwrites them.
pub(super) type TileKernel = fn(Operands<'_, '_>, bool, &mut Sums);

/// With AVX-512, which the processor must have.
#[cfg(target_arch = "x86_64")]
fn avx512<const ROWS: usize, const PANELS: usize>(of: Operands<'_, '_>, add: bool, sums: &mut Sums) {
    // SAFETY: `Vectors::all` has checked the processor.
    #[allow(unsafe_code, reason = "there is no safe way to call a function with target features")]
    unsafe {
        with_avx512(
            sums,
            #[inline(always)]
            move |sums| tile::<Avx512, ROWS, PANELS>(of, add, sums),
        );
    }
}

/// With AVX2 and FMA, which the processor must have.
#[cfg(target_arch = "x86_64")]
fn avx2<const ROWS: usize, const PANELS: usize>(of: Operands<'_, '_>, add: bool, sums: &mut Sums) {
    // SAFETY: `Vectors::all` has checked the processor.
    #[allow(unsafe_code, reason = "as above")]
    unsafe {
        with_fma(
            sums,
            #[inline(always)]
            move |sums| tile::<Avx2, ROWS, PANELS>(of, add, sums),
        );
    }
}

/// With the vectors of the compilation target, and fused multiply-adds.
fn fused<const ROWS: usize, const PANELS: usize>(of: Operands<'_, '_>, add: bool, sums: &mut Sums) {
    tile::<Plain<true>, ROWS, PANELS>(of, add, sums);
}

/// With the vectors of the compilation target, without fused multiply-adds.
fn plain<const ROWS: usize, const PANELS: usize>(of: Operands<'_, '_>, add: bool, sums: &mut Sums) {
    tile::<Plain<false>, ROWS, PANELS>(of, add, sums);
}

/// Sums a tile of `ROWS` rows and `PANELS` panels.
#[inline(always)]
fn tile<L: Lanes, const ROWS: usize, const PANELS: usize>(of: Operands<'_, '_>, add: bool, to: &mut Sums) {
    let to: &mut [[[f32; WIDTH]; PANELS]; ROWS] =
        to.as_chunks_mut().0.first_chunk_mut().expect("room for the sums of every tile");
    let Operands { a, panels, panel_step, row_step } = of;
    let (rows, depth) = a.dim();
    let last = (PANELS - 1) * panel_step + (depth - 1) * row_step;
    assert!(rows == ROWS && panels.len() >= last + WIDTH, "a row for every row, and one of each panel for every k");
    let mut sums = [[L::zeros(); PANELS]; ROWS];
    for k in 0..depth {
        let b: [L; PANELS] = std::array::from_fn(|panel| {
            // SAFETY: every panel has a row of 16 values for every k below `depth`, checked above.
            #[allow(unsafe_code, reason = "a bounds check for each k would take as long as the products")]
            L::load(unsafe { &*panels.as_ptr().add(panel * panel_step + k * row_step).cast() })
        });
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the left operand has `ROWS` rows, checked above, and `depth` columns.
            #[allow(unsafe_code, reason = "as above")]
            let a = unsafe { a.at(r, k) };
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = sum.add_product(a, b);
            }
        }
    }
    for (to, sums) in to.iter_mut().zip(&sums) {
        for (to, sums) in to.iter_mut().zip(sums) {
            let before = *to;
            sums.store(to);
            if add {
                to.iter_mut().zip(before).for_each(|(sum, before)| *sum += before);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn all_vectors_give_the_bits_of_a_sum_written_out() {
        const ROWS: usize = 12;
        const DEPTH: usize = 37;
        const PANELS: usize = 8;
        let value = |i: usize| ((i * 7919 % 1013) as f32 - 500.0) / 300.0;
        let a = Array2::from_shape_fn((ROWS, DEPTH), |(r, k)| value(r * DEPTH + k));
        let columns = Array2::from_shape_fn((DEPTH, ROWS), |(k, r)| a[[r, k]]);
        let right: Vec<f32> = (0..PANELS * DEPTH * WIDTH).map(|i| value(3 * i + 1)).collect();
        let written_out = |fused: bool, r: usize, panel: usize, j: usize| {
            (0..DEPTH).fold(0.0f32, |sum, k| {
                let (a, b) = (a[[r, k]], right[(panel * DEPTH + k) * WIDTH + j]);
                if fused { a.mul_add(b, sum) } else { a * b + sum }
            })
        };
        for vectors in Vectors::all() {
            let sizes = [1, 3, 100]
                .map(|rows| vectors.shape(rows))
                .into_iter()
                .flat_map(|(tallest, at_once)| (1..=tallest).flat_map(move |tall| [(tall, at_once), (tall, 1)]));
            for ((tall, at_once), a) in sizes.flat_map(|size| [(size, a.view()), (size, columns.t())]) {
                let a = Strided::new(a).block(0, tall, 0, DEPTH);
                let of = Operands { a, panels: &right, panel_step: DEPTH * WIDTH, row_step: WIDTH };
                let sums: &mut Sums = &mut [[f32::NAN; WIDTH]; _];
                // What is overwritten, and then added to once more, is doubled without rounding.
                for times in [1.0, 2.0] {
                    vectors.kernel(tall, at_once)(of, times > 1.0, sums);
                    for (i, found) in sums[..tall * at_once].as_flattened().iter().enumerate() {
                        let (r, panel, j) = (i / WIDTH / at_once, i / WIDTH % at_once, i % WIDTH);
                        let expected = times * written_out(vectors != Vectors::Plain, r, panel, j);
                        let what = format!("{vectors:?}, {tall} × {at_once}, {times} times: {r}, {panel}, {j}");
                        assert_eq!(found.to_bits(), expected.to_bits(), "{what}");
                    }
                }
            }
        }
    }
}
