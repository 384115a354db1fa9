//! Reading and writing what a binding holds. The only place of the orchestrator that touches a device's memory, always
//! through an allocation that the caller holds, and never outside of it.

use std::sync::Arc;

use super::held::SharedMemory;
use super::stale::StaleBinding;
use crate::device::AddressRange;
use crate::pool::PoolError;
use crate::units::ByteSize;

/// Why nothing was read or written (after a device's error: perhaps a part).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The binding has ended.
    #[error(transparent)]
    Stale(#[from] StaleBinding),
    /// There is no such thing.
    #[error("model `{model}` has no {what} in its plan; ids are those of the plan's `tensors`")]
    Nothing {
        /// The model.
        model: Arc<str>,
        /// What was asked for.
        what: String,
    },
    /// It is smaller than that.
    #[error("{what} of model `{model}` has {size}: {length} bytes at byte {offset} do not lie in it")]
    OutOfBounds {
        /// The model.
        model: Arc<str>,
        /// The tensor, or the weights.
        what: String,
        /// Its size.
        size: ByteSize,
        /// Where it was to be read or written.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// The device failed.
    #[error("{what} of model `{model}`: {error}")]
    Device {
        /// The model.
        model: Arc<str>,
        /// The tensor, or the weights.
        what: String,
        /// What the pool or its device said.
        error: PoolError,
    },
}

/// A place in memory that is held, with the names that errors use.
pub(super) struct Place<'a> {
    pub(super) model: &'a Arc<str>,
    /// The tensor; the weights without one.
    pub(super) tensor: Option<&'a str>,
    pub(super) held: &'a SharedMemory,
    pub(super) range: AddressRange,
}

impl Place<'_> {
    fn what(&self) -> String {
        name(self.tensor)
    }

    fn part(&self, offset: u64, length: u64) -> Result<AddressRange, AccessError> {
        self.range.part(offset, ByteSize::new(length)).ok_or_else(|| AccessError::OutOfBounds {
            model: self.model.clone(),
            what: self.what(),
            size: self.range.size,
            offset,
            length,
        })
    }

    fn failed(&self, error: PoolError) -> AccessError {
        AccessError::Device { model: self.model.clone(), what: self.what(), error }
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        let part = self.part(offset, bytes.len() as u64)?;
        self.held.write(part, bytes).map_err(|error| self.failed(error))
    }

    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), AccessError> {
        let part = self.part(offset, into.len() as u64)?;
        self.held.read(part, into).map_err(|error| self.failed(error))
    }

    pub(super) fn fill(&self, pattern: u32) -> Result<(), AccessError> {
        self.held.fill(self.range, pattern).map_err(|error| self.failed(error))
    }
}

/// What errors call a tensor, or the weights.
pub(super) fn name(tensor: Option<&str>) -> String {
    tensor.map_or_else(|| "the weights".to_owned(), |id| format!("tensor `{id}`"))
}
