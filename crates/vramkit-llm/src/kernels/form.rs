//! How packed weights lie in memory.
//!
//! Rows are in groups of 16, two tiles of 8; a last group that isn't full is filled with weights of 0. One lane is one
//! row: at each place of a group the numbers of its 16 rows lie side by side.
//!
//! **Quantised.** A group is its *heads* (scales and minima; filled up to a multiple of 64 bytes), then its *quants*,
//! block for block of 32 columns. A *chunk* is four neighbouring columns of 16 rows, 64 bytes when unpacked, row by row; a
//! block is chunks 0 to 7. Unpacked numbers are unsigned. In a block's quants,
//! - eight bits: chunks 0 to 7;
//! - four bits: chunk c in the low halves and chunk c + 4 in the high halves of the bytes, for c from 0 to 3;
//! - five bits: four bits as above; then 64 bytes with a chunk's fifth bits: of chunk c in bit c of each byte;
//! - six bits: four bits as above; then twice 64 bytes, of chunks 0–3 and 4–7: chunk c's upper two bits are bits 2c and
//!   2c + 1 (c modulo 4) of each byte.
//!
//! The heads of a block are one of
//! - 16 scales (f16), a weight is `scale · (number − zero)`;
//! - 16 scales, then 16 minima (f16), a weight is `scale · number + minimum`.
//!
//! The K types have their heads by eights of blocks (256 columns):
//! - 16 scales d and 16 of minima (f16), then block for block 16 multipliers of d and 16 of minima (u8): a weight is
//!   `d · multiplier · number − dmin · multiplier`;
//! - 16 scales d (f16), then block for block 16 multipliers of its first half and 16 of its second (i8): a weight is
//!   `d · multiplier · (number − zero)`.
//!
//! So each type takes the bytes of the file (q4_K: 4.625 bits a weight instead of 4.5), and nothing is rounded anew:
//! 11 bits of an f16 and 8 of a multiplier fit the 24 of an f32.
//!
//! **Floats.** A group is column by column 16 numbers.

use vramkit_models::gguf::TensorType;

use super::error::PackError;

/// Rows of a group: parts of so many are packed as the whole is.
pub(crate) const ROWS: usize = 16;
/// Columns of a block.
pub(super) const BLOCK: usize = 32;
/// Blocks under one head of the K types.
pub(super) const SUPER: usize = 8;
/// Bytes at whose multiples groups begin.
pub(super) const ALIGN: usize = 64;
/// Columns whose products with floating-point weights are summed before they join the sum.
pub(super) const PART: usize = 128;
/// Bytes of 16 f16.
pub(super) const HALVES: usize = 32;

/// Unpacked numbers of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quants {
    Four,
    Five,
    Six,
    Eight,
}

impl Quants {
    /// Bytes of a block of 16 rows.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Four => 256,
            Self::Five => 320,
            Self::Six => 384,
            Self::Eight => 512,
        }
    }
}

/// What makes weights of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heads {
    /// Scales.
    Scale,
    /// Scales and minima.
    Minimum,
    /// Scales and minima with multipliers.
    Super,
    /// Scales with multipliers of half blocks.
    Split,
}

impl Heads {
    /// Bytes of a group's heads, without what fills them up.
    const fn bytes(self, blocks: usize) -> Option<usize> {
        match self {
            Self::Scale => blocks.checked_mul(HALVES),
            Self::Minimum => blocks.checked_mul(2 * HALVES),
            Self::Super => (blocks / SUPER).checked_mul(SUPER_HEAD),
            Self::Split => (blocks / SUPER).checked_mul(SPLIT_HEAD),
        }
    }
}

/// Bytes of eight blocks' heads, by kind.
pub(super) const SUPER_HEAD: usize = 2 * HALVES + SUPER * 2 * ROWS;
pub(super) const SPLIT_HEAD: usize = HALVES + SUPER * 2 * ROWS;

/// Floating-point weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Float {
    F32,
    F16,
    Bf16,
}

impl Float {
    /// Bytes of a number.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// How weights of a type are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Quantised { quants: Quants, heads: Heads, zero: i32 },
    Float(Float),
}

impl Form {
    /// The form for a type.
    pub fn of(kind: TensorType) -> Result<Self, PackError> {
        let quantised = |quants, heads, zero| Ok(Self::Quantised { quants, heads, zero });
        match kind.name() {
            "f32" => Ok(Self::Float(Float::F32)),
            "f16" => Ok(Self::Float(Float::F16)),
            "bf16" => Ok(Self::Float(Float::Bf16)),
            "q8_0" => quantised(Quants::Eight, Heads::Scale, 128),
            "q4_0" => quantised(Quants::Four, Heads::Scale, 8),
            "q4_1" => quantised(Quants::Four, Heads::Minimum, 0),
            "q5_0" => quantised(Quants::Five, Heads::Scale, 16),
            "q5_1" => quantised(Quants::Five, Heads::Minimum, 0),
            "q4_K" => quantised(Quants::Four, Heads::Super, 0),
            "q5_K" => quantised(Quants::Five, Heads::Super, 0),
            "q6_K" => quantised(Quants::Six, Heads::Split, 32),
            name => Err(PackError::Unsupported { kind: name }),
        }
    }
}

/// A packed matrix's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub kind: TensorType,
    pub form: Form,
    pub rows: usize,
    pub columns: usize,
    /// Bytes of a row in the file.
    pub row_bytes: usize,
    /// Bytes of a group's heads; where its quants begin.
    pub head_bytes: usize,
    /// Bytes from one group to the next.
    pub group_bytes: usize,
    /// Bytes of all groups.
    pub bytes: usize,
}

impl Shape {
    /// The shape of `rows` × `columns` weights of a type, checked.
    pub fn new(kind: TensorType, rows: usize, columns: usize) -> Result<Self, PackError> {
        let form = Form::of(kind)?;
        if rows == 0 || columns == 0 {
            return Err(PackError::Empty { rows, columns });
        }
        let too_large = || PackError::TooLarge { rows, columns };
        let block = usize::try_from(kind.block_elements()).map_err(|_| too_large())?;
        if !columns.is_multiple_of(block) {
            return Err(PackError::Columns { kind: kind.name(), columns, block });
        }
        let row_bytes = kind.row_bytes(columns as u64).and_then(|bytes| usize::try_from(bytes).ok());
        let row_bytes = row_bytes.ok_or_else(too_large)?;
        row_bytes.checked_mul(rows).ok_or_else(too_large)?;
        let blocks = columns / BLOCK;
        let (head_bytes, body) = match form {
            Form::Float(float) => (0, columns.checked_mul(ROWS * float.bytes())),
            Form::Quantised { quants, heads, .. } => {
                let head = heads.bytes(blocks).and_then(|bytes| bytes.checked_next_multiple_of(ALIGN));
                (head.ok_or_else(too_large)?, blocks.checked_mul(quants.bytes()))
            }
        };
        let group_bytes = body.and_then(|body| body.checked_add(head_bytes)?.checked_next_multiple_of(ALIGN));
        let group_bytes = group_bytes.ok_or_else(too_large)?;
        let bytes = rows.div_ceil(ROWS).checked_mul(group_bytes).ok_or_else(too_large)?;
        Ok(Self { kind, form, rows, columns, row_bytes, head_bytes, group_bytes, bytes })
    }

    /// Groups of 16 rows.
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(ROWS)
    }

    /// Blocks of a row.
    pub fn blocks(&self) -> usize {
        self.columns / BLOCK
    }
}

/// Bytes that the packed weights of a matrix take, exactly: a multiple of 64.
///
/// # Errors
/// Types without a kernel; columns that are no whole number of the type's blocks; no rows or columns; more bytes than
/// there are addresses.
pub fn packed_bytes(kind: TensorType, rows: usize, columns: usize) -> Result<usize, PackError> {
    Shape::new(kind, rows, columns).map(|shape| shape.bytes)
}
