//! Reads how long requests are: prompt and output lengths in tokens, from the logs that people have.
//!
//! ```text
//! path or `-` ─► Input (gzip unpacked) ─► by its first bytes:
//!     `PAR1` ─────► parquet ─┐
//!     `{`, `[` ───► json ────┼─► Choice: which names are the lengths ─► Rows ─► Traffic, with notes of what was assumed
//!     anything else ► table ─┘
//! ```
//!
//! Tables have a line of names and commas, semicolons, tabs or bars between columns: Azure's traces, BurstGPT, LiteLLM's spend
//! logs, Langfuse's exports. JSON is an object a line or an array: OpenAI's and Anthropic's usage at any of the places where
//! logs put it, OpenAI's batch output, OpenTelemetry's spans, Langfuse, Mooncake's traces; and what benchmarks write, vLLM's,
//! SGLang's and GuideLLM's, whose failed requests are left out. Parquet has the same names. What has none of them is read by
//! the caller's [`Columns`]. Two data sets have text instead, Alpaca and ShareGPT, which is counted at [`CHARACTERS_A_TOKEN`].
//!
//! Of several names of one length the first in this order counts, and a note says where another one disagrees. Prompts:
//! `prompt_tokens`, `ContextTokens`, `input_tokens` (with what Anthropic counts beside it, cache reads and writes), `input_toks`,
//! `prompt_len`, `input_len`, `num_prefill_tokens`, `request tokens`, then those of single programs. Outputs: `output_tokens`,
//! `GeneratedTokens`, `completion_tokens`, `output_toks`, `output_len`, `num_decode_tokens`, `response tokens`, then those of
//! single programs. Case, and what stands between words, do not count; a total of both lengths is neither.
//!
//! A row that cannot be a request is an error that names it, or is left out and counted.
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

mod choice;
mod columns;
mod json;
mod names;
mod number;
#[cfg(feature = "parquet")]
mod parquet;
mod record;
mod request;
mod rows;
mod table;
mod walk;

use std::path::Path;

use crate::error::ReadError;
use crate::input::Input;
use rows::Rows;

pub use crate::error::MOST_TOKENS;
pub use choice::CHARACTERS_A_TOKEN;
pub use columns::{Columns, ColumnsError};
pub use request::{BadRows, LoggedRequest, Traffic, TrafficOptions};

/// Reads a log of lengths; its kind is told by its content. The path `-` is standard input.
///
/// # Errors
/// What cannot be read, with the row ([`BadRow`](ReadError::BadRow) where it says what no request can have,
/// [`NoColumns`](ReadError::NoColumns) where it has no lengths by a known name); a file without requests.
pub fn read_traffic(path: &Path, bad_rows: BadRows) -> Result<Traffic, ReadError> {
    read_traffic_as(path, &TrafficOptions { bad_rows, ..TrafficOptions::default() })
}

/// As [`read_traffic`], with columns that the caller knows.
///
/// # Errors
/// As [`read_traffic`].
///
/// ```
/// use vramkit_models::traffic::{TrafficOptions, read_traffic_as};
///
/// # let path = std::env::temp_dir().join(format!("vramkit-traffic-as-doc-{}.csv", std::process::id()));
/// std::fs::write(&path, "asked;answered\n120;30\n")?;
/// let options = TrafficOptions { columns: "prompt=asked,output=answered".parse()?, ..TrafficOptions::default() };
/// let traffic = read_traffic_as(&path, &options)?;
/// assert_eq!((traffic.requests[0].prompt, traffic.requests[0].output), (120, 30));
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_traffic_as(path: &Path, options: &TrafficOptions) -> Result<Traffic, ReadError> {
    let mut input = Input::open(path)?;
    let mut rows = Rows::new(input.name(), options.bad_rows);
    let packed = if input.is_gzip() { ", unpacked from gzip" } else { "" };
    let begins = input.peek(16)?;
    if let Some(reason) = refused(begins) {
        return Err(ReadError::within(rows.file(), reason));
    }
    if begins.starts_with(b"PAR1") {
        read_parquet(&mut rows, input, path, options)?;
        rows.note(format!("read as Parquet{packed}"));
        return rows.finish();
    }
    if begins.starts_with(b"\xef\xbb\xbf") {
        std::io::BufRead::consume(&mut input, 3);
    }
    match first_letter(&mut input)? {
        Some(b'{' | b'[') => {
            json::read(&mut rows, &mut input, &options.columns)?;
            rows.note(format!("read as JSON{packed}"));
        }
        Some(_) => {
            let separator = table::read(&mut rows, &mut input, &options.columns)?;
            let separator = if separator == '\t' { "tabs".to_owned() } else { format!("`{separator}`") };
            rows.note(format!("read as a table with {separator} between columns{packed}"));
        }
        None => return Err(ReadError::within(rows.file(), "an empty file")),
    }
    rows.finish()
}

/// The first byte that is not blank; blanks before it are looked over.
fn first_letter(input: &mut Input) -> Result<Option<u8>, ReadError> {
    // More blank than this before a log begins is no log.
    let begins = input.peek(1 << 16)?;
    Ok(begins.iter().find(|byte| !byte.is_ascii_whitespace()).copied())
}

#[cfg(feature = "parquet")]
fn read_parquet(
    rows: &mut Rows,
    mut input: Input,
    path: &Path,
    options: &TrafficOptions,
) -> Result<(), ReadError> {
    use std::io::Read;

    use crate::input::{cannot_read, is_standard_input};

    // A file can be read at any place; a pipe, and what was packed, must be kept as a whole.
    let is_file = !input.is_gzip() && !is_standard_input(path) && path.is_file();
    let source = match is_file.then(|| std::fs::File::open(path)) {
        Some(Ok(file)) => parquet::Source::File(file),
        _ => {
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes).map_err(|error| cannot_read(rows.file(), error))?;
            parquet::Source::Bytes(bytes.into())
        }
    };
    parquet::read(rows, source, &options.columns)
}

#[cfg(not(feature = "parquet"))]
fn read_parquet(rows: &mut Rows, _: Input, _: &Path, _: &TrafficOptions) -> Result<(), ReadError> {
    Err(ReadError::within(rows.file(), "a Parquet file, which this build does not read; make it CSV"))
}

/// Why a file that begins like this is no log.
fn refused(begins: &[u8]) -> Option<&'static str> {
    match begins {
        [] => Some("an empty file"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [_, 0, _, 0, ..] | [0, _, 0, _, ..] => {
            Some("text in UTF-16, which is not read; save it as UTF-8")
        }
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive or a spreadsheet; unpack it, or save it as CSV"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("a Zstandard archive; unpack it first"),
        [b'B', b'Z', b'h', ..] => Some("a bzip2 archive; unpack it first"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Some("an xz archive; unpack it first"),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Some("an Arrow file; make it Parquet or CSV"),
        [b'G', b'G', b'U', b'F', ..] => Some("a GGUF model, not a log of requests"),
        begins if begins.starts_with(b"SQLite format 3") => {
            Some("an SQLite database; export the table as CSV")
        }
        _ => None,
    }
}
