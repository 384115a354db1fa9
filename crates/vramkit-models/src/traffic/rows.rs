//! Gathers rows into traffic: what can be no request is refused or left out, and what was assumed becomes notes.

use std::collections::BTreeMap;

use crate::error::{LackingColumns, MOST_TOKENS, ReadError};

use super::choice::{CHARACTERS_A_TOKEN, Choice, Found, Judged, Why};
use super::names::{Length, LengthUnit, advice, missing};
use super::request::{BadRows, LoggedRequest, Traffic};

/// Most names that an error lists.
const MOST_NAMES: usize = 40;

/// Whether a file has counts or text; one file has one of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counts,
    Texts,
}

/// The rows of one file so far.
pub(super) struct Rows {
    file: String,
    bad_rows: BadRows,
    requests: Vec<LoggedRequest>,
    kind: Option<Kind>,
    estimated: bool,
    /// Rows that can be no request, with the first one's line.
    bad: (u64, u64),
    /// Rows without lengths, with what to say if there are no others.
    without: (u64, Option<ReadError>),
    /// Rows that say themselves that they are none.
    why: BTreeMap<Why, u64>,
    /// How often lengths came from these columns.
    used: BTreeMap<String, u64>,
    /// Columns that had another value, with how often, and the first one's line.
    differing: BTreeMap<String, (u64, u64)>,
    /// The last row's time, the name of the column, and how many rows came before the one above them.
    order: (f64, String, u64),
    notes: Vec<String>,
}

impl Rows {
    pub(super) fn new(file: &str, bad_rows: BadRows) -> Self {
        Self {
            file: file.to_owned(),
            bad_rows,
            requests: Vec::new(),
            kind: None,
            estimated: false,
            bad: (0, 0),
            without: (0, None),
            why: BTreeMap::new(),
            used: BTreeMap::new(),
            differing: BTreeMap::new(),
            order: (f64::NAN, String::new(), 0),
            notes: Vec::new(),
        }
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(super) fn at(&self, line: u64, reason: impl Into<String>) -> ReadError {
        ReadError::At { file: self.file.clone(), line, reason: reason.into() }
    }

    /// The error of a row, or of a header, that has not both lengths among these names.
    pub(super) fn no_columns(&self, line: u64, prompt: bool, output: bool, found: &[String]) -> ReadError {
        let lengths = [(prompt, Length::Prompt), (output, Length::Output)];
        let lacking = lengths.into_iter().filter(|(there, _)| !there);
        let lacking = LackingColumns {
            missing: lacking.map(|(_, length)| missing(length, found)).collect(),
            advice: advice(found),
            found: found.iter().take(MOST_NAMES).cloned().collect(),
        };
        ReadError::NoColumns { file: self.file.clone(), line, lacking: Box::new(lacking) }
    }

    /// Counts where a row's lengths came from, and says whether other columns agree and rows are in order.
    pub(super) fn add(
        &mut self,
        line: u64,
        judged: Judged,
        choice: &Choice,
        name: impl Fn(usize) -> String,
        found: impl FnOnce() -> Vec<String>,
    ) -> Result<(), ReadError> {
        if let (Found::Lengths { .. }, Some(prompt), Some(output)) =
            (&judged.found, &choice.prompt, &choice.output)
        {
            self.estimated |= prompt.unit == LengthUnit::Characters;
            self.count_columns(&prompt.says, &output.says, 1);
            if let Some((length, other)) = judged.differs {
                let chosen = if length == Length::Prompt { &prompt.says } else { &output.says };
                let key = format!("{chosen} and `{}`", name(other));
                let entry = self.differing.entry(key).or_insert((0, line));
                entry.0 += 1;
            }
            if judged.time < self.order.0 {
                self.order.2 += 1;
                self.order.1 = choice.time.map_or_else(String::new, name);
            }
            if !judged.time.is_nan() {
                self.order.0 = judged.time;
            }
        }
        self.add_found(line, judged.found, found)
    }

    pub(super) fn count_columns(&mut self, prompt: &str, output: &str, rows: u64) {
        let key = format!("prompt from {prompt}, output from {output}");
        *self.used.entry(key).or_default() += rows;
    }

    pub(super) fn add_found(
        &mut self,
        line: u64,
        found: Found,
        names: impl FnOnce() -> Vec<String>,
    ) -> Result<(), ReadError> {
        let kind = match &found {
            Found::Texts(_) => Some(Kind::Texts),
            Found::LeftOut(_) | Found::Missing { .. } => None,
            Found::Lengths { .. } | Found::NoNumber(_) => Some(Kind::Counts),
        };
        if kind.is_some_and(|kind| *self.kind.get_or_insert(kind) != kind) {
            return self.without_lengths(line, false, false, names());
        }
        match found {
            Found::Lengths { prompt, output } => self.push(line, prompt, output),
            Found::Missing { has_prompt, has_output } => {
                self.without_lengths(line, has_prompt, has_output, names())
            }
            Found::NoNumber(text) => Err(self.at(line, format!("`{text}` is no whole number of tokens"))),
            Found::LeftOut(why) => {
                *self.why.entry(why).or_default() += 1;
                Ok(())
            }
            Found::Texts(texts) => {
                self.estimated = true;
                let (requests, without) = *texts;
                if without > 0 {
                    *self.why.entry(Why::NoAnswer).or_default() += without;
                }
                requests.into_iter().try_for_each(|(prompt, output)| self.push(line, prompt, output))
            }
        }
    }

    fn without_lengths(
        &mut self,
        line: u64,
        has_prompt: bool,
        has_output: bool,
        names: Vec<String>,
    ) -> Result<(), ReadError> {
        let error = self.no_columns(line, has_prompt, has_output, &names);
        if self.bad_rows == BadRows::Refuse {
            return Err(error);
        }
        self.without.0 += 1;
        self.without.1.get_or_insert(error);
        Ok(())
    }

    /// One row's lengths in tokens.
    fn push(&mut self, line: u64, prompt: f64, output: f64) -> Result<(), ReadError> {
        let good = |tokens: f64| (1.0..=MOST_TOKENS as f64).contains(&tokens);
        if good(prompt) && good(output) {
            self.requests.push(LoggedRequest { prompt: prompt as u32, output: output as u32 });
            return Ok(());
        }
        if self.bad_rows == BadRows::LeaveOut {
            if self.bad.0 == 0 {
                self.bad.1 = line;
            }
            self.bad.0 += 1;
            return Ok(());
        }
        Err(ReadError::BadRow { file: self.file.clone(), line, prompt, output })
    }

    pub(super) fn finish(mut self) -> Result<Traffic, ReadError> {
        if self.requests.is_empty() {
            if let Some(error) = self.without.1 {
                return Err(error);
            }
            let why = self.why.iter().map(|(why, rows)| format!("; {rows} {}", why.as_str()));
            let bad = (self.bad.0 > 0).then(|| format!("; {} can be none", self.bad.0));
            let reason = format!("no requests in it{}", why.chain(bad).collect::<String>());
            return Err(ReadError::within(&self.file, reason));
        }
        self.note_columns();
        let left_out = self.bad.0 + self.without.0 + self.why.values().sum::<u64>();
        if self.estimated {
            self.notes.push(format!("lengths are estimated: {CHARACTERS_A_TOKEN} characters to a token"));
        }
        if self.bad.0 > 0 {
            let (rows, line) = self.bad;
            self.notes.push(format!(
                "left out: {rows} rows that can be no request, the first at {line}: each length must be 1 to {MOST_TOKENS} tokens"
            ));
        }
        if self.without.0 > 0 {
            self.notes.push(format!("left out: {} rows without lengths", self.without.0));
        }
        for (why, rows) in &self.why {
            self.notes.push(format!("left out: {rows} rows that {}", why.as_str()));
        }
        if self.order.2 > 0 {
            let (_, column, rows) = &self.order;
            self.notes.push(format!(
                "{rows} rows are earlier by `{column}` than the row before them; the file's order is kept"
            ));
        }
        Ok(Traffic { requests: self.requests, estimated: self.estimated, left_out, notes: self.notes })
    }

    fn note_columns(&mut self) {
        let several = self.used.len() > 1;
        for (columns, rows) in self.used.iter().take(4) {
            let rows = if several { format!(" ({rows} rows)") } else { String::new() };
            let cached = if columns.contains("cache") || columns.contains("input_cached") {
                "; what was read from a cache or written to one is part of the prompt"
            } else {
                ""
            };
            self.notes.push(format!("{columns}{rows}{cached}"));
        }
        for (columns, (rows, line)) in &self.differing {
            self.notes.push(format!(
                "{columns} differ in {rows} rows, the first at {line}; the first of the two is used"
            ));
        }
    }
}
