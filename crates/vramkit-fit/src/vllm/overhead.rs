//! What vLLM's libraries take beside weights, activations and cache.
//!
//! In: [`Settings`] and the number of layers. Out: bytes, measured on the logs in `tests/data/vllm_logs.csv`. Never here:
//! anything that follows from a model.

use vramkit_units::ByteSize;

use super::settings::Settings;

/// What the libraries of one device took outside PyTorch's allocator: 0.13 GiB in every log of an H100, 0.02 to 0.07 of
/// smaller cards.
const SERVER_CARD: ByteSize = ByteSize::new(133 << 20);
const SMALL_CARD: ByteSize = ByteSize::new(50 << 20);
/// With NCCL's buffers, and those of the all-reduce over `NVLink`: 0.55 GiB on two H100, 1.4 to 1.8 on two H200 and on four H100.
const TWO_SERVER_CARDS: ByteSize = ByteSize::new(563 << 20);
const MORE_SERVER_CARDS: ByteSize = ByteSize::new(1515 << 20);
/// 0.21 GiB on eight L40S, which have no `NVLink`.
const SMALL_CARDS: ByteSize = ByteSize::new(215 << 20);
/// CUDA graphs: between 4 and 70 MiB a layer in the logs, 15 in the middle: a guess, no more.
const GRAPHS_OF_A_LAYER: u64 = 15 << 20;

/// What is taken outside PyTorch's allocator ("non-torch memory").
pub(super) fn outside_torch(settings: &Settings) -> ByteSize {
    match (settings.devices, settings.server_card()) {
        (1, true) => SERVER_CARD,
        (1, false) => SMALL_CARD,
        (2, true) => TWO_SERVER_CARDS,
        (_, true) => MORE_SERVER_CARDS,
        (_, false) => SMALL_CARDS,
    }
}

/// What captured graphs take.
pub(super) fn graphs(layers: u64) -> ByteSize {
    ByteSize::new(layers.saturating_mul(GRAPHS_OF_A_LAYER))
}
