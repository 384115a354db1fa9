//! Speed of the kernels: `cargo bench -p vramkit-llm --bench kernels`, then words that a line must have, such as
//! `-- q4_0 avx512 512`. Times are the best of many products, each with the next of so many copies of the weights that no
//! second-level cache holds them: what another program delays is left out. The median tells how it was with that.
//!
//! The share of the peak is that of multiplications and additions: two vectors a cycle, of 64 products of bytes with
//! AVX-512 VNNI, of 32 / 3 with AVX2 (which needs three instructions), of 16 or 8 products of floats.

use std::hint::black_box;
use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use vramkit_llm::kernels::{
    Level, Packed, Product, Threads, activation_bytes, multiply_with, pack, packed_bytes, quantise,
};
use vramkit_models::gguf::TensorType;

const TYPES: [&str; 11] =
    ["q4_1", "q4_0", "q8_0", "q4_K", "q5_0", "q5_1", "q5_K", "q6_K", "f16", "bf16", "f32"];
const SHAPES: [(usize, usize); 4] = [(576, 1536), (1536, 576), (576, 576), (576, 49152)];
/// Bytes of all copies of a matrix.
const COPIES: usize = 48 << 20;

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut screen = stdout().lock();
    let cycles = cycles();
    let levels = Level::ALL.into_iter().filter(|level| level.here() == *level);
    let levels: Vec<Level> = levels.collect();
    writeln!(screen, "{cycles:.2} GHz")?;
    for threads in [1, 2] {
        let threads = Threads::new(threads);
        if words.is_empty() {
            let speed = quantising(&threads);
            writeln!(
                screen,
                "activations quantised at {speed:.2} numbers a ns, threads {}",
                threads.count()
            )?;
        }
        for name in TYPES {
            for (columns, rows) in SHAPES {
                let kind = TensorType::named(name).expect("a type of ggml's");
                let columns = columns.next_multiple_of(kind.block_elements() as usize);
                let mut matrix = None;
                for level in &levels {
                    for tokens in [1, 16, 512] {
                        let label = format!(
                            "{name:5} {:6} {columns:4}→{rows:<5} × {tokens:<3} threads {}",
                            level.name(),
                            threads.count()
                        );
                        let slow = *level == Level::Scalar && tokens * rows > 1 << 20;
                        let wanted = words.iter().all(|word| label.split_whitespace().any(|has| has == word));
                        if slow || !wanted {
                            continue;
                        }
                        if matrix.is_none() {
                            let new = Matrix::new(kind, rows, columns, &threads);
                            let speed = new.each as f64 / new.packing.as_secs_f64() / 1e9;
                            writeln!(screen, "{name:5} {columns:4}→{rows:<5} packed at {speed:.1} GB/s")?;
                            matrix = Some(new);
                        }
                        let Some(matrix) = &matrix else { continue };
                        let (best, median) = matrix.time(*level, tokens, &threads);
                        let time = best.as_secs_f64();
                        let rate = (rows * columns * tokens) as f64 / time / 1e9;
                        let peak = peak(kind, *level) * cycles * threads.count() as f64;
                        let read = matrix.each as f64 / time / 1e9;
                        writeln!(
                            screen,
                            "{label}  {:9.1} µs (median {:9.1}) {rate:7.1} GMAC/s {:3.0} % of peak {read:6.1} GB/s",
                            time * 1e6,
                            median.as_secs_f64() * 1e6,
                            100.0 * rate / peak
                        )?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Numbers of activations quantised in a nanosecond, of 512 tokens × 576.
fn quantising(threads: &Threads) -> f64 {
    let x: Vec<f32> = (0..512 * 576).map(|at| ((at * 37) % 101) as f32 - 50.0).collect();
    let mut records = vec![0; activation_bytes(512, 576)];
    let best = (0..50).map(|_| {
        let begin = Instant::now();
        black_box(quantise(&x, 512, 576, &mut records, threads));
        begin.elapsed()
    });
    x.len() as f64 / best.min().unwrap_or(Duration::MAX).as_nanos() as f64
}

/// Products a cycle and thread.
fn peak(kind: TensorType, level: Level) -> f64 {
    let lanes = match level {
        Level::Scalar => 1.0,
        Level::Avx2 => 8.0,
        _ => 16.0,
    };
    match (kind.block_elements(), level) {
        (1, _) | (_, Level::Scalar) => 2.0 * lanes,
        (_, Level::Avx2) => 2.0 * 32.0 / 3.0,
        _ => 2.0 * 64.0,
    }
}

/// Cycles of a nanosecond.
fn cycles() -> f64 {
    let rounds = 100_000_u64;
    let best = (0..1000).map(|_| {
        let begin = Instant::now();
        let mut sum = black_box(1_u64);
        for _ in 0..rounds {
            sum = turn(sum);
        }
        black_box(sum);
        begin.elapsed()
    });
    2.0 * rounds as f64 / best.min().unwrap_or(Duration::MAX).as_nanos() as f64
}

/// Two instructions that take a cycle each and wait for each other.
#[inline(always)]
fn turn(sum: u64) -> u64 {
    (sum ^ 0x5555).rotate_left(7)
}

/// Copies of one packed matrix.
struct Matrix {
    kind: TensorType,
    rows: usize,
    columns: usize,
    memory: Vec<u8>,
    start: usize,
    each: usize,
    copies: usize,
    /// The time to pack one, the memory touched before.
    packing: Duration,
}

impl Matrix {
    fn new(kind: TensorType, rows: usize, columns: usize, threads: &Threads) -> Self {
        let row_bytes = kind.row_bytes(columns as u64).expect("whole blocks") as usize;
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        // Bytes below 0x70 make no f16 or bf16 that is not finite, wherever the scales are.
        let mut source: Vec<u8> = (0..rows * row_bytes).map(|_| random() % 0x70).collect();
        if kind.block_elements() == 1 {
            // Exponents of usual numbers: what is nearly 0 is multiplied slowly.
            let each = kind.block_bytes() as usize;
            source.iter_mut().skip(each - 1).step_by(each).for_each(|byte| *byte = 0x3c);
        }
        let each = packed_bytes(kind, rows, columns).expect("a kernel");
        let copies = (COPIES / each).max(1);
        // Ones, so that all of it is touched.
        let mut memory = vec![1; each * copies + 64];
        let start = memory.as_ptr().align_offset(64);
        let mut packing = Duration::MAX;
        for copy in memory[start..].chunks_exact_mut(each).take(copies) {
            let begin = Instant::now();
            pack(kind, rows, columns, &source, copy, threads).expect("finite weights");
            packing = packing.min(begin.elapsed());
        }
        Self { kind, rows, columns, memory, start, each, copies, packing }
    }

    /// The time of one product: the best, and the median.
    fn time(&self, level: Level, tokens: usize, threads: &Threads) -> (Duration, Duration) {
        let x: Vec<f32> =
            (0..tokens * self.columns).map(|at| ((at * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let mut records = vec![0; activation_bytes(tokens, self.columns) + 64];
        let start = records.as_ptr().align_offset(64);
        let records = &mut records[start..];
        let x = quantise(&x, tokens, self.columns, records, threads);
        let mut out = vec![0.0; tokens * self.rows];
        let mut times = Vec::new();
        let begin = Instant::now();
        let copies = self.memory[self.start..].chunks_exact(self.each).take(self.copies).cycle();
        for copy in copies {
            let weights = Packed::new(self.kind, self.rows, self.columns, copy).expect("as packed");
            let mut products = [Product { weights, out: &mut out, stride: self.rows }];
            let one = Instant::now();
            multiply_with(level, threads, &x, &mut products);
            times.push(one.elapsed());
            if times.len() >= 3 && begin.elapsed() > Duration::from_millis(60) {
                break;
            }
        }
        times.sort_unstable();
        (times[0], times[times.len() / 2])
    }
}
