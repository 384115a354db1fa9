//! Memory released on a stream, before the stream's work that uses it is done.
//!
//! ```text
//! live ──release_on──► busy (its stream's lane) ──event done──► finished = free, for everybody
//!   ▲                    │
//!   └── allocate_on ─────┘  the same stream, at once: its next work comes after
//! ```
//!
//! A release records an event and puts the block into its stream's lane, where adjacent blocks form runs; the stream's
//! own requests are cut out of runs as of any free memory. Everybody else gets a block when its event is done. That is
//! looked at in the order of each stream's releases, for the stream of each release or request in passing, and for all
//! streams whenever somebody reads the pool's numbers or a request finds no room, so what is finished is free for every
//! reader. Busy memory counts as used, by its owner too, and no longer as live. A request that would fail waits while
//! what is busy could give it room, and for nothing else; it takes nothing out of the lanes meanwhile, so others see
//! what it waits for and may wait for it too.
//!
//! Everything here is under the book's lock, but events: they are made, asked and dropped outside it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::blocks::{Block, BlockId, NONE, Table};
use super::book::Book;
use super::core::{Inner, Placed};
use super::inside::Inside;
use super::request::AllocationId;
use super::segregated::SegregatedFit;
use super::{PoolError, Request};
use crate::device::{DeviceError, Event, Stream, StreamId};
use crate::sync::{AtomicU64, Ordering};

/// Lanes without a block are kept for their streams' next releases, up to so many.
const IDLE_LANES: usize = 64;

/// Blocks that streams may still use.
#[derive(Default)]
pub(super) struct Deferred {
    lanes: Vec<Lane>,
    by_stream: HashMap<StreamId, usize>,
    entries: Vec<Option<Entry>>,
    vacant: Vec<u32>,
    /// Whose turn it is to be looked at in passing.
    turn: usize,
}

/// A block that a stream may still use.
struct Entry {
    index: u32,
    lane: usize,
    event: Arc<dyn Event>,
    /// The releases before and after it on its stream.
    older: u32,
    newer: u32,
}

/// What a block was made of that was cut out of a lane.
struct Part {
    units: u32,
    owner: u16,
    /// Dropped outside the book's lock.
    _event: Arc<dyn Event>,
}

/// One stream's blocks. Sizes and offsets in units.
struct Lane {
    stream: StreamId,
    oldest: u32,
    newest: u32,
    /// Adjacent blocks, by their first unit: how many units, and the first block's place.
    runs: BTreeMap<u32, (u32, u32)>,
    by_size: BTreeSet<(u32, u32)>,
    blocks: usize,
    /// Why its oldest event could not be asked last time: nobody waits for it.
    failing: Option<DeviceError>,
}

impl Lane {
    fn new(stream: StreamId) -> Self {
        Self {
            stream,
            oldest: NONE,
            newest: NONE,
            runs: BTreeMap::new(),
            by_size: BTreeSet::new(),
            blocks: 0,
            failing: None,
        }
    }

    fn add_run(&mut self, offset: u32, units: u32, first: u32) {
        self.runs.insert(offset, (units, first));
        self.by_size.insert((units, offset));
    }

    fn remove_run(&mut self, offset: u32) -> Option<(u32, u32)> {
        let (units, first) = self.runs.remove(&offset)?;
        self.by_size.remove(&(units, offset));
        Some((units, first))
    }

    /// Adds a block to the runs beside it.
    fn join(&mut self, table: Table<'_>, index: u32) {
        let block = table.at(index);
        let (mut offset, mut units, mut first) = (block.offset(), block.size(), index);
        let below = self.runs.range(..offset).next_back().map(|(&at, &(units, _))| (at, units));
        if let Some((at, below)) = below.filter(|&(at, units)| at + units == offset)
            && let Some((_, lowest)) = self.remove_run(at)
        {
            (offset, units, first) = (at, units + below, lowest);
        }
        if let Some((above, _)) = self.remove_run(block.end()) {
            units += above;
        }
        self.add_run(offset, units, first);
    }

    /// Takes `[offset, end)` out of the run that it lies in, before the blocks themselves change.
    fn cut(&mut self, offset: u32, end: u32, above: u32) {
        let Some(&at) = self.runs.range(..=offset).next_back().map(|(at, _)| at) else { return };
        let Some((units, first)) = self.remove_run(at) else { return };
        if at < offset {
            self.add_run(at, offset - at, first);
        }
        if end < at + units {
            self.add_run(end, at + units - end, above);
        }
    }

    /// Where a request fits: in the smallest run that holds it, of the few that may only just, and of those that hold it
    /// wherever they begin. Says the run's first unit and the request's.
    fn find(&self, units: u32, alignment: u32) -> Option<(u32, u32)> {
        const FEW: usize = 16;
        let fit = |&(size, offset): &(u32, u32)| {
            let at = offset.checked_next_multiple_of(alignment)?;
            (u64::from(at) + u64::from(units) <= u64::from(offset) + u64::from(size)).then_some((offset, at))
        };
        let surely = units.saturating_add(alignment - 1);
        self.by_size
            .range((units, 0)..)
            .take(FEW)
            .find_map(fit)
            .or_else(|| self.by_size.range((surely, 0)..).next().and_then(fit))
    }
}

impl Deferred {
    fn entry(&self, at: u32) -> Option<&Entry> {
        self.entries.get(at as usize)?.as_ref()
    }

    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry> {
        self.entries.get_mut(at as usize)?.as_mut()
    }

    fn lane_of(&mut self, stream: StreamId) -> usize {
        if let Some(&lane) = self.by_stream.get(&stream) {
            return lane;
        }
        if self.lanes.len() >= IDLE_LANES
            && let Some(idle) = self.lanes.iter().position(|lane| lane.blocks == 0)
        {
            self.by_stream.remove(&self.lanes[idle].stream);
            self.lanes[idle] = Lane::new(stream);
            self.by_stream.insert(stream, idle);
            return idle;
        }
        self.lanes.push(Lane::new(stream));
        self.by_stream.insert(stream, self.lanes.len() - 1);
        self.lanes.len() - 1
    }

    /// Adds a held block behind another entry of its lane (or before all, behind none).
    fn link(&mut self, table: Table<'_>, index: u32, lane: usize, event: Arc<dyn Event>, older: u32) {
        let newer = match self.entry(older) {
            Some(entry) => entry.newer,
            None => self.lanes[lane].oldest,
        };
        let entry = Some(Entry { index, lane, event, older, newer });
        let at = match self.vacant.pop() {
            Some(at) => {
                self.entries[at as usize] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        table.at(index).set_entry(at);
        match self.entry_mut(older) {
            Some(entry) => entry.newer = at,
            None => self.lanes[lane].oldest = at,
        }
        match self.entry_mut(newer) {
            Some(entry) => entry.older = at,
            None => self.lanes[lane].newest = at,
        }
        self.lanes[lane].blocks += 1;
    }

    /// Takes an entry out of its lane's order; its event is the caller's to drop.
    fn unlink(&mut self, at: u32) -> Option<Entry> {
        let entry = self.entries.get_mut(at as usize)?.take()?;
        self.vacant.push(at);
        match self.entry_mut(entry.older) {
            Some(older) => older.newer = entry.newer,
            None => self.lanes[entry.lane].oldest = entry.newer,
        }
        match self.entry_mut(entry.newer) {
            Some(newer) => newer.older = entry.older,
            None => self.lanes[entry.lane].newest = entry.older,
        }
        self.lanes[entry.lane].blocks -= 1;
        Some(entry)
    }

    /// Whether a block is in the lane of a stream that may be waited for.
    pub(super) fn may_finish(&self, index: u32, block: &Block) -> bool {
        let entry = (!block.is_free() && !block.is_live()).then(|| self.entry(block.entry())).flatten();
        entry.is_some_and(|entry| entry.index == index && self.lanes[entry.lane].failing.is_none())
    }

    /// Why an event cannot be asked, if there is one.
    pub(super) fn failing(&self) -> Option<&DeviceError> {
        self.lanes.iter().find_map(|lane| lane.failing.as_ref())
    }

    /// Units of streams that cannot be waited for.
    pub(super) fn failing_units(&self) -> u64 {
        let lanes = self.lanes.iter().filter(|lane| lane.failing.is_some());
        lanes.flat_map(|lane| lane.runs.values()).map(|&(units, _)| u64::from(units)).sum()
    }

    /// Adds a block that its holder has ended the life of.
    fn push(&mut self, table: Table<'_>, index: u32, stream: StreamId, event: Arc<dyn Event>) {
        let lane = self.lane_of(stream);
        let newest = self.lanes[lane].newest;
        self.link(table, index, lane, event, newest);
        self.lanes[lane].join(table, index);
    }

    /// The event that a lane's oldest block waits for.
    fn oldest_event(&self, lane: usize) -> Option<Arc<dyn Event>> {
        self.entry(self.lanes.get(lane)?.oldest).map(|entry| entry.event.clone())
    }

    /// Takes out a lane's oldest block when it waits for this event.
    fn pop_if(&mut self, table: Table<'_>, lane: usize, event: &Arc<dyn Event>) -> Option<Entry> {
        let at = self.lanes.get(lane)?.oldest;
        let entry = self.entry(at).filter(|entry| Arc::ptr_eq(&entry.event, event))?;
        let block = table.at(entry.index);
        let (offset, end, above) = (block.offset(), block.end(), block.above());
        self.lanes[lane].cut(offset, end, above);
        self.unlink(at)
    }

    /// Where in a stream's runs a block of `units` at a multiple of `alignment` would be cut out, and the place of the
    /// first block that it would be of.
    fn find(&self, table: Table<'_>, stream: StreamId, units: u32, alignment: u32) -> Option<(u32, u32)> {
        let lane = &self.lanes[*self.by_stream.get(&stream)?];
        let (run, at) = lane.find(units, alignment)?;
        let (_, mut index) = *lane.runs.get(&run)?;
        while table.at(index).end() <= at {
            index = table.at(index).above();
        }
        Some((index, at))
    }

    /// Cuts `[at, end)` out of the run that the block at a place, in which it begins, is of: the place of one held block,
    /// and what it is made of. What is left of the first and last blocks stays in the lane, each with its event.
    fn carve(
        &mut self,
        fit: &mut SegregatedFit,
        table: Table<'_>,
        (mut first, at): (u32, u32),
        end: u32,
    ) -> (u32, Vec<Part>) {
        if table.at(first).offset() < at {
            first = self.split(fit, table, first, at);
        }
        let mut last = first;
        while table.at(last).end() < end {
            last = table.at(last).above();
        }
        if table.at(last).end() > end {
            self.split(fit, table, last, end);
        }
        if let Some(lane) = self.entry(table.at(first).entry()).map(|entry| entry.lane) {
            self.lanes[lane].cut(at, end, table.at(last).above());
        }
        let (mut parts, mut index) = (Vec::new(), first);
        loop {
            let block = table.at(index);
            let (units, owner) = (block.size(), block.label().owner);
            parts.extend(self.unlink(block.entry()).map(|entry| Part { units, owner, _event: entry.event }));
            if index == last {
                break;
            }
            index = block.above();
        }
        (1..parts.len()).for_each(|_| fit.join_taken(table, first));
        (first, parts)
    }

    /// Units of some owners between two units, from the block at a place on, in which the first one is.
    fn units_of(
        &self,
        table: Table<'_>,
        of: impl Fn(u16) -> bool,
        (mut index, at): (u32, u32),
        end: u32,
    ) -> u32 {
        let mut units = 0;
        loop {
            let block = table.at(index);
            if of(block.label().owner) {
                units += block.end().min(end) - block.offset().max(at);
            }
            if block.end() >= end {
                return units;
            }
            index = block.above();
        }
    }

    /// Cuts a block of a lane in two at a unit; both wait for its event. The place of the upper one.
    fn split(&mut self, fit: &mut SegregatedFit, table: Table<'_>, index: u32, at: u32) -> u32 {
        let block = table.at(index);
        let entry = block.entry();
        let label = block.label();
        let upper = fit.split_taken(table, index, at - block.offset());
        table.at(upper).set_owner(label);
        if let Some((lane, event)) = self.entry(entry).map(|entry| (entry.lane, entry.event.clone())) {
            self.link(table, upper, lane, event, entry);
        }
        upper
    }
}

impl Book {
    /// Notes that a block's life has ended while a stream may still use it.
    fn defer(&mut self, pool: &Inner, index: u32, stream: StreamId, event: Arc<dyn Event>) {
        let block = pool.table().at(index);
        let (granted, label) = (pool.bytes(block.size()), block.label());
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
        let event = stream.record()?;
        self.recording_release(id, || {
            let _still = id.0.is_movable().then(|| self.moves.hold(id.0.index));
            let mut book = self.book.lock();
            let BlockId { index, stamp } = id.0;
            if !self.find(id)?.keep(stamp) {
                return Err(PoolError::UnknownAllocation(id));
            }
            book.defer(self, index, stream.id(), event);
            Ok(())
        })?;
        self.free_finished_in_passing(stream.id());
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
        let lanes = self.book.lock().deferred.lanes.len();
        (0..lanes).map(|lane| self.free_finished_of(lane)).sum()
    }

    /// As [`free_finished`](Self::free_finished), of a stream and of one other.
    fn free_finished_in_passing(&self, stream: StreamId) {
        let Some(_inside) = Inside::enter(&self.pending) else { return };
        let (own, other) = {
            let mut book = self.book.lock();
            let deferred = &mut book.deferred;
            deferred.turn = (deferred.turn + 1) % deferred.lanes.len().max(1);
            (deferred.by_stream.get(&stream).copied(), deferred.turn)
        };
        if let Some(own) = own {
            self.free_finished_of(own);
        }
        if own != Some(other) {
            self.free_finished_of(other);
        }
    }

    fn free_finished_of(&self, lane: usize) -> u64 {
        let mut freed = 0;
        loop {
            let event = self.book.lock().deferred.oldest_event(lane);
            let Some(event) = event else { return freed };
            // Asked outside the lock. A lost device does no more work; other errors leave the block where it is.
            let done = match ask(&*event) {
                Ok(done) => done,
                Err(DeviceError::Lost { .. }) => true,
                Err(error) => {
                    tracing::warn!(%error, "an event could not be asked; its memory stays a stream's");
                    self.note_failing(lane, Some(error));
                    return freed;
                }
            };
            self.note_failing(lane, None);
            if !done {
                return freed;
            }
            let table = self.table();
            let mut dropped = Vec::new();
            let mut book = self.book.lock();
            while let Some(entry) = book.deferred.pop_if(table, lane, &event) {
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

    fn note_failing(&self, lane: usize, error: Option<DeviceError>) {
        // What was there is dropped outside the lock.
        let _old = match self.book.lock().deferred.lanes.get_mut(lane) {
            Some(lane) => std::mem::replace(&mut lane.failing, error),
            None => error,
        };
    }

    /// Waits until a stream has finished something, or what is busy has changed, looking at all streams again and again,
    /// and less and less often.
    pub(super) fn wait_for_streams(&self) {
        let _waiting = Waiting::new(&self.waiting);
        let before = self.pending();
        let mut patience = Patience::new();
        while self.pending() == before && self.free_finished() == 0 && patience.wait() {}
    }
}

/// Asks an event whether it is done; one that panics cannot be asked.
fn ask(event: &dyn Event) -> Result<bool, DeviceError> {
    let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| event.is_done()));
    asked.unwrap_or_else(|_| {
        let (device, operation) = ("a stream".to_owned(), "asking an event");
        Err(DeviceError::Driver { device, operation, reason: format!("{event:?} panicked") })
    })
}

/// Looks at first at once and then every tenth of a millisecond, and ends now and then, since what else has changed in the
/// pool meanwhile may be enough.
struct Patience {
    #[cfg(not(loom))]
    start: std::time::Instant,
}

impl Patience {
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
