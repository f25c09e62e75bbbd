//! Reads Parquet files into a [`Table`](super::Table).

use std::any::Any;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::basic::{CompressionCodec, ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::printer::print_schema;
use parquet::schema::types::{SchemaDescriptor, Type};

use super::columns::{TableBuilder, TypedBuilder, Value};
use super::names::position;
use crate::error::{Error, ErrorKind, Result};

/// How many rows are decoded at a time: enough to make a call cheap, few enough for the cache.
const CHUNK: usize = 4096;

/// The first and the last bytes of every file.
const MARK: &[u8; 4] = b"PAR1";

/// Adds the rows of the file at `path`.
pub(super) fn read(file: File, path: &Path, builder: &mut TableBuilder) -> Result<()> {
    fill(file, &mut TypedBuilder::new(builder)).map_err(|error| error.at_path(path))
}

fn fill(mut file: File, builder: &mut TypedBuilder<'_>) -> Result<()> {
    check_marks(&mut file)?;
    let file = decoded(|| SerializedFileReader::new(file))?;
    let metadata = file.metadata();
    let descriptor = metadata.file_metadata().schema_descr();
    builder.bounds().check_columns(descriptor.root_schema().get_fields().len())?;
    let columns = locate(descriptor, builder.sources())?;
    check_sizes(metadata, &columns, builder)?;
    for group in 0..file.num_row_groups() {
        let group = decoded(|| file.get_row_group(group))?;
        read_group(&*group, &columns, builder)?;
    }
    if builder.rows() == 0 {
        return Err(Error::new(ErrorKind::Data, "expected rows, found none"));
    }
    Ok(())
}

/// Checks, before anything is decoded, that the sizes in the file's metadata are within the limits. Other sizes are checked while the file is
/// read.
fn check_sizes(metadata: &ParquetMetaData, columns: &[Located], builder: &TypedBuilder<'_>) -> Result<()> {
    let (mut rows, mut bytes) = (0_u64, 0_u64);
    for group in metadata.row_groups() {
        rows = rows.saturating_add(u64::try_from(group.num_rows()).unwrap_or(0));
        for column in columns {
            let size = group.column(column.leaf).uncompressed_size();
            bytes = bytes.saturating_add(u64::try_from(size).unwrap_or(0));
        }
    }
    builder.check_rows(rows)?;
    builder.bounds().check_bytes(bytes)
}

fn read_group(group: &dyn RowGroupReader, columns: &[Located], builder: &mut TypedBuilder<'_>) -> Result<()> {
    let rows = group.metadata().num_rows();
    let mut decoders = Vec::new();
    for (column, name) in columns.iter().zip(builder.sources()) {
        decoders.push(column.open(group, rows).map_err(|error| error.in_column(name))?);
    }
    let mut left = usize::try_from(rows).map_err(|_| corrupt(format!("a group of {rows} rows")))?;
    while left > 0 {
        let rows = left.min(CHUNK);
        for (decoder, name) in decoders.iter_mut().zip(builder.sources()) {
            let line = (builder.rows() + 1) as u64;
            decoder.next(rows).map_err(|error| error.at_line(line).in_column(name))?;
        }
        builder.push(rows, |source, each| decoders[source].cells(each))?;
        left -= rows;
    }
    Ok(())
}

/// A column of the file that the schema names.
struct Located {
    leaf: usize,
    /// Whether integers are unsigned.
    unsigned: bool,
}

/// Finds every column in `wanted`.
fn locate(schema: &SchemaDescriptor, wanted: &[String]) -> Result<Vec<Located>> {
    let fields = schema.root_schema().get_fields();
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    let locate = |column: &String| {
        let field = &fields[position(column, &names, "file")?];
        check_type(field).map_err(|error| error.in_column(column))?;
        let leaf = schema.columns().iter().position(|leaf| leaf.path().parts() == [column.as_str()]);
        Ok(Located { leaf: leaf.expect("a field without fields is a leaf"), unsigned: is_unsigned(field) })
    };
    wanted.iter().map(locate).collect()
}

fn check_type(field: &Type) -> Result<()> {
    let info = field.get_basic_info();
    if field.is_group() || info.repetition() == Repetition::REPEATED {
        return Err(Error::new(ErrorKind::Data, "expected one value a row, found a list or another nested column")
            .with_help("write the values of a bag as one text with separators"));
    }
    let physical = !matches!(field.get_physical_type(), Physical::INT96 | Physical::FIXED_LEN_BYTE_ARRAY);
    let logical = matches!(
        info.logical_type_ref(),
        None | Some(
            LogicalType::String
                | LogicalType::Enum
                | LogicalType::Json
                | LogicalType::Integer(_)
                // A column in which all cells are null.
                | LogicalType::Unknown
        )
    );
    // Older writers set only this type.
    let converted = !matches!(
        info.converted_type(),
        ConvertedType::DECIMAL
            | ConvertedType::DATE
            | ConvertedType::TIME_MILLIS
            | ConvertedType::TIME_MICROS
            | ConvertedType::TIMESTAMP_MILLIS
            | ConvertedType::TIMESTAMP_MICROS
            | ConvertedType::INTERVAL
            | ConvertedType::BSON
    );
    if physical && logical && converted {
        return Ok(());
    }
    let mut declaration = Vec::new();
    print_schema(&mut declaration, field);
    let declaration = String::from_utf8_lossy(&declaration);
    let text =
        format!("expected text, integers, floats or booleans, found `{}`", declaration.trim().trim_end_matches(';'));
    Err(Error::new(ErrorKind::Data, text).with_help("cast the column to one of these"))
}

fn is_unsigned(field: &Type) -> bool {
    let info = field.get_basic_info();
    matches!(info.logical_type_ref(), Some(LogicalType::Integer(integer)) if !integer.is_signed)
        || matches!(
            info.converted_type(),
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64
        )
}

impl Located {
    /// The decoder of the column in a group of `rows` rows.
    fn open(&self, group: &dyn RowGroupReader, rows: i64) -> Result<Box<dyn Decode>> {
        use CompressionCodec::{GZIP, SNAPPY, UNCOMPRESSED, ZSTD};
        let metadata = group.metadata().column(self.leaf);
        let codec = metadata.compression_codec();
        if !matches!(codec, UNCOMPRESSED | SNAPPY | GZIP | ZSTD) {
            let text = format!("expected a column compressed by SNAPPY, GZIP, ZSTD or not at all, found {codec:?}");
            return Err(Error::new(ErrorKind::Data, text).with_help("write the file with one of these"));
        }
        if metadata.num_values() != rows {
            return Err(corrupt(format!("{} cells in a group of {rows} rows", metadata.num_values())));
        }
        let reader = decoded(|| group.get_column_reader(self.leaf))?;
        Ok(match reader {
            ColumnReader::BoolColumnReader(reader) => Decoder::boxed(reader, |&value| Value::Boolean(value)),
            ColumnReader::Int32ColumnReader(reader) if self.unsigned => {
                Decoder::boxed(reader, |&value| Value::Integer((value as u32).into()))
            }
            ColumnReader::Int32ColumnReader(reader) => Decoder::boxed(reader, |&value| Value::Integer(value.into())),
            ColumnReader::Int64ColumnReader(reader) if self.unsigned => {
                Decoder::boxed(reader, |&value| Value::Unsigned(value as u64))
            }
            ColumnReader::Int64ColumnReader(reader) => Decoder::boxed(reader, |&value| Value::Integer(value)),
            ColumnReader::FloatColumnReader(reader) => Decoder::boxed(reader, |&value| Value::Single(value)),
            ColumnReader::DoubleColumnReader(reader) => Decoder::boxed(reader, |&value| Value::Float(value)),
            ColumnReader::ByteArrayColumnReader(reader) => Decoder::boxed(reader, |value| Value::Text(value.data())),
            ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                unreachable!("refused when the column was located")
            }
        })
    }
}

/// Reads a column in chunks of rows.
trait Decode {
    /// Decodes the next `rows` rows.
    fn next(&mut self, rows: usize) -> Result<()>;

    /// Calls `each` with the cells of these rows, until it returns an error.
    fn cells<'a>(&'a self, each: &mut dyn FnMut(Value<'a>) -> Result<()>) -> Result<()>;
}

struct Decoder<T: DataType, F> {
    reader: ColumnReaderImpl<T>,
    /// For each row 1 if it has a value, 0 if it is null; empty if the column is declared without nulls.
    levels: Vec<i16>,
    /// The values that are not null.
    values: Vec<T::T>,
    as_cell: F,
}

impl<T: DataType, F: Fn(&T::T) -> Value<'_> + 'static> Decoder<T, F> {
    fn boxed(reader: ColumnReaderImpl<T>, as_cell: F) -> Box<dyn Decode> {
        Box::new(Self { reader, levels: Vec::new(), values: Vec::new(), as_cell })
    }
}

impl<T: DataType, F: Fn(&T::T) -> Value<'_>> Decode for Decoder<T, F> {
    fn next(&mut self, rows: usize) -> Result<()> {
        let Self { reader, levels, values, .. } = self;
        levels.clear();
        values.clear();
        let (read, ..) = decoded(|| reader.read_records(rows, Some(levels), None, values))?;
        if read == rows { Ok(()) } else { Err(corrupt(format!("the column ends after {read} of {rows} rows"))) }
    }

    fn cells<'a>(&'a self, each: &mut dyn FnMut(Value<'a>) -> Result<()>) -> Result<()> {
        let mut values = self.values.iter();
        if self.levels.is_empty() {
            return values.try_for_each(|value| each((self.as_cell)(value)));
        }
        for &level in &self.levels {
            let value = if level == 1 { values.next() } else { None };
            match value {
                Some(value) => each((self.as_cell)(value))?,
                None => each(Value::Missing)?,
            }
        }
        Ok(())
    }
}

/// Checks the first and last bytes, to report another format or a truncated file as such and not as a damaged file.
fn check_marks(file: &mut File) -> Result<()> {
    let unreadable = |error: io::Error| failure(error.into());
    let mut mark = Vec::new();
    file.take(MARK.len() as u64).read_to_end(&mut mark).map_err(unreadable)?;
    if mark != MARK {
        return Err(Error::new(ErrorKind::Data, "expected a Parquet file, which begins with \"PAR1\"")
            .with_value(String::from_utf8_lossy(&mark))
            .with_help("delimited text is read from files named *.csv, *.tsv, *.csv.gz or *.tsv.gz"));
    }
    let end = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    file.seek(SeekFrom::Start(end.saturating_sub(MARK.len() as u64))).map_err(unreadable)?;
    mark.clear();
    file.take(MARK.len() as u64).read_to_end(&mut mark).map_err(unreadable)?;
    match &mark[..] {
        b"PARE" => Err(Error::new(ErrorKind::Data, "the file is encrypted").with_help("write it without encryption")),
        mark if mark == MARK => Ok(()),
        _ => Err(Error::new(ErrorKind::Data, "the file is truncated: it does not end with \"PAR1\"")
            .with_help("copy or write the file again")),
    }
}

/// Runs a step of the decoder. The decoder uses assertions and can panic on a damaged file; such a panic becomes an error. The panic hook still
/// runs.
fn decoded<T>(step: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    // The values that `step` was changing are dropped with the error.
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(outcome) => outcome.map_err(failure),
        Err(panic) => Err(corrupt(message(&*panic))),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let formatted = panic.downcast_ref::<String>().map(String::as_str);
    formatted.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it cannot be decoded")
}

fn failure(error: ParquetError) -> Error {
    match error {
        ParquetError::General(text) | ParquetError::EOF(text) | ParquetError::NYI(text) => corrupt(text),
        ParquetError::External(error) => match error.downcast_ref::<io::Error>() {
            // Errors of decompressors are of this type too, but have no code of the operating system.
            Some(error) if error.raw_os_error().is_some() => {
                Error::new(ErrorKind::Io, format!("cannot read the rest of the file: {error}"))
            }
            _ => corrupt(error.to_string()),
        },
        other => corrupt(other.to_string()),
    }
}

fn corrupt(how: impl AsRef<str>) -> Error {
    Error::new(ErrorKind::Data, format!("the file is corrupt: {}", how.as_ref()))
        .with_help("copy or write the file again")
}
