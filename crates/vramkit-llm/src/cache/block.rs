//! A block: the keys and values of [`BLOCK`](crate::attention::BLOCK) tokens in the layers of one group, granted by the pool.
//!
//! A block is written by the one sequence that it was granted for, a token at a time, until it is full; from then on it is only
//! read, by every sequence that shares it, and goes back to the pool with the last of them.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use vramkit::pool::{Allocation, PoolError, ViewError};

/// Bytes that the pool has granted for a cache's blocks: now, and at most so far. The pool's ledger says the same of now, and
/// nothing of those that hold nothing any more.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    now: AtomicU64,
    most: AtomicU64,
}

impl Granted {
    pub fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    pub fn most(&self) -> u64 {
        self.most.load(Relaxed)
    }
}

/// Memory of one block.
#[derive(Debug)]
pub(crate) struct Block {
    base: NonNull<u8>,
    bytes: usize,
    granted: Arc<Granted>,
    /// Gives the memory back.
    memory: Allocation,
}

// SAFETY: a block is memory and its address; who reads and who writes when is the contract of `bytes` and `bytes_mut`, which
// says nothing of threads.
unsafe impl Send for Block {}
// SAFETY: as for `Send`.
unsafe impl Sync for Block {}

/// Why a block was not granted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlockError {
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    View(#[from] ViewError),
}

impl Block {
    /// Of this memory, which counts in `granted` until the block goes.
    pub fn new(mut memory: Allocation, granted: &Arc<Granted>) -> Result<Self, BlockError> {
        let bytes = memory.view_mut::<u8>()?;
        let (base, bytes) = (NonNull::from(&mut bytes[0]), bytes.len());
        let size = memory.granted().bytes();
        let now = granted.now.fetch_add(size, Relaxed) + size;
        granted.most.fetch_max(now, Relaxed);
        Ok(Self { base, bytes, granted: granted.clone(), memory })
    }

    /// Some of its bytes.
    ///
    /// # Safety
    ///
    /// For `'a` nobody writes to them.
    ///
    /// # Panics
    ///
    /// When they are not in it.
    pub unsafe fn bytes<'a>(&self, offset: usize, len: usize) -> &'a [u8] {
        assert!(offset <= self.bytes && len <= self.bytes - offset, "a layer lies in its block");
        // SAFETY: the part lies in memory that the handle keeps granted as long as the block lives, which the caller's share
        // of it outlasts `'a`; any bytes are a `u8`, and nobody writes to them by this function's contract.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset), len) }
    }

    /// Some of its bytes, to write.
    ///
    /// # Safety
    ///
    /// For `'a` nobody else reads or writes them.
    ///
    /// # Panics
    ///
    /// When they are not in it.
    #[allow(clippy::mut_from_ref)] // that they are the caller's alone is the contract
    pub unsafe fn bytes_mut<'a>(&self, offset: usize, len: usize) -> &'a mut [u8] {
        assert!(offset <= self.bytes && len <= self.bytes - offset, "a layer lies in its block");
        // SAFETY: as in `bytes`, and they are the caller's alone. The pointer was made from a slice that may be written, and
        // no other slice of the allocation is ever made.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr().add(offset), len) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.granted.now.fetch_sub(self.memory.granted().bytes(), Relaxed);
    }
}
