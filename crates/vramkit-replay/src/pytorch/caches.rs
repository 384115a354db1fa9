//! The blocks of one pool that are free: those with memory by stream and size, those without by stream and address.

use std::collections::BTreeSet;

use super::blocks::{At, Block};

/// Stream, size, place, number.
pub(super) type BySize = (u64, u64, At, u32);

#[derive(Default)]
pub(super) struct Cache {
    pub(super) is_small: bool,
    pub(super) free: BTreeSet<BySize>,
    /// Stream, place, number.
    pub(super) unmapped: BTreeSet<(u64, At, u32)>,
    /// How often it was asked: the clock by which blocks age.
    pub(super) asked: u64,
}

impl Cache {
    pub(super) fn put(&mut self, number: u32, block: &mut Block) {
        if block.mapped {
            block.since = self.asked;
            self.free.insert((block.stream, block.size, block.at, number));
        } else {
            self.unmapped.insert((block.stream, block.at, number));
        }
    }

    pub(super) fn take(&mut self, number: u32, block: &Block) {
        if block.mapped {
            self.free.remove(&(block.stream, block.size, block.at, number));
        } else {
            self.unmapped.remove(&(block.stream, block.at, number));
        }
    }

    /// The smallest that is free of a stream and has so many bytes, the lowest of those, and what comes behind it.
    pub(super) fn from(&self, stream: u64, size: u64) -> impl Iterator<Item = BySize> + '_ {
        self.free.range((stream, size, (0, 0), 0)..).copied()
    }
}
