//! One row of a block, unpacked in plain Rust: what look-ups and the plain kernel read.

use half::f16;

use super::form::{HALVES, Heads, Quants, ROWS, SPLIT_HEAD, SUPER, SUPER_HEAD};

/// Scales of the block's two halves (the same where the type has but one) and the minimum (0 where it has none) of block
/// `at` in a group's heads.
pub(super) fn head(kind: Heads, head: &[u8], at: usize, row: usize) -> ([f32; 2], f32) {
    let half = |head: &[u8]| f16::from_le_bytes([head[2 * row], head[2 * row + 1]]).to_f32();
    match kind {
        Heads::Scale => ([half(&head[at * HALVES..]); 2], 0.0),
        Heads::Minimum => {
            let head = &head[at * 2 * HALVES..];
            ([half(head); 2], half(&head[HALVES..]))
        }
        Heads::Super => {
            let head = &head[at / SUPER * SUPER_HEAD..];
            let multipliers = &head[2 * HALVES + at % SUPER * 2 * ROWS..];
            let scale = half(head) * f32::from(multipliers[row]);
            // The type subtracts its minima.
            ([scale; 2], -(half(&head[HALVES..]) * f32::from(multipliers[ROWS + row])))
        }
        Heads::Split => {
            let head = &head[at / SUPER * SPLIT_HEAD..];
            let multipliers = &head[HALVES + at % SUPER * 2 * ROWS..];
            let scale = |multiplier: u8| half(head) * f32::from(multiplier as i8);
            ([scale(multipliers[row]), scale(multipliers[ROWS + row])], 0.0)
        }
    }
}

/// The 32 unsigned numbers of a row in a block's quants.
pub(super) fn numbers(quants: Quants, block: &[u8], row: usize) -> [u8; 32] {
    let mut numbers = [0; 32];
    for (column, number) in numbers.iter_mut().enumerate() {
        let (chunk, at) = (column / 4, row * 4 + column % 4);
        let nibble = || block[chunk % 4 * 64 + at] >> (chunk / 4 * 4) & 15;
        *number = match quants {
            Quants::Eight => block[chunk * 64 + at],
            Quants::Four => nibble(),
            Quants::Five => nibble() | (block[256 + at] >> chunk & 1) << 4,
            Quants::Six => nibble() | (block[256 + chunk / 4 * 64 + at] >> (chunk % 4 * 2) & 3) << 4,
        };
    }
    numbers
}
