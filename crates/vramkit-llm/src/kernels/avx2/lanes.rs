//! Lanes of a register: one a row.

use std::arch::x86_64::*;

/// Rows of a register.
pub(super) const LANES: usize = 8;

/// All ones for the lanes of the 8 rows of which `rows` are there.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
pub(super) fn mask(rows: usize) -> __m256i {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(rows.min(LANES) as i32), lanes)
}
