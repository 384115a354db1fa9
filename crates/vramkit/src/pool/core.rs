//! What a pool's handles share: the way of a request from the book to memory, and back.
//!
//! See the pool's first lines for the order of steps and locks.

use std::sync::{Arc, RwLock};

use super::blocks::{Block, BlockId, Blocks, Label, Table};
use super::book::{Book, Excess};
use super::classes::SizeClasses;
use super::clock;
use super::counts::Counts;
use super::front::{self, Fronts};
use super::granules::Granules;
use super::record::{Recorded, Recorder};
use super::request::{AllocationId, OwnerId, Purpose, Request};
use super::streams::Line;
use super::{PoolConfig, PoolError, Reclaimer};
use crate::device::{AddressRange, Backing, Device, DeviceError, HostMemory, Reservation, asker};
use crate::latch::{Latch, LatchGuard};
use crate::stall::StallMeter;
use crate::sync::{AtomicU64, Mutex};
use crate::units::ByteSize;

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
    /// Offsets and granted sizes are multiples of `1 << shift` bytes.
    pub(super) shift: u32,
    pub(super) classes: SizeClasses,
    /// Whether grants note the time.
    pub(super) ages: bool,
    pub(super) granules: Granules,
    pub(super) blocks: Blocks,
    pub(super) fronts: Fronts,
    pub(super) book: Latch<Book>,
    pub(super) counts: Counts,
    /// Time that requests wait for memory.
    pub(super) stall: StallMeter,
    /// Requests that neither a block nor reclaiming could serve.
    pub(super) failures: AtomicU64,
    pub(super) reclaimers: Mutex<Vec<(u64, Reclaimer)>>,
    pub(super) recorder: std::sync::OnceLock<Recorder>,
    /// Released on streams, not yet free.
    pub(super) line: Line,
    /// Read while movable memory is pinned or released, written while it moves.
    pub(super) moves: RwLock<()>,
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
    Budget(Box<Excess>),
}

impl Inner {
    /// Takes addresses for `capacity` bytes, rounded up to units.
    pub(super) fn new(
        device: Arc<dyn Backing>,
        capacity: ByteSize,
        config: PoolConfig,
    ) -> Result<Self, PoolError> {
        // Units are counted in 32 bits.
        let mut shift = UNIT_SHIFT;
        while capacity.bytes().div_ceil(1 << shift) > u64::from(u32::MAX) {
            shift += 1;
        }
        let capacity = capacity.checked_align_up(1 << shift).unwrap_or(capacity);
        let memory = device.reserve(capacity)?;
        let range = memory.range();
        let granularity = device.info().granularity;
        check(&range, capacity, granularity).map_err(|reason| DeviceError::InvalidRange {
            device: device.info().id,
            operation: "reserving",
            range,
            reason,
        })?;
        let blocks = Blocks::new(capacity.bytes());
        let units = (capacity.bytes() >> shift) as u32;
        Ok(Self {
            granules: Granules::new(range, granularity),
            device,
            host: memory.host(asker::Pool),
            memory,
            range,
            capacity,
            shift,
            classes: config.classes,
            ages: config.ages,
            book: Latch::new(Book::new(blocks.table(), units, shift)),
            blocks,
            fronts: Fronts::new(units),
            counts: Counts::default(),
            stall: StallMeter::default(),
            failures: AtomicU64::new(0),
            reclaimers: Mutex::new(Vec::new()),
            recorder: std::sync::OnceLock::new(),
            line: Line::default(),
            moves: RwLock::new(()),
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
        self.record_allocation(placed.id, request);
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
        if self.ages { clock::now() } else { 0 }
    }

    /// Units in bytes.
    #[inline(always)]
    pub(super) fn bytes(&self, units: u32) -> u64 {
        u64::from(units) << self.shift
    }

    #[inline]
    pub(super) fn record_allocation(&self, id: AllocationId, request: &Request) {
        if let Some(recorder) = self.recorder.get() {
            recorder(&self.recorded(id, request));
        }
    }

    #[inline]
    pub(super) fn record_release(&self, id: AllocationId) {
        if let Some(recorder) = self.recorder.get() {
            recorder(&Recorded::Release { id: id.to_string() });
        }
    }

    #[cold]
    fn recorded(&self, id: AllocationId, request: &Request) -> Recorded {
        let book = self.book.lock();
        let owner = &book.owners[usize::from(book.known(request.owner).0)];
        let owner = match (&*owner.model, owner.purpose) {
            ("", Purpose::Other) => String::new(),
            (model, purpose) => format!("{model} ({purpose})"),
        };
        let offset = self.bytes(self.table().at(id.0.index).offset());
        Recorded::Allocate {
            id: id.to_string(),
            bytes: request.size,
            address: self.range.base + offset,
            owner,
            tag: book.tag_name(request.tag).to_owned(),
        }
    }

    /// What a request is granted: bytes, and units. `None` when that cannot be counted.
    #[inline]
    pub(super) fn granted(&self, size: u64) -> Option<(u64, u32)> {
        let mask = (1u64 << self.shift) - 1;
        let mut granted = size.checked_add(mask)? & !mask;
        if self.classes != SizeClasses::Exact {
            let rounded = self.classes.round(size)?.checked_add(mask)? & !mask;
            if rounded - size <= u64::from(u32::MAX) {
                granted = rounded;
            }
        }
        Some((granted, u32::try_from(granted >> self.shift).ok()?))
    }

    /// A block, with or without memory behind it.
    #[inline(always)]
    pub(super) fn place(&self, request: &Request) -> Result<Placed, Refusal> {
        if request.is_plain() && !self.fronts.are_active() {
            // Nearly all requests: compiled for themselves, without what the others need.
            return self.place_in_book(request, 1, false);
        }
        self.place_with_care(request)
    }

    /// A block for a request that wants something special, or one that this thread may have kept.
    #[inline(never)]
    fn place_with_care(&self, request: &Request) -> Result<Placed, Refusal> {
        let alignment = u32::try_from(request.alignment >> self.shift).map_err(|_| Refusal::NoRoom)?.max(1);
        if self.fronts.are_active()
            && alignment == 1
            && !request.movable
            && let Some(placed) = self.place_from_front(request)
        {
            return Ok(placed);
        }
        self.place_in_book(request, alignment, request.movable)
    }

    #[inline(always)]
    fn place_in_book(&self, request: &Request, alignment: u32, movable: bool) -> Result<Placed, Refusal> {
        // First, because it is a call: nothing has to be kept over it.
        let born = self.now();
        let size = request.size.bytes();
        let (granted, units) = self.granted(size).ok_or(Refusal::NoRoom)?;
        let mut book = self.lock_book();
        let owner = book.known(request.owner);
        book.check_budget(owner, granted).map_err(|over| Refusal::Budget(Box::new(over)))?;
        let (index, block) = book.fit.allocate(self.table(), units, alignment).ok_or(Refusal::NoRoom)?;
        let label = Label { owner, tag: request.tag, slack: (granted - size) as u32, born };
        let mut stamp = block.set_live(label, request.handle);
        if movable {
            stamp = block.set_movable();
        }
        let offset = self.bytes(block.offset());
        book.grant(&self.counts, offset, granted, label);
        self.note_peaks();
        Ok(Placed { id: AllocationId(BlockId { index, stamp }), offset, granted })
    }

    /// What a block granted now is for.
    pub(super) fn label(&self, request: &Request, owner: OwnerId, granted: u64) -> Label {
        let slack = (granted - request.size.bytes()) as u32;
        Label { owner, tag: request.tag, slack, born: self.now() }
    }

    /// A block that this thread kept.
    fn place_from_front(&self, request: &Request) -> Option<Placed> {
        let (granted, units) = self.granted(request.size.bytes())?;
        let label = self.label(request, request.owner, granted);
        let index = self.fronts.take(self.table(), units, label)?;
        let block = self.table().at(index);
        let offset = self.bytes(block.offset());
        let stamp = block.set_live(label, request.handle);
        self.note_peaks();
        Some(Placed { id: AllocationId(BlockId { index, stamp }), offset, granted })
    }

    /// The book's lock, on the paths that many threads take; notes when it passes from one to another.
    #[inline(always)]
    fn lock_book(&self) -> LatchGuard<'_, Book> {
        let mut book = self.book.lock();
        let thread = front::thread();
        if book.last_thread != thread {
            self.note_meeting(&mut book, thread);
        }
        book
    }

    #[cold]
    fn note_meeting(&self, book: &mut Book, thread: usize) {
        book.last_thread = thread;
        book.meetings += 1;
        if book.meetings == front::MEETINGS {
            self.fronts.activate();
        }
    }

    /// Peaks are exact for one thread; with several they may be over by what other threads' fronts keep.
    #[inline(always)]
    fn note_peaks(&self) {
        let (mut used, mut requested) = (self.counts.used(), self.counts.requested());
        if self.fronts.are_active() {
            (used, requested) = self.without_own(used, requested);
        }
        self.counts.note_peaks(used, requested);
    }

    /// Counts without what this thread's front keeps.
    #[cold]
    fn without_own(&self, used: u64, requested: u64) -> (u64, u64) {
        let (units, slack) = self.fronts.own_tally();
        let used = used.saturating_sub(units << self.shift);
        (used, requested.wrapping_sub(units << self.shift).wrapping_add_signed(slack).min(used))
    }

    /// The book, with everything in it that fronts kept.
    pub(super) fn recalled(&self) -> LatchGuard<'_, Book> {
        let mut book = self.book.lock();
        book.recall(&self.counts, self.table(), &self.fronts);
        book
    }

    /// Granted to live allocations now.
    pub(super) fn used(&self) -> u64 {
        let kept = self.fronts.units() << self.shift;
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
        if self.fronts.are_active() || id.0.is_movable() || self.recorder.get().is_some() {
            return self.release_with_care(id);
        }
        self.release_to_book(id)
    }

    /// As [`release`](Self::release), where others may be about to do the same, or have to be told.
    fn release_with_care(&self, id: AllocationId) -> Result<(), PoolError> {
        // A live block keeps its size, so every release of an id goes the same way.
        let may_keep = self.fronts.may_keep(self.find(id)?.size());
        self.record_release(id);
        // Memory that may be moved is not released while it moves.
        let _moves = id.0.is_movable().then(|| crate::sync::read(&self.moves));
        if may_keep && self.fronts.are_active() && !id.0.is_movable() {
            return self.release_to_front(id);
        }
        self.release_to_book(id)
    }

    #[inline(always)]
    fn release_to_book(&self, id: AllocationId) -> Result<(), PoolError> {
        let mut book = self.lock_book();
        let block = self.find(id)?;
        // As long as fronts are not in use, all releases come by this lock, and a look is enough; they may have come
        // into use since the last one.
        if self.fronts.are_active() && self.fronts.may_keep(block.size()) && !block.keep(id.0.stamp) {
            return Err(PoolError::UnknownAllocation(id));
        }
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
        if !self.table().at(index).keep(stamp) {
            return Err(PoolError::UnknownAllocation(id));
        }
        if let Some(left_over) = self.fronts.keep(self.table(), index) {
            self.take_back(&mut self.lock_book(), left_over);
        }
        Ok(())
    }

    pub(super) fn granted_to(&self, id: AllocationId) -> ByteSize {
        self.find(id).map_or(ByteSize::ZERO, |block| ByteSize::new(self.bytes(block.size())))
    }

    pub(super) fn resolve(&self, id: AllocationId) -> Result<AddressRange, PoolError> {
        let block = self.find(id)?;
        let offset = self.bytes(block.offset());
        let requested = (self.bytes(block.size())) - u64::from(block.label().slack);
        // Still the same use: what was read belongs together.
        self.find(id)?;
        Ok(AddressRange::new(self.range.base + offset, ByteSize::new(requested)))
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

/// The smallest unit of a pool, as a power of two: 256 bytes.
pub(super) const UNIT_SHIFT: u32 = 8;
