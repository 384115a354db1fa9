//! Products of packed weights with activations, shared among threads.
//!
//! In: activations, and matrices with the place of their output. Out: `out[token · stride + row]`, the sum over columns.
//! Never: a result that depends on the level of instructions, on the other tokens or matrices of the call, or on threads.
//!
//! Every result is one fixed sequence of operations. Of quantised weights, block for block of 32 columns in order:
//! `s = scale_w · scale_x; sum = fma(s, f32(Σ (number_w − zero) · number_x), sum)`, the inner sum in integers; with a
//! minimum, then `sum = fma(minimum, scale_x · Σ number_x, sum)`; where halves of a block have scales of their own, the two
//! one after the other. Of floating-point weights: for each 128 columns in order
//! `part = fma(w, x, part)` column by column, from 0; `sum = sum + part`.
#![allow(unsafe_code)]

use super::activations::Activations;
use super::form::{Form, ROWS};
use super::job::Job;
use super::level::Level;
use super::packed::Packed;
use super::threads::Threads;

/// Tasks for each thread, so that one whose core is busy does less.
const TASKS: usize = 6;
/// Bytes of activations that stay in a core's second-level cache.
const CACHE: usize = 1 << 20;
/// Tokens are split at multiples of this: whole tiles at every level.
const TOKENS: usize = 48;

/// A matrix to multiply by, and where its product goes.
#[derive(Debug)]
pub struct Product<'a> {
    /// The matrix.
    pub weights: Packed<'a>,
    /// Receives, for each token, as many numbers as the matrix has rows.
    pub out: &'a mut [f32],
    /// Numbers from one token's first to the next one's in `out`; at least the rows.
    pub stride: usize,
}

/// Multiplies each matrix by each token's activations, on all threads at once.
///
/// # Panics
/// When a matrix has another number of columns than the activations, or an output is shorter than its shape says: both are
/// the engine's own.
pub fn multiply(threads: &Threads, x: &Activations, products: &mut [Product]) {
    multiply_with(Level::chosen(), threads, x, products);
}

/// [`multiply`] with the instructions of one level, or the machine's highest when that is lower: for tests and
/// measurements.
///
/// # Panics
/// As [`multiply`].
pub fn multiply_with(level: Level, threads: &Threads, x: &Activations, products: &mut [Product]) {
    let level = level.here();
    if x.tokens == 0 {
        return;
    }
    let groups: usize = products.iter().map(|product| product.weights.shape.groups()).sum();
    let each = groups.div_ceil(TASKS * threads.count()).max(1);
    let token_bytes = x.row_bytes().max(x.columns * size_of::<f32>());
    let tokens = match CACHE / token_bytes / TOKENS * TOKENS {
        0 => TOKENS,
        whole => whole,
    };
    let token_parts = x.tokens.div_ceil(tokens);
    let parts = |product: &Product| product.weights.shape.groups().div_ceil(each) * token_parts;
    for product in &*products {
        let (rows, columns) = (product.weights.rows(), product.weights.columns());
        assert_eq!(columns, x.columns, "columns of the weights, and of the activations");
        let needed = product.stride.checked_mul(x.tokens - 1).and_then(|last| last.checked_add(rows));
        assert!(
            product.stride >= rows && needed.is_some_and(|needed| product.out.len() >= needed),
            "{} tokens × {rows} rows, {} apart, in an output of {}",
            x.tokens,
            product.stride,
            product.out.len()
        );
    }
    let tasks = products.iter().map(parts).sum();
    let places: Vec<Place> = products.iter_mut().map(Place::of).collect();
    threads.run(tasks, &|mut task| {
        for &Place { weights, out, stride } in &places {
            let groups = weights.shape.groups().div_ceil(each);
            if task >= groups * token_parts {
                task -= groups * token_parts;
                continue;
            }
            let first = task % groups * each;
            let token = task / groups * tokens;
            let job = Job {
                weights,
                groups: first..(first + each).min(weights.shape.groups()),
                x: *x,
                tokens: token..(token + tokens).min(x.tokens),
                out,
                stride,
            };
            // SAFETY: the output was found long enough for every token and row, and a pair of token and group is in one
            // job alone. The level is not above the machine's.
            unsafe { compute(level, &job) };
            return;
        }
    });
}

/// A product's matrix and output, of which each task writes its own part.
struct Place<'a> {
    weights: Packed<'a>,
    out: *mut f32,
    stride: usize,
}

// SAFETY: tasks write disjoint parts of what `out` points to.
unsafe impl Sync for Place<'_> {}

impl<'a> Place<'a> {
    fn of(product: &'a mut Product) -> Self {
        Self { weights: product.weights, out: product.out.as_mut_ptr(), stride: product.stride }
    }
}

/// # Safety
/// The machine has the level's instructions. `job.out` is as [`Job`] says.
unsafe fn compute(level: Level, job: &Job) {
    debug_assert!(job.groups.end * ROWS < job.weights.rows() + ROWS);
    // SAFETY: as the caller promises.
    unsafe {
        match (level, job.weights.shape.form) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512 | Level::Amx, Form::Quantised { .. }) => {
                super::avx512::quantised(job, level == Level::Amx)
            }
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512 | Level::Amx, Form::Float(float)) => super::avx512::floats(job, float),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, Form::Quantised { .. }) => super::avx2::quantised(job),
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, Form::Float(float)) => super::avx2::floats(job, float),
            (_, Form::Quantised { quants, heads, zero }) => super::plain::quantised(job, quants, heads, zero),
            (_, Form::Float(float)) => super::plain::floats(job, float),
        }
    }
}
