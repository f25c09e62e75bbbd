//! Buffers that keep their memory from one call to the next.

use ndarray::Array2;

/// Gives `buffer` this shape; its values are unspecified. Allocates only when it never was this large before.
pub(crate) fn resize(buffer: &mut Array2<f32>, rows: usize, columns: usize) {
    if buffer.dim() == (rows, columns) {
        return;
    }
    let (mut values, _) = std::mem::take(buffer).into_raw_vec_and_offset();
    values.resize(rows * columns, 0.0);
    *buffer = Array2::from_shape_vec((rows, columns), values).expect("as many values as the shape asks for");
}

/// Gives `list` at least `len` entries.
pub(crate) fn grow<T: Default>(list: &mut Vec<T>, len: usize) {
    if list.len() < len {
        list.resize_with(len, T::default);
    }
}
