//! Products in plain Rust, for every machine: what the other levels equal to the bit.
#![allow(unsafe_code)]

use half::{bf16, f16};

use super::activations::{RECORD, SCALE, SUM};
use super::form::{BLOCK, Float, Heads, PART, Quants, ROWS};
use super::job::{Job, begin};
use super::unpack::{head, numbers};

/// # Safety
/// `job.out` is as [`Job`] says.
pub(super) unsafe fn quantised(job: &Job, quants: Quants, heads: Heads, zero: i32) {
    let begin = begin(zero);
    let row_bytes = job.x.row_bytes();
    for group in job.groups.clone() {
        let (head_bytes, body) = job.weights.group(group).split_at(job.weights.shape.head_bytes);
        for row in 0..job.rows(group) {
            for (at, block) in body.chunks_exact(quants.bytes()).take(job.weights.shape.blocks()).enumerate()
            {
                let (scales, minimum) = head(heads, head_bytes, at, row);
                let weights = numbers(quants, block, row);
                for token in job.tokens.clone() {
                    let record = &job.x.records[token * row_bytes + at * RECORD..][..RECORD];
                    let word = |at: usize| [record[at], record[at + 1], record[at + 2], record[at + 3]];
                    let scale = f32::from_le_bytes(word(SCALE));
                    // SAFETY: the row and the token are of this job.
                    let out = unsafe { &mut *job.out.add(token * job.stride + group * ROWS + row) };
                    let mut sum = if at == 0 { 0.0 } else { *out };
                    let dot = |half: usize| {
                        let numbers = weights[half * 16..][..16].iter().zip(&record[half * 16..][..16]);
                        numbers.map(|(w, x)| i32::from(*w) * i32::from(*x as i8)).sum::<i32>()
                    };
                    let start = |half: usize| i32::from_le_bytes(word(begin[half]));
                    if heads == Heads::Split {
                        for (half, weight_scale) in scales.iter().enumerate() {
                            let dot = start(half) + dot(half);
                            sum = (weight_scale * scale).mul_add(dot as f32, sum);
                        }
                    } else {
                        let dot = start(0) + dot(0) + dot(1);
                        sum = (scales[0] * scale).mul_add(dot as f32, sum);
                    }
                    if matches!(heads, Heads::Minimum | Heads::Super) {
                        sum = minimum.mul_add(f32::from_le_bytes(word(SUM)), sum);
                    }
                    *out = sum;
                }
            }
        }
    }
    const { assert!(BLOCK == 32) };
}

/// # Safety
/// `job.out` is as [`Job`] says.
pub(super) unsafe fn floats(job: &Job, float: Float) {
    let columns = job.x.columns;
    let weight = |group: &[u8], at: usize| {
        let bytes = &group[at * float.bytes()..][..float.bytes()];
        match float {
            Float::F32 => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            Float::F16 => f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
            Float::Bf16 => bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        }
    };
    for group in job.groups.clone() {
        let bytes = job.weights.group(group);
        for row in 0..job.rows(group) {
            for token in job.tokens.clone() {
                let x = &job.x.x[token * columns..][..columns];
                let mut sum = 0.0;
                for (part, x) in x.chunks(PART).enumerate() {
                    let place = |column: usize| (part * PART + column) * ROWS + row;
                    let part = x
                        .iter()
                        .enumerate()
                        .fold(0.0_f32, |part, (column, x)| weight(bytes, place(column)).mul_add(*x, part));
                    sum += part;
                }
                // SAFETY: the row and the token are of this job.
                unsafe { *job.out.add(token * job.stride + group * ROWS + row) = sum };
            }
        }
    }
}
