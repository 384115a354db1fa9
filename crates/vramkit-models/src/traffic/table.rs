//! Logs as a table of text: a line of names, and a row a line. Commas, semicolons, tabs or bars are between the columns.

use std::io::BufRead;

use csv::ByteRecord;

use crate::error::ReadError;
use crate::input::{Input, cannot_read};

use super::choice::{Choice, Field, Found};
use super::columns::Columns;
use super::names::Meaning;
use super::number::{Commas, Scalar};
use super::rows::Rows;

/// A line of names that is longer is none.
const LONGEST_HEADER: usize = 1 << 20;

/// Reads all rows; gives the separator that was found.
pub(super) fn read(rows: &mut Rows, input: &mut Input, columns: &Columns) -> Result<char, ReadError> {
    let separator = separator(input.peek(LONGEST_HEADER)?);
    let commas = if separator == b',' { Commas::Thousands } else { Commas::Either };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .delimiter(separator)
        .from_reader(input as &mut dyn BufRead);
    let names: Vec<String> = match reader.byte_headers() {
        Ok(names) => names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect(),
        Err(error) => return Err(wrong(rows, error)),
    };
    let fields: Vec<Field> = names.iter().map(|name| Field::new(name, columns)).collect();
    let places: Vec<&Field> = fields.iter().collect();
    let choice = Choice::of(&places, columns);
    // Langfuse's CSV has its usage as JSON in one cell.
    let nested = Nested::of(&fields, columns).filter(|_| !choice.is_whole());
    if !choice.is_whole() && nested.is_none() {
        if names.len() == 1 && choice.prompt.is_none() && choice.output.is_none() {
            let reason =
                "of no known kind: neither JSON nor Parquet, and its first line names no columns of lengths";
            return Err(ReadError::within(rows.file(), reason));
        }
        return Err(rows.no_columns(1, choice.prompt.is_some(), choice.output.is_some(), &names));
    }
    if choice.is_mixed() {
        let reason = "mixed units: prompts and outputs must both be counted in tokens, or both in characters";
        return Err(rows.at(1, reason));
    }
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| wrong(rows, error))? {
        let line = record.position().map_or(0, csv::Position::line);
        let text = |at: usize| String::from_utf8_lossy(record.get(at).unwrap_or_default());
        if let Some(nested) = &nested {
            nested.row(rows, line, &text(nested.at), columns)?;
            continue;
        }
        let judged = choice.judge(|at| Scalar::Text(text(at).into_owned()), commas);
        if let Found::NoNumber(cell) = &judged.found {
            let ambiguous =
                cell.ends_with(",000").then_some(": its comma may be of decimals or of thousands");
            return Err(
                rows.at(line, format!("`{cell}` is no whole number{}", ambiguous.unwrap_or_default()))
            );
        }
        let names = || vec![format!("the cells of line {line}, which are empty")];
        rows.add(line, judged, &choice, |at| names_at(&fields, at), names)?;
    }
    Ok(separator.into())
}

fn names_at(fields: &[Field], at: usize) -> String {
    fields.get(at).map_or_else(String::new, |field| field.path.clone())
}

fn wrong(rows: &Rows, error: csv::Error) -> ReadError {
    let line = error.position().map_or(1, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => cannot_read(rows.file(), error),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            rows.at(line, format!("{len} columns, where the first line has {expected_len}"))
        }
        other => rows.at(line, format!("no CSV: {other:?}")),
    }
}

/// The one of the separators that is most often in the first line, outside of quotes.
fn separator(begins: &[u8]) -> u8 {
    let mut counts = [(0, b','), (0, b';'), (0, b'\t'), (0, b'|')];
    let mut is_quoted = false;
    for &byte in begins.trim_ascii_start() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' | b'\r' if !is_quoted => break,
            _ if is_quoted => {}
            _ => counts
                .iter_mut()
                .filter(|(_, separator)| *separator == byte)
                .for_each(|(count, _)| *count += 1),
        }
    }
    // Of equally many the first.
    counts.iter().rev().max_by_key(|(count, _)| *count).map_or(b',', |&(_, separator)| separator)
}

/// A column of JSON objects that have the lengths.
struct Nested {
    at: usize,
    name: String,
}

impl Nested {
    fn of(fields: &[Field], columns: &Columns) -> Option<Self> {
        if *columns != Columns::default() {
            return None;
        }
        let wrappers = ["usagedetails", "usage", "tokenusage", "attributes", "spanattributes", "response"];
        let place = |wrapper: &&str| {
            fields.iter().position(|field| field.normal == **wrapper && field.meaning == Meaning::Nothing)
        };
        let at = wrappers.iter().find_map(place)?;
        Some(Self { at, name: fields[at].path.clone() })
    }

    fn row(&self, rows: &mut Rows, line: u64, cell: &str, columns: &Columns) -> Result<(), ReadError> {
        let object =
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(cell).unwrap_or_default();
        let scalar = |value: &serde_json::Value| match value {
            serde_json::Value::Number(number) => number.as_f64().map_or(Scalar::Null, Scalar::Number),
            serde_json::Value::String(text) => Scalar::Text(text.clone()),
            _ => Scalar::Null,
        };
        let fields: Vec<(Field, Scalar)> = object
            .iter()
            .map(|(key, value)| (Field::new(&format!("{}.{key}", self.name), columns), scalar(value)))
            .collect();
        let places: Vec<&Field> = fields.iter().map(|(field, _)| field).collect();
        let choice = Choice::of(&places, columns);
        let cell_at = |at: usize| fields.get(at).map_or(Scalar::Null, |(_, value)| value.clone());
        let judged = choice.judge(cell_at, Commas::Thousands);
        let name = |at: usize| places.get(at).map_or_else(String::new, |field| field.path.clone());
        let names = || match places.as_slice() {
            [] => vec![self.name.clone()],
            places => places.iter().map(|field| field.path.clone()).collect(),
        };
        rows.add(line, judged, &choice, name, names)
    }
}
