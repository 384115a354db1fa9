//! Why a configuration has no answer, or cannot be given back.

use vramkit_units::ByteSize;

/// Why a file of several models is not understood or not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetsError {
    /// The file cannot be read, or is no regular file.
    #[error("{file}: {reason}")]
    Read {
        /// The file.
        file: String,
        /// What the system says, or what it is not.
        reason: String,
    },
    /// The file is larger than any configuration.
    #[error("{file}: {size}, and a configuration has at most {limit}")]
    TooLarge {
        /// The file.
        file: String,
        /// Its size.
        size: ByteSize,
        /// The most that is read.
        limit: ByteSize,
    },
    /// Nothing in the file says which manager it is for.
    #[error(
        "{file}: which manager this is for cannot be told; known are llama-swap's YAML, llama.cpp's presets (INI), an \
         Ollama Modelfile, lines of `llama-server` or `vllm serve`, and vramkit's own TOML"
    )]
    UnknownKind {
        /// The file.
        file: String,
    },
    /// The file breaks a rule of its format or of its manager.
    #[error("{file}, line {line}: {reason}")]
    Invalid {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// Which rule.
        reason: String,
    },
    /// The file has sets of the user's own where ours would go.
    #[error(
        "{file}, line {line}: `{key}` is written by hand and stays as it is; take it out to have sets written"
    )]
    HandWritten {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// The file cannot be given back with sets in it.
    #[error("{file}: {reason}")]
    CannotWrite {
        /// The file.
        file: String,
        /// Why not.
        reason: String,
    },
}
