//! Reads how long requests are: prompt and output lengths in tokens, and when they came if the file says.
//!
//! CSV with a header (Azure's `ContextTokens,GeneratedTokens`, plain `prompt_tokens,output_tokens`, benchmark logs'
//! `input_toks,output_toks`), JSON Lines with the same names, and the two data sets that experiments use, Alpaca and ShareGPT,
//! whose text is counted at [`CHARACTERS_A_TOKEN`]. A row that cannot be a request is an error that names it.
//!
//! ```
//! use vramkit_models::traffic::{BadRows, read_traffic};
//!
//! # let path = std::env::temp_dir().join(format!("vramkit-traffic-doc-{}.csv", std::process::id()));
//! std::fs::write(&path, "prompt_tokens,output_tokens\n120,30\n0,5\n")?;
//! let traffic = read_traffic(&path, BadRows::LeaveOut)?;
//! assert_eq!((traffic.requests.len(), traffic.left_out), (1, 1));
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::chats::{Entry, Speaker, read_chats};
use crate::error::ReadError;

pub use crate::error::MOST_TOKENS;

/// Characters that are taken to be one token where a file has text instead of counts: English text is near this with the
/// vocabularies of current models.
pub const CHARACTERS_A_TOKEN: f64 = 4.0;

/// One request of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoggedRequest {
    /// Tokens of the prompt, at least 1.
    pub prompt: u32,
    /// Tokens generated, at least 1.
    pub output: u32,
}

/// What a file says of its traffic.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Traffic {
    /// In the file's order.
    pub requests: Vec<LoggedRequest>,
    /// Whether tokens were counted by somebody, or estimated here from text.
    pub estimated: bool,
    /// Rows left out because they can be no request, where that was allowed.
    pub left_out: u64,
}

/// What to do with a row of no tokens or of impossibly many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRows {
    /// It is an error.
    Refuse,
    /// It is left out and counted.
    LeaveOut,
}

/// How a column of lengths is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LengthUnit {
    Tokens,
    Characters,
}

const PROMPTS: [(&str, LengthUnit); 9] = [
    ("prompt_tokens", LengthUnit::Tokens),
    ("contexttokens", LengthUnit::Tokens),
    ("input_tokens", LengthUnit::Tokens),
    ("input_toks", LengthUnit::Tokens),
    ("prompt_len", LengthUnit::Tokens),
    ("input_length", LengthUnit::Tokens),
    ("num_prefill_tokens", LengthUnit::Tokens),
    ("request tokens", LengthUnit::Tokens),
    ("prompt_chars", LengthUnit::Characters),
];

const OUTPUTS: [(&str, LengthUnit); 10] = [
    ("output_tokens", LengthUnit::Tokens),
    ("generatedtokens", LengthUnit::Tokens),
    ("completion_tokens", LengthUnit::Tokens),
    ("output_toks", LengthUnit::Tokens),
    ("output_len", LengthUnit::Tokens),
    ("output_length", LengthUnit::Tokens),
    ("generated_tokens", LengthUnit::Tokens),
    ("num_decode_tokens", LengthUnit::Tokens),
    ("response tokens", LengthUnit::Tokens),
    ("output_chars", LengthUnit::Characters),
];

/// Reads a file of lengths; its kind is told by its ending (`.csv`, `.jsonl`, `.json`).
///
/// # Errors
/// What cannot be read, with the row ([`BadRow`](ReadError::BadRow) where it says what no request can have); a file without
/// requests.
pub fn read_traffic(path: &Path, bad_rows: BadRows) -> Result<Traffic, ReadError> {
    let file = File::open(path).map_err(|error| ReadError::Io { path: path.to_owned(), error })?;
    let name = path.display().to_string();
    let kind = path.extension().map_or_else(String::new, |ending| ending.to_string_lossy().to_lowercase());
    let mut rows = Rows { file: &name, bad_rows, requests: Vec::new(), left_out: 0 };
    let estimated = match kind.as_str() {
        "csv" => csv_rows(&mut rows, file)?,
        "jsonl" | "ndjson" => json_lines(&mut rows, file)?,
        "json" => data_set(&mut rows, path)?,
        _ => {
            let reason = "of no known kind: lengths come in files ending in .csv, .jsonl or .json";
            return Err(ReadError::within(&name, reason));
        }
    };
    if rows.requests.is_empty() {
        return Err(ReadError::within(&name, "no requests in it"));
    }
    Ok(Traffic { requests: rows.requests, estimated, left_out: rows.left_out })
}

struct Rows<'a> {
    file: &'a str,
    bad_rows: BadRows,
    requests: Vec<LoggedRequest>,
    left_out: u64,
}

impl Rows<'_> {
    fn at(&self, line: u64, reason: impl Into<String>) -> ReadError {
        ReadError::At { file: self.file.to_owned(), line, reason: reason.into() }
    }

    /// One row's lengths in tokens.
    fn add(&mut self, line: u64, prompt: f64, output: f64) -> Result<(), ReadError> {
        let good = |tokens: f64| (1.0..=MOST_TOKENS as f64).contains(&tokens);
        if good(prompt) && good(output) {
            self.requests.push(LoggedRequest { prompt: prompt as u32, output: output as u32 });
            return Ok(());
        }
        if self.bad_rows == BadRows::LeaveOut {
            self.left_out += 1;
            return Ok(());
        }
        Err(ReadError::BadRow { file: self.file.to_owned(), line, prompt, output })
    }
}

/// A length of one column.
fn length(text: &str) -> Option<f64> {
    let value: f64 = text.trim().parse().ok()?;
    (value.is_finite() && value.fract() == 0.0).then_some(value)
}

fn tokens(value: f64, unit: LengthUnit) -> f64 {
    match unit {
        LengthUnit::Tokens => value,
        // Some text is at least a token; none is none.
        LengthUnit::Characters => (value / CHARACTERS_A_TOKEN).round().max(value.min(1.0)),
    }
}

fn csv_rows(rows: &mut Rows, file: File) -> Result<bool, ReadError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(BufReader::new(file));
    let wrong = |rows: &Rows, error: &csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        rows.at(line, format!("no CSV: {error}"))
    };
    let header = reader.headers().map_err(|error| wrong(rows, &error))?.clone();
    let find = |known: &[(&str, LengthUnit)]| {
        let place = |name: &str| {
            header.iter().position(|column| column.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name))
        };
        known.iter().find_map(|&(name, unit)| Some((place(name)?, unit)))
    };
    let (Some((prompt_at, prompt_unit)), Some((output_at, output_unit))) = (find(&PROMPTS), find(&OUTPUTS))
    else {
        let columns = header.iter().collect::<Vec<_>>().join(",");
        let reason = format!(
            "no columns of lengths among `{columns}`; expected prompt_tokens,output_tokens or \
             ContextTokens,GeneratedTokens or input_toks,output_toks or prompt_chars,output_chars"
        );
        return Err(rows.at(1, reason));
    };
    if prompt_unit != output_unit {
        let reason = "mixed units: prompts and outputs must both be counted in tokens, or both in characters";
        return Err(rows.at(1, reason));
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| wrong(rows, &error))? {
        let line = record.position().map_or(0, csv::Position::line);
        let mut lengths = [0.0; 2];
        for (value, at) in lengths.iter_mut().zip([prompt_at, output_at]) {
            let text = record.get(at).unwrap_or_default();
            *value = length(text)
                .ok_or_else(|| rows.at(line, format!("`{text}` is no whole number of {}", &header[at])))?;
        }
        rows.add(line, tokens(lengths[0], prompt_unit), tokens(lengths[1], output_unit))?;
    }
    Ok(prompt_unit == LengthUnit::Characters)
}

fn json_lines(rows: &mut Rows, file: File) -> Result<bool, ReadError> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        // A line longer than any log's is none.
        let read = reader.by_ref().take(16 << 20).read_until(b'\n', &mut line);
        let read = read.map_err(|error| rows.at(number + 1, format!("cannot be read: {error}")))?;
        if read == 0 {
            return Ok(false);
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line)
            .map_err(|error| rows.at(number, format!("no JSON object: {error}")))?;
        let find = |known: &[(&str, LengthUnit)]| {
            let named = |name: &str| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            known
                .iter()
                .filter(|(_, unit)| *unit == LengthUnit::Tokens)
                .find_map(|&(name, _)| named(name))
                .map(|(_, v)| v.clone())
        };
        let (Some(prompt), Some(output)) = (find(&PROMPTS), find(&OUTPUTS)) else {
            let reason =
                "no lengths in it; expected prompt_tokens and output_tokens, or input_toks and output_toks";
            return Err(rows.at(number, reason));
        };
        let whole = |value: &serde_json::Value| length(&value.to_string());
        let (Some(prompt), Some(output)) = (whole(&prompt), whole(&output)) else {
            return Err(rows.at(number, format!("{prompt} and {output} are no whole numbers of tokens")));
        };
        rows.add(number, prompt, output)?;
    }
}

/// Alpaca's or ShareGPT's data set: text, counted here.
fn data_set(rows: &mut Rows, path: &Path) -> Result<bool, ReadError> {
    let count = |text: &str| tokens(text.chars().count() as f64, LengthUnit::Characters);
    let mut turns_without_text = 0;
    for (number, entry) in (1..).zip(read_chats(path)?) {
        match entry {
            Entry::Instruction { instruction, input, output } => {
                let prompt = count(&instruction) + count(&input);
                // The data set has a few entries without an answer.
                if output.is_empty() {
                    turns_without_text += 1;
                } else {
                    rows.add(number, prompt, count(&output))?;
                }
            }
            Entry::Conversation(turns) => {
                // Each answer is a request whose prompt is all that was said before it.
                let mut said = 0.0;
                for turn in turns {
                    let tokens = count(&turn.text);
                    let answers = turn.speaker == Speaker::Assistant;
                    if answers && said >= 1.0 && tokens >= 1.0 {
                        rows.add(number, said, tokens)?;
                    } else if answers {
                        turns_without_text += 1;
                    }
                    said += tokens;
                }
            }
        }
    }
    rows.left_out += turns_without_text;
    Ok(true)
}
