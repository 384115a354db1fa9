//! Types with blocks of 256 numbers: parts of 32 or 16 with steps of their own, which are few bits times a step of the block.

use super::rounding::{as_half, half_bytes, inverse, nearest};
use super::weight_type::WeightType;

/// How far below the whole range a step is tried: clipping the ends can be better than a wide step for all.
const SHRINKS: [f32; 5] = [1.0, 0.96, 0.92, 0.88, 0.84];

/// One block.
pub(super) fn put(kind: WeightType, numbers: &[f32; 256], into: &mut Vec<u8>) {
    match kind {
        WeightType::Q4K => affine(numbers, 15, into),
        WeightType::Q5K => affine(numbers, 31, into),
        _ => sixes(numbers, into),
    }
}

/// Eight parts of 32, each `step × number − below`: steps and what is below in six bits each.
fn affine(numbers: &[f32; 256], levels: i32, into: &mut Vec<u8>) {
    let (parts, _) = numbers.as_chunks::<32>();
    let mut steps = [0.0f32; 8];
    let mut belows = [0.0f32; 8];
    for (at, part) in parts.iter().enumerate() {
        (steps[at], belows[at]) = step_and_below(part, levels);
    }
    let [step, below] = [steps, belows].map(|all| as_half(all.into_iter().fold(0.0, f32::max) / 63.0));
    let steps = steps.map(|own| nearest(own * inverse(step), 0, 63) as u8);
    let belows = belows.map(|own| nearest(own * inverse(below), 0, 63) as u8);

    let mut quantised = [[0u8; 32]; 8];
    for (at, part) in parts.iter().enumerate() {
        let (inverse, below) = (inverse(step * f32::from(steps[at])), below * f32::from(belows[at]));
        quantised[at] = part.map(|number| nearest((number + below) * inverse, 0, levels) as u8);
    }

    into.extend(half_bytes(step));
    into.extend(half_bytes(below));
    into.extend(sixes_in_twelve(&steps, &belows));
    if levels == 31 {
        let fifth = |at: usize| (0..8).fold(0, |bits, part| bits | (quantised[part][at] >> 4) << part);
        into.extend((0..32).map(fifth));
    }
    let (pairs, _) = quantised.as_chunks::<2>();
    for [low, high] in pairs {
        into.extend((0..32).map(|at| low[at] & 15 | (high[at] & 15) << 4));
    }
}

/// The pair with the least squared error, by trial.
fn step_and_below(numbers: &[f32; 32], levels: i32) -> (f32, f32) {
    let least = numbers.iter().copied().fold(0.0, f32::min);
    let most = numbers.iter().copied().fold(0.0, f32::max);
    best(SHRINKS.map(|shrink| {
        let (step, below) = ((most - least) * shrink / levels as f32, -least * shrink);
        let inverse = inverse(step);
        let error = |&number: &f32| {
            let again = nearest((number + below) * inverse, 0, levels) as f32 * step - below;
            (number - again) * (number - again)
        };
        (numbers.iter().map(error).sum(), (step, below))
    }))
}

/// Eight steps and eight others of six bits each in twelve bytes: the first four whole, with two bits of the last four above.
fn sixes_in_twelve(steps: &[u8; 8], belows: &[u8; 8]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for at in 0..4 {
        bytes[at] = steps[at] | (steps[at + 4] >> 4) << 6;
        bytes[at + 4] = belows[at] | (belows[at + 4] >> 4) << 6;
        bytes[at + 8] = steps[at + 4] & 15 | (belows[at + 4] & 15) << 4;
    }
    bytes
}

/// Sixteen parts of 16, each with a signed step of eight bits; numbers of six bits around 32.
fn sixes(numbers: &[f32; 256], into: &mut Vec<u8>) {
    let (parts, _) = numbers.as_chunks::<16>();
    let mut steps = [0.0f32; 16];
    for (at, part) in parts.iter().enumerate() {
        steps[at] = signed_step(part);
    }
    let step = as_half(steps.iter().fold(0.0f32, |most, own| most.max(own.abs())) / 127.0);
    let steps = steps.map(|own| nearest(own * inverse(step), -127, 127) as i8);

    let mut quantised = [0u8; 256];
    for (at, number) in numbers.iter().enumerate() {
        let inverse = inverse(step * f32::from(steps[at / 16]));
        quantised[at] = (nearest(number * inverse, -32, 31) + 32) as u8;
    }

    let (halves, _) = quantised.as_chunks::<128>();
    for half in halves {
        into.extend((0..64).map(|at| half[at] & 15 | (half[at + 64] & 15) << 4));
    }
    for half in halves {
        let high = |at: usize| {
            (0..4).fold(0, |bits, quarter| bits | (half[at + 32 * quarter] >> 4) << (2 * quarter))
        };
        into.extend((0..32).map(high));
    }
    into.extend(steps.map(|own| own as u8));
    into.extend(half_bytes(step));
}

fn signed_step(numbers: &[f32; 16]) -> f32 {
    let farthest =
        numbers.iter().fold(0.0f32, |most, &number| if number.abs() > most.abs() { number } else { most });
    best(SHRINKS.map(|shrink| {
        let step = farthest * shrink / -32.0;
        let inverse = inverse(step);
        let error = |&number: &f32| {
            let again = nearest(number * inverse, -32, 31) as f32 * step;
            (number - again) * (number - again)
        };
        (numbers.iter().map(error).sum(), step)
    }))
}

/// What came with the least error.
fn best<T: Copy>(tried: [(f32, T); SHRINKS.len()]) -> T {
    let [mut best, rest @ ..] = tried;
    for other in rest {
        if other.0 < best.0 {
            best = other;
        }
    }
    best.1
}
