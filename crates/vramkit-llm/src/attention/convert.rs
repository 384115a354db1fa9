//! A block's keys or values as 32-bit floats, once for all the queries of a tile.
//!
//! In: one head's bytes of a block. Out: keys `[key][16]`, values `[16][value, up to a multiple of 16]`, both exact (a
//! number of q8_0 times its scale has 18 bits). Values past the last are zero.

use half::f16;

use super::cache_kind::{CacheKind, GROUP};
use super::layout::{BLOCK, CacheLayout};
use super::level::{HalfLane, Job, LANES, Lane, Lanes};

/// The keys of a block.
pub(super) struct ConvertKeys<'a> {
    pub layout: &'a CacheLayout,
    /// [`CacheLayout::head_len`] bytes.
    pub head: &'a [u8],
    /// `key` vectors.
    pub out: &'a mut [Lane],
}

impl Job for ConvertKeys<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let keys = &self.head[..self.layout.key_bytes()];
        match self.layout.kind() {
            CacheKind::F32 => {
                for (row, out) in keys.as_chunks::<{ 4 * LANES }>().0.iter().zip(self.out) {
                    *out = floats(row);
                }
            }
            CacheKind::F16 => {
                for (row, out) in keys.as_chunks::<{ 2 * LANES }>().0.iter().zip(self.out) {
                    *out = lanes.widen(row);
                }
            }
            CacheKind::Q8_0 => {
                let (numbers, scales) = keys.split_at(self.layout.key() * BLOCK);
                let groups = numbers.as_chunks::<{ GROUP * BLOCK }>().0.iter();
                let scales = scales.as_chunks::<{ 2 * BLOCK }>().0;
                for ((group, scales), out) in groups.zip(scales).zip(self.out.as_chunks_mut::<GROUP>().0) {
                    let scales = lanes.widen(scales);
                    for (row, out) in group.as_chunks::<BLOCK>().0.iter().zip(out) {
                        let mut lane = [0.0; LANES];
                        for at in 0..LANES {
                            lane[at] = f32::from(row[at].cast_signed()) * scales[at];
                        }
                        *out = lane;
                    }
                }
            }
        }
    }
}

/// The values of a block.
pub(super) struct ConvertValues<'a> {
    pub layout: &'a CacheLayout,
    /// [`CacheLayout::head_len`] bytes.
    pub head: &'a [u8],
    /// 16 rows of [`row_lanes`] vectors.
    pub out: &'a mut [Lane],
}

/// Vectors of a row of values.
pub(super) fn row_lanes(layout: &CacheLayout) -> usize {
    layout.value().div_ceil(LANES)
}

impl Job for ConvertValues<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let values = &self.head[self.layout.key_bytes()..];
        let value = self.layout.value();
        let rows = self.out.chunks_exact_mut(row_lanes(self.layout));
        match self.layout.kind() {
            CacheKind::F32 => {
                for (row, out) in values.chunks_exact(4 * value).zip(rows) {
                    for (bytes, out) in row.chunks(4 * LANES).zip(out) {
                        *out = floats(&padded(bytes));
                    }
                }
            }
            CacheKind::F16 => {
                for (row, out) in values.chunks_exact(2 * value).zip(rows) {
                    for (bytes, out) in row.chunks(2 * LANES).zip(out) {
                        *out = lanes.widen(&padded::<{ size_of::<HalfLane>() }>(bytes));
                    }
                }
            }
            CacheKind::Q8_0 => {
                let (numbers, scales) = values.split_at(value * BLOCK);
                let scales = scales.chunks_exact(2 * (value / GROUP));
                for ((row, scales), out) in numbers.chunks_exact(value).zip(scales).zip(rows) {
                    let groups = row.as_chunks::<GROUP>().0.iter().zip(scales.as_chunks::<2>().0);
                    for ((group, scale), out) in groups.zip(out.as_chunks_mut::<2>().0) {
                        let scale = f16::from_le_bytes(*scale).to_f32_const();
                        let mut lanes = [0.0; GROUP];
                        for at in 0..GROUP {
                            lanes[at] = f32::from(group[at].cast_signed()) * scale;
                        }
                        out.as_flattened_mut().copy_from_slice(&lanes);
                    }
                }
            }
        }
    }
}

/// 16 floats from their bytes.
#[inline(always)]
fn floats(bytes: &[u8; 4 * LANES]) -> Lane {
    let mut lane = [0.0; LANES];
    for (x, bytes) in lane.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *x = f32::from_le_bytes(*bytes);
    }
    lane
}

/// Up to `N` bytes, zeros behind them.
#[inline(always)]
fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    if let Ok(whole) = bytes.try_into() {
        return whole;
    }
    let mut all = [0; N];
    all[..bytes.len()].copy_from_slice(bytes);
    all
}
