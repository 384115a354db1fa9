//! Why weights cannot be packed.

/// Why weights cannot be packed, or packed weights not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// No kernel for this type.
    #[error(
        "weights of type {kind} have no kernel; there are kernels for f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_K, \
         q5_K and q6_K: convert the file to one of them"
    )]
    Unsupported {
        /// The type, as ggml names it.
        kind: &'static str,
    },
    /// A row is no whole number of blocks.
    #[error("a row of {columns} columns is no whole number of {kind}'s blocks of {block}")]
    Columns {
        /// The type, as ggml names it.
        kind: &'static str,
        /// Columns of a row.
        columns: usize,
        /// Columns of a block.
        block: usize,
    },
    /// A matrix without rows or without columns.
    #[error("a matrix of {rows} × {columns} has nothing to multiply")]
    Empty {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// More bytes than this machine has addresses for.
    #[error("a matrix of {rows} × {columns} takes more bytes than there are addresses")]
    TooLarge {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
    /// The bytes given are not as many as the matrix has.
    #[error("{what} of {rows} × {columns} in {kind} takes {needed} bytes, and {given} were given")]
    Size {
        /// Which of the two: the file's matrix or the packed one.
        what: &'static str,
        /// The type, as ggml names it.
        kind: &'static str,
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
        /// Bytes that it takes.
        needed: usize,
        /// Bytes that were given.
        given: usize,
    },
    /// The memory for packed weights begins at an address that the kernels cannot use.
    #[error("packed weights begin at multiples of 64 bytes, and {address:#x} is none")]
    Misaligned {
        /// Where the memory begins.
        address: usize,
    },
    /// A weight, or the scale or minimum of a block, is infinite or not a number.
    #[error("row {row}, column {column}: {what} is not finite; the file is damaged")]
    NotFinite {
        /// The row, from 0.
        row: usize,
        /// The column, from 0; of a block, its first.
        column: usize,
        /// What is not finite.
        what: &'static str,
    },
}
