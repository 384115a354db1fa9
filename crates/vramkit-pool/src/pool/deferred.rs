//! The book of what streams may still use: queues in the order of release, runs of adjacent blocks by address and size.
//!
//! Blocks come in with the event that they wait for and go out when it is done, or in pieces for their stream's own
//! requests. Everything here is under the book's lock; events are asked and dropped by the caller, outside it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::blocks::{Block, NONE, Table};
use super::segregated::SegregatedFit;
use crate::device::{DeviceError, StreamEvent, StreamId};

/// Queues without a block are kept for their streams' next releases, up to so many.
const IDLE_QUEUES: usize = 64;

/// Blocks that streams may still use.
#[derive(Default)]
pub(super) struct DeferredFrees {
    queues: Vec<StreamQueue>,
    by_stream: HashMap<StreamId, usize>,
    entries: Vec<Option<Entry>>,
    vacant: Vec<u32>,
    /// Whose turn it is to be looked at in passing.
    turn: usize,
}

/// A block that a stream may still use.
pub(super) struct Entry {
    pub(super) index: u32,
    queue: usize,
    event: Arc<dyn StreamEvent>,
    /// The releases before and after it on its stream.
    older: u32,
    newer: u32,
}

/// What a block was made of that was cut out of a queue.
pub(super) struct Part {
    pub(super) units: u32,
    pub(super) owner: u16,
    /// Dropped outside the book's lock.
    _event: Arc<dyn StreamEvent>,
}

/// One stream's blocks. Sizes and offsets in units.
struct StreamQueue {
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

impl StreamQueue {
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

impl DeferredFrees {
    fn entry(&self, at: u32) -> Option<&Entry> {
        self.entries.get(at as usize)?.as_ref()
    }

    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry> {
        self.entries.get_mut(at as usize)?.as_mut()
    }

    fn lane_of(&mut self, stream: StreamId) -> usize {
        if let Some(&queue) = self.by_stream.get(&stream) {
            return queue;
        }
        if self.queues.len() >= IDLE_QUEUES
            && let Some(idle) = self.queues.iter().position(|queue| queue.blocks == 0)
        {
            self.by_stream.remove(&self.queues[idle].stream);
            self.queues[idle] = StreamQueue::new(stream);
            self.by_stream.insert(stream, idle);
            return idle;
        }
        self.queues.push(StreamQueue::new(stream));
        self.by_stream.insert(stream, self.queues.len() - 1);
        self.queues.len() - 1
    }

    /// Adds a held block behind another entry of its queue (or before all, behind none).
    fn link(&mut self, table: Table<'_>, index: u32, queue: usize, event: Arc<dyn StreamEvent>, older: u32) {
        let newer = match self.entry(older) {
            Some(entry) => entry.newer,
            None => self.queues[queue].oldest,
        };
        let entry = Some(Entry { index, queue, event, older, newer });
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
            None => self.queues[queue].oldest = at,
        }
        match self.entry_mut(newer) {
            Some(entry) => entry.older = at,
            None => self.queues[queue].newest = at,
        }
        self.queues[queue].blocks += 1;
    }

    /// Takes an entry out of its queue's order; its event is the caller's to drop.
    fn unlink(&mut self, at: u32) -> Option<Entry> {
        let entry = self.entries.get_mut(at as usize)?.take()?;
        self.vacant.push(at);
        match self.entry_mut(entry.older) {
            Some(older) => older.newer = entry.newer,
            None => self.queues[entry.queue].oldest = entry.newer,
        }
        match self.entry_mut(entry.newer) {
            Some(newer) => newer.older = entry.older,
            None => self.queues[entry.queue].newest = entry.older,
        }
        self.queues[entry.queue].blocks -= 1;
        Some(entry)
    }

    /// Whether a block is in the queue of a stream that may be waited for.
    pub(super) fn may_finish(&self, index: u32, block: &Block) -> bool {
        let entry = (!block.is_free() && !block.is_live()).then(|| self.entry(block.entry())).flatten();
        entry.is_some_and(|entry| entry.index == index && self.queues[entry.queue].failing.is_none())
    }

    /// Why an event cannot be asked, if there is one.
    pub(super) fn failing(&self) -> Option<&DeviceError> {
        self.queues.iter().find_map(|queue| queue.failing.as_ref())
    }

    /// Units of streams that cannot be waited for.
    pub(super) fn failing_units(&self) -> u64 {
        let queues = self.queues.iter().filter(|queue| queue.failing.is_some());
        queues.flat_map(|queue| queue.runs.values()).map(|&(units, _)| u64::from(units)).sum()
    }

    /// Adds a block that its holder has ended the life of.
    pub(super) fn push(
        &mut self,
        table: Table<'_>,
        index: u32,
        stream: StreamId,
        event: Arc<dyn StreamEvent>,
    ) {
        let queue = self.lane_of(stream);
        let newest = self.queues[queue].newest;
        self.link(table, index, queue, event, newest);
        self.queues[queue].join(table, index);
    }

    /// The event that a queue's oldest block waits for, and whether it could not be asked last time.
    pub(super) fn oldest_event(&self, queue: usize) -> Option<(Arc<dyn StreamEvent>, bool)> {
        let queue = self.queues.get(queue)?;
        self.entry(queue.oldest).map(|entry| (entry.event.clone(), queue.failing.is_some()))
    }

    /// Takes out a queue's oldest block when it waits for this event.
    pub(super) fn pop_if(
        &mut self,
        table: Table<'_>,
        queue: usize,
        event: &Arc<dyn StreamEvent>,
    ) -> Option<Entry> {
        let at = self.queues.get(queue)?.oldest;
        let entry = self.entry(at).filter(|entry| Arc::ptr_eq(&entry.event, event))?;
        let block = table.at(entry.index);
        let (offset, end, above) = (block.offset(), block.end(), block.above());
        self.queues[queue].cut(offset, end, above);
        self.unlink(at)
    }

    /// Where in a stream's runs a block of `units` at a multiple of `alignment` would be cut out, and the place of the
    /// first block that it would be of.
    pub(super) fn find(
        &self,
        table: Table<'_>,
        stream: StreamId,
        units: u32,
        alignment: u32,
    ) -> Option<(u32, u32)> {
        let queue = &self.queues[*self.by_stream.get(&stream)?];
        let (run, at) = queue.find(units, alignment)?;
        let (_, mut index) = *queue.runs.get(&run)?;
        while table.at(index).end() <= at {
            index = table.at(index).above();
        }
        Some((index, at))
    }

    /// Cuts `[at, end)` out of the run that the block at a place, in which it begins, is of: the place of one held block,
    /// and what it is made of. What is left of the first and last blocks stays in the queue, each with its event.
    pub(super) fn carve(
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
        if let Some(queue) = self.entry(table.at(first).entry()).map(|entry| entry.queue) {
            self.queues[queue].cut(at, end, table.at(last).above());
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
    pub(super) fn units_of(
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

    /// Cuts a block of a queue in two at a unit; both wait for its event. The place of the upper one.
    fn split(&mut self, fit: &mut SegregatedFit, table: Table<'_>, index: u32, at: u32) -> u32 {
        let block = table.at(index);
        let entry = block.entry();
        let label = block.label();
        let upper = fit.split_taken(table, index, at - block.offset());
        table.at(upper).set_owner(label);
        if let Some((queue, event)) = self.entry(entry).map(|entry| (entry.queue, entry.event.clone())) {
            self.link(table, upper, queue, event, entry);
        }
        upper
    }

    /// How many queues there are.
    pub(super) fn queues(&self) -> usize {
        self.queues.len()
    }

    /// A stream's queue, and one other, each time another one.
    pub(super) fn own_and_next(&mut self, stream: StreamId) -> (Option<usize>, usize) {
        self.turn = (self.turn + 1) % self.queues.len().max(1);
        (self.by_stream.get(&stream).copied(), self.turn)
    }

    /// Notes why a queue's oldest event cannot be asked, or that it can; what was noted is the caller's to drop.
    pub(super) fn note_failing(&mut self, queue: usize, error: Option<DeviceError>) -> Option<DeviceError> {
        match self.queues.get_mut(queue) {
            Some(queue) => std::mem::replace(&mut queue.failing, error),
            None => error,
        }
    }
}
