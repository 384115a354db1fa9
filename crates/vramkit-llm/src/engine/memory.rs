//! What a model holds of the pool, and what a token takes.

use vramkit::ByteSize;
use vramkit::pool::Request;

use super::resident::Resident;
use crate::attention::BLOCK;
use crate::cache::KvCache;

/// What a model holds of the pool, and what a token takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUse {
    /// The weights as granted, whether they are there now or not.
    pub weights: ByteSize,
    /// The arena that a step's activations share.
    pub workspace: ByteSize,
    /// Bytes of the keys and values of a token in a sequence that has reached no window yet.
    pub kv_per_token: ByteSize,
    /// Tokens that the cache grows by.
    pub block_tokens: usize,
    /// What sequences hold now, in whole blocks.
    pub kv: ByteSize,
    /// The most that they have held.
    pub peak_kv: ByteSize,
}

pub(super) fn of(resident: &Resident, cache: &KvCache) -> MemoryUse {
    let (kv, peak_kv) = cache.granted();
    MemoryUse {
        weights: Request::granted(ByteSize::new(resident.tensors.bytes as u64)),
        workspace: Request::granted(resident.arena()),
        kv_per_token: ByteSize::new(cache.bytes_per_token()),
        block_tokens: BLOCK,
        kv,
        peak_kv,
    }
}
