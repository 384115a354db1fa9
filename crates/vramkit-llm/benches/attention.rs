//! Attention of a model of 30 layers with 9 query heads and 3 KV heads of 64, on one thread.
//! `cargo bench -p vramkit-llm --bench attention`, and
//! behind it `-- "avx512 f16"` for a part.
//!
//! Decode: one token after 128, 512 and 4096 keys. Prefill: 512 tokens from the beginning, in tiles of 16. Every layer
//! has keys and values of its own, so what does not fit in a cache is read from memory. The fastest of several runs
//! counts; times are of all layers, by the token. What a machine could do at best is two products of 16 lanes a cycle.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use vramkit_llm::attention::{
    Attend, BLOCK, CacheKind, CacheLayout, Level, RowsMut, attend, ops, scratch_len, write_token,
};

const LAYERS: usize = 30;
const KV_HEADS: usize = 3;
const GROUP: usize = 3;
const DIM: usize = 64;
const ROUNDS: usize = 9;
/// Tokens of a tile of prefill.
const TILE: usize = 16;
const WIDTH: usize = KV_HEADS * GROUP * DIM;

fn main() {
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    for level in Level::available() {
        for kind in [CacheKind::F16, CacheKind::Q8_0, CacheKind::F32] {
            // Without fused multiplication in hardware one line is enough to see.
            let plain = Some(level) == Level::available().last() && cfg!(target_arch = "x86_64");
            let asked = format!("{level:?} {kind}").to_lowercase().contains(&wanted);
            if !asked || (plain && kind != CacheKind::F16) {
                continue;
            }
            let cache = Cache::new(level, kind, if plain { 512 } else { 4096 });
            for keys in [128, 512, 4096] {
                if keys <= cache.tokens {
                    let time = cache.run(level, keys - 1, 1, 1);
                    println!("{level:?} {kind}: decode at {keys}: {:.1} us a token", micros(time));
                }
            }
            let time = cache.run(level, 0, 512, TILE);
            println!("{level:?} {kind}: prefill 512: {:.1} us a token", micros(time) / 512.0);
            let pairs = (LAYERS * KV_HEADS * GROUP * 512 * 513 / 2) as f64;
            let rate = pairs * 2.0 * DIM as f64 / time.as_secs_f64() / 1e9;
            println!("{level:?} {kind}: prefill 512: {rate:.1} thousand million products a second");
        }
        if wanted.is_empty() {
            elementwise(level);
        }
    }
}

struct Cache {
    layout: CacheLayout,
    blocks: Vec<Vec<u8>>,
    tokens: usize,
}

impl Cache {
    fn new(level: Level, kind: CacheKind, tokens: usize) -> Self {
        let layout = CacheLayout::new(LAYERS, KV_HEADS, DIM, DIM, kind).unwrap();
        let bytes = layout.block_bytes().bytes() as usize;
        let mut blocks = vec![vec![0; bytes]; tokens.div_ceil(BLOCK)];
        let mut random = Random(1);
        let mut best = Duration::MAX;
        for (at, block) in blocks.iter_mut().enumerate() {
            let k: Vec<f32> = (0..KV_HEADS * DIM).map(|_| random.next()).collect();
            let v: Vec<f32> = (0..KV_HEADS * DIM).map(|_| random.next()).collect();
            let began = Instant::now();
            for layer in 0..LAYERS {
                let bytes = &mut block[layout.layer_range(layer).unwrap()];
                for slot in 0..BLOCK {
                    write_token(level, &layout, bytes, slot, &k, &v).unwrap();
                }
            }
            if at > 0 {
                best = best.min(began.elapsed());
            }
        }
        println!("{level:?} {kind}: writing: {:.1} us a token", micros(best) / BLOCK as f64);
        Self { layout, blocks, tokens }
    }

    /// The time of `tokens` tokens from `position` on.
    fn run(&self, level: Level, position: usize, tokens: usize, tile: usize) -> Duration {
        let blocks: Vec<&[u8]> = self.blocks.iter().map(Vec::as_slice).collect();
        let source: &[&[u8]] = &blocks;
        let source = Source(source);
        let mut random = Random(2);
        let queries: Vec<f32> = (0..tokens * WIDTH).map(|_| random.next()).collect();
        let mut out = vec![0.0; tokens * WIDTH];
        let mut scratch = vec![0.0; scratch_len(&self.layout, tile, GROUP).unwrap()];
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let began = Instant::now();
            for layer in 0..LAYERS {
                let mut rows = RowsMut::new(&mut out, tokens, WIDTH, WIDTH).unwrap();
                for head in 0..KV_HEADS {
                    let (mut mine, rest) = rows.split_columns(GROUP * DIM).unwrap();
                    for from in (0..tokens).step_by(tile) {
                        let (mut now, later) = mine.split_rows(tile).unwrap();
                        let one = Attend {
                            layout: &self.layout,
                            blocks: &source,
                            layer,
                            head,
                            queries: &queries[from * WIDTH + head * GROUP * DIM..],
                            stride: WIDTH,
                            group: GROUP,
                            tokens: tile,
                            position: position + from,
                            window: None,
                            scale: 0.125,
                            soft_cap: None,
                        };
                        attend(level, &one, &mut scratch, &mut now).unwrap();
                        mine = later;
                    }
                    rows = rest;
                }
            }
            best = best.min(began.elapsed());
        }
        best
    }
}

struct Source<'a>(&'a [&'a [u8]]);

impl vramkit_llm::attention::Blocks for Source<'_> {
    fn bytes(&self, block: usize, at: std::ops::Range<usize>) -> Option<&[u8]> {
        self.0.get(block)?.get(at)
    }
}

fn elementwise(level: Level) {
    let mut random = Random(3);
    let mut vector = |len: usize| (0..len).map(|_| random.next()).collect::<Vec<f32>>();
    let (x, weight, mut out) = (vector(576), vector(576), vector(576));
    let time = fastest(|| ops::rms_norm(level, &x, &weight, 1e-5, &mut out).unwrap());
    println!("{level:?}: norm of 576: {:.3} us", micros(time));
    let (mut x, up) = (vector(1536), vector(1536));
    let time = fastest(|| ops::silu_mul(level, &mut x, &up).unwrap());
    println!("{level:?}: silu of 1536: {:.3} us", micros(time));
    let time = fastest(|| ops::gelu_mul(level, &mut x, &up).unwrap());
    println!("{level:?}: gelu of 1536: {:.3} us", micros(time));
}

/// The fastest of several runs of 1000.
fn fastest(mut work: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        (0..1000).for_each(|_| work());
        best = best.min(began.elapsed() / 1000);
    }
    best
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Numbers between -1 and 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}
