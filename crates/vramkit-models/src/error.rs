//! Why a file is not what it should be: always with the file's name, and the place in it.

use std::path::PathBuf;

use vramkit_plan::LifetimeError;

/// Why a file could not be read as a demand.
#[derive(Debug, thiserror::Error)]
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
