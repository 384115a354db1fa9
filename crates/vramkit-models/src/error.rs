//! Why a file is not what it should be: always with the file's name, and the place in it.

use std::path::PathBuf;

use vramkit_plan::LifetimeError;

/// The longest prompt or output that is believed, tokens.
pub const MOST_TOKENS: u64 = 1 << 24;

/// Why a file could not be read as a demand.
///
/// What the caller can supply is data of its own ([`MissingDimension`](Self::MissingDimension),
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
    /// A graph's input has a symbolic dimension that was given no size.
    #[error("{file}: input `{input}`: its axis {axis} is symbolic, and dimension `{name}` has no size")]
    MissingDimension {
        /// The file.
        file: String,
        /// The graph's input.
        input: String,
        /// The axis, counted from 0.
        axis: usize,
        /// What to give a size in [`ReadOptions::dims`](crate::ReadOptions::dims).
        name: String,
    },
    /// The size given to a symbolic dimension is no length of an axis.
    #[error("{file}: input `{input}`: {size} is too large for dimension `{name}`")]
    DimensionTooLarge {
        /// The file.
        file: String,
        /// The graph's input.
        input: String,
        /// The dimension.
        name: String,
        /// The size given, in elements.
        size: u64,
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
    /// The lifetimes contradict themselves.
    #[error("{file}: {error}")]
    Lifetimes {
        /// The file.
        file: String,
        /// What is wrong.
        error: LifetimeError,
    },
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
