//! The index for small problems: every placed buffer in order of offset, looked through from the bottom.
//!
//! A look at all of a few hundred buffers, laid out so that the processor compares several at once, takes less
//! time than walking a tree; where the tree starts to win is measured by `cargo bench -p vramkit-plan --bench plan`.

use super::index::{Fit, align_up};

/// See the [module](self). One entry a placed buffer in each list.
#[derive(Clone, Debug, Default)]
pub(super) struct Linear {
    start: Vec<u32>,
    end: Vec<u32>,
    low: Vec<u64>,
    high: Vec<u64>,
}

impl Linear {
    pub(super) fn clear(&mut self) {
        self.start.clear();
        self.end.clear();
        self.low.clear();
        self.high.clear();
    }

    /// Takes the addresses `[low, high)` during `[start, end)`.
    pub(super) fn take(&mut self, start: u32, end: u32, (low, high): (u64, u64)) {
        let at = self.low.partition_point(|&other| other < low);
        self.start.insert(at, start);
        self.end.insert(at, end);
        self.low.insert(at, low);
        self.high.insert(at, high);
    }

    /// An offset at a multiple of `alignment` where `size` bytes are free during all of the runs of ranks.
    pub(super) fn find(&self, runs: &[(u32, u32)], size: u64, alignment: u64, fit: Fit) -> u64 {
        let mut top = 0u64;
        let mut best = (u64::MAX, 0);
        let times = self.start.chunks(LANES).zip(self.end.chunks(LANES));
        for (chunk, (starts, ends)) in times.enumerate() {
            let masks = runs.iter().map(|&(start, end)| overlaps(starts, ends, start, end));
            let mut overlapping = masks.fold(0, |all, mask| all | mask);
            while overlapping != 0 {
                let i = chunk * LANES + overlapping.trailing_zeros() as usize;
                overlapping &= overlapping - 1;
                let low = self.low[i];
                if low > top {
                    let offset = align_up(top, alignment);
                    if offset + size <= low {
                        if fit == Fit::First {
                            return offset;
                        }
                        if low - top < best.0 {
                            best = (low - top, offset);
                        }
                    }
                }
                top = top.max(self.high[i]);
            }
        }
        if best.0 < u64::MAX { best.1 } else { align_up(top, alignment) }
    }
}

/// Buffers compared at once.
const LANES: usize = 32;

/// Which of up to [`LANES`] buffers live at some time in `[start, end)`: a bit each.
fn overlaps(starts: &[u32], ends: &[u32], start: u32, end: u32) -> u32 {
    if let (Ok(starts), Ok(ends)) = (<&[u32; LANES]>::try_from(starts), <&[u32; LANES]>::try_from(ends)) {
        // Two loops, so that the compiler does the first with vectors.
        let mut lanes = [0u8; LANES];
        for i in 0..LANES {
            lanes[i] = u8::from((starts[i] < end) & (ends[i] > start));
        }
        let words = lanes.chunks_exact(8).map(|lanes| {
            // Gathers the lowest bit of eight bytes into one byte.
            let word = u64::from_le_bytes(lanes.try_into().expect("eight lanes"));
            (word.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
        });
        return words.enumerate().fold(0, |mask, (i, byte)| mask | byte << (8 * i));
    }
    let pairs = starts.iter().zip(ends).enumerate();
    pairs.fold(0, |mask, (i, (&s, &e))| mask | u32::from(s < end && e > start) << i)
}
