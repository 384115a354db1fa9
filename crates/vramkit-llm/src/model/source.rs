//! A model's weights on their way from its file into granted memory: read in parts, packed where they will be multiplied.
//!
//! In: [`Stored`] tensors and the open file. Out: a [`WeightSource`] for the loader, whose tensors are the packed ones. Each thread
//! reads and packs rows of its own through a staging buffer of bounded size; the file is never mapped, so one that is cut short
//! under a running engine is an error and no fault. What is no finite number is refused, by tensor and row.

use std::sync::{Arc, Mutex, PoisonError};

use half::{bf16, f16};
use vramkit::ByteSize;
use vramkit::loader::{ReadFailure, SourceTensor, WeightSource};
use vramkit_models::gguf::{GgufFile, TensorType};

use crate::kernels::{self, ROWS, Threads};
use crate::model::tensors::Stored;

/// Bytes of the file that a thread reads at a time, about.
const PART: usize = 1 << 20;

/// The weights of one model.
pub(crate) struct PackedSource {
    pub file: Arc<GgufFile>,
    pub stored: Arc<[Stored]>,
    pub threads: Arc<Threads>,
}

/// Rows of a matrix that one thread packs.
struct Part<'a> {
    first: usize,
    rows: usize,
    into: &'a mut [u8],
}

impl PackedSource {
    fn matrix(&self, stored: &Stored, into: &mut [u8]) -> Result<(), ReadFailure> {
        let row_bytes = row_bytes(stored)?;
        // Whole tiles, so that each part is packed as a matrix of its own.
        let rows = (PART / row_bytes.max(1)).next_multiple_of(ROWS).max(ROWS);
        let mut parts = Vec::new();
        let mut rest = into;
        for first in (0..stored.rows).step_by(rows) {
            let rows = rows.min(stored.rows - first);
            let (into, behind) = rest.split_at_mut(kernels::packed_bytes(stored.kind, rows, stored.columns)?);
            parts.push(Mutex::new(Some(Part { first, rows, into })));
            rest = behind;
        }
        rest.fill(0);
        let (failure, staging) = (Mutex::new(None), Mutex::new(Vec::new()));
        self.threads.run(parts.len(), &|at| {
            let part = parts[at].lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(part) = part else { return };
            let spare = staging.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut bytes: Vec<u8> = spare.unwrap_or_default();
            bytes.resize(part.rows * row_bytes, 0);
            let packed = self.part(stored, row_bytes, part, &mut bytes);
            staging.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
            if let Err(error) = packed {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Reads rows into `bytes` and packs them.
    fn part(
        &self,
        stored: &Stored,
        row_bytes: usize,
        part: Part<'_>,
        bytes: &mut [u8],
    ) -> Result<(), ReadFailure> {
        self.file.read_tensor(stored.tensor, (part.first * row_bytes) as u64, bytes)?;
        // Already one of many tasks: packing goes on in this thread alone.
        kernels::pack(stored.kind, part.rows, stored.columns, bytes, part.into, &self.threads)
            .map_err(|error| format!("rows from {} on: {error}", part.first).into())
    }

    fn vector(&self, stored: &Stored, into: &mut [u8]) -> Result<(), ReadFailure> {
        let mut bytes = vec![0; row_bytes(stored)?];
        self.file.read_tensor(stored.tensor, 0, &mut bytes)?;
        let (numbers, rest) = into.split_at_mut(4 * stored.columns);
        rest.fill(0);
        let halves = bytes.as_chunks::<2>().0.iter();
        match stored.kind {
            TensorType::F16 => copy(numbers, halves.map(|half| f16::from_le_bytes(*half).to_f32())),
            TensorType::BF16 => copy(numbers, halves.map(|half| bf16::from_le_bytes(*half).to_f32())),
            _ => copy(numbers, bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word))),
        }
        .map_err(|at| format!("number {at} of tensor `{}` is not finite", stored.name).into())
    }
}

/// Bytes of a row in the file.
fn row_bytes(stored: &Stored) -> Result<usize, ReadFailure> {
    let bytes = stored.kind.row_bytes(stored.columns as u64).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| format!("tensor `{}` has rows that cannot be addressed", stored.name).into())
}

/// Copies numbers as this machine has them; fails with the place of the first that is not finite.
fn copy(into: &mut [u8], numbers: impl Iterator<Item = f32>) -> Result<(), usize> {
    for (at, (place, number)) in into.as_chunks_mut::<4>().0.iter_mut().zip(numbers).enumerate() {
        if !number.is_finite() {
            return Err(at);
        }
        *place = number.to_ne_bytes();
    }
    Ok(())
}

impl WeightSource for PackedSource {
    fn tensors(&self) -> Vec<SourceTensor> {
        let size = |stored: &Stored| ByteSize::new(stored.place.bytes as u64);
        self.stored.iter().map(|stored| SourceTensor::new(&stored.name, size(stored))).collect()
    }

    /// Of whole tensors: the loader is told to ask for nothing less.
    fn read(&self, tensor: usize, offset: u64, into: &mut [u8]) -> Result<(), ReadFailure> {
        let stored = &self.stored[tensor];
        if offset != 0 || into.len() != stored.place.bytes {
            return Err(
                format!("tensor `{}` is packed whole, and a part of it is asked for", stored.name).into()
            );
        }
        if stored.is_matrix { self.matrix(stored, into) } else { self.vector(stored, into) }?;
        let is_last = tensor + 1 == self.stored.len();
        // What was read before it changed is of another model.
        if is_last { self.file.check_unchanged().map_err(Into::into) } else { Ok(()) }
    }
}
