//! Memory that grows in place: addresses for all that it may become, memory for what it is.
//!
//! A sequence's keys and values grow by a token at a time up to a whole context. With addresses for the context and
//! granules committed as it grows, nothing is copied, nothing moves, and only what is committed counts. The addresses are
//! whole granules, so what is committed behind them is nobody else's.

use std::fmt;
use std::sync::Arc;

use super::blocks::{BlockId, Kind, Label};
use super::book::Book;
use super::core::{Inner, Refusal};
use super::error::PoolError;
use super::ids::{AllocationId, TagId};
use super::request::Request;
use crate::device::AddressRange;
use vramkit_units::ByteSize;

/// Memory of a pool that grows and shrinks without moving; given back when dropped.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::SimulatedDevice, pool::{DeviceMemoryPool, Request}};
/// # let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// # let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
/// let mut cache = pool.reserve(Request::new(ByteSize::ZERO), ByteSize::mib(32))?;
/// let base = cache.range().base;
/// cache.resize(ByteSize::mib(10))?;
/// assert_eq!(cache.range().base, base); // it grows in place
/// assert!(cache.resize(ByteSize::mib(33)).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct GrowingAllocation {
    pool: Arc<Inner>,
    id: AllocationId,
    requested: ByteSize,
    reserved: AddressRange,
}

impl GrowingAllocation {
    /// Where it is on the device; as long as was requested last. It begins at the same address for as long as it lives.
    pub fn range(&self) -> AddressRange {
        AddressRange::new(self.reserved.base, self.requested)
    }

    /// Bytes asked for.
    pub fn requested(&self) -> ByteSize {
        self.requested
    }

    /// Bytes that it counts for: whole granules.
    pub fn granted(&self) -> ByteSize {
        self.pool.granted_to(self.id)
    }

    /// The most that it can grow to.
    pub fn reserved(&self) -> ByteSize {
        self.reserved.size
    }

    pub(super) fn pool(&self) -> &Inner {
        &self.pool
    }

    /// Grows or shrinks to so many bytes. What it keeps keeps its content, what is new has any; granules beyond go back
    /// to the device. Room is made as for an allocation; on an error nothing has changed.
    pub fn resize(&mut self, size: ByteSize) -> Result<(), PoolError> {
        if size > self.reserved.size {
            return Err(PoolError::BeyondReserve { requested: size, reserved: self.reserved.size });
        }
        if size > self.requested {
            self.pool.grow(self.id, self.requested, size)?;
        } else {
            self.pool.shrink(self.id, size)?;
        }
        self.requested = size;
        Ok(())
    }
}

impl Drop for GrowingAllocation {
    fn drop(&mut self) {
        if let Err(error) = self.pool.release(self.id) {
            tracing::error!(%error, "a growing allocation had been released before its handle was dropped");
        }
    }
}

impl fmt::Debug for GrowingAllocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrowingAllocation")
            .field("id", &self.id)
            .field("requested", &self.requested)
            .field("reserved", &self.reserved)
            .finish()
    }
}

impl Inner {
    /// Addresses for `most` bytes, and memory for the request's.
    pub(super) fn allocate_growing(
        self: &Arc<Self>,
        request: Request,
        most: ByteSize,
    ) -> Result<GrowingAllocation, PoolError> {
        // Finished memory is free for this as for everything.
        self.free_finished();
        let most = most.max(request.size);
        if most.is_zero() {
            return Err(PoolError::ZeroSize);
        }
        if !request.alignment.is_power_of_two() {
            return Err(PoolError::Alignment(request.alignment));
        }
        let (id, offset, reserved) = self.take_addresses(&request, most)?;
        let range = AddressRange::new(self.range.base + offset, reserved);
        let mut growing =
            GrowingAllocation { pool: self.clone(), id, requested: ByteSize::ZERO, reserved: range };
        growing.resize(request.size)?;
        if self.recording.is_on() {
            self.record_allocation(id, &request)?;
        }
        Ok(growing)
    }

    /// A block of addresses that counts for nothing yet: new ones first, so that plain requests keep theirs together.
    fn take_addresses(
        &self,
        request: &Request,
        most: ByteSize,
    ) -> Result<(AllocationId, u64, ByteSize), PoolError> {
        let granularity = self.granules.granularity().max(1 << self.shift);
        let none = || PoolError::NoAddresses { requested: most, addresses: self.range.size };
        let reserved = most.checked_align_up(granularity).ok_or_else(none)?;
        let units = u32::try_from(reserved.bytes() >> self.shift).map_err(|_| none())?;
        let granule = (granularity >> self.shift) as u32;
        let alignment = self.alignment(request).ok_or_else(none)?.max(granule);
        let table = self.table();
        // What is committed behind addresses counts, so none of it stays behind those that are reserved.
        let mut trim = self.granules.begin_trim();
        let mut book = self.recalled();
        let owner = book.owners.known(request.owner)?;
        let capacity = (self.capacity.bytes() >> self.shift) as u32;
        let mut found = book.fit.allocate_above(table, capacity, units, alignment);
        if found.is_none() {
            let left = (self.range.size.bytes() >> self.shift).saturating_sub(u64::from(book.fit.end(table)));
            // Units are whole granules, and so is what lies before them.
            let needed =
                (u64::from(units) + u64::from(alignment - 1)).next_multiple_of(u64::from(granule.max(1)));
            if needed <= left {
                book.fit.extend(table, needed as u32);
                found = book.fit.allocate_above(table, capacity, units, alignment);
            }
        }
        let (index, block) = found.or_else(|| book.fit.allocate(table, units, alignment)).ok_or_else(none)?;
        let label = Label { owner, tag: request.tag.0, slack: units, born: self.now() };
        let stamp = block.set_live(Kind::Growing, label);
        let offset = self.bytes(block.offset());
        book.granted += 1;
        book.noted = label.born;
        book.reserved += reserved.bytes();
        book.owners.at(owner).allocations += 1;
        trim.give_up(offset, reserved.bytes());
        drop(book);
        let id = AllocationId(BlockId { index, stamp });
        if let Err(error) = trim.finish(&*self.memory) {
            self.release_growing(id)?;
            return Err(error.into());
        }
        Ok((id, offset, reserved))
    }

    fn grow(&self, id: AllocationId, from: ByteSize, size: ByteSize) -> Result<(), PoolError> {
        // What room is made for: only what is missing, by the granule.
        let granularity = self.granules.granularity();
        let old = from.bytes().next_multiple_of(granularity);
        let missing = size.bytes().next_multiple_of(granularity).saturating_sub(old);
        let (owner, tag) = {
            let label = self.find(id)?.label();
            (self.book.lock().owners.id(label.owner), TagId(label.tag))
        };
        let request = Request::new(ByteSize::new(missing.max(1))).owner(owner).tag(tag);
        let again = || self.try_to_grow(id, size);
        match again()? {
            Ok(()) => Ok(()),
            refused => {
                let _waiting = self.stall.wait();
                self.make_room(&request, refused, again)
            }
        }
    }

    /// Counts what is new and puts memory behind it.
    fn try_to_grow(&self, id: AllocationId, size: ByteSize) -> Result<Result<(), Refusal>, PoolError> {
        let (offset, old, new, owner, slack) = {
            let mut book = self.book.lock();
            let block = self.find(id)?;
            let (label, units) = (block.label(), block.size());
            let (old_slack, slack) = (label.slack, units - self.units(size));
            let ((was, old), (is, new)) = (self.grown(units, old_slack), self.grown(units, slack));
            let more = new - old;
            if let Err(excess) = book.owners.check(label.owner, more) {
                return Ok(Err(Refusal::Budget(excess)));
            }
            if more > self.capacity.bytes() - self.counts.used() {
                return Ok(Err(Refusal::NoRoom));
            }
            let offset = self.bytes(block.offset());
            self.counts.grow(more, is - was);
            book.charge(offset, old, more, label.owner);
            self.note_peaks();
            block.set_slack(slack);
            (offset, old, new, label.owner, old_slack)
        };
        if new == old || self.granules.has(offset + old, new - old) {
            return Ok(Ok(()));
        }
        let mut undo = Ungrown { pool: self, id, slack, owner, armed: true };
        let outcome = self.put_memory_behind(offset + old, new - old)?;
        if outcome.is_ok() {
            undo.armed = false;
            self.book.lock().misses += 1;
        }
        Ok(outcome)
    }

    /// What the device refuses to take back is given up when the allocation is: it is smaller in any case.
    fn shrink(&self, id: AllocationId, size: ByteSize) -> Result<(), PoolError> {
        let mut trim = self.granules.begin_trim();
        {
            let mut book = self.book.lock();
            let block = self.find(id)?;
            let label = block.label();
            let (old, new) = self.set_grown(&mut book, id, block.size() - self.units(size), label.owner);
            // As the ledger counts what lives: all of it is as old as its first byte.
            book.count_release(label, old - new);
            trim.give_up(self.bytes(block.offset()) + new, old - new);
        }
        if let Err(error) = trim.finish(&*self.memory) {
            tracing::warn!(%error, "memory of an allocation that has become smaller could not be given back yet");
        }
        Ok(())
    }

    /// Gives back the memory and the addresses of an allocation that grows.
    pub(super) fn release_growing(&self, id: AllocationId) -> Result<(), PoolError> {
        let mut book = self.book.lock();
        let block = self.find(id)?;
        let label = block.label();
        let (held, _) = self.set_grown(&mut book, id, block.size(), label.owner);
        book.count_release(label, held);
        book.reserved -= self.bytes(block.size());
        book.owners.at(label.owner).allocations -= 1;
        book.fit.free(self.table(), id.0.index, block);
        Ok(())
    }

    /// Counts an allocation as smaller: so many units of it are reserved beyond what is asked for. The bytes that it
    /// counted for, and counts for now.
    fn set_grown(&self, book: &mut Book, id: AllocationId, slack: u32, owner: u16) -> (u64, u64) {
        let block = self.table().at(id.0.index);
        let (units, old_slack) = (block.size(), block.label().slack);
        let ((was, old), (is, new)) = (self.grown(units, old_slack), self.grown(units, slack));
        self.counts.shrink(old - new, was - is);
        book.reserved += old - new;
        book.owners.at(owner).granted -= old - new;
        block.set_slack(slack);
        (old, new)
    }

    /// What a block of so many units, so many of them reserved alone, was asked for and counts for, in bytes.
    pub(super) fn grown(&self, units: u32, slack: u32) -> (u64, u64) {
        let requested = self.bytes(units - slack);
        (requested, requested.next_multiple_of(self.granules.granularity()))
    }

    /// Bytes in units, rounded up.
    fn units(&self, size: ByteSize) -> u32 {
        (size.bytes().div_ceil(1 << self.shift)) as u32
    }
}

/// Counts an allocation as it was before it grew, when no memory was put behind what is new: also when the device panics.
struct Ungrown<'a> {
    pool: &'a Inner,
    id: AllocationId,
    slack: u32,
    owner: u16,
    armed: bool,
}

impl Drop for Ungrown<'_> {
    fn drop(&mut self) {
        if self.armed {
            let mut book = self.pool.book.lock();
            self.pool.set_grown(&mut book, self.id, self.slack, self.owner);
        }
    }
}
