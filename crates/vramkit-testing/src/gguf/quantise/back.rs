//! Blocks become numbers again.

use half::{bf16, f16};

use super::weight_type::WeightType;

/// The numbers that blocks stand for. Bytes beyond the last whole block are left out.
pub fn dequantise(kind: WeightType, blocks: &[u8]) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(blocks.len() / kind.bytes() * kind.numbers());
    for block in blocks.chunks_exact(kind.bytes()) {
        match kind {
            WeightType::F32 => numbers.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
            WeightType::F16 => numbers.push(half(block, 0)),
            WeightType::Bf16 => numbers.push(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
            WeightType::Q8_0 => {
                numbers.extend(block[2..].iter().map(|&byte| f32::from(byte as i8) * half(block, 0)));
            }
            WeightType::Q4_0 => {
                numbers.extend((0..32).map(|at| (four(&block[2..], at) - 8.0) * half(block, 0)))
            }
            WeightType::Q4_1 => {
                numbers.extend((0..32).map(|at| four(&block[4..], at) * half(block, 0) + half(block, 2)));
            }
            WeightType::Q5_0 => numbers.extend(
                (0..32).map(|at| (four(&block[6..], at) + fifth(&block[2..], at) - 16.0) * half(block, 0)),
            ),
            WeightType::Q5_1 => numbers.extend((0..32).map(|at| {
                (four(&block[8..], at) + fifth(&block[4..], at)) * half(block, 0) + half(block, 2)
            })),
            WeightType::Q4K | WeightType::Q5K => numbers.extend((0..256).map(|at| affine(kind, block, at))),
            WeightType::Q6K => numbers.extend((0..256).map(|at| six(block, at))),
        }
    }
    numbers
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Four bits of 32 numbers in 16 bytes.
fn four(bytes: &[u8], at: usize) -> f32 {
    f32::from(bytes[at % 16] >> (at / 16 * 4) & 15)
}

/// 16 where the fifth bit is set.
fn fifth(bytes: &[u8], at: usize) -> f32 {
    f32::from((bytes[at / 8] >> (at % 8) & 1) * 16)
}

fn affine(kind: WeightType, block: &[u8], at: usize) -> f32 {
    let (part, own, sixes) = (at / 32, at % 32, &block[4..16]);
    let (step, below) = if part < 4 {
        (sixes[part] & 63, sixes[part + 4] & 63)
    } else {
        let low = sixes[part + 4];
        (low & 15 | sixes[part - 4] >> 6 << 4, low >> 4 | sixes[part] >> 6 << 4)
    };
    let (high, bytes) = match kind {
        WeightType::Q5K => ((block[16 + own] >> part & 1) * 16, &block[48..]),
        _ => (0, &block[16..]),
    };
    let number = (bytes[part / 2 * 32 + own] >> (part % 2 * 4) & 15) + high;
    half(block, 0) * f32::from(step) * f32::from(number) - half(block, 2) * f32::from(below)
}

fn six(block: &[u8], at: usize) -> f32 {
    let (side, own) = (at / 128, at % 128);
    let low = block[side * 64 + own % 64] >> (own / 64 * 4) & 15;
    let high = block[128 + side * 32 + own % 32] >> (own / 32 * 2) & 3;
    let number = i16::from(low | high << 4) - 32;
    half(block, 208) * f32::from(block[192 + at / 16] as i8) * f32::from(number)
}
