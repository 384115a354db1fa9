//! Logs in Parquet: only the columns that hold lengths are read.
//!
//! The parser is another's. It gives errors for what is wrong, and means to for everything; where it panics on a hostile file
//! all the same, that is caught here, in one place: it owns all that it was changing, and that is dropped unseen.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::basic::{Compression, ConvertedType, LogicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use crate::error::ReadError;

use super::choice::{Choice, Field};
use super::columns::Columns;
use super::number::{Commas, Scalar};
use super::rows::Rows;

/// Rows that are read at a time.
const BATCH: usize = 1 << 14;
/// A few bytes can stand for any number of equal rows.
const MOST_ROWS: u64 = 1 << 28;

/// What a log in Parquet is read from.
pub(super) enum Source {
    File(File),
    Bytes(Bytes),
}

/// Why a file gave no rows.
enum Wrong {
    Parquet(ParquetError),
    Read(ReadError),
}

impl From<ParquetError> for Wrong {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error)
    }
}

impl From<ReadError> for Wrong {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// Reads all rows.
pub(super) fn read(rows: &mut Rows, source: Source, columns: &Columns) -> Result<(), ReadError> {
    let file = rows.file().to_owned();
    let all = AssertUnwindSafe(|| match source {
        Source::File(source) => groups(rows, source, columns),
        Source::Bytes(source) => groups(rows, source, columns),
    });
    // The rows so far are dropped with the error by whoever called.
    match catch_unwind(all) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Wrong::Read(error))) => Err(error),
        Ok(Err(Wrong::Parquet(error))) => {
            Err(ReadError::within(&file, format!("no Parquet that can be read: {error}")))
        }
        Err(_) => {
            Err(ReadError::within(&file, "no Parquet that can be read: what is in it contradicts itself"))
        }
    }
}

fn groups(rows: &mut Rows, source: impl ChunkReader + 'static, columns: &Columns) -> Result<(), Wrong> {
    let reader = SerializedFileReader::new(source)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    // What repeats within a row is no length of a request.
    let is_one = |column: &ColumnDescriptor| column.max_rep_level() == 0;
    let names: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
    let fields: Vec<Field> = names.iter().map(|name| Field::new(name, columns)).collect();
    let places: Vec<usize> = (0..names.len()).filter(|&at| is_one(&schema.column(at))).collect();
    let candidates: Vec<&Field> = places.iter().map(|&at| &fields[at]).collect();
    let choice = Choice::of(&candidates, columns);
    if !choice.is_whole() {
        return Err(rows.no_columns(1, choice.prompt.is_some(), choice.output.is_some(), &names).into());
    }
    if choice.is_mixed() {
        let reason = "mixed units: prompts and outputs must both be counted in tokens, or both in characters";
        return Err(rows.at(1, reason).into());
    }
    // Of all columns only those that are looked at: a log may have the prompts themselves.
    let wanted: Vec<usize> = choice.places();
    let mut line = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        let mut cells = Vec::with_capacity(wanted.len());
        for &at in &wanted {
            cells.push(Cells::new(rows, &*group, places[at])?);
        }
        loop {
            let mut counts =
                cells.iter_mut().map(Cells::fill).collect::<Result<Vec<usize>, ParquetError>>()?;
            counts.dedup();
            let count = match counts.as_slice() {
                [0] => break,
                [count] => *count,
                _ => return Err(rows.at(line + 1, "columns of different lengths").into()),
            };
            for row in 0..count {
                line += 1;
                if line > MOST_ROWS {
                    return Err(rows.at(line, format!("more than {MOST_ROWS} rows")).into());
                }
                let cell = |at: usize| {
                    let place = wanted.iter().position(|&wanted| wanted == at);
                    place.map_or(Scalar::Null, |place| cells[place].batch[row].clone())
                };
                let judged = choice.judge(cell, Commas::Thousands);
                let names = || vec![format!("the cells of row {line}, which are empty")];
                rows.add(line, judged, &choice, |at| candidates[at].path.clone(), names)?;
            }
        }
    }
    Ok(())
}

/// One column of a group of rows.
struct Cells {
    reader: ColumnReader,
    /// The level of definition at which a value is there.
    there: i16,
    /// What a whole number must be divided by.
    scale: f64,
    levels: Vec<i16>,
    batch: Vec<Scalar>,
}

impl Cells {
    fn new(rows: &Rows, group: &dyn RowGroupReader, at: usize) -> Result<Self, Wrong> {
        let column = group.metadata().column(at);
        let codec = column.compression();
        if !matches!(codec, Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_)) {
            let reason = format!(
                "compressed with {codec:?}, which is not read here; write it with snappy, with gzip, or as CSV"
            );
            return Err(ReadError::within(rows.file(), reason).into());
        }
        let description = column.column_descr();
        let is_decimal = description.converted_type() == ConvertedType::DECIMAL
            || matches!(description.logical_type_ref(), Some(LogicalType::Decimal { .. }));
        let scale = if is_decimal { 10f64.powi(description.type_scale()) } else { 1.0 };
        Ok(Self {
            there: description.max_def_level(),
            scale,
            reader: group.get_column_reader(at)?,
            levels: Vec::new(),
            batch: Vec::new(),
        })
    }

    /// The next batch; how many rows it has.
    fn fill(&mut self) -> Result<usize, ParquetError> {
        let Self { reader, there, scale, levels, batch } = self;
        let (there, scale) = (*there, *scale);
        levels.clear();
        batch.clear();
        let number = move |value: f64| Scalar::Number(value / scale);
        match reader {
            ColumnReader::Int32ColumnReader(reader) => {
                next(reader, there, levels, batch, |v| number(f64::from(*v)))
            }
            ColumnReader::Int64ColumnReader(reader) => {
                next(reader, there, levels, batch, |v| number(*v as f64))
            }
            ColumnReader::FloatColumnReader(reader) => {
                next(reader, there, levels, batch, |v| number(f64::from(*v)))
            }
            ColumnReader::DoubleColumnReader(reader) => next(reader, there, levels, batch, |v| number(*v)),
            ColumnReader::ByteArrayColumnReader(reader) => next(reader, there, levels, batch, |v| {
                let text = v.data().get(..v.len().min(64)).unwrap_or_default();
                Scalar::Text(String::from_utf8_lossy(text).into_owned())
            }),
            ColumnReader::BoolColumnReader(reader) => next(reader, there, levels, batch, |_| Scalar::Null),
            ColumnReader::Int96ColumnReader(reader) => {
                next(reader, there, levels, batch, |v| Scalar::Number(v.to_millis() as f64))
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                next(reader, there, levels, batch, |_| Scalar::Null)
            }
        }
    }
}

fn next<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    there: i16,
    levels: &mut Vec<i16>,
    batch: &mut Vec<Scalar>,
    scalar: impl Fn(&T::T) -> Scalar,
) -> Result<usize, ParquetError> {
    let mut values = Vec::new();
    let is_optional = there > 0;
    let (rows, _, _) = reader.read_records(BATCH, is_optional.then_some(&mut *levels), None, &mut values)?;
    let mut values = values.iter();
    let mut value = || values.next().map_or(Scalar::Null, &scalar);
    if is_optional {
        batch.extend(levels.iter().map(|&level| if level == there { value() } else { Scalar::Null }));
    } else {
        batch.extend((0..rows).map(|_| value()));
    }
    Ok(batch.len())
}
