//! What a pool's handles share: the way of a request from the book to memory, and back.
//!
//! See the pool's first lines for the order of steps and locks.

use std::sync::{Arc, RwLock};

use super::blocks::{Block, BlockId, Blocks, Kind, Label, Seen, Table};
use super::book::Book;
use super::classes::SizeClasses;
use super::clock;
use super::config::PoolConfig;
use super::counts::Counts;
use super::error::PoolError;
use super::granules::Granules;
use super::ids::AllocationId;
use super::ids::UnknownOwner;
use super::moves::Moves;
use super::owners::Excess;
use super::reclaim::Reclaimer;
use super::record::Recording;
use super::request::{Request, UNIT_SHIFT};
use super::thread_cache::{self, ThreadCaches};
use crate::device::{AddressRange, Backing, Device, DeviceError, HostMemory, Reservation, asker};
use crate::spin_park::{SpinParkGuard, SpinParkLock};
use crate::stall::StallMeter;
use crate::sync::{AtomicU64, Mutex};
use vramkit_units::ByteSize;

/// What handles and the pool share.
pub(crate) struct Inner {
    /// What readers may ask.
    pub(super) device: Arc<dyn Device>,
    /// The addresses, and the only way to the memory behind them.
    pub(super) memory: Box<dyn Reservation>,
    /// Where that memory is in this process, on devices of the host's memory.
    pub(super) host: Option<HostMemory>,
    pub(super) range: AddressRange,
    pub(super) capacity: ByteSize,
    /// Whether addresses cost nothing, so that requests may have some beyond the capacity.
    pub(super) addresses_are_free: bool,
    /// Offsets and granted sizes are multiples of `1 << shift` bytes.
    pub(super) shift: u32,
    pub(super) config: PoolConfig,
    pub(super) granules: Granules,
    pub(super) blocks: Blocks,
    pub(super) thread_caches: ThreadCaches,
    pub(super) book: SpinParkLock<Book>,
    pub(super) counts: Counts,
    /// Time that requests wait for memory.
    pub(super) stall: StallMeter,
    /// Requests that neither a block nor reclaiming could serve.
    pub(super) failures: AtomicU64,
    pub(super) reclaimers: Mutex<Vec<(u64, Reclaimer)>>,
    pub(super) recording: Recording,
    /// Bytes released on streams, not yet free.
    pub(super) pending: AtomicU64,
    /// Requests that wait for streams.
    pub(super) waiting: AtomicU64,
    pub(super) moves: Moves,
    /// Read while memory is reached by id; written, for an instant, before a slice of it is made.
    pub(super) accesses: RwLock<()>,
}

/// A grant before memory is behind it.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub(super) id: AllocationId,
    pub(super) offset: u64,
    pub(super) granted: u64,
}

/// Why no block was placed.
pub(super) enum Refusal {
    /// None fits.
    NoRoom,
    /// One fits, and the device has no memory for it.
    NoMemory(Box<DeviceError>),
    Budget(Excess),
    Owner(UnknownOwner),
}

impl Inner {
    /// Takes addresses for `capacity` bytes, rounded up to units, and for more where they cost nothing.
    pub(super) fn new(
        device: Arc<dyn Backing>,
        capacity: ByteSize,
        config: PoolConfig,
    ) -> Result<Self, PoolError> {
        // Units are counted in 32 bits.
        let mut shift = UNIT_SHIFT;
        let addresses_are_free = device.has_virtual_memory();
        let wanted = config.addresses.filter(|_| addresses_are_free).unwrap_or(capacity).max(capacity);
        while wanted.bytes().div_ceil(1 << shift) > u64::from(u32::MAX) {
            shift += 1;
        }
        let unit = 1 << shift;
        let capacity = capacity.checked_align_up(unit).unwrap_or(capacity);
        let most = u64::from(u32::MAX) << shift;
        let memory = match config.addresses {
            None if addresses_are_free => {
                let many = capacity.bytes().saturating_mul(ADDRESSES_PER_BYTE).min(most);
                // Fewer will do where the system is short even of addresses.
                device.reserve(ByteSize::new(many)).or_else(|_| device.reserve(capacity))?
            }
            _ => device.reserve(wanted.checked_align_up(unit).unwrap_or(capacity))?,
        };
        let range = memory.range();
        let blocks = Blocks::new(capacity.bytes());
        let units = (capacity.bytes() >> shift) as u32;
        let granularity = device.info().granularity;
        check(&range, capacity, granularity).map_err(|reason| DeviceError::InvalidRange {
            device: device.info().id,
            operation: "reserving",
            range,
            reason,
        })?;
        let (limit, end) = match addresses_are_free {
            // Whole granules, so that none is left in pieces at the end.
            true => (capacity, (capacity.bytes().next_multiple_of(granularity.bytes()) >> shift) as u32),
            false => (ByteSize::MAX, units),
        };
        Ok(Self {
            granules: Granules::new(range, granularity, limit),
            device,
            host: memory.host(asker::Pool),
            memory,
            range,
            capacity,
            addresses_are_free,
            shift,
            config,
            book: SpinParkLock::new(Book::new(blocks.table(), end, shift)),
            blocks,
            thread_caches: ThreadCaches::new(units),
            counts: Counts::default(),
            stall: StallMeter::default(),
            failures: AtomicU64::new(0),
            reclaimers: Mutex::new(Vec::new()),
            recording: Recording::default(),
            pending: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            moves: Moves::default(),
            accesses: RwLock::new(()),
        })
    }

    /// Requests go by reference all the way: the caller has just written them field by field, and to copy one as a
    /// whole would wait for that.
    #[inline(always)]
    pub(super) fn allocate(&self, request: &Request) -> Result<Placed, PoolError> {
        Self::check(request)?;
        let placed = match self.place(request) {
            Ok(placed) if self.granules.has(placed.offset, placed.granted) => placed,
            placed => self.allocate_slowly(request, placed)?,
        };
        if self.recording.is_on() {
            self.record_allocation(placed.id, request)?;
        }
        Ok(placed)
    }

    /// Whether a request makes sense.
    #[inline(always)]
    pub(super) fn check(request: &Request) -> Result<(), PoolError> {
        if request.size.is_zero() {
            return Err(PoolError::ZeroSize);
        }
        if !request.is_plain() && !request.alignment.is_power_of_two() {
            return Err(PoolError::Alignment(request.alignment));
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn table(&self) -> Table<'_> {
        self.blocks.table()
    }

    /// What a grant notes as its time.
    #[inline(always)]
    pub(super) fn now(&self) -> u32 {
        if self.config.ages { clock::now() } else { 0 }
    }

    /// Units in bytes.
    #[inline(always)]
    pub(super) fn bytes(&self, units: u32) -> u64 {
        u64::from(units) << self.shift
    }

    /// An alignment in units; `None` when it is more than a pool has.
    pub(super) fn alignment(&self, request: &Request) -> Option<u32> {
        u32::try_from(request.alignment >> self.shift).ok().map(|units| units.max(1))
    }

    /// What a request is granted: bytes, and units. `None` when that cannot be counted.
    #[inline]
    pub(super) fn granted(&self, size: u64) -> Option<(u64, u32)> {
        let mask = (1u64 << self.shift) - 1;
        let mut granted = size.checked_add(mask)? & !mask;
        if self.config.classes != SizeClasses::Exact {
            let rounded = self.config.classes.round(size)?.checked_add(mask)? & !mask;
            if rounded - size <= u64::from(u32::MAX) {
                granted = rounded;
            }
        }
        Some((granted, u32::try_from(granted >> self.shift).ok()?))
    }

    /// A block, with or without memory behind it.
    #[inline(always)]
    pub(super) fn place(&self, request: &Request) -> Result<Placed, Refusal> {
        if request.is_plain() && !self.thread_caches.are_active() {
            // Nearly all requests: compiled for themselves, without what the others need.
            return self.place_in_book(request, 1);
        }
        self.place_with_care(request)
    }

    /// A block for a request that wants something special, or one that this thread may have kept.
    #[inline(never)]
    fn place_with_care(&self, request: &Request) -> Result<Placed, Refusal> {
        let alignment = self.alignment(request).ok_or(Refusal::NoRoom)?;
        if self.thread_caches.are_active()
            && alignment == 1
            && request.kind != Kind::Movable
            && let Some(placed) = self.place_from_front(request)
        {
            return Ok(placed);
        }
        self.place_in_book(request, alignment)
    }

    #[inline(always)]
    fn place_in_book(&self, request: &Request, alignment: u32) -> Result<Placed, Refusal> {
        // First, because it is a call: nothing has to be kept over it.
        let born = self.now();
        let size = request.size.bytes();
        let (granted, units) = self.granted(size).ok_or(Refusal::NoRoom)?;
        let mut book = self.lock_book();
        let owner = book.owners.known(request.owner).map_err(Refusal::Owner)?;
        book.owners.check(owner, granted).map_err(Refusal::Budget)?;
        // There may be more free addresses than memory.
        if granted > self.capacity.bytes() - self.counts.used() {
            return Err(Refusal::NoRoom);
        }
        let (index, block) = book.fit.allocate(self.table(), units, alignment).ok_or(Refusal::NoRoom)?;
        let label = Label { owner, tag: request.tag.0, slack: (granted - size) as u32, born };
        let stamp = block.set_live(request.kind, label);
        let offset = self.bytes(block.offset());
        book.grant(&self.counts, offset, granted, label);
        self.note_peaks();
        Ok(Placed { id: AllocationId(BlockId { index, stamp }), offset, granted })
    }

    /// Makes a block live and counts it. Under the book's lock.
    pub(super) fn grant(
        &self,
        book: &mut Book,
        request: &Request,
        owner: u16,
        granted: u64,
        index: u32,
        block: &Block,
    ) -> Placed {
        let label = self.label(request, owner, granted);
        let stamp = block.set_live(request.kind, label);
        let offset = self.bytes(block.offset());
        book.grant(&self.counts, offset, granted, label);
        self.note_peaks();
        Placed { id: AllocationId(BlockId { index, stamp }), offset, granted }
    }

    /// What a block granted now is for.
    pub(super) fn label(&self, request: &Request, owner: u16, granted: u64) -> Label {
        let slack = (granted - request.size.bytes()) as u32;
        Label { owner, tag: request.tag.0, slack, born: self.now() }
    }

    /// A block that this thread kept.
    fn place_from_front(&self, request: &Request) -> Option<Placed> {
        let (granted, units) = self.granted(request.size.bytes())?;
        let label = self.label(request, request.owner.number, granted);
        let index = self.thread_caches.take(self.table(), units, request.owner, label)?;
        let block = self.table().at(index);
        let offset = self.bytes(block.offset());
        let stamp = block.set_live(request.kind, label);
        self.note_peaks();
        Some(Placed { id: AllocationId(BlockId { index, stamp }), offset, granted })
    }

    /// The book's lock, on the paths that many threads take; notes when it passes from one to another.
    #[inline(always)]
    fn lock_book(&self) -> SpinParkGuard<'_, Book> {
        let mut book = self.book.lock();
        let thread = thread_cache::thread();
        if book.last_thread != thread {
            self.note_meeting(&mut book, thread);
        }
        book
    }

    #[cold]
    fn note_meeting(&self, book: &mut Book, thread: usize) {
        book.last_thread = thread;
        book.meetings += 1;
        if book.meetings == thread_cache::MEETINGS {
            self.thread_caches.activate();
        }
    }

    /// Peaks are exact for one thread; with several they may be over by what other threads' caches keep.
    #[inline(always)]
    pub(super) fn note_peaks(&self) {
        let (mut used, mut requested) = (self.counts.used(), self.counts.requested());
        if self.thread_caches.are_active() {
            (used, requested) = self.without_own(used, requested);
        }
        self.counts.note_peaks(used, requested);
    }

    /// Counts without what this thread's cache keeps.
    #[cold]
    fn without_own(&self, used: u64, requested: u64) -> (u64, u64) {
        let (units, slack) = self.thread_caches.own_tally();
        let used = used.saturating_sub(units << self.shift);
        (used, requested.wrapping_sub(units << self.shift).wrapping_add_signed(slack).min(used))
    }

    /// The book, with everything in it that thread caches kept.
    pub(super) fn recalled(&self) -> SpinParkGuard<'_, Book> {
        let mut book = self.book.lock();
        book.recall(&self.counts, self.table(), &self.thread_caches);
        book
    }

    /// Granted to live allocations, or still in use by streams, now.
    pub(super) fn used(&self) -> u64 {
        self.free_finished();
        let kept = self.thread_caches.units() << self.shift;
        self.counts.used().saturating_sub(kept)
    }

    /// The block of an id, when it is live.
    #[inline]
    pub(super) fn find(&self, id: AllocationId) -> Result<&Block, PoolError> {
        match self.table().get(id.0.index) {
            Some(block) if block.is(id.0.stamp) => Ok(block),
            _ => Err(PoolError::UnknownAllocation(id)),
        }
    }

    #[inline(always)]
    pub(super) fn release(&self, id: AllocationId) -> Result<(), PoolError> {
        if self.thread_caches.are_active() || !id.0.stays() || self.recording.is_on() {
            return self.release_with_care(id);
        }
        self.release_to_book(id)
    }

    /// As [`release`](Self::release), where others may be about to do the same, or have to be told.
    #[inline(never)]
    fn release_with_care(&self, id: AllocationId) -> Result<(), PoolError> {
        if self.recording.is_on() {
            self.find(id)?;
            return self.recording_release(id, || self.release_unrecorded(id));
        }
        self.release_unrecorded(id)
    }

    #[inline(always)]
    fn release_unrecorded(&self, id: AllocationId) -> Result<(), PoolError> {
        if !id.0.stays() {
            return self.release_special(id);
        }
        // A live block keeps its size, so every release of an id goes the same way.
        if self.thread_caches.may_keep(self.find(id)?.size()) && self.thread_caches.are_active() {
            return self.release_to_front(id);
        }
        self.release_to_book(id)
    }

    /// Of what grows in place, or may be moved.
    #[cold]
    fn release_special(&self, id: AllocationId) -> Result<(), PoolError> {
        if id.0.is_growing() {
            return self.release_growing(id);
        }
        // Memory that may be moved is not released while it moves.
        let _still = self.moves.hold(id.0.index);
        self.release_to_book(id)
    }

    #[inline(always)]
    fn release_to_book(&self, id: AllocationId) -> Result<(), PoolError> {
        let mut book = self.lock_book();
        let block = self.find(id)?;
        // As long as thread caches are not in use, all releases come by this lock, and a look is enough; they may have come
        // into use since the last one.
        if self.thread_caches.are_active()
            && self.thread_caches.may_keep(block.size())
            && !block.keep(id.0.stamp)
        {
            return Err(PoolError::UnknownAllocation(id));
        }
        book.count_release(block.label(), self.bytes(block.size()));
        book.take_back(&self.counts, self.table(), id.0.index, block);
        Ok(())
    }

    /// Frees a block that the caller alone holds.
    #[inline(never)]
    pub(super) fn take_back(&self, book: &mut Book, index: u32) {
        let table = self.table();
        book.take_back(&self.counts, table, index, table.at(index));
    }

    /// Leaves a block with this thread, when there is a place for it.
    fn release_to_front(&self, id: AllocationId) -> Result<(), PoolError> {
        let BlockId { index, stamp } = id.0;
        let block = self.table().at(index);
        if !block.keep(stamp) {
            return Err(PoolError::UnknownAllocation(id));
        }
        let (granted, now) = (self.bytes(block.size()), self.now());
        if let Some(left_over) = self.thread_caches.keep(self.table(), index, (granted, now)) {
            let mut book = self.lock_book();
            if left_over == index {
                book.count_release(block.label(), granted);
            }
            self.take_back(&mut book, left_over);
        }
        Ok(())
    }

    /// A live allocation's block, as it is at one instant.
    #[inline]
    pub(super) fn look_at(&self, id: AllocationId) -> Result<Seen, PoolError> {
        let block = self.table().get(id.0.index);
        block.and_then(|block| block.look_at(id.0.stamp)).ok_or(PoolError::UnknownAllocation(id))
    }

    /// Bytes that a live block was asked for.
    pub(super) fn requested_of(&self, seen: &Seen) -> u64 {
        match seen.is_growing() {
            true => self.grown(seen.size, seen.label.slack).0,
            false => self.bytes(seen.size) - u64::from(seen.label.slack),
        }
    }

    /// Bytes that a live block counts for.
    pub(super) fn granted_of(&self, seen: &Seen) -> u64 {
        match seen.is_growing() {
            true => self.grown(seen.size, seen.label.slack).1,
            false => self.bytes(seen.size),
        }
    }

    pub(super) fn granted_to(&self, id: AllocationId) -> ByteSize {
        self.look_at(id).map_or(ByteSize::ZERO, |seen| ByteSize::new(self.granted_of(&seen)))
    }

    pub(super) fn resolve(&self, id: AllocationId) -> Result<AddressRange, PoolError> {
        let seen = self.look_at(id)?;
        let requested = ByteSize::new(self.requested_of(&seen));
        Ok(AddressRange::new(self.range.base + self.bytes(seen.offset), requested))
    }
}

/// Whether a reservation is what granules can be counted in. All that is said of memory behind addresses rests on it.
fn check(range: &AddressRange, capacity: ByteSize, granularity: ByteSize) -> Result<(), &'static str> {
    if !granularity.bytes().is_power_of_two() {
        return Err("the device's granularity is not a power of two");
    }
    if range.size < capacity || range.base.checked_add(range.size.bytes()).is_none() {
        return Err("it is smaller than was asked");
    }
    let whole = |bytes: u64| bytes.is_multiple_of(granularity.bytes());
    if whole(range.base) && whole(range.size.bytes()) { Ok(()) } else { Err("not on granule boundaries") }
}

/// Where addresses cost nothing, a pool has so many for each byte of its capacity, as far as units can be counted: more
/// than the worst order of requests and releases can scatter (Robson, "Bounds for some functions concerning dynamic
/// storage allocation", JACM 1974: half the logarithm of the ratio of the largest size to the smallest).
const ADDRESSES_PER_BYTE: u64 = if cfg!(loom) { 2 } else { 16 };
