//! Memory released on a stream, before the stream's work that uses it is done.
//!
//! A release records an event and puts the block in line. The same stream gets it at once, since its next work comes
//! after; everybody else when the event is done, which is looked at in order and in passing, and waited for when a
//! request would fail otherwise. Until then the memory counts as used. Locks: the line's, then the book's.

use std::collections::VecDeque;
use std::sync::Arc;

use super::blocks::BlockId;
use super::core::{Inner, Placed};
use super::request::AllocationId;
use super::{PoolError, Request};
use crate::device::{DeviceError, Event, Stream, StreamId};
use crate::sync::lock_std;

/// A block in line.
struct Waiting {
    index: u32,
    /// In units.
    size: u32,
    stream: StreamId,
    event: Arc<dyn Event>,
}

/// Blocks in the order of their release.
#[derive(Default)]
pub(super) struct Line(std::sync::Mutex<VecDeque<Waiting>>);

impl Inner {
    /// Units in line.
    pub(super) fn pending_units(&self) -> u64 {
        lock_std(&self.line.0).iter().map(|waiting| u64::from(waiting.size)).sum()
    }

    /// Releases memory that work queued on a stream up to now may still use.
    pub(super) fn release_on(&self, id: AllocationId, stream: &dyn Stream) -> Result<(), PoolError> {
        self.find(id)?;
        let event = stream.record()?;
        self.record_release(id);
        let BlockId { index, stamp } = id.0;
        let size = {
            let _moves = id.0.is_movable().then(|| crate::sync::read(&self.moves));
            let _book = self.book.lock();
            let block = self.find(id)?;
            if !block.keep(stamp) {
                return Err(PoolError::UnknownAllocation(id));
            }
            block.size()
        };
        lock_std(&self.line.0).push_back(Waiting { index, size, stream: stream.id(), event });
        self.free_finished();
        Ok(())
    }

    /// Grants memory to work on a stream: a block of the same size that the stream itself has released, else any.
    pub(super) fn allocate_on(&self, request: &Request, stream: &dyn Stream) -> Result<Placed, PoolError> {
        Self::check(request)?;
        if let Some(placed) = self.take_from_line(request, stream.id()) {
            return Ok(placed);
        }
        self.free_finished();
        self.allocate(request)
    }

    /// `None` also when the block would be another owner's, whose budget it does not fit.
    fn take_from_line(&self, request: &Request, stream: StreamId) -> Option<Placed> {
        let (granted, units) = self.granted(request.size.bytes())?;
        let mut line = lock_std(&self.line.0);
        let fits = |waiting: &Waiting| {
            let offset = self.bytes(self.table().at(waiting.index).offset());
            waiting.stream == stream && waiting.size == units && offset.is_multiple_of(request.alignment)
        };
        let at = line.iter().rposition(fits)?;
        let index = line[at].index;
        let block = self.table().at(index);
        let mut book = self.book.lock();
        let label = self.label(request, book.known(request.owner), granted);
        let from = block.label();
        if from.owner != label.owner && book.check_budget(label.owner, granted).is_err() {
            return None;
        }
        book.hand_over(&self.counts, from, label, granted);
        let stamp = block.set_live(label, false);
        drop(book);
        line.remove(at);
        drop(line);
        let offset = self.bytes(block.offset());
        let placed = Placed { id: AllocationId(BlockId { index, stamp }), offset, granted };
        self.record_allocation(placed.id, request);
        Some(placed)
    }

    /// Frees blocks at the head of the line whose events are done.
    pub(super) fn free_finished(&self) {
        while let Some(waiting) = self.next_finished() {
            self.free_waiting(&waiting);
        }
    }

    fn next_finished(&self) -> Option<Waiting> {
        let event = lock_std(&self.line.0).front().map(|waiting| waiting.event.clone())?;
        // Asked outside the lock. A lost device does no more work; other errors leave the block in line.
        match event.is_done() {
            Ok(true) | Err(DeviceError::Lost { .. }) => {}
            Ok(false) => return None,
            Err(error) => {
                tracing::warn!(%error, "an event could not be asked; its memory stays in line");
                return None;
            }
        }
        let mut line = lock_std(&self.line.0);
        let still_first = line.front().is_some_and(|waiting| Arc::ptr_eq(&waiting.event, &event));
        if still_first { line.pop_front() } else { None }
    }

    /// Waits for everything in line; says whether there was anything.
    pub(super) fn wait_for_line(&self) -> Result<bool, PoolError> {
        let line = std::mem::take(&mut *lock_std(&self.line.0));
        let any = !line.is_empty();
        let mut failed = None;
        for waiting in line {
            match waiting.event.wait() {
                Ok(()) | Err(DeviceError::Lost { .. }) => self.free_waiting(&waiting),
                Err(error) => {
                    lock_std(&self.line.0).push_back(waiting);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(any),
        }
    }

    fn free_waiting(&self, waiting: &Waiting) {
        self.take_back(&mut self.book.lock(), waiting.index);
    }
}
