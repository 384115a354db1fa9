//! Memory of a pool that is held for Python, and where it is: given back when nobody has it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use vramkit::device::{AddressRange, CudaDevice};
use vramkit::pool::{Allocation, CachedAllocation};

/// A pool's block.
pub enum Block {
    /// Of a caching pool.
    Cached(CachedAllocation),
    /// Of a plain one.
    Plain(Allocation),
}

/// Memory of a pool, given back when dropped: of a card, once everything that was queued on the card is done, because who looked into
/// it may have queued work on any stream.
pub struct Memory {
    block: Block,
    card: Option<Arc<CudaDevice>>,
    was_shown: AtomicBool,
}

impl Memory {
    pub fn new(block: Block, card: Option<Arc<CudaDevice>>) -> Self {
        Self { block, card, was_shown: AtomicBool::new(false) }
    }

    pub fn range(&self) -> AddressRange {
        match &self.block {
            Block::Cached(block) => block.range(),
            Block::Plain(block) => block.range(),
        }
    }

    /// Whether it only goes among what idles, and nobody has to be waited for.
    pub fn goes_back_at_once(&self) -> bool {
        match &self.block {
            Block::Cached(block) => self.card.is_none() && block.goes_idle(),
            Block::Plain(_) => false,
        }
    }

    /// Somebody is about to look into it.
    pub fn shown(self: Arc<Self>) -> Arc<Self> {
        self.was_shown.store(true, Relaxed);
        self
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(card) = &self.card
            && self.was_shown.load(Relaxed)
        {
            // Where it fails the card is lost, and so is what was queued.
            let _ = card.synchronize();
        }
    }
}

/// Where a buffer's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// In this process.
    Host,
    /// On a card.
    Card(u32),
    /// Nowhere: it is simulated.
    Nowhere,
}
