//! A model that is running: its memory stays where it is, and can be reached, until the guard is dropped.

use super::MemoryOrchestrator;
use super::binding::MemoryBinding;
use super::held::Place;
use crate::device::AddressRange;
use crate::pool::{OutOfBounds, PoolError};
use crate::sync::lock;
use crate::units::ByteSize;

/// A model that is running; see [`MemoryOrchestrator::begin`].
pub struct RunGuard<'a> {
    pub(super) orchestrator: &'a MemoryOrchestrator,
    pub(super) binding: MemoryBinding,
}

impl RunGuard<'_> {
    /// Where the model's memory is, for as long as the guard lives.
    pub fn binding(&self) -> &MemoryBinding {
        &self.binding
    }

    /// Fills a part of the model's memory, such as a tensor's place, with a pattern of four bytes: the byte at address
    /// `a` becomes byte `a mod 4` of `pattern`, least significant first.
    pub fn fill(&self, place: AddressRange, pattern: u32) -> Result<(), PoolError> {
        let (held, offset) = self.locate(place)?;
        self.orchestrator.pool.fill_part(held.id, offset, place.size, pattern)
    }

    /// Copies bytes to an address in the model's memory and on.
    pub fn write(&self, to: u64, bytes: &[u8]) -> Result<(), PoolError> {
        let (held, offset) = self.locate(AddressRange::new(to, ByteSize::new(bytes.len() as u64)))?;
        self.orchestrator.pool.write(held.id, offset, bytes)
    }

    /// Copies what is at an address in the model's memory and on.
    pub fn read(&self, from: u64, into: &mut [u8]) -> Result<(), PoolError> {
        let (held, offset) = self.locate(AddressRange::new(from, ByteSize::new(into.len() as u64)))?;
        self.orchestrator.pool.read(held.id, offset, into)
    }

    /// The offset of the first byte of a place that a [`fill`](Self::fill) of `pattern` has not left so; looks as
    /// [`find_mismatch`](crate::device::find_mismatch) does.
    pub fn find_mismatch(
        &self,
        place: AddressRange,
        pattern: u32,
        stride: Option<ByteSize>,
    ) -> Result<Option<u64>, PoolError> {
        let (held, offset) = self.locate(place)?;
        self.orchestrator.pool.find_mismatch_in(held.id, offset, place.size, pattern, stride)
    }

    /// Which of the model's memory a place is in, and where in it.
    fn locate(&self, place: AddressRange) -> Result<(Place, u64), PoolError> {
        let held = self.binding.places.iter().flatten();
        let mut inside = held.filter_map(|held| {
            let offset = place.base.checked_sub(held.range.base)?;
            held.range.part(offset, place.size).map(|_| (*held, offset))
        });
        inside.next().ok_or_else(|| {
            let nearest = self.binding.arena.or(self.binding.weights);
            let allocation = nearest.unwrap_or(AddressRange::new(0, ByteSize::ZERO));
            PoolError::OutOfBounds(Box::new(OutOfBounds { range: place, allocation }))
        })
    }
}

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        lock(&self.orchestrator.book).end(&self.binding.model);
        self.orchestrator.changed.notify_all();
    }
}
