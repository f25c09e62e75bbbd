//! The product of two small matrices, for the weights that each row has for itself.

use crate::simd::fma;

/// The number of lines that are computed at a time.
const LINES: usize = 4;

/// A matrix in a slice: the value in line `i` and column `j` stands at `i·line + j·column`.
#[derive(Clone, Copy)]
pub(super) struct Small<'a> {
    pub(super) values: &'a [f32],
    pub(super) line: usize,
    pub(super) column: usize,
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    Zero,
    /// Each line of the product is added to this one.
    Line(&'a [f32]),
    /// The product is added to what is there.
    Out,
}

/// `out = start + a·b`: `a` is `[lines, depth]`, `b` is `[depth, width]` and `out` is `[lines, width]`, both row after row. `FUSED` must be
/// [`has_fma`](crate::simd::has_fma). A line of the result depends on the same line of `a` alone, bit for bit.
#[inline(always)]
pub(super) fn product<const FUSED: bool>(
    a: Small<'_>,
    depth: usize,
    b: &[f32],
    start: Start<'_>,
    out: &mut [f32],
    width: usize,
) {
    let mut column = 0;
    while column + 16 <= width {
        columns::<FUSED, 16>(a, depth, b, start, out, width, column);
        column += 16;
    }
    while column + 4 <= width {
        columns::<FUSED, 4>(a, depth, b, start, out, width, column);
        column += 4;
    }
    while column < width {
        columns::<FUSED, 1>(a, depth, b, start, out, width, column);
        column += 1;
    }
}

/// [`product`] for `N` columns from `column` on.
#[inline(always)]
fn columns<const FUSED: bool, const N: usize>(
    a: Small<'_>,
    depth: usize,
    b: &[f32],
    start: Start<'_>,
    out: &mut [f32],
    width: usize,
    column: usize,
) {
    let lines = out.len() / width;
    let mut line = 0;
    while line + LINES <= lines {
        tile::<FUSED, N, LINES>(a, depth, b, start, out, width, line, column);
        line += LINES;
    }
    while line < lines {
        tile::<FUSED, N, 1>(a, depth, b, start, out, width, line, column);
        line += 1;
    }
}

/// [`product`] for `N` columns and `M` lines, which stay in registers.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "those of the product")]
fn tile<const FUSED: bool, const N: usize, const M: usize>(
    a: Small<'_>,
    depth: usize,
    b: &[f32],
    start: Start<'_>,
    out: &mut [f32],
    width: usize,
    line: usize,
    column: usize,
) {
    let mut sums = [[0.0_f32; N]; M];
    for (i, sums) in sums.iter_mut().enumerate() {
        match start {
            Start::Zero => {}
            Start::Line(start) => sums.copy_from_slice(&start[column..column + N]),
            Start::Out => sums.copy_from_slice(&out[(line + i) * width + column..][..N]),
        }
    }
    let a = Small { values: &a.values[line * a.line..], ..a };
    for (l, b) in b.chunks_exact(width).take(depth).enumerate() {
        let b: &[f32; N] = b[column..column + N].try_into().expect("a slice of this length");
        for (i, sums) in sums.iter_mut().enumerate() {
            let x = a.values[i * a.line + l * a.column];
            for (sum, &b) in sums.iter_mut().zip(b) {
                *sum = fma::<FUSED>(x, b, *sum);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        out[(line + i) * width + column..][..N].copy_from_slice(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_product_for_all_shapes() {
        let at = |i: usize| ((i * 37 + 11) % 17) as f32 - 8.0;
        for (lines, depth, width) in [(1, 1, 1), (3, 5, 7), (4, 2, 16), (9, 3, 23), (6, 20, 36), (0, 3, 4)] {
            let a: Vec<f32> = (0..lines * depth).map(at).collect();
            let b: Vec<f32> = (0..depth * width).map(|i| at(i + 5)).collect();
            let line: Vec<f32> = (0..width).map(|i| at(i + 3)).collect();
            for turned in [false, true] {
                let (line_step, column_step) = if turned { (1, lines) } else { (depth, 1) };
                let matrix = Small { values: &a, line: line_step, column: column_step };
                for (start, name) in [(Start::Zero, "zero"), (Start::Line(&line), "line"), (Start::Out, "out")] {
                    let mut out = vec![2.0; lines * width];
                    product::<false>(matrix, depth, &b, start, &mut out, width);
                    for i in 0..lines {
                        for j in 0..width {
                            let first = match start {
                                Start::Zero => 0.0,
                                Start::Line(line) => line[j],
                                Start::Out => 2.0,
                            };
                            let terms = (0..depth).map(|l| a[i * line_step + l * column_step] * b[l * width + j]);
                            assert_eq!(out[i * width + j], first + terms.sum::<f32>(), "{name} {i} {j}");
                        }
                    }
                }
            }
        }
    }
}
