//! Memory released on a stream, before the stream's work that uses it is done.
//!
//! ```text
//! live ──release_on──► busy (its stream's queue) ──event done──► finished = free, for everybody
//!   ▲                    │
//!   └── allocate_on ─────┘  the same stream, at once: its next work comes after
//! ```
//!
//! A release records an event and puts the block into its stream's [queue](super::deferred), where adjacent blocks form
//! runs; the stream's own requests are cut out of runs as of any free memory. Everybody else gets a block when its event
//! is done. That is looked at in the order of each stream's releases, for the stream of each release or request in
//! passing, and for all streams whenever somebody reads the pool's numbers or a request finds no room, so what is finished
//! is free for every reader. Busy memory counts as used, by its owner too, and no longer as live. A request that would fail waits while
//! what is busy could give it room, and for nothing else; it takes nothing out of the queues meanwhile, so others see
//! what it waits for and may wait for it too.
//!
//! Everything here is under the book's lock, but events: they are made, asked and dropped outside it.

use std::sync::Arc;

use super::blocks::BlockId;
use super::book::Book;
use super::core::{Inner, Placed};
use super::error::PoolError;
use super::ids::AllocationId;
use super::inside::Inside;
use super::request::Request;
use crate::device::{DeviceError, Stream, StreamEvent, StreamId};
use crate::sync::{AtomicU64, Ordering};

impl Book {
    /// Notes that a block's life has ended while a stream may still use it.
    fn defer(&mut self, pool: &Inner, index: u32, stream: StreamId, event: Arc<dyn StreamEvent>) {
        let block = pool.table().at(index);
        let (granted, label) = (pool.bytes(block.size()), block.label());
        self.count_release(label, granted);
        pool.counts.defer(granted, label.slack);
        let owner = self.owners.at(label.owner);
        owner.allocations -= 1;
        owner.pending += granted;
        self.deferred.push(pool.table(), index, stream, event);
        pool.pending.fetch_add(granted, Ordering::Release);
    }

    /// Takes memory that was deferred off the counts.
    fn settle(&mut self, pool: &Inner, granted: u64, owner: u16) {
        pool.counts.settle(granted);
        let owner = self.owners.at(owner);
        owner.granted -= granted;
        owner.pending -= granted;
        pool.pending.fetch_sub(granted, Ordering::Release);
    }
}

impl Inner {
    /// Bytes that streams may still use. What has been finished since somebody looked is among them; see
    /// [`free_finished`](Self::free_finished).
    pub(super) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }

    /// Releases memory that work queued on a stream up to now may still use.
    pub(super) fn release_on(&self, id: AllocationId, stream: &dyn Stream) -> Result<(), PoolError> {
        self.find(id)?;
        let (name, event) = (stream.id(), stream.record()?);
        self.recording_release(id, || {
            let _still = id.0.is_movable().then(|| self.moves.hold(id.0.index));
            let mut book = self.book.lock();
            let BlockId { index, stamp } = id.0;
            if !self.find(id)?.keep(stamp) {
                return Err(PoolError::UnknownAllocation(id));
            }
            book.defer(self, index, name, event);
            Ok(())
        })?;
        self.free_finished_in_passing(name);
        Ok(())
    }

    /// Grants memory to work on a stream: what the stream itself has released, else any.
    pub(super) fn allocate_on(&self, request: &Request, stream: &dyn Stream) -> Result<Placed, PoolError> {
        Self::check(request)?;
        if self.pending() > 0 {
            if let Some(placed) = self.take_from_lane(request, stream.id()) {
                self.record_allocation(placed.id, request)?;
                return Ok(placed);
            }
            self.free_finished_in_passing(stream.id());
        }
        self.allocate(request)
    }

    /// `None` also when the owner's budget does not allow it.
    fn take_from_lane(&self, request: &Request, stream: StreamId) -> Option<Placed> {
        let (granted, units) = self.granted(request.size.bytes())?;
        let alignment = u32::try_from(request.alignment >> self.shift).ok()?.max(1);
        let table = self.table();
        let mut book = self.book.lock();
        let owner = book.owners.known(request.owner).ok()?;
        let found @ (_, at) = book.deferred.find(table, stream, units, alignment)?;
        // What is the owner's already may be its own again, and its model's.
        let of_model = book.owners.of_model(owner);
        let own = self.bytes(book.deferred.units_of(table, |other| other == owner, found, at + units));
        let models =
            self.bytes(book.deferred.units_of(table, |other| of_model.contains(&other), found, at + units));
        book.owners.check_again(owner, granted, own, models).ok()?;
        let Book { fit, deferred, .. } = &mut *book;
        let (index, parts) = deferred.carve(fit, table, found, at + units);
        for part in &parts {
            book.settle(self, self.bytes(part.units), part.owner);
        }
        let placed = self.grant(&mut book, request, owner, granted, index, table.at(index));
        drop(book);
        drop(parts);
        Some(placed)
    }

    /// Frees what is finished, of all streams. Returns the bytes. In an event that asks the pool, nothing: it would be asked
    /// again, without end.
    #[inline]
    pub(super) fn free_finished(&self) -> u64 {
        if self.pending() == 0 { 0 } else { self.free_finished_of_all() }
    }

    #[cold]
    fn free_finished_of_all(&self) -> u64 {
        let Some(_inside) = Inside::enter(&self.pending) else { return 0 };
        let queues = self.book.lock().deferred.queues();
        (0..queues).map(|queue| self.free_finished_of(queue)).sum()
    }

    /// As [`free_finished`](Self::free_finished), of a stream and of one other.
    fn free_finished_in_passing(&self, stream: StreamId) {
        let Some(_inside) = Inside::enter(&self.pending) else { return };
        let (own, other) = self.book.lock().deferred.own_and_next(stream);
        if let Some(own) = own {
            self.free_finished_of(own);
        }
        if own != Some(other) {
            self.free_finished_of(other);
        }
    }

    fn free_finished_of(&self, queue: usize) -> u64 {
        let mut freed = 0;
        loop {
            let event = self.book.lock().deferred.oldest_event(queue);
            let Some((event, failing)) = event else { return freed };
            // Asked outside the lock. A lost device does no more work; other errors leave the block where it is.
            let done = match ask(&*event) {
                Ok(done) => done,
                Err(DeviceError::Lost { .. }) => true,
                Err(error) => {
                    tracing::warn!(%error, "an event could not be asked; its memory stays a stream's");
                    self.note_failing(queue, Some(error));
                    return freed;
                }
            };
            if failing {
                self.note_failing(queue, None);
            }
            if !done {
                return freed;
            }
            let table = self.table();
            let mut dropped = Vec::new();
            let mut book = self.book.lock();
            while let Some(entry) = book.deferred.pop_if(table, queue, &event) {
                let block = table.at(entry.index);
                let (granted, owner) = (self.bytes(block.size()), block.label().owner);
                book.settle(self, granted, owner);
                book.fit.free(table, entry.index, block);
                freed += granted;
                dropped.push(entry);
            }
            drop(book);
        }
    }

    fn note_failing(&self, queue: usize, error: Option<DeviceError>) {
        // What was there is dropped outside the lock.
        let _old = self.book.lock().deferred.note_failing(queue, error);
    }

    /// Waits until a stream has finished something, or what is busy has changed, looking at all streams again and again,
    /// and less and less often.
    pub(super) fn wait_for_streams(&self) {
        let _waiting = Waiting::new(&self.waiting);
        let before = self.pending();
        let mut pace = Pace::new();
        while self.pending() == before && self.free_finished() == 0 && pace.wait() {}
    }
}

/// Asks an event whether it is done; one that panics cannot be asked.
fn ask(event: &dyn StreamEvent) -> Result<bool, DeviceError> {
    let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| event.is_done()));
    asked.unwrap_or_else(|_| {
        let (device, operation) = ("a stream".to_owned(), "asking an event");
        Err(DeviceError::Driver { device, operation, reason: format!("{event:?} panicked") })
    })
}

/// Looks at first at once and then every tenth of a millisecond, and ends now and then, since what else has changed in the
/// pool meanwhile may be enough.
struct Pace {
    #[cfg(not(loom))]
    start: std::time::Instant,
}

impl Pace {
    #[cfg(not(loom))]
    fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }

    #[cfg(loom)]
    fn new() -> Self {
        Self {}
    }

    /// Waits a little; false when it is time to decide anew.
    #[cfg(not(loom))]
    fn wait(&mut self) -> bool {
        use std::time::Duration;
        let waited = self.start.elapsed();
        if waited < Duration::from_micros(20) {
            std::thread::yield_now();
        } else {
            std::thread::sleep((waited / 8).min(Duration::from_micros(100)));
        }
        waited < Duration::from_millis(20)
    }

    #[cfg(loom)]
    fn wait(&mut self) -> bool {
        loom::thread::yield_now();
        true
    }
}

/// A request that waits, for as long as it does.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
