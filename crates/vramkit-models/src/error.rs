//! Why a file is not what it should be: always with the file's name, and the place in it.

use std::path::PathBuf;

use vramkit_plan::LifetimeError;

use crate::onnx::OpenDimension;

/// The longest prompt or output that is believed, tokens.
pub const MOST_TOKENS: u64 = 1 << 24;

/// Why a file could not be read as a demand.
///
/// What the caller can supply is data of its own ([`MissingDimensions`](Self::MissingDimensions),
/// [`KvShapeUnknown`](Self::KvShapeUnknown), [`BadRow`](Self::BadRow)), so that a program can say how.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be opened.
    #[error("cannot read `{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The file's name does not say what it holds.
    #[error("`{0}` is of no known kind: expected a name ending in .csv, .toml, .json or .onnx")]
    UnknownKind(String),
    /// The file's name does not say what model it holds.
    #[error(
        "`{0}` is of no known kind of model: expected a .gguf or .safetensors file, a config.json, or a folder with one"
    )]
    UnknownModel(String),
    /// Something on a line is wrong.
    #[error("{file}, line {line}: {reason}")]
    At {
        /// The file.
        file: String,
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// Something in the file is wrong, and lines mean nothing in it.
    #[error("{file}: {reason}")]
    In {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A graph has dimensions that were given no size.
    #[error("{file}: {}", open_dimensions(open))]
    MissingDimensions {
        /// The file.
        file: String,
        /// The dimensions, each of which needs a size in [`ReadOptions::dims`](crate::ReadOptions::dims).
        open: Vec<OpenDimension>,
    },
    /// A size was given to a dimension that no file has.
    #[error("no file has a dimension `{name}`{nearest}{}{known}", if nearest.is_empty() { "; " } else { " " })]
    UnknownDimension {
        /// The dimension.
        name: String,
        /// A name that is there and may be meant, as a question; empty where none is near.
        nearest: String,
        /// The names that are there, in words.
        known: String,
    },
    /// The file is of no kind that says the shape of a model's KV cache, which can be given instead.
    #[error("{file}: neither a GGUF file nor a config.json, so its KV shape is not known")]
    KvShapeUnknown {
        /// The file.
        file: String,
    },
    /// A row of a log can be no request. With [`BadRows::LeaveOut`](crate::traffic::BadRows::LeaveOut) it is left out.
    #[error(
        "{file}, line {line}: a request of {prompt} prompt and {output} output tokens; each must be 1 to {MOST_TOKENS}"
    )]
    BadRow {
        /// The file.
        file: String,
        /// Counted from 1; of a JSON array the entry's number.
        line: u64,
        /// Tokens of the prompt, as the row has them.
        prompt: f64,
        /// Tokens of the output, as the row has them.
        output: f64,
    },
    /// The lengths of requests stand under no name that is known; [`Columns`](crate::traffic::Columns) says which they are.
    #[error("{file}, line {line}: {}", no_columns(lacking))]
    NoColumns {
        /// The file.
        file: String,
        /// Counted from 1; of a JSON array the entry's number.
        line: u64,
        /// What is not there, and what is.
        lacking: Box<LackingColumns>,
    },
    /// What a compressed file unpacks to is out of proportion to it.
    #[error(
        "{file}: its {packed} compressed bytes unpack to more than {unpacked} bytes, which no log does; unpack it first"
    )]
    ExpandsTooFar {
        /// The file.
        file: String,
        /// Bytes that were read of it.
        packed: u64,
        /// Bytes that they had become by then.
        unpacked: u64,
    },
    /// The lifetimes contradict themselves.
    #[error("{file}: {error}")]
    Lifetimes {
        /// The file.
        file: String,
        /// What is wrong.
        error: LifetimeError,
    },
}

/// The columns of a log that has not both lengths under names that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LackingColumns {
    /// The lengths that are not found, one or both.
    pub missing: Vec<MissingLength>,
    /// The columns that are there, or the paths in a JSON object; the first 40 of them.
    pub found: Vec<String>,
    /// What else the file says of where its lengths may be.
    pub advice: Option<String>,
}

/// A length that a log of requests has under no name that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingLength {
    /// `prompt` or `output`.
    pub length: &'static str,
    /// Names that were looked for, the nearest to what is there first.
    pub expected: Vec<&'static str>,
    /// A name that is there, and the known one that it is so near to that it may be meant.
    pub meant: Option<(String, &'static str)>,
}

fn no_columns(LackingColumns { missing, found, advice }: &LackingColumns) -> String {
    let what = match &**missing {
        [one] => format!("no column of {} lengths", one.length),
        _ => "no columns of lengths".to_owned(),
    };
    let found = match &**found {
        [] => "nothing".to_owned(),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    };
    let one = |missing: &MissingLength| {
        let meant = missing.meant.as_ref();
        let meant = meant.map_or_else(String::new, |(there, known)| format!(" (`{there}` is near {known})"));
        format!("for the {} under names like {}{meant}", missing.length, missing.expected.join(", "))
    };
    let looked = missing.iter().map(one).collect::<Vec<_>>().join(", ");
    let advice = advice.as_ref().map_or_else(String::new, |advice| format!("; {advice}"));
    format!("{what} among {found}; looked {looked}{advice}; say which columns are the lengths")
}

fn open_dimensions(open: &[OpenDimension]) -> String {
    let one = |open: &OpenDimension| {
        let OpenDimension { tensor, axis, name } = open;
        let place = format!("{tensor}[{axis}]");
        if place == *name { format!("`{name}`") } else { format!("`{name}` (axis {axis} of `{tensor}`)") }
    };
    let list = open.iter().take(20).map(one).collect::<Vec<_>>().join(", ");
    let more = if open.len() > 20 { format!(" and {} more", open.len() - 20) } else { String::new() };
    match open {
        [_] => format!("dimension {list} has no size"),
        _ => format!("{} dimensions have no size: {list}{more}", open.len()),
    }
}

impl ReadError {
    pub(crate) fn within(file: &str, reason: impl Into<String>) -> Self {
        Self::In { file: file.to_owned(), reason: reason.into() }
    }
}

/// `; did you mean …?` when one of the known names is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let lower = name.to_lowercase();
    let best = known.map(|known| (strsim::damerau_levenshtein(&lower, known), known)).min();
    match best {
        Some((distance, known)) if distance <= 1 + name.len() / 3 => format!("; did you mean `{known}`?"),
        _ => String::new(),
    }
}
