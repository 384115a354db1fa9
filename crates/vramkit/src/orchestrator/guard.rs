//! A model that runs: its memory stays where it is until the guard goes.
//!
//! The guard owns its share of the memory, so even a model that is released meanwhile gives it back only then. It borrows
//! nothing, so an engine can keep it beside what it computes.

use std::sync::Arc;

use super::access::{self, AccessError, Place};
use super::binding::MemoryBinding;
use super::held::SharedMemory;
use super::shared::Shared;
use super::stale::{StaleBinding, StaleReason};
use crate::device::AddressRange;
use crate::loader::{LoadError, LoadOptions, LoadReport, WeightSource, WeightTarget, load_weights};
use crate::plan::TensorLifetime;
use crate::pool::PoolError;
use crate::sync::lock;
use crate::units::ByteSize;

/// A model that is running; see [`MemoryBinding::begin`] and
/// [`MemoryOrchestrator::begin`](super::MemoryOrchestrator::begin).
#[derive(Debug)]
pub struct RunGuard {
    binding: MemoryBinding,
    arena: Option<Arc<SharedMemory>>,
    weights: Option<Arc<SharedMemory>>,
    shared: Arc<Shared>,
}

impl RunGuard {
    /// `None` when the binding has ended.
    pub(super) fn begin(shared: Arc<Shared>, binding: &MemoryBinding) -> Option<Self> {
        let (arena, weights) = lock(&shared.table).begin(&binding.model, &binding.lease)?;
        Some(Self { binding: binding.clone(), arena, weights, shared })
    }

    /// The binding that runs.
    pub fn binding(&self) -> &MemoryBinding {
        &self.binding
    }

    /// The addresses of the arena, which the plan's models share; `None` when the plan needs none. Of use until the guard
    /// is dropped.
    pub fn arena(&self) -> Option<AddressRange> {
        self.arena.as_ref().map(|held| held.range())
    }

    /// The addresses of the model's weights; `None` when it has none. Of use until the guard is dropped.
    pub fn weights(&self) -> Option<AddressRange> {
        self.weights.as_ref().map(|held| held.range())
    }

    /// The model's tensors, each with its addresses, of use until the guard is dropped. Tensors without bytes have none.
    pub fn tensors(&self) -> impl Iterator<Item = (&TensorLifetime, AddressRange)> + '_ {
        self.binding.tensors().filter_map(|(tensor, offset)| {
            let place = self.arena()?.part(offset.bytes(), tensor.size)?;
            (!tensor.size.is_zero()).then_some((tensor, place))
        })
    }

    /// The addresses of one tensor, looked for among all of the model's.
    pub fn place(&self, tensor: &str) -> Result<AddressRange, AccessError> {
        Ok(self.tensor(tensor)?.range)
    }

    fn tensor<'a>(&'a self, id: &'a str) -> Result<Place<'a>, AccessError> {
        let found = self.tensors().find(|(tensor, _)| &*tensor.id == id);
        let (_, range) = found.ok_or_else(|| self.nothing(Some(id)))?;
        self.at(id, range)
    }

    fn own_weights(&self) -> Result<Place<'_>, AccessError> {
        let held = self.weights.as_ref().ok_or_else(|| self.nothing(None))?;
        Ok(Place { model: &self.binding.model, tensor: None, held, range: held.range() })
    }

    fn nothing(&self, tensor: Option<&str>) -> AccessError {
        AccessError::Nothing { model: self.binding.model.clone(), what: access::name(tensor) }
    }

    /// Writes bytes into a tensor, from a byte of it on.
    pub fn write(&self, tensor: &str, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        self.tensor(tensor)?.write(offset, bytes)
    }

    /// Reads bytes of a tensor, from a byte of it on.
    pub fn read(&self, tensor: &str, offset: u64, into: &mut [u8]) -> Result<(), AccessError> {
        self.tensor(tensor)?.read(offset, into)
    }

    /// Fills a tensor with a pattern of four bytes.
    pub fn fill(&self, tensor: &str, pattern: u32) -> Result<(), AccessError> {
        self.tensor(tensor)?.fill(pattern)
    }

    /// Writes bytes into the weights, from a byte of them on.
    pub fn write_weights(&self, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        self.own_weights()?.write(offset, bytes)
    }

    /// Reads bytes of the weights, from a byte of them on.
    pub fn read_weights(&self, offset: u64, into: &mut [u8]) -> Result<(), AccessError> {
        self.own_weights()?.read(offset, into)
    }

    /// Fills the weights with a pattern of four bytes.
    pub fn fill_weights(&self, pattern: u32) -> Result<(), AccessError> {
        self.own_weights()?.fill(pattern)
    }

    /// Copies the weights from a source; see [`loader`](crate::loader). When it fails the model is bound as before, and what
    /// its weights hold is of no use.
    pub fn load_weights(
        &self,
        source: &dyn WeightSource,
        options: &LoadOptions,
    ) -> Result<LoadReport, LoadError> {
        load_weights(source, &mut &*self, options)
    }

    /// A tensor whose place is known.
    pub(super) fn at<'a>(&'a self, tensor: &'a str, range: AddressRange) -> Result<Place<'a>, AccessError> {
        let held = self.arena.as_ref().ok_or_else(|| self.nothing(Some(tensor)))?;
        Ok(Place { model: &self.binding.model, tensor: Some(tensor), held, range })
    }

    /// Fills a place of the arena.
    pub(super) fn fill_arena(&self, place: AddressRange, pattern: u32) -> Result<(), PoolError> {
        self.arena.as_ref().map_or(Ok(()), |held| held.fill(place, pattern))
    }

    /// Where a place of the arena does not hold its pattern.
    pub(super) fn mismatch(
        &self,
        place: AddressRange,
        pattern: u32,
        stride: Option<ByteSize>,
    ) -> Result<Option<u64>, PoolError> {
        self.arena.as_ref().map_or(Ok(None), |held| held.find_mismatch(place, pattern, stride))
    }

    /// As [`fill_arena`](Self::fill_arena), all of the weights.
    pub(super) fn fill_own(&self, pattern: u32) -> Result<(), PoolError> {
        self.weights.as_ref().map_or(Ok(()), |held| held.fill(held.range(), pattern))
    }

    /// As [`mismatch`](Self::mismatch), in the weights.
    pub(super) fn own_mismatch(
        &self,
        pattern: u32,
        stride: Option<ByteSize>,
    ) -> Result<Option<u64>, PoolError> {
        self.weights.as_ref().map_or(Ok(None), |held| held.find_mismatch(held.range(), pattern, stride))
    }
}

impl WeightTarget for &RunGuard {
    fn size(&self) -> ByteSize {
        self.weights.as_ref().map_or(ByteSize::ZERO, |held| held.range().size)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PoolError> {
        self.weights.as_ref().map_or(Ok(()), |held| held.write_at(offset, bytes))
    }
}

/// Using a binding: each read or write is a short run.
impl MemoryBinding {
    /// Marks the model as running until the guard is dropped: it counts as just used, and no policy touches it.
    pub fn begin(&self) -> Result<RunGuard, StaleBinding> {
        let begun = self.shared.upgrade().and_then(|shared| RunGuard::begin(shared, self));
        begun.ok_or_else(|| StaleBinding {
            model: self.model.clone(),
            why: self.stale().unwrap_or(StaleReason::Released),
        })
    }

    /// Writes bytes to the start of a tensor.
    pub fn write(&self, tensor: &str, bytes: &[u8]) -> Result<(), AccessError> {
        self.begin()?.write(tensor, 0, bytes)
    }

    /// Reads bytes from the start of a tensor.
    pub fn read(&self, tensor: &str, into: &mut [u8]) -> Result<(), AccessError> {
        self.begin()?.read(tensor, 0, into)
    }

    /// Fills a tensor with a pattern of four bytes.
    pub fn fill(&self, tensor: &str, pattern: u32) -> Result<(), AccessError> {
        self.begin()?.fill(tensor, pattern)
    }

    /// Writes bytes into the weights, from a byte of them on.
    pub fn write_weights(&self, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        self.begin()?.write_weights(offset, bytes)
    }

    /// Reads bytes of the weights, from a byte of them on.
    pub fn read_weights(&self, offset: u64, into: &mut [u8]) -> Result<(), AccessError> {
        self.begin()?.read_weights(offset, into)
    }

    /// Fills the weights with a pattern of four bytes.
    pub fn fill_weights(&self, pattern: u32) -> Result<(), AccessError> {
        self.begin()?.fill_weights(pattern)
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        // The memory first: whoever is woken finds it free, if the model was released meanwhile.
        drop((self.arena.take(), self.weights.take()));
        lock(&self.shared.table).end(&self.binding.model, &self.binding.lease);
        self.shared.wake();
    }
}
