//! What a model holds of the pool, and what a token takes.

use vramkit::ByteSize;
use vramkit::pool::Request;

use super::resident::Resident;
use super::schedule::State;
use crate::attention::BLOCK;

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
    /// What they held when the last step was computed, before those that ended in it gave back theirs.
    pub step_kv: ByteSize,
    /// The tokens of all sequences whose keys and values that was; of layers with a window, more than are kept.
    pub step_tokens: usize,
}

pub(super) fn of(resident: &Resident, state: &State) -> MemoryUse {
    let (kv, peak_kv) = state.cache.granted();
    let (step_kv, step_tokens) = state.held_in_step();
    MemoryUse {
        weights: Request::granted(ByteSize::new(resident.tensors.bytes as u64)),
        workspace: Request::granted(resident.arena()),
        kv_per_token: ByteSize::new(state.cache.bytes_per_token()),
        block_tokens: BLOCK,
        kv,
        peak_kv,
        step_kv,
        step_tokens,
    }
}
