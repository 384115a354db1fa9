//! Memory that may be moved, and moving it together.
//!
//! The holder of movable memory has no address, only a handle; for as long as it holds a [`Pinned`] guard, the handle
//! resolves to one. Compacting slides movable blocks down into free memory below them, lowest first, when no guard
//! is out: it never waits for one, so it can neither block nor be blocked for long. Blocks that are not movable stay,
//! and bound what can be joined.

use std::fmt;
use std::sync::{Arc, RwLockReadGuard};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::core::{Inner, Placed};
use super::{AllocationId, PoolError, Request};
use crate::device::AddressRange;
use crate::sync::read;
use crate::units::ByteSize;

/// What compacting did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CompactReport {
    /// Allocations moved.
    pub moved: u64,
    /// Bytes copied for it.
    pub moved_bytes: ByteSize,
    /// The largest free block before.
    pub largest_before_bytes: ByteSize,
    /// And after.
    pub largest_after_bytes: ByteSize,
    /// Whether nothing could be moved because some movable memory was pinned.
    pub pinned: bool,
    /// How long it took.
    #[serde(skip)]
    pub elapsed: Duration,
}

/// Memory of a pool that the pool may move; given back when dropped.
pub struct MovableAllocation {
    pub(super) pool: Arc<Inner>,
    pub(super) id: AllocationId,
    pub(super) requested: ByteSize,
}

impl MovableAllocation {
    /// Where it is, until the guard is dropped; work that uses the address must be done by then. Guards are for
    /// short: no memory of the pool moves while one is out.
    pub fn pin(&self) -> Pinned<'_> {
        self.pinned()
    }

    /// As [`pin`](Self::pin), by the one who may change what is there.
    pub fn pin_mut(&mut self) -> PinnedMut<'_> {
        PinnedMut(self.pinned())
    }

    fn pinned(&self) -> Pinned<'_> {
        let guard = read(&self.pool.moves);
        let range = self.pool.resolve(self.id).expect("a handle's allocation is live");
        Pinned { pool: &self.pool, range, _guard: guard }
    }

    /// Bytes asked for.
    pub fn requested(&self) -> ByteSize {
        self.requested
    }
}

impl Drop for MovableAllocation {
    fn drop(&mut self) {
        if let Err(error) = self.pool.release(self.id) {
            tracing::error!(%error, "a movable allocation had been released before its handle was dropped");
        }
    }
}

impl fmt::Debug for MovableAllocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MovableAllocation").field("id", &self.id).field("requested", &self.requested).finish()
    }
}

/// Keeps movable memory where it is.
pub struct Pinned<'a> {
    pub(super) pool: &'a Inner,
    pub(super) range: AddressRange,
    _guard: RwLockReadGuard<'a, ()>,
}

impl Pinned<'_> {
    /// Where the memory is on the device; as long as was requested.
    pub fn range(&self) -> AddressRange {
        self.range
    }
}

/// As [`Pinned`], for the one who may change what is there.
pub struct PinnedMut<'a>(pub(super) Pinned<'a>);

impl<'a> std::ops::Deref for PinnedMut<'a> {
    type Target = Pinned<'a>;

    fn deref(&self) -> &Pinned<'a> {
        &self.0
    }
}

impl Inner {
    /// Grants memory that may be moved.
    pub(super) fn allocate_movable(&self, request: Request) -> Result<Placed, PoolError> {
        self.allocate(&Request { movable: true, ..request })
    }

    /// Slides movable blocks down until there is a free block of `enough` units, or no more can be moved.
    pub(super) fn compact(&self, enough: u32) -> Result<CompactReport, PoolError> {
        let start = Instant::now();
        let bytes = |units| ByteSize::new(self.bytes(units));
        let mut report = CompactReport {
            largest_before_bytes: bytes(self.recalled().fit.largest_free()),
            ..Default::default()
        };
        let Ok(_moves) = self.moves.try_write() else {
            report.pinned = true;
            report.largest_after_bytes = report.largest_before_bytes;
            report.elapsed = start.elapsed();
            return Ok(report);
        };
        let mut last = None;
        loop {
            let mut book = self.book.lock();
            if book.fit.largest_free() >= enough {
                break;
            }
            // Releases of movable memory wait for `moves`: what is found here stays.
            let Some(index) = book.fit.next_to_move(self.table(), last) else { break };
            let Some(held) = book.fit.hold_below(self.table(), index) else { break };
            drop(book);
            let outcome = self.copy_down(held, index);
            let mut book = self.book.lock();
            if outcome.is_ok() {
                book.fit.slide(self.table(), held, index);
                report.moved += 1;
                report.moved_bytes += bytes(self.table().at(index).size());
                last = Some(index);
            }
            book.fit.free(self.table(), held, self.table().at(held));
            drop(book);
            outcome?;
        }
        report.largest_after_bytes = bytes(self.book.lock().fit.largest_free());
        report.elapsed = start.elapsed();
        Ok(report)
    }

    /// Copies a block to where the free block below it begins, in pieces that do not overlap their target.
    fn copy_down(&self, held: u32, index: u32) -> Result<(), PoolError> {
        let (free, block) = (self.table().at(held), self.table().at(index));
        let (to, gap, size) = (self.bytes(free.offset()), self.bytes(free.size()), self.bytes(block.size()));
        self.granules.commit(&*self.memory, to, size.min(gap))?;
        let base = self.range.base;
        let mut done = 0;
        while done < size {
            let piece = gap.min(size - done);
            let from = AddressRange::new(base + to + gap + done, ByteSize::new(piece));
            self.memory.copy(from, base + to + done)?;
            done += piece;
        }
        Ok(())
    }
}
