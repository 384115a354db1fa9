//! Segments that grow: ranges of addresses, larger than the device, whose pages get memory when it is needed and lose it when they are
//! free and memory runs out.

use super::allocator::{Allocator, LARGE_SEGMENT, SMALL_SEGMENT, Wanted};
use super::blocks::{Block, NONE};

/// Addresses of a range: more than any trace needs. PyTorch takes an eighth more than the device has, of which the capacity of a replay
/// may be a part.
const ADDRESSES: u64 = 1 << 47;

impl Allocator {
    fn page(&self, cache: u32) -> u64 {
        if self.caches[cache as usize].is_small { SMALL_SEGMENT } else { LARGE_SEGMENT }
    }

    /// The free block that serves, where there is one: what a block can grow to counts, so that the end of a range is taken last.
    pub(super) fn least_to_grow(&self, wanted: Wanted) -> (u64, u32) {
        let could_be = |block: u32| {
            let Block { size, after, .. } = self.blocks[block];
            size + if after != NONE && !self.blocks[after].mapped { self.blocks[after].size } else { 0 }
        };
        let cache = &self.caches[wanted.cache as usize];
        let mut own = cache.from(wanted.stream, wanted.size).take_while(|free| free.0 == wanted.stream);
        let first = own.next().expect("somebody has looked");
        let mut best = (first.1, first.3);
        for (_, size, _, block) in own {
            if could_be(block) >= could_be(best.1) {
                break;
            }
            best = (size, block);
        }
        best
    }

    /// Maps pages until a free block holds the request; it is in no cache then.
    pub(super) fn grow(&mut self, wanted: Wanted) -> Option<u32> {
        let mut block = self.place_to_grow(wanted);
        if !self.blocks[block].mapped {
            block = self.map(block, wanted.size.min(self.blocks[block].size))?;
        }
        while self.blocks[block].size < wanted.size {
            let rest = wanted.size - self.blocks[block].size;
            let next = self.blocks[block].after;
            block = self.map(next, rest.min(self.blocks[next].size))?;
        }
        self.take(block);
        Some(block)
    }

    /// The lowest block without memory, or the free one before it, from which on there are addresses enough; a new range where there is
    /// none.
    fn place_to_grow(&mut self, wanted: Wanted) -> u32 {
        let blocks = &self.blocks;
        let usable = |block: u32| block != NONE && !blocks[block].taken;
        let holds = |mut block: u32| {
            let mut bytes = 0;
            while bytes < wanted.size && usable(block) {
                bytes += blocks[block].size;
                block = blocks[block].after;
            }
            bytes >= wanted.size
        };
        let unmapped = self.caches[wanted.cache as usize].unmapped.range((wanted.stream, (0, 0), 0)..);
        for &(_, _, block) in unmapped.take_while(|(stream, ..)| *stream == wanted.stream) {
            let before = blocks[block].before;
            let from = if usable(before) { before } else { block };
            if holds(from) {
                return from;
            }
        }
        let block = self.blocks.add(Block {
            at: (self.ranges.len() as u32, 0),
            size: ADDRESSES.next_multiple_of(self.page(wanted.cache)),
            stream: wanted.stream,
            cache: wanted.cache,
            before: NONE,
            after: NONE,
            taken: false,
            mapped: false,
            since: 0,
        });
        self.ranges.push(0);
        self.put(block);
        block
    }

    /// Gives the first `size` bytes of a block memory, in whole pages, and joins it with its neighbours.
    fn map(&mut self, block: u32, size: u64) -> Option<u32> {
        let bytes = size.next_multiple_of(self.page(self.blocks[block].cache));
        if !self.device.take(bytes) {
            return None;
        }
        self.take(block);
        if bytes < self.blocks[block].size {
            let rest = self.blocks.cut(block, bytes);
            self.put(rest);
        }
        self.blocks[block].mapped = true;
        let (range, end) = (self.blocks[block].at.0, self.blocks[block].at.1 + bytes);
        self.ranges[range as usize] = self.ranges[range as usize].max(end);
        let block = self.join_neighbours(block);
        self.put(block);
        Some(block)
    }

    /// Takes the memory of a free block's whole pages; a range that has none left goes.
    pub(super) fn unmap(&mut self, block: u32) {
        let page = self.page(self.blocks[block].cache);
        let Block { at: (_, from), size, .. } = self.blocks[block];
        let (begin, end) = (from.next_multiple_of(page), (from + size) / page * page);
        if begin >= end {
            return;
        }
        self.take(block);
        let mut middle = block;
        if begin > from {
            middle = self.blocks.cut(block, begin - from);
            self.put(block);
        }
        if end < from + size {
            let rest = self.blocks.cut(middle, end - begin);
            self.put(rest);
        }
        self.blocks[middle].mapped = false;
        self.device.give_back(end - begin);
        let middle = self.join_neighbours(middle);
        if self.blocks[middle].is_split() {
            self.put(middle);
        } else {
            self.blocks.remove(middle);
        }
    }
}
