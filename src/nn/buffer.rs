//! Buffers that keep their memory from one call to the next.

use ndarray::{Array2, ArrayRef2};

/// Gives `buffer` this shape; its values are unspecified. Allocates only if it has never been this large.
pub(crate) fn resize(buffer: &mut Array2<f32>, rows: usize, columns: usize) {
    if buffer.dim() == (rows, columns) {
        return;
    }
    let (mut values, _) = std::mem::take(buffer).into_raw_vec_and_offset();
    values.resize(rows * columns, 0.0);
    *buffer = Array2::from_shape_vec((rows, columns), values).expect("the number of values is that of the shape");
}

/// Sets all values to 0; if they are contiguous, by `memset`.
pub(crate) fn clear(values: &mut ArrayRef2<f32>) {
    match values.as_slice_mut() {
        Some(values) => values.fill(0.0),
        None => values.fill(0.0),
    }
}

/// Gives `list` at least `len` entries.
pub(crate) fn grow<T: Default>(list: &mut Vec<T>, len: usize) {
    if list.len() < len {
        list.resize_with(len, T::default);
    }
}
