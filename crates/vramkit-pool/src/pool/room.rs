//! What happens when no block with memory behind it is at hand: memory is committed, room is made in every way there is,
//! and at last the error says why not and what would help.

use super::blocks::Block;
use super::core::{Inner, Placed, Refusal};
use super::error::{OutOfMemory, OverBudget, PoolError};
use super::granules::Refused;
use super::inside::Inside;
use super::owners::Excess;
use super::reclaim::{ReclaimRequest, Reclaimer};
use super::request::Request;
use super::stats::CompactReport;
use crate::device::DeviceError;
use crate::sync::{Ordering, lock};
use vramkit_units::ByteSize;

/// How many owners an out-of-memory error names.
const OWNERS_IN_ERRORS: usize = 5;

/// What a request tries again after each remedy: the outer error ends it.
type Outcome<T> = Result<Result<T, Refusal>, PoolError>;

impl Inner {
    /// A block without memory behind it, or none yet.
    #[cold]
    #[inline(never)]
    pub(super) fn allocate_slowly(
        &self,
        request: &Request,
        placed: Result<Placed, Refusal>,
    ) -> Result<Placed, PoolError> {
        let _waiting = self.stall.wait();
        let first = self.commit(request, placed)?;
        self.make_room(request, first, || self.commit(request, self.place(request)))
    }

    /// Tries again after each remedy that changes something.
    pub(super) fn make_room<T>(
        &self,
        request: &Request,
        first: Result<T, Refusal>,
        again: impl Fn() -> Outcome<T>,
    ) -> Result<T, PoolError> {
        let mut refusal = match first {
            Ok(granted) => return Ok(granted),
            Err(refusal) => refusal,
        };
        let mut compacted = None;
        for remedy in [Self::recall, Self::look_at_streams, Self::add_addresses] {
            if remedy(self, request, &refusal) {
                match again()? {
                    Ok(granted) => return Ok(granted),
                    Err(refused) => refusal = refused,
                }
            }
        }
        let mut patience = Patience::new(self.config.patience);
        while self.could_wait(request, &refusal) && patience.lasts() {
            self.wait_for_streams();
            self.add_addresses(request, &refusal);
            match again()? {
                Ok(granted) => return Ok(granted),
                Err(refused) => refusal = refused,
            }
        }
        if let Some(report) = self.compact_for(request, &refusal) {
            compacted = Some(report);
            match again()? {
                Ok(granted) => return Ok(granted),
                Err(refused) => refusal = refused,
            }
        }
        if self.reclaim(request, &refusal) {
            self.add_addresses(request, &refusal);
            match again()? {
                Ok(granted) => return Ok(granted),
                Err(refused) => refusal = refused,
            }
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        if let (Some(error), Refusal::NoRoom | Refusal::NoMemory(_)) =
            (self.missing_stream(request), &refusal)
        {
            return Err(error.into());
        }
        Err(match refusal {
            Refusal::NoRoom => self.out_of_memory(request, None, compacted),
            Refusal::NoMemory(error) => self.out_of_memory(request, Some(*error), compacted),
            Refusal::Budget(over) => self.over_budget(request, over),
            Refusal::Owner(unknown) => unknown.into(),
        })
    }

    /// Why a stream could not be asked, when what such streams hold would be enough for a request.
    fn missing_stream(&self, request: &Request) -> Option<DeviceError> {
        let (granted, _) = self.granted(request.size.bytes())?;
        let book = self.book.lock();
        let error = book.deferred.failing()?;
        let held = book.deferred.failing_units() << self.shift;
        (granted <= self.capacity.bytes() - self.counts.used() + held).then(|| error.clone())
    }

    /// What thread caches keep may be all that is missing.
    fn recall(&self, _: &Request, _: &Refusal) -> bool {
        let kept = self.thread_caches.units() > 0;
        if kept {
            drop(self.recalled());
        }
        kept
    }

    fn look_at_streams(&self, _: &Request, _: &Refusal) -> bool {
        self.free_finished() > 0
    }

    /// Where addresses cost nothing, what is free in pieces is as good as one piece, by the granule: new addresses for
    /// the request, as long as there are enough granules without anything in them.
    fn add_addresses(&self, request: &Request, refusal: &Refusal) -> bool {
        if !self.addresses_are_free || !matches!(refusal, Refusal::NoRoom) {
            return false;
        }
        let (Some((granted, units)), Some(alignment)) =
            (self.granted(request.size.bytes()), self.alignment(request))
        else {
            return false;
        };
        let table = self.table();
        let mut book = self.book.lock();
        // When it is memory that it lacks, addresses are of no use.
        if granted > self.capacity.bytes() - self.counts.used() || units > self.grantable_now(&book) {
            return false;
        }
        // From a granule's start to a granule's end, so that no granule is left in pieces.
        let granule = u64::from(self.granule());
        let needed = (u64::from(units) + u64::from(alignment - 1)).next_multiple_of(granule) + granule;
        let left = (self.range.size.bytes() >> self.shift).saturating_sub(u64::from(book.fit.end(table)));
        let missing = needed.saturating_sub(u64::from(book.fit.free_at_end(table))).next_multiple_of(granule);
        let Some(missing) = u32::try_from(missing).ok().filter(|_| missing <= left) else { return false };
        book.fit.extend(table, missing);
        true
    }

    /// A block for a request whose own choice would have taken more granules than the capacity leaves.
    fn place_sparingly(&self, request: &Request) -> Result<Placed, Refusal> {
        let (granted, units) = self.granted(request.size.bytes()).ok_or(Refusal::NoRoom)?;
        let alignment = self.alignment(request).ok_or(Refusal::NoRoom)?;
        let granule = self.granule();
        let mut book = self.book.lock();
        let owner = book.owners.known(request.owner).map_err(Refusal::Owner)?;
        book.owners.check(owner, granted).map_err(Refusal::Budget)?;
        if granted > self.capacity.bytes() - self.counts.used() {
            return Err(Refusal::NoRoom);
        }
        let left = self.granules_left(&book, book.fit.whole_granules(granule));
        let found = book.fit.allocate_sparingly(self.table(), units, alignment, granule, left);
        let (index, block) = found.ok_or(Refusal::NoRoom)?;
        Ok(self.grant(&mut book, request, owner, granted, index, block))
    }

    /// Whether a request could be granted once streams have finished, given why it is not now.
    fn could_wait(&self, request: &Request, refusal: &Refusal) -> bool {
        let Some((granted, units)) = self.granted(request.size.bytes()) else { return false };
        let pending = self.pending();
        if pending == 0 || granted > self.capacity.bytes() {
            return false;
        }
        let book = self.book.lock();
        let Ok(owner) = book.owners.known(request.owner) else { return false };
        // Nobody waits for a stream that cannot be asked.
        let pending = match book.deferred.failing() {
            Some(_) => pending.saturating_sub(book.deferred.failing_units() << self.shift),
            None => pending,
        };
        if pending == 0 {
            return false;
        }
        match refusal {
            Refusal::Budget(excess) => {
                let own: u64 = match excess.whole_model {
                    false => book.owners.get(owner).pending,
                    true => book.owners.of_model(owner).iter().map(|&o| book.owners.get(o).pending).sum(),
                };
                excess.held.saturating_sub(own).saturating_add(granted) <= excess.budget
            }
            Refusal::NoRoom | Refusal::NoMemory(_) => {
                let used = self.counts.used().saturating_sub(pending);
                if used.saturating_add(granted) > self.capacity.bytes() {
                    return false;
                }
                let is_free =
                    |index, block: &Block| block.is_free() || book.deferred.may_finish(index, block);
                let room = self.room(&book, request, is_free);
                // What streams use still counts as used, so this looks at places alone.
                room.fits || self.bytes(units) <= self.in_new_addresses(&book, room)
            }
            Refusal::Owner(_) => false,
        }
    }

    /// Moves what is movable, when that would make a block for the request.
    fn compact_for(&self, request: &Request, refusal: &Refusal) -> Option<CompactReport> {
        let (_, units) = self.granted(request.size.bytes())?;
        if !matches!(refusal, Refusal::NoRoom) {
            return None;
        }
        {
            let book = self.book.lock();
            let free = (self.capacity.bytes() - self.counts.used()) >> self.shift;
            if u64::from(units) > free || self.grantable_after_compacting(&book) < units {
                return None;
            }
        }
        match self.compact(Some(units), self.config.compact_budget) {
            Ok(report) => Some(report),
            Err(error) => {
                tracing::warn!(%error, "compacting for a request failed");
                None
            }
        }
    }

    /// Puts memory behind a block, if there is one. When the device has none or fails otherwise (the outer error),
    /// the block is given back.
    #[cold]
    fn commit(&self, request: &Request, placed: Result<Placed, Refusal>) -> Outcome<Placed> {
        let placed = match placed {
            Ok(placed) if !self.granules.has(placed.offset, placed.granted) => placed,
            settled => return Ok(settled),
        };
        match self.back(placed)? {
            Err(Refusal::NoRoom) if self.addresses_are_free => match self.place_sparingly(request) {
                Ok(placed) => self.back(placed),
                Err(refusal) => Ok(Err(refusal)),
            },
            settled => Ok(settled),
        }
    }

    fn back(&self, placed: Placed) -> Outcome<Placed> {
        let unbacked = Unbacked { pool: self, index: placed.id.0.index };
        if let Err(refusal) = self.put_memory_behind(placed.offset, placed.granted)? {
            return Ok(Err(refusal));
        }
        std::mem::forget(unbacked);
        self.book.lock().misses += 1;
        Ok(Ok(placed))
    }

    /// Commits what is missing behind `[offset, offset + size)`. Where that would be more than the capacity, free
    /// granules elsewhere are given up first.
    pub(super) fn put_memory_behind(&self, offset: u64, size: u64) -> Outcome<()> {
        // Others commit meanwhile; who has given up enough thrice and still lost it has met too many of them.
        for _ in 0..3 {
            match self.granules.commit(&*self.memory, offset, size) {
                Ok(()) => return Ok(Ok(())),
                Err(Refused::Full { missing }) => {
                    if self.give_up_granules(missing)? < missing {
                        return Ok(Err(Refusal::NoRoom));
                    }
                }
                Err(Refused::Device(error @ DeviceError::OutOfMemory { .. })) => {
                    return Ok(Err(Refusal::NoMemory(Box::new(error))));
                }
                Err(Refused::Device(error)) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    return Err(error.into());
                }
            }
        }
        Ok(Err(Refusal::NoRoom))
    }

    /// Gives free granules back to the device, so many bytes of them if there are; those highest up in the largest
    /// blocks first. Returns how many bytes.
    fn give_up_granules(&self, bytes: u64) -> Result<u64, PoolError> {
        let mut trim = self.granules.begin_trim();
        let mut given = 0;
        {
            let book = self.book.lock();
            let mut free: Vec<(u32, u32)> = book.fit.free_at_least(self.granule()).collect();
            free.sort_unstable_by_key(|&(offset, _)| std::cmp::Reverse(offset));
            for (offset, size) in free {
                if given >= bytes {
                    break;
                }
                given += trim.give_up_some(self.bytes(offset), self.bytes(size), bytes - given);
            }
        }
        trim.finish(&*self.memory)?;
        Ok(given)
    }

    /// Makes room: free granules go back to the device, then callbacks may release more. Not for a request that such a
    /// callback makes, which would call it again.
    fn reclaim(&self, request: &Request, refusal: &Refusal) -> bool {
        if matches!(refusal, Refusal::Budget(_) | Refusal::Owner(_)) {
            return false;
        }
        let Some(_inside) = Inside::enter(self) else { return false };
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "trimming for a request failed");
        }
        let callbacks: Vec<Reclaimer> =
            lock(&self.reclaimers).iter().map(|(_, callback)| callback.clone()).collect();
        let free = ByteSize::new(self.capacity.bytes() - self.used());
        for callback in callbacks {
            callback(&ReclaimRequest { requested: request.size, free });
        }
        true
    }

    fn out_of_memory(
        &self,
        request: &Request,
        device_error: Option<DeviceError>,
        compacted: Option<CompactReport>,
    ) -> PoolError {
        self.free_finished();
        let book = self.recalled();
        let used = self.counts.used();
        let free = self.capacity.bytes() - used;
        let rounded = self.granted(request.size.bytes()).map_or(u64::MAX, |(bytes, _)| bytes);
        let largest = self.bytes(self.grantable_now(&book));
        // Where a block begins is aligned to the pool's unit; the rest of an alignment may be lost before it.
        let lost = request.alignment.saturating_sub(self.bytes(1));
        PoolError::OutOfMemory(Box::new(OutOfMemory {
            device: self.device.info().id,
            requested: request.size,
            rounded: ByteSize::new(rounded),
            alignment: request.alignment,
            largest_free: ByteSize::new(largest),
            most: ByteSize::new(self.config.classes.most_within(largest.saturating_sub(lost))),
            free: ByteSize::new(free),
            capacity: self.capacity,
            pending: ByteSize::new(self.pending()),
            trim_frees: ByteSize::new(self.granules.committed().bytes().saturating_sub(used)),
            largest_after_compacting: ByteSize::new(self.bytes(self.grantable_after_compacting(&book))),
            compacted,
            evict: book.owners.least_to_evict(rounded, free),
            owners: book.owners.holding(OWNERS_IN_ERRORS),
            device_error,
        }))
    }

    fn over_budget(&self, request: &Request, over: Excess) -> PoolError {
        let book = self.book.lock();
        let Ok(owner) = book.owners.known(request.owner) else { return PoolError::UnknownOwner };
        let (model, purpose) = book.owners.name(owner);
        PoolError::OverBudget(Box::new(OverBudget {
            model,
            purpose: (!over.whole_model).then_some(purpose),
            requested: request.size,
            held: ByteSize::new(over.held),
            budget: ByteSize::new(over.budget),
        }))
    }
}

/// How long a request waits for streams.
struct Patience {
    #[cfg(not(loom))]
    start: std::time::Instant,
    #[cfg(not(loom))]
    longest: std::time::Duration,
    #[cfg(not(loom))]
    said: bool,
}

#[cfg(not(loom))]
impl Patience {
    fn new(longest: std::time::Duration) -> Self {
        Self { start: std::time::Instant::now(), longest, said: false }
    }

    /// Says in the log that there is a wait, once it has gone on for a while.
    fn lasts(&mut self) -> bool {
        let waited = self.start.elapsed();
        if waited > std::time::Duration::from_secs(1) && !self.said {
            self.said = true;
            tracing::warn!("a request has waited a second for streams to be done with memory, and goes on");
        }
        waited < self.longest
    }
}

/// The model checker has no time.
#[cfg(loom)]
impl Patience {
    fn new(_: std::time::Duration) -> Self {
        Self {}
    }

    fn lasts(&mut self) -> bool {
        true
    }
}

/// Frees a block that no memory was put behind: also when the device panics.
struct Unbacked<'a> {
    pool: &'a Inner,
    index: u32,
}

impl Drop for Unbacked<'_> {
    fn drop(&mut self) {
        let mut book = self.pool.book.lock();
        self.pool.take_back(&mut book, self.index);
        // It was never anybody's.
        book.granted -= 1;
    }
}
