//! Requests and frees: which block serves, when more is asked of the device, and what goes before memory runs out.

use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;

use super::blocks::{At, Block, Blocks, NONE};
use super::caches::Cache;
use super::device::Device;
use super::settings::AllocatorSettings;
use crate::policy::{Ask, Granted, Policy, Room};

pub(super) const SMALL: u64 = 1 << 20;
pub(super) const SMALL_SEGMENT: u64 = 2 << 20;
pub(super) const LARGE_SEGMENT: u64 = 20 << 20;
const OWN_SEGMENT: u64 = 10 << 20;
const UNIT: u64 = 512;

/// A request as the allocator sees it.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// Rounded.
    pub(super) size: u64,
    /// Of a segment, were one made for it.
    segment: u64,
    pub(super) stream: u64,
    pub(super) cache: u32,
}

/// An allocation. What waits for other streams may be freed before its time, and its block be somebody else's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocation {
    block: u32,
    serial: u64,
}

pub(crate) struct Allocator {
    pub(super) settings: AllocatorSettings,
    pub(super) blocks: Blocks,
    /// The default pool's small and large blocks, then those of other pools.
    pub(super) caches: Vec<Cache>,
    cache_of: HashMap<(u32, bool), u32>,
    pub(super) device: Device,
    /// How far each range of segments that grow reaches, by number.
    pub(super) ranges: Vec<u64>,
    serial: u64,
    /// What waits for other streams, in order, and its place in that order.
    pending: BTreeMap<u64, Allocation>,
    pending_at: HashMap<u64, u64>,
    marks: u64,
    freed_early: HashSet<u64>,
}

impl Allocator {
    pub(crate) fn new(settings: AllocatorSettings, capacity: Option<u64>) -> Self {
        let device = Device::new(capacity, settings.per_process_memory_fraction);
        let mut allocator = Self {
            settings,
            blocks: Blocks::default(),
            caches: Vec::new(),
            cache_of: HashMap::new(),
            device,
            ranges: Vec::new(),
            serial: 0,
            pending: BTreeMap::new(),
            pending_at: HashMap::new(),
            marks: 0,
            freed_early: HashSet::new(),
        };
        allocator.cache(0, true);
        allocator.cache(0, false);
        allocator
    }

    fn cache(&mut self, pool: u32, is_small: bool) -> u32 {
        let next = self.caches.len() as u32;
        let cache = *self.cache_of.entry((pool, is_small)).or_insert(next);
        if cache == next {
            self.caches.push(Cache { is_small, ..Cache::default() });
        }
        cache
    }

    pub(super) fn put(&mut self, block: u32) {
        let cache = self.blocks[block].cache as usize;
        self.caches[cache].put(block, &mut self.blocks[block]);
    }

    pub(super) fn take(&mut self, block: u32) {
        self.caches[self.blocks[block].cache as usize].take(block, &self.blocks[block]);
    }

    /// The block that serves, out of its cache.
    fn find_free(&mut self, wanted: Wanted) -> Option<u32> {
        let cache = &mut self.caches[wanted.cache as usize];
        cache.asked += 1;
        let (stream, mut size, _, mut block) = cache.from(wanted.stream, wanted.size).next()?;
        if stream != wanted.stream {
            return None;
        }
        if self.settings.expandable_segments {
            (size, block) = self.least_to_grow(wanted);
        }
        let most = self.settings.max_split_size.unwrap_or(u64::MAX);
        if wanted.size < most && size >= most {
            return None;
        }
        if wanted.size >= most && size >= wanted.size.saturating_add(self.settings.max_non_split_rounding) {
            return None;
        }
        self.take(block);
        Some(block)
    }

    /// A block with a segment of its own.
    fn new_segment(&mut self, wanted: Wanted) -> Option<u32> {
        let base = self.device.new_segment(wanted.segment)?;
        Some(self.blocks.add(Block {
            at: (0, base),
            size: wanted.segment,
            stream: wanted.stream,
            cache: wanted.cache,
            before: NONE,
            after: NONE,
            taken: false,
            mapped: true,
            since: 0,
        }))
    }

    fn ask_device(&mut self, wanted: Wanted) -> Option<u32> {
        if !self.device.allows(wanted.segment) {
            None
        } else if self.settings.expandable_segments {
            self.grow(wanted)
        } else {
            self.new_segment(wanted)
        }
    }

    fn block_for(&mut self, wanted: Wanted) -> Option<u32> {
        if let Some(block) = self.find_free(wanted) {
            return Some(block);
        }
        self.collect_garbage();
        if let Some(block) = self.ask_device(wanted) {
            return Some(block);
        }
        if self.release_unsplittable(wanted)
            && let Some(block) = self.ask_device(wanted)
        {
            return Some(block);
        }
        self.release_idle();
        self.ask_device(wanted)
    }

    /// Frees what waits for other streams, as if they had ended.
    pub(super) fn free_pending(&mut self) {
        self.pending_at.clear();
        for (_, allocation) in std::mem::take(&mut self.pending) {
            self.freed_early.insert(allocation.serial);
            self.free_block(allocation.block);
        }
    }

    fn free_block(&mut self, mut block: u32) {
        self.blocks[block].taken = false;
        block = self.join_neighbours(block);
        self.put(block);
    }

    /// Joins a block that is in no cache with the neighbours that are free and, as it is, with or without memory; these leave theirs.
    pub(super) fn join_neighbours(&mut self, mut block: u32) -> u32 {
        let Block { before, after, mapped, .. } = self.blocks[block];
        let joins = |blocks: &Blocks, other: u32| {
            other != NONE && !blocks[other].taken && blocks[other].mapped == mapped
        };
        if joins(&self.blocks, before) {
            self.take(before);
            self.blocks.join(before, block);
            block = before;
        }
        if joins(&self.blocks, after) {
            self.take(after);
            self.blocks.join(block, after);
        }
        block
    }

    fn wanted(&mut self, ask: Ask) -> Wanted {
        let size = self.settings.round(ask.size);
        let segment = match size {
            size if size <= SMALL => SMALL_SEGMENT,
            size if size < OWN_SEGMENT => LARGE_SEGMENT,
            size => size.next_multiple_of(SMALL_SEGMENT),
        };
        Wanted { size, segment, stream: ask.stream, cache: self.cache(ask.pool, size <= SMALL) }
    }
}

impl Policy for Allocator {
    type Handle = Allocation;

    fn allocate(&mut self, ask: Ask) -> Option<Granted<Allocation>> {
        let wanted = self.wanted(ask);
        let block = self.block_for(wanted)?;
        let rest = self.blocks[block].size - wanted.size;
        let splits = if self.caches[wanted.cache as usize].is_small || self.settings.expandable_segments {
            rest >= UNIT
        } else {
            wanted.size < self.settings.max_split_size.unwrap_or(u64::MAX) && rest > SMALL
        };
        if splits {
            let rest = self.blocks.cut(block, wanted.size);
            self.put(rest);
        }
        self.blocks[block].taken = true;
        self.serial += 1;
        let Block { at: (range, offset), size, .. } = self.blocks[block];
        Some(Granted { handle: Allocation { block, serial: self.serial }, range, offset, size })
    }

    fn free(&mut self, allocation: Allocation) {
        if !self.freed_early.is_empty() && self.freed_early.remove(&allocation.serial) {
            return;
        }
        if let Some(at) = self.pending_at.remove(&allocation.serial) {
            self.pending.remove(&at);
        }
        self.free_block(allocation.block);
    }

    fn wait(&mut self, allocation: Allocation) {
        self.marks += 1;
        self.pending.insert(self.marks, allocation);
        self.pending_at.insert(allocation.serial, self.marks);
    }

    fn trim(&mut self) {
        self.release_idle();
    }

    fn end_pool(&mut self, pool: u32) {
        for is_small in [true, false] {
            if let Some(&cache) = self.cache_of.get(&(pool, is_small)) {
                self.release_cache(cache as usize);
            }
        }
    }

    fn peak_committed(&self) -> Option<u64> {
        Some(self.device.peak)
    }

    fn committed(&self) -> Option<u64> {
        Some(self.device.reserved)
    }

    fn room(&self, ask: Ask) -> Room {
        let size = self.settings.round(ask.size);
        let cache = self.cache_of.get(&(ask.pool, size <= SMALL)).map(|&cache| &self.caches[cache as usize]);
        let all = self.caches.iter().flat_map(|cache| &cache.free).map(|&(_, size, ..)| size);
        let own = cache.into_iter().flat_map(|cache| &cache.free).filter(|free| free.0 == ask.stream);
        let device = self.device.free();
        Room {
            free: all.sum::<u64>().saturating_add(device),
            largest: own.map(|&(_, size, ..)| size).max().unwrap_or(0).max(device),
        }
    }
}

/// The lowest place that there is.
pub(super) const LOWEST: At = (0, 0);
