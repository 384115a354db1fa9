//! Packed weights, as kernels and look-ups use them.

use half::{bf16, f16};
use vramkit_models::gguf::TensorType;

use super::error::PackError;
use super::form::{ALIGN, BLOCK, Float, Form, ROWS, Shape};
use super::unpack::{head, numbers};

/// Packed weights of a matrix, in memory that the caller grants.
///
/// ```
/// use vramkit_llm::kernels::{Packed, Threads, pack, packed_bytes};
/// use vramkit_models::gguf::TensorType;
///
/// // One block of q8_0: a scale of 1 in 16 bits, then 32 numbers.
/// let file = [&[0x00, 0x3c][..], &[5; 32]].concat();
/// let bytes = packed_bytes(TensorType::named("q8_0").expect("known"), 1, 32)?;
/// let mut memory = vec![0; bytes + 64];
/// let start = memory.as_ptr().align_offset(64);
/// let memory = &mut memory[start..start + bytes];
/// let kind = TensorType::named("q8_0").expect("known");
/// pack(kind, 1, 32, &file, memory, &Threads::new(1))?;
/// let mut row = [0.0; 32];
/// Packed::new(kind, 1, 32, memory)?.row(0, &mut row);
/// assert_eq!(row, [5.0; 32]);
/// # Ok::<(), vramkit_llm::kernels::PackError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    pub(super) shape: Shape,
    pub(super) bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// The matrix that [`pack`](super::pack) wrote to `bytes`, given the same type and shape.
    ///
    /// # Errors
    /// As [`packed_bytes`](super::packed_bytes); a length that isn't the packed matrix's; misaligned memory.
    pub fn new(kind: TensorType, rows: usize, columns: usize, bytes: &'a [u8]) -> Result<Self, PackError> {
        let shape = Shape::new(kind, rows, columns)?;
        if bytes.len() != shape.bytes {
            return Err(PackError::Size {
                what: "the packed matrix",
                kind: kind.name(),
                rows,
                columns,
                needed: shape.bytes,
                given: bytes.len(),
            });
        }
        let address = bytes.as_ptr().addr();
        if !address.is_multiple_of(ALIGN) {
            return Err(PackError::Misaligned { address });
        }
        Ok(Self { shape, bytes })
    }

    /// The weights' type.
    pub fn kind(&self) -> TensorType {
        self.shape.kind
    }

    /// Rows: numbers of a product's output.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Columns: numbers of a product's input.
    pub fn columns(&self) -> usize {
        self.shape.columns
    }

    /// Bytes of a group of 16 rows.
    pub(super) fn group(&self, group: usize) -> &'a [u8] {
        &self.bytes[group * self.shape.group_bytes..][..self.shape.group_bytes]
    }

    /// Writes one row's weights, the values that the file stands for, to the first `columns` numbers of `into`.
    ///
    /// # Panics
    /// When there is no such row, or `into` is shorter than a row.
    pub fn row(&self, row: usize, into: &mut [f32]) {
        assert!(row < self.shape.rows, "row {row} of {}", self.shape.rows);
        let into = &mut into[..self.shape.columns];
        let group = self.group(row / ROWS);
        let row = row % ROWS;
        match self.shape.form {
            Form::Float(float) => {
                let size = float.bytes();
                for (column, into) in into.iter_mut().enumerate() {
                    let at = &group[(column * ROWS + row) * size..][..size];
                    *into = match float {
                        Float::F32 => f32::from_le_bytes([at[0], at[1], at[2], at[3]]),
                        Float::F16 => f16::from_le_bytes([at[0], at[1]]).to_f32(),
                        Float::Bf16 => bf16::from_le_bytes([at[0], at[1]]).to_f32(),
                    };
                }
            }
            Form::Quantised { quants, heads, zero } => {
                let (heads_of_group, body) = group.split_at(self.shape.head_bytes);
                let blocks = body.chunks_exact(quants.bytes());
                for (at, (into, block)) in into.chunks_exact_mut(BLOCK).zip(blocks).enumerate() {
                    let (scales, minimum) = head(heads, heads_of_group, at, row);
                    for (column, (into, number)) in
                        into.iter_mut().zip(numbers(quants, block, row)).enumerate()
                    {
                        *into = scales[column / 16] * (i32::from(number) - zero) as f32 + minimum;
                    }
                }
            }
        }
    }
}
