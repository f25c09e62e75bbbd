//! The product of two values, column by column.

use ndarray::{Array2, ArrayRef2, Zip};

use super::InputGrad;
use super::buffer::resize;

/// The values that [`product`] keeps for [`product_backward`]. Make it by `Default::default()`, and pass the same cache to both.
#[derive(Debug, Default)]
pub struct ProductCache {
    /// `b`, `[rows, width]`.
    b: Array2<f32>,
    /// The gradient of the factor `b` of `y = a ⊙ b`, `[rows, width]`. Each call of [`product_backward`] overwrites it.
    pub db: Array2<f32>,
}

/// The elementwise product `y = a ⊙ b`. `a`, `b` and `y` are `[rows, width]`. A factorization machine sums such products over pairs of
/// fields, where `a` and `b` are the embeddings of two fields (Rendle, "Factorization Machines", ICDM 2010). `cache` keeps `b` for the
/// backward pass.
///
/// ```
/// use ndarray::{Array2, array};
/// use starple::nn::{InputGrad, ProductCache, product, product_backward};
///
/// let (a, b) = (array![[1.0, 2.0]], array![[3.0, -1.0]]);
/// let (mut cache, mut y, mut da) = (ProductCache::default(), Array2::zeros((1, 2)), Array2::zeros((1, 2)));
/// product(&a, &b, &mut cache, &mut y);
/// assert_eq!(y, array![[3.0, -2.0]]);
/// product_backward(&a, &array![[1.0, 10.0]], &mut cache, InputGrad::overwrite(&mut da));
/// assert_eq!((da, cache.db), (array![[3.0, -10.0]], array![[1.0, 20.0]]));
/// ```
///
/// # Panics
/// If `a`, `b` and `y` differ in shape.
pub fn product(a: &ArrayRef2<f32>, b: &ArrayRef2<f32>, cache: &mut ProductCache, y: &mut ArrayRef2<f32>) {
    resize(&mut cache.b, b.nrows(), b.ncols());
    cache.b.assign(b);
    Zip::from(y).and(a).and(b).for_each(|y, &a, &b| *y = a * b);
}

/// The backward pass of [`product`]. `a` and `cache` are those of the forward pass, and `dy` is the gradient of its output. The gradient of
/// `a`, `da = dy ⊙ b`, goes to `da`; [`InputGrad`] says whether it overwrites the matrix or is added to it. The gradient of `b`,
/// `db = dy ⊙ a`, goes to [`ProductCache::db`].
///
/// # Panics
/// If `a`, `dy`, `da` and the `b` of the forward pass differ in shape.
pub fn product_backward(a: &ArrayRef2<f32>, dy: &ArrayRef2<f32>, cache: &mut ProductCache, da: InputGrad<'_>) {
    let InputGrad { dx: da, add } = da;
    let ProductCache { b, db } = cache;
    resize(db, a.nrows(), a.ncols());
    Zip::from(db).and(a).and(dy).for_each(|db, &a, &dy| *db = dy * a);
    Zip::from(da).and(&*b).and(dy).for_each(|da, &b, &dy| *da = if add { *da + dy * b } else { dy * b });
}
