//! Writes small files, with the columns a test gives.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, DataType};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

/// A file of one row group a call of `group`, which writes the columns in their order.
pub(crate) fn write(
    path: &Path,
    declaration: &str,
    properties: WriterPropertiesBuilder,
    groups: &[&dyn Fn(&mut Group)],
) {
    let schema = Arc::new(parse_message_type(&format!("message log {{ {declaration} }}")).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties.build().into()).unwrap();
    for group in groups {
        let mut columns = Group(writer.next_row_group().unwrap());
        group(&mut columns);
        columns.0.close().unwrap();
    }
    writer.close().unwrap();
}

pub(crate) struct Group<'a>(SerializedRowGroupWriter<'a, File>);

impl Group<'_> {
    /// Writes a column without nulls.
    pub(crate) fn all<T: DataType>(&mut self, values: impl IntoIterator<Item = T::T>) {
        let values: Vec<T::T> = values.into_iter().collect();
        self.write::<T>(&values, None);
    }

    /// Writes a column that may hold nulls.
    pub(crate) fn some<T: DataType>(&mut self, cells: impl IntoIterator<Item = Option<T::T>>) {
        let cells: Vec<Option<T::T>> = cells.into_iter().collect();
        let levels: Vec<i16> = cells.iter().map(|cell| cell.is_some().into()).collect();
        let values: Vec<T::T> = cells.into_iter().flatten().collect();
        self.write::<T>(&values, Some(&levels));
    }

    fn write<T: DataType>(&mut self, values: &[T::T], levels: Option<&[i16]>) {
        let mut column = self.0.next_column().unwrap().unwrap();
        column.typed::<T>().write_batch(values, levels, None).unwrap();
        column.close().unwrap();
    }
}

pub(crate) fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
}

pub(crate) fn bytes(text: impl AsRef<str>) -> ByteArray {
    text.as_ref().as_bytes().to_vec().into()
}
