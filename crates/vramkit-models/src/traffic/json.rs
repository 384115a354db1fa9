//! Logs in JSON: an object a line, objects one after another, an array of them, or one object with arrays in it.
//!
//! ```text
//! Input ─► value by value ─► Record ─► Settled ─► Rows
//!              └ the array that is the whole file: element by element
//! ```
//!
//! Values are read as a stream: of an object no more is kept than what may be a length, and of the array that is the whole file
//! one element at a time.

use std::fmt;
use std::io::{self, BufRead, Read};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::ReadError;
use crate::input::{Input, cannot_read};

use super::choice::{Found, Why};
use super::columns::Columns;
use super::record::{Group, Paths, Record, Row, Settled};
use super::rows::Rows;
use super::walk::{Element, Seen, object};

/// A line that is longer is read as a stream.
const MOST_LINE: u64 = 16 << 20;

/// Reads all values of the input.
pub(super) fn read(rows: &mut Rows, input: &mut Input, columns: &Columns) -> Result<(), ReadError> {
    let mut values = Values { paths: Paths::new(columns), rows, wrong: None };
    let (mut line, mut objects) = (1, 0u64);
    loop {
        line += skip_blank(input).map_err(|error| cannot_read(values.rows.file(), error))?;
        let Some(&first) = input.peek(1)?.first() else { return Ok(()) };
        match first {
            b'{' => objects += 1,
            b'[' if objects == 0 => {}
            _ => return Err(values.rows.at(line, "no JSON object")),
        }
        line += values.value(input, line, first == b'{')?;
    }
}

/// How many lines the blanks before the next value were.
fn skip_blank(input: &mut Input) -> io::Result<u64> {
    let mut lines = 0;
    loop {
        let available = input.fill_buf()?;
        let blank = available.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        lines += newlines(&available[..blank]);
        if blank == 0 {
            return Ok(lines);
        }
        input.consume(blank);
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

struct Values<'a, 'r> {
    paths: Paths<'a>,
    rows: &'r mut Rows,
    /// What a row was wrong about, which serde cannot carry.
    wrong: Option<ReadError>,
}

impl Values<'_, '_> {
    /// One value that begins on this line; how many lines it was.
    fn value(&mut self, input: &mut Input, line: u64, is_object: bool) -> Result<u64, ReadError> {
        if is_object {
            let mut text = Vec::new();
            let read = input.by_ref().take(MOST_LINE).read_until(b'\n', &mut text);
            read.map_err(|error| cannot_read(self.rows.file(), error))?;
            // A line that is cut may be cut within a number.
            if (text.len() as u64) < MOST_LINE {
                let mut stream = serde_json::Deserializer::from_slice(&text);
                match (Whole { values: self, line }).deserialize(&mut stream) {
                    Ok(()) => {
                        let taken = stream.into_iter::<IgnoredAny>().byte_offset().min(text.len());
                        input.unread(&text[taken..]);
                        return Ok(newlines(&text[..taken]));
                    }
                    // The object goes on behind the line.
                    Err(error) if error.is_eof() && self.wrong.is_none() => {}
                    Err(error) => return Err(self.error(line, error)),
                }
            }
            input.unread(&text);
        }
        let mut counted = Lines { input, lines: 0 };
        let mut stream = serde_json::Deserializer::from_reader(&mut counted);
        match (Whole { values: self, line }).deserialize(&mut stream) {
            Ok(()) => Ok(counted.lines),
            Err(error) => Err(self.error(line, error)),
        }
    }

    fn error(&mut self, line: u64, error: serde_json::Error) -> ReadError {
        if let Some(wrong) = self.wrong.take() {
            return wrong;
        }
        if error.is_io() {
            return cannot_read(self.rows.file(), error.into());
        }
        let at = line + (error.line() as u64).saturating_sub(1);
        self.rows.at(at, format!("no JSON object: {error}"))
    }

    /// What an object of the file says; `line` is its line, or its place in the array that is the file.
    fn add(&mut self, line: u64, record: Record) -> Result<(), ReadError> {
        match record.settle(&mut self.paths, line) {
            Settled::Row(row) => self.add_row(row),
            Settled::Benchmark(requests) => self.add_benchmark(requests),
            Settled::Uneven(prompts, outputs) => {
                let reason =
                    format!("a benchmark's result with {prompts} prompt and {outputs} output lengths");
                Err(self.rows.at(line, reason))
            }
            Settled::Groups(groups) => self.add_groups(line, groups),
        }
    }

    fn add_row(&mut self, row: Row) -> Result<(), ReadError> {
        let Row { entry, judged, choice, ids, seen } = row;
        if choice.is_mixed() {
            let reason =
                "mixed units: prompts and outputs must both be counted in tokens, or both in characters";
            return Err(self.rows.at(entry, reason));
        }
        let paths = &self.paths;
        let name = |at: usize| ids.get(at).map_or_else(String::new, |&id| paths.name(id));
        let found = || seen.iter().map(|&id| paths.name(id)).collect();
        self.rows.add(entry, judged, &choice, name, found)
    }

    fn add_benchmark(&mut self, requests: Vec<(f64, f64, bool)>) -> Result<(), ReadError> {
        let mut served = 0;
        for (entry, (prompt, output, failed)) in (1..).zip(requests) {
            // The formats write an output of none where a request failed.
            let found = match failed || output == 0.0 {
                true => Found::LeftOut(Why::Failed),
                false if prompt.fract() != 0.0 || output.fract() != 0.0 => {
                    let wrong = if prompt.fract() == 0.0 { output } else { prompt };
                    Found::NoNumber(wrong.to_string().into())
                }
                false => {
                    served += 1;
                    Found::Lengths { prompt, output }
                }
            };
            self.rows.add_found(entry, found, Vec::new)?;
        }
        self.rows.count_columns("`input_lens`", "`output_lens` of a benchmark's result", served);
        Ok(())
    }

    fn add_groups(&mut self, line: u64, groups: Vec<Group>) -> Result<(), ReadError> {
        let (log, unserved): (Vec<Group>, Vec<Group>) =
            groups.into_iter().partition(|group| !group.is_unserved());
        if log.len() > 1 {
            let names = log.iter().map(|group| format!("`{}` ({} objects)", group.path, group.rows.len()));
            let names = names.collect::<Vec<_>>().join(", ");
            let reason = format!("lengths in more than one array: {names}; keep the one that is the log");
            return Err(self.rows.at(line, reason));
        }
        for group in unserved {
            for row in group.rows {
                self.rows.add_found(row.entry, Found::LeftOut(Why::Unfinished), Vec::new)?;
            }
        }
        log.into_iter().flat_map(|group| group.rows).try_for_each(|row| self.add_row(row))
    }
}

/// Counts the lines that are read.
struct Lines<'a> {
    input: &'a mut Input,
    lines: u64,
}

impl Read for Lines<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let taken = self.input.read(into)?;
        self.lines += newlines(&into[..taken]);
        Ok(taken)
    }
}

/// A value of the file.
struct Whole<'v, 'a, 'r> {
    values: &'v mut Values<'a, 'r>,
    line: u64,
}

impl<'de> DeserializeSeed<'de> for Whole<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Whole<'_, '_, '_> {
    fn add<E: de::Error>(&mut self, line: u64, record: Record) -> Result<(), E> {
        self.values.add(line, record).map_err(|wrong| {
            self.values.wrong = Some(wrong);
            E::custom("a row is wrong")
        })
    }
}

impl<'de> Visitor<'de> for Whole<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object, or an array of objects")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        let record = object(&mut self.values.paths, map)?;
        self.add(self.line, record)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut entry = 0;
        while let Some(element) = seq.next_element_seed(Element { paths: &mut self.values.paths })? {
            entry += 1;
            match element {
                Seen::Object(record) => self.add(entry, *record)?,
                _ => {
                    self.values.wrong = Some(self.values.rows.at(entry, "an entry that is no JSON object"));
                    return Err(de::Error::custom("a row is wrong"));
                }
            }
        }
        Ok(())
    }
}
