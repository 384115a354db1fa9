//! Memory that may be moved, and moving it together.
//!
//! The holder of movable memory has no address, only a handle; for as long as it holds a [`Pinned`] guard, the handle
//! resolves to one. Compacting slides blocks that are movable and not pinned down into free memory below them, lowest
//! first. It never waits for a pin, so it can neither block nor be blocked for long. Blocks that stay bound what can be
//! joined.
//!
//! A block is copied in pieces that do not overlap their target. Where the free memory below it is small beside it, that
//! would be many: then pieces go by way of another place, so that a move takes two copies for each [`BOUNCE`] at most.
//! What a request does for itself has a budget of copies and bytes, and moves only what makes its block.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use super::blocks::Block;
use super::book::Book;
use super::config::CompactBudget;
use super::core::{Inner, Refusal};
use super::error::PoolError;
use super::ids::AllocationId;
use super::moves::Move;
use super::stats::CompactReport;
use crate::device::{AddressRange, DeviceError, Stream};
use vramkit_units::ByteSize;

/// The largest piece that goes by way of main memory.
const BOUNCE: u64 = 8 << 20;

/// Memory of a pool that the pool may move; given back when it is dropped, or when the last [`Pinned`] of it is.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::SimulatedDevice, pool::{DeviceMemoryPool, Request}};
/// # let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// # let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
/// let block = pool.allocate_movable(Request::new(ByteSize::mib(1)))?;
/// let pinned = block.pin(); // stays where it is for as long as this lives
/// assert_eq!(pinned.range().size, ByteSize::mib(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MovableAllocation {
    held: Arc<Held>,
    requested: ByteSize,
}

/// What a handle and its pins share.
struct Held {
    pool: Arc<Inner>,
    /// `None` once the memory is no longer theirs to release.
    id: Option<AllocationId>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(id) = self.id
            && let Err(error) = self.pool.release(id)
        {
            tracing::error!(%error, "a movable allocation had been released before its handle was dropped");
        }
    }
}

impl MovableAllocation {
    pub(super) fn new(pool: Arc<Inner>, id: AllocationId, requested: ByteSize) -> Self {
        Self { held: Arc::new(Held { pool, id: Some(id) }), requested }
    }

    fn id(&self) -> AllocationId {
        self.held.id.expect("a handle has its id until it is consumed")
    }

    /// Where it is, until the guard is dropped; work that uses the address must be done by then. The guard may be kept,
    /// and sent elsewhere: this memory does not move meanwhile, and is not given back.
    pub fn pin(&self) -> Pinned {
        let id = self.id();
        self.held.pool.moves.pin(id.0.index);
        let range = self.held.pool.resolve(id).expect("a handle's allocation is live");
        Pinned { range, held: self.held.clone() }
    }

    /// As [`pin`](Self::pin), by the one who may change what is there, which is nobody while other pins are out.
    pub fn pin_mut(&mut self) -> Result<PinnedMut<'_>, PoolError> {
        // Nobody else gets a pin while the handle is borrowed mutably.
        match Arc::get_mut(&mut self.held) {
            Some(_) => Ok(PinnedMut { pinned: self.pin(), _handle: PhantomData }),
            None => Err(PoolError::Pinned(self.id())),
        }
    }

    /// Bytes asked for.
    pub fn requested(&self) -> ByteSize {
        self.requested
    }

    /// Releases the memory while work queued on a stream up to now may still use it; see
    /// [`Allocation::release_on`](super::Allocation::release_on). While it is pinned that is an error, and it is released
    /// when it is not any more.
    pub fn release_on(self, stream: &dyn Stream) -> Result<(), PoolError> {
        let id = self.id();
        let Ok(mut held) = Arc::try_unwrap(self.held) else { return Err(PoolError::Pinned(id)) };
        held.id = None;
        held.pool.release_on(id, stream)
    }
}

impl fmt::Debug for MovableAllocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MovableAllocation")
            .field("id", &self.held.id)
            .field("requested", &self.requested)
            .finish()
    }
}

/// Keeps movable memory where it is.
pub struct Pinned {
    range: AddressRange,
    held: Arc<Held>,
}

impl Pinned {
    /// Where the memory is on the device; as long as was requested.
    pub fn range(&self) -> AddressRange {
        self.range
    }

    pub(super) fn pool(&self) -> &Inner {
        &self.held.pool
    }
}

/// As [`Pinned`], for the one who may change what is there.
#[derive(Debug)]
pub struct PinnedMut<'a> {
    pinned: Pinned,
    _handle: PhantomData<&'a mut MovableAllocation>,
}

impl std::ops::Deref for PinnedMut<'_> {
    type Target = Pinned;

    fn deref(&self) -> &Pinned {
        &self.pinned
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(id) = self.held.id {
            self.held.pool.moves.let_go(id.0.index);
        }
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("range", &self.range).finish()
    }
}

impl Inner {
    /// Whether compacting may move a block now.
    pub(super) fn may_move(&self, index: u32, block: &Block) -> bool {
        block.is_movable() && !self.moves.is_held(index)
    }

    /// Slides movable blocks down until there is a free block of `enough` units, or no more can be moved, or the budget is
    /// used up.
    pub(super) fn compact(
        &self,
        enough: Option<u32>,
        budget: CompactBudget,
    ) -> Result<CompactReport, PoolError> {
        let start = Instant::now();
        let _alone = self.moves.compacting();
        let mut report = CompactReport::default();
        {
            let book = self.recalled();
            report.largest_before_bytes = ByteSize::new(self.bytes(book.fit.largest_free()));
            report.pinned = book
                .fit
                .iter(self.table())
                .any(|(index, block)| block.is_movable() && self.moves.is_held(index));
        }
        // The last block moved counts as being moved until the next one is, so its place remains what it is.
        let mut last = None;
        while let Some(moved) = self.move_one(last.as_ref(), enough, budget, &mut report)? {
            last = Some(moved);
        }
        drop(last);
        report.largest_after_bytes = ByteSize::new(self.bytes(self.book.lock().fit.largest_free()));
        report.elapsed = start.elapsed();
        Ok(report)
    }

    /// The place of the first block of the stretch between blocks that stay in which moving the fewest bytes makes a free
    /// block of so many units.
    fn cheapest_window(&self, book: &Book, units: u32) -> Option<u32> {
        let (mut window, mut free, mut moved) = (VecDeque::new(), 0u64, 0u64);
        let mut best: Option<(u64, u32)> = None;
        for (index, block) in book.fit.iter(self.table()) {
            let size = u64::from(block.size());
            match (block.is_free(), self.may_move(index, block)) {
                (true, _) => free += size,
                (false, true) => moved += size,
                (false, false) => {
                    window.clear();
                    (free, moved) = (0, 0);
                    continue;
                }
            }
            window.push_back((index, size, block.is_free()));
            // From the left, as much as can go: blocks below the first free one need not move.
            while let Some(&(_, size, is_free)) = window.front() {
                if is_free && free - size < u64::from(units) {
                    break;
                }
                *(if is_free { &mut free } else { &mut moved }) -= size;
                window.pop_front();
            }
            if free >= u64::from(units)
                && best.is_none_or(|(least, _)| moved < least)
                && let Some(&(first, ..)) = window.front()
            {
                best = Some((moved, first));
            }
        }
        best.map(|(_, first)| first)
    }

    /// Moves the next block that can be moved down, above the last one. `None` when there is none, or no more to do.
    fn move_one(
        &self,
        last: Option<&Move<'_>>,
        enough: Option<u32>,
        budget: CompactBudget,
        report: &mut CompactReport,
    ) -> Result<Option<Move<'_>>, PoolError> {
        let table = self.table();
        let mut book = self.book.lock();
        if enough.is_some_and(|enough| book.fit.largest_free() >= enough) {
            return Ok(None);
        }
        let from = match (last, enough) {
            (Some(last), _) => Some(last.index),
            (None, Some(units)) => self.cheapest_window(&book, units),
            (None, None) => book.fit.iter(table).next().map(|(index, _)| index),
        };
        let Some(from) = from else { return Ok(None) };
        let can_move = |&(index, block): &(u32, &Block)| {
            self.may_move(index, block) && table.at(block.below()).is_free()
        };
        let Some((index, block)) = book.fit.iter_from(table, from).find(can_move) else { return Ok(None) };
        let (size, gap) = (self.bytes(block.size()), self.bytes(table.at(block.below()).size()));
        let way = Way::of(size, gap);
        if report.copies + way.copies(size) > budget.copies
            || report.moved_bytes.bytes() + size > budget.bytes.bytes()
        {
            report.unfinished = true;
            return Ok(None);
        }
        // A release of the block waits until the move has ended.
        let Some(moving) = self.moves.begin(index) else { return Ok(None) };
        let Some(held) = book.fit.hold_below(table, index) else { return Ok(None) };
        drop(book);
        let mut undo = GiveBack { pool: self, held, slid: None };
        let Some(copies) = self.copy_down(held, index, way)? else {
            report.unfinished = true;
            return Ok(None);
        };
        report.copies += copies;
        undo.slid = Some(index);
        drop(undo);
        report.moved += 1;
        report.moved_bytes += ByteSize::new(size);
        let mut book = self.book.lock();
        book.compacted.moves += 1;
        book.compacted.bytes += size;
        Ok(Some(moving))
    }

    /// Copies a block to where the free block below it begins. Returns how many copies it took; `None` when there is no
    /// memory for it within the pool's capacity.
    fn copy_down(&self, held: u32, index: u32, way: Way) -> Result<Option<u64>, PoolError> {
        let (free, block) = (self.table().at(held), self.table().at(index));
        let (to, gap, size) = (self.bytes(free.offset()), self.bytes(free.size()), self.bytes(block.size()));
        match self.put_memory_behind(to, size.min(gap))? {
            Ok(()) => {}
            Err(Refusal::NoMemory(error)) => return Err(PoolError::Device(error)),
            Err(_) => return Ok(None),
        }
        let mut copier =
            Copier { pool: self, to: self.range.base + to, gap, size, way, done: 0, buffer: Vec::new() };
        if let Err(error) = copier.run() {
            // What was copied may lie over where it came from.
            copier.undo();
            return Err(error.into());
        }
        Ok(Some(way.copies(size)))
    }
}

/// A block on its way down by `gap` bytes.
struct Copier<'a> {
    pool: &'a Inner,
    /// The address that it goes to.
    to: u64,
    gap: u64,
    size: u64,
    way: Way,
    /// Bytes copied.
    done: u64,
    buffer: Vec<u8>,
}

impl Copier<'_> {
    fn run(&mut self) -> Result<(), DeviceError> {
        while self.done < self.size {
            let length = self.way.piece().min(self.size - self.done);
            let to = self.to + self.done;
            self.copy(to + self.gap, to, length)?;
            self.done += length;
        }
        Ok(())
    }

    /// Copies what was copied back, the last piece first.
    fn undo(&mut self) {
        let piece = self.way.piece();
        while self.done > 0 {
            let length = (self.done - 1) % piece + 1;
            self.done -= length;
            let to = self.to + self.done;
            if let Err(error) = self.copy(to, to + self.gap, length) {
                tracing::error!(%error, "a move that failed could not be undone: the content of a movable allocation is lost");
                return;
            }
        }
    }

    fn copy(&mut self, from: u64, to: u64, length: u64) -> Result<(), DeviceError> {
        let memory = &*self.pool.memory;
        match self.way {
            Way::Direct(_) => memory.copy(AddressRange::new(from, ByteSize::new(length)), to),
            Way::Bounce(piece) => {
                self.buffer.resize(piece as usize, 0);
                let bytes = &mut self.buffer[..length as usize];
                memory.read(from, bytes)?;
                memory.write(to, bytes)
            }
        }
    }
}

/// How a block is copied: in pieces of so many bytes.
#[derive(Clone, Copy)]
enum Way {
    /// Each to its place.
    Direct(u64),
    /// Each by way of main memory, because pieces that do not overlap their target would be too many.
    Bounce(u64),
}

impl Way {
    fn of(size: u64, gap: u64) -> Self {
        if gap >= size.min(BOUNCE / 2) { Self::Direct(gap.min(size)) } else { Self::Bounce(BOUNCE.min(size)) }
    }

    fn piece(self) -> u64 {
        match self {
            Self::Direct(piece) | Self::Bounce(piece) => piece,
        }
    }

    fn copies(self, size: u64) -> u64 {
        match self {
            Self::Direct(piece) => size.div_ceil(piece),
            Self::Bounce(piece) => 2 * size.div_ceil(piece),
        }
    }
}

/// Frees what was held below a block, behind the block when that has been copied: also when copying panics.
struct GiveBack<'a> {
    pool: &'a Inner,
    held: u32,
    slid: Option<u32>,
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        let table = self.pool.table();
        let mut book = self.pool.book.lock();
        if let Some(index) = self.slid {
            book.fit.slide(table, self.held, index);
        }
        book.fit.free(table, self.held, table.at(self.held));
    }
}
