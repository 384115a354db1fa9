//! Why arithmetic was refused: sizes that do not agree, and shapes that are not supported.

use super::cache_kind::CacheKind;

/// Why a layout, a call or a rotation was refused. Nothing was computed, or what was computed is incomplete.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttentionError {
    /// A head's dimension is no multiple of what the cache's type needs.
    #[error(
        "a {which} head of {dim} cannot be kept as {kind}, which needs a multiple of {multiple}; choose another cache type"
    )]
    HeadDim {
        /// `key` or `value`.
        which: &'static str,
        /// The dimension.
        dim: usize,
        /// What it has to be a multiple of.
        multiple: usize,
        /// The cache's type.
        kind: CacheKind,
    },
    /// A number is zero where one at least is needed.
    #[error("{what} is 0; at least 1 is needed")]
    Zero {
        /// What is zero.
        what: &'static str,
    },
    /// A size does not fit in this machine's addresses.
    #[error("{what} does not fit in {} bits; choose a smaller shape", usize::BITS)]
    TooLarge {
        /// What is too large.
        what: &'static str,
    },
    /// A slice is not as long as the shape says.
    #[error("{what} has {got} elements where the shape needs {need}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Elements needed.
        need: usize,
        /// Elements given.
        got: usize,
    },
    /// An index is past the end.
    #[error("{what} {index} is not there: there are {count}")]
    Index {
        /// What is counted.
        what: &'static str,
        /// The index given.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A block that the queries look at was not given.
    #[error(
        "block {index} of the sequence is missing or too short; give every block up to the last query's position"
    )]
    Block {
        /// Which block of the sequence.
        index: usize,
    },
    /// A number is outside what it may be.
    #[error("{what} is {got}; it has to be {allowed}")]
    Number {
        /// Which number.
        what: &'static str,
        /// The number.
        got: f64,
        /// What it may be.
        allowed: &'static str,
    },
}
