//! Against sums in f64, for all layouts and edges.

use ndarray::{Array2, ArrayView2, s};
use ndarray_rand::RandomExt as _;
use ndarray_rand::rand_distr::Uniform;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::*;

fn matrix(rows: usize, columns: usize) -> Array2<f32> {
    let seed = (rows * 1000 + columns) as u64;
    Array2::random_using((rows, columns), Uniform::new(-1.0, 1.0).unwrap(), &mut ChaCha8Rng::seed_from_u64(seed))
}

#[expect(clippy::needless_pass_by_value, reason = "a view is as good as a reference")]
fn in_f64(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Array2<f64> {
    a.mapv(f64::from).dot(&b.mapv(f64::from))
}

fn assert_near(found: &ArrayView2<'_, f32>, expected: &Array2<f64>, what: &str) {
    assert_eq!(found.dim(), expected.dim(), "{what}");
    for (at, &expected) in expected.indexed_iter() {
        let error = (f64::from(found[at]) - expected).abs();
        assert!(error < 2e-4, "{what}, {at:?}: {} is not {expected}", found[at]);
    }
}

const ROWS: &[usize] = &[1, 2, 3, 4, 5, 6, 7, 13, 200, 401];
const DEPTHS: &[usize] = &[1, 7, 256, 257, 600];
const COLUMNS: &[usize] = &[1, 8, 16, 17, 64, 150];

#[test]
fn products_are_sums_of_products_for_all_shapes() {
    for &m in ROWS {
        for &k in DEPTHS {
            for &n in COLUMNS {
                let what = format!("{m} × {k} × {n}");
                let (a, b) = (matrix(m, k), matrix(k, n));
                let expected = in_f64(a.view(), b.view());
                let mut y = Array2::from_elem((m, n), f32::NAN);
                matmul(&a, &b, &mut y);
                assert_near(&y.view(), &expected, &what);
                matmul_transposed(&a, &b.t().as_standard_layout().into_owned(), &mut y);
                assert_near(&y.view(), &expected, &what);
                matmul_grad(&a.t().as_standard_layout().into_owned(), &b, &mut y);
                assert_near(&y.view(), &(&expected * 2.0), &what);
            }
        }
    }
}

#[test]
fn strided_operands_and_columns_of_a_wider_result_do() {
    let (a, b) = (matrix(40, 70), matrix(90, 100));
    let (a, b) = (a.slice(s![2..;3, ..;2]), b.slice(s![5..40, 3..;4]));
    let expected = in_f64(a, b);
    let mut wide = Array2::from_elem((a.nrows(), 60), 7.0);
    let columns = s![.., 11..11 + b.ncols()];
    product(a, Operand::One(b), Output::set(&mut wide.slice_mut(columns)));
    assert_near(&wide.slice(columns), &expected, "strided");
    wide.slice_mut(columns).fill(7.0);
    assert!(wide.iter().all(|&value| value == 7.0), "only the columns of the result were written");
}

#[test]
fn element_wise_products_are_taken_while_packing() {
    let (a, w, v) = (matrix(30, 50), matrix(50, 40), matrix(50, 40).mapv(|v| v + 0.5));
    let expected = in_f64(a.view(), (&w * &v).view());
    let mut y = Array2::zeros((30, 40));
    product(a.view(), Operand::Product(w.view(), v.view()), Output::set(&mut y));
    assert_near(&y.view(), &expected, "product");
    let mut back = Array2::zeros((30, 50));
    product(expected.mapv(|v| v as f32).view(), Operand::Product(w.view(), v.view()).t(), Output::set(&mut back));
    assert_near(&back.view(), &expected.dot(&(&w * &v).mapv(f64::from).t()), "product, transposed");
}

#[test]
fn what_follows_a_product_is_done_once_at_its_end() {
    let (a, w) = (matrix(9, 300), matrix(300, 20));
    let b: Vec<f32> = (0..20).map(|j| j as f32 - 10.0).collect();
    let sums = in_f64(a.view(), w.view());
    let with_bias = Array2::from_shape_fn((9, 20), |(i, j)| sums[[i, j]] + f64::from(b[j]));
    let mut y = Array2::zeros((9, 20));
    product(a.view(), Operand::One(w.view()), Output::set(&mut y).post_op(PostOp::Bias(&b)));
    assert_near(&y.view(), &with_bias, "bias");
    product(a.view(), Operand::One(w.view()), Output::set(&mut y).post_op(PostOp::BiasRelu(&b)));
    assert_near(&y.view(), &with_bias.mapv(|z| z.max(0.0)), "bias and rectifier");
    let floor: Vec<f32> = (0..20).map(|j| if j % 3 == 0 { f32::NEG_INFINITY } else { 0.0 }).collect();
    let floored = Array2::from_shape_fn((9, 20), |at| with_bias[at].max(f64::from(floor[at.1])));
    product(a.view(), Operand::One(w.view()), Output::set(&mut y).post_op(PostOp::BiasFloor(&b, &floor)));
    assert_near(&y.view(), &floored, "bias, and a rectifier for some");
    let h = matrix(9, 20);
    let masked = Array2::from_shape_fn((9, 20), |at| if h[at] > 0.0 { sums[at] * 1.5 } else { 0.0 });
    product(
        a.view(),
        Operand::One(w.view()),
        Output::set(&mut y).post_op(PostOp::WherePositive(RowMajor::new(h.view()), 1.5)),
    );
    assert_near(&y.view(), &masked, "mask");
}

#[test]
fn a_masked_product_is_added_to_what_is_there() {
    // Packed in two parts.
    let (a, w, h) = (matrix(9, 1000), matrix(1000, 90), matrix(9, 90));
    let sums = in_f64(a.view(), w.view());
    let mut y = Array2::from_elem((9, 90), 2.0);
    product(
        a.view(),
        Operand::One(w.view()),
        Output::add(&mut y).post_op(PostOp::WherePositive(RowMajor::new(h.view()), 1.5)),
    );
    // The mask is for the product alone.
    let masked = Array2::from_shape_fn((9, 90), |at| 2.0 + if h[at] > 0.0 { sums[at] * 1.5 } else { 0.0 });
    assert_near(&y.view(), &masked, "mask");
}

#[test]
fn a_diverged_value_shows_behind_the_rectifier() {
    let mut y = Array2::zeros((1, 1));
    let (x, w) = (Array2::from_elem((1, 1), f32::NAN), Array2::ones((1, 1)));
    for post_op in [PostOp::BiasRelu(&[0.0]), PostOp::BiasFloor(&[0.0], &[0.0])] {
        product(x.view(), Operand::One(w.view()), Output::set(&mut y).post_op(post_op));
        assert!(y[[0, 0]].is_nan());
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_batch_and_on_any_threads() {
    let (a, w) = (matrix(500, 300), matrix(300, 48));
    let mut whole = Array2::zeros((500, 48));
    matmul(&a, &w, &mut whole);
    for rows in [0..1, 3..5, 7..10, 100..411] {
        let mut part = Array2::zeros((rows.len(), 48));
        matmul(&a.slice(s![rows.clone(), ..]), &w, &mut part);
        assert_eq!(part, whole.slice(s![rows, ..]));
    }
    for threads in 2..5 {
        let mut split = Array2::zeros((500, 48));
        crate::train::in_pool(threads, || matmul(&a, &w, &mut split)).unwrap();
        assert_eq!(split, whole);
    }
}

#[test]
fn nothing_times_nothing_is_nothing() {
    let mut y = Array2::from_elem((2, 3), 5.0);
    matmul(&Array2::zeros((2, 0)), &Array2::zeros((0, 3)), &mut y);
    assert_eq!(y, Array2::<f32>::zeros((2, 3)));
    matmul(&Array2::zeros((0, 4)), &Array2::zeros((4, 3)), &mut Array2::zeros((0, 3)));
    matmul(&Array2::zeros((2, 4)), &Array2::zeros((4, 0)), &mut Array2::zeros((2, 0)));
}
