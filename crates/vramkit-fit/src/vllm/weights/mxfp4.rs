//! Experts in 4 bits with shared scales (mxfp4), as vLLM lays them out for its kernels.
//!
//! In: how wide experts are, on which kind of card. Out: bytes of one layer's experts on one device. Never here: what is not an
//! expert's.
//!
//! On Hopper the Triton kernels take weights as they are, and swizzled scales: the scales of the file stay beside them, and
//! biases become 32 bits. Elsewhere the Marlin kernels want widths of whole tiles (`quantization/mxfp4.py`). Which card it is
//! is known by its size alone, so an A100 of 80 GB is taken for a Hopper (2 % less than it takes).

use vramkit_models::shape::Widths;

use super::super::settings::Settings;
use super::common::allocated;

/// Numbers that share a scale of one byte.
const BLOCK: u64 = 32;
/// Rows of swizzled scales are padded to a multiple of this; of the multiples that a tile may have, the one that gpt-oss-120b shows.
const SWIZZLE: u64 = 256;

/// Bytes of one layer's experts on one device, without biases.
pub(super) fn experts(widths: Widths, settings: &Settings) -> u64 {
    let inner = widths.expert_feed_forward.div_ceil(settings.devices);
    if settings.server_card() {
        let inner = up(inner, 64);
        let matrix = |rows: u64, columns: u64| {
            let scales = columns.div_ceil(BLOCK);
            let values = allocated(of(widths.experts, rows, columns / 2));
            let file = allocated(of(widths.experts, rows, scales));
            values.saturating_add(file).saturating_add(allocated(of(
                widths.experts,
                up(rows, SWIZZLE),
                scales,
            )))
        };
        matrix(inner.saturating_mul(2), widths.hidden).saturating_add(matrix(widths.hidden, inner))
    } else {
        let (inner, hidden) = (up(inner, 128), up(widths.hidden, 256));
        let matrix = |rows: u64, columns: u64| {
            let values = allocated(of(widths.experts, rows, columns / 2));
            values.saturating_add(allocated(of(widths.experts, rows, columns / BLOCK)))
        };
        matrix(inner.saturating_mul(2), hidden).saturating_add(matrix(hidden, inner))
    }
}

/// How many bytes a number of the experts' biases has.
pub(super) fn bias_bytes(settings: &Settings) -> u64 {
    if settings.server_card() { 4 } else { 2 }
}

fn of(experts: u64, rows: u64, bytes: u64) -> u64 {
    experts.saturating_mul(rows).saturating_mul(bytes)
}

fn up(width: u64, multiple: u64) -> u64 {
    width.div_ceil(multiple).saturating_mul(multiple)
}
