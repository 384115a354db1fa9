//! What is given back to the device: old blocks by and by, large ones that may not be split, all that idles.

use super::allocator::{Allocator, LOWEST, Wanted};
use super::caches::BySize;

impl Allocator {
    /// Gives back blocks with a segment of their own that have not served for long, once more than a share of what is allowed is held.
    pub(super) fn collect_garbage(&mut self) {
        let Some((threshold, most)) =
            self.settings.garbage_collection_threshold.zip(self.device.allowed.or(self.device.capacity))
        else {
            return;
        };
        let threshold = (threshold * most as f64) as u64;
        let Some(target) = self.device.reserved.checked_sub(threshold).filter(|&target| target > 0) else {
            return;
        };
        // The default pool's large blocks.
        let cache = &self.caches[1];
        let age = |block: u32| cache.asked - self.blocks[block].since;
        let mut idle: Vec<(u64, u32)> = cache
            .free
            .iter()
            .filter(|(.., block)| !self.blocks[*block].is_split())
            .map(|&(.., block)| (age(block), block))
            .collect();
        let mut total: u64 = idle.iter().map(|(age, _)| age).sum();
        let mut reclaimed = 0;
        while reclaimed < target && !idle.is_empty() {
            let mean = total as f64 / idle.len() as f64;
            let before = idle.len();
            let mut kept = Vec::new();
            for (age, block) in idle {
                // Segments that grow have their pages taken when memory runs out, not before.
                if age as f64 >= mean && !self.settings.expandable_segments {
                    reclaimed += self.blocks[block].size;
                    total -= age;
                    self.release(block);
                } else {
                    kept.push((age, block));
                }
            }
            if kept.len() == before {
                return;
            }
            idle = kept;
        }
    }

    /// Gives a free block's segment back, which it has to itself.
    fn release(&mut self, block: u32) {
        self.take(block);
        self.device.free_segment(self.blocks[block].at.1);
        self.blocks.remove(block);
    }

    /// Gives back blocks that may not be split until a request would fit; false where they are too few.
    pub(super) fn release_unsplittable(&mut self, wanted: Wanted) -> bool {
        let Some(most) = self.settings.max_split_size else { return false };
        let size = wanted.size.max(most);
        let free = &self.caches[wanted.cache as usize].free;
        let key: BySize = (wanted.stream, size, LOWEST, 0);
        let first = free.range(key..).next().filter(|free| free.0 == wanted.stream);
        if let Some(&(.., block)) = first.filter(|_| !self.settings.expandable_segments) {
            self.release(block);
            return true;
        }
        let largest_first = free.range(..key).rev();
        let own = largest_first.take_while(|free| free.0 == wanted.stream && free.1 >= most);
        let mut released = 0;
        let mut going = Vec::new();
        for &(_, size_of, _, block) in own.filter(|_| !self.settings.expandable_segments) {
            if released >= size {
                break;
            }
            released += size_of;
            going.push(block);
        }
        going.into_iter().for_each(|block| self.release(block));
        released >= size
    }

    /// Gives everything back that idles in the default pool, once other streams are done with what waits for them.
    pub(super) fn release_idle(&mut self) {
        self.free_pending();
        // Large blocks first. A private pool keeps what it has: its graph may run again.
        for cache in [1, 0] {
            self.release_cache(cache);
        }
    }

    /// Gives back what idles in one cache.
    pub(super) fn release_cache(&mut self, cache: usize) {
        let all: Vec<u32> = self.caches[cache].free.iter().map(|&(.., block)| block).collect();
        for block in all {
            if self.settings.expandable_segments {
                self.unmap(block);
            } else if !self.blocks[block].is_split() {
                self.release(block);
            }
        }
    }
}
