//! Numbers become blocks of any type.

use half::bf16;

use super::rounding::half_bytes;
use super::weight_type::WeightType;
use super::{fives_and_fours, super_blocks};

/// Blocks of a type, one behind another, of numbers that are small enough for steps of 16 bits (below 65,504). Numbers beyond the last
/// whole block are left out.
pub fn quantise(kind: WeightType, numbers: &[f32]) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(numbers.len() / kind.numbers() * kind.bytes());
    quantise_into(kind, numbers, &mut blocks);
    blocks
}

/// As [`quantise`], behind what is there.
pub(in super::super) fn quantise_into(kind: WeightType, numbers: &[f32], blocks: &mut Vec<u8>) {
    match kind {
        WeightType::F32 => numbers.iter().for_each(|number| blocks.extend(number.to_le_bytes())),
        WeightType::F16 => numbers.iter().for_each(|&number| blocks.extend(half_bytes(number))),
        WeightType::Bf16 => {
            numbers.iter().for_each(|&number| blocks.extend(bf16::from_f32(number).to_le_bytes()));
        }
        WeightType::Q8_0 | WeightType::Q4_0 | WeightType::Q4_1 | WeightType::Q5_0 | WeightType::Q5_1 => {
            for block in numbers.as_chunks().0 {
                fives_and_fours::put(kind, block, blocks);
            }
        }
        WeightType::Q4K | WeightType::Q5K | WeightType::Q6K => {
            for block in numbers.as_chunks().0 {
                super_blocks::put(kind, block, blocks);
            }
        }
    }
}
