//! Two ways to keep a sequence's keys and values: blocks of 16 tokens, or one range of addresses that grows. What each grants over
//! what is held, what growing by 16 tokens costs, and how fast attention reads either. `docs/decisions/019-kv-blocks.md` has a run.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vramkit::ByteSize;
use vramkit::device::HostDevice;
use vramkit::pool::{Allocation, DeviceMemoryPool, GrowingAllocation, Request};
use vramkit_llm::attention::{
    Attend, BLOCK, Blocks, CacheKind, CacheLayout, Level, RowsMut, attend, scratch_len,
};

const CONTEXT: usize = 4096;
const SEQUENCES: usize = 64;

enum Kept {
    Blocks(Vec<Allocation>),
    Growing(GrowingAllocation, usize),
}

impl Blocks for Kept {
    fn bytes(&self, block: usize, at: Range<usize>) -> Option<&[u8]> {
        match self {
            Self::Blocks(blocks) => blocks.get(block)?.view::<u8>().ok()?.get(at),
            Self::Growing(range, each) => range.view::<u8>().ok()?[block * each..].get(at),
        }
    }
}

fn pool() -> DeviceMemoryPool {
    let capacity = ByteSize::gib(8);
    DeviceMemoryPool::new(Arc::new(HostDevice::new(capacity)), capacity).unwrap()
}

/// SmolLM2-135M, and a model with as many bytes a token as Phi-3-mini.
fn layouts() -> [(&'static str, CacheLayout); 2] {
    [
        ("30 layers, 3 × 64", CacheLayout::new(30, 3, 64, 64, CacheKind::F16).unwrap()),
        ("32 layers, 32 × 96", CacheLayout::new(32, 32, 96, 96, CacheKind::F16).unwrap()),
    ]
}

fn grow(pool: &DeviceMemoryPool, kept: &mut Kept, tokens: usize, block: ByteSize) {
    let count = tokens.div_ceil(BLOCK);
    match kept {
        Kept::Blocks(blocks) => {
            while blocks.len() < count {
                blocks.push(pool.allocate(Request::new(block)).unwrap());
            }
        }
        Kept::Growing(range, _) => range.resize(ByteSize::new(block.bytes() * count as u64)).unwrap(),
    }
}

fn kept(pool: &DeviceMemoryPool, is_growing: bool, block: ByteSize) -> Kept {
    if !is_growing {
        return Kept::Blocks(Vec::new());
    }
    let most = ByteSize::new(block.bytes() * (CONTEXT / BLOCK) as u64);
    Kept::Growing(pool.reserve(Request::new(ByteSize::ZERO), most).unwrap(), block.bytes() as usize)
}

fn main() {
    println!("| model | way | granted over held | 16 tokens more, µs | again, µs | attention at 2,048, µs |");
    println!("|---|---|---|---|---|---|");
    for (name, layout) in layouts() {
        let ways = [("blocks", false), ("one growing range", true)];
        // The first pass is for the system, which finds pages that it has had before sooner.
        for (at, (way, is_growing)) in ways.into_iter().chain(ways).enumerate() {
            let pool = pool();
            let block = layout.block_bytes();
            // Sequences of many lengths, a few tokens of each in turn, as a batch grows.
            let lengths: Vec<usize> = (0..SEQUENCES).map(|at| 17 + at * 7919 % 400).collect();
            let round = |kept: &mut Vec<Kept>| {
                let (mut time, mut grown) = (Duration::ZERO, 0);
                for tokens in (BLOCK..=448).step_by(BLOCK) {
                    for (kept, length) in kept.iter_mut().zip(&lengths) {
                        if tokens < length + BLOCK {
                            let begun = Instant::now();
                            grow(&pool, kept, tokens.min(*length), block);
                            time += begun.elapsed();
                            grown += 1;
                        }
                    }
                }
                time.as_secs_f64() * 1e6 / f64::from(grown)
            };
            let new = || (0..SEQUENCES).map(|_| kept(&pool, is_growing, block)).collect::<Vec<_>>();
            let mut first = new();
            let fresh = round(&mut first);
            let held: u64 =
                lengths.iter().map(|tokens| *tokens as u64 * layout.bytes_per_token().bytes()).sum();
            let granted = pool.used().bytes() as f64 / held as f64;
            drop(first);
            let mut second = new();
            let again = round(&mut second);
            drop(second);
            let mut long = [kept(&pool, is_growing, block), kept(&pool, is_growing, block)];
            // Two in turn, so that blocks of one do not lie in a row.
            for tokens in (BLOCK..=2048).step_by(BLOCK) {
                long.iter_mut().for_each(|kept| grow(&pool, kept, tokens, block));
            }
            if at < ways.len() {
                continue;
            }
            println!(
                "| {name} | {way} | {granted:.3} | {fresh:.2} | {again:.2} | {:.0} |",
                read(&layout, &long[0])
            );
        }
    }
}

/// Microseconds of one token's attention over 2,048 keys in every layer and head, the least of several times.
fn read(layout: &CacheLayout, kept: &Kept) -> f64 {
    let (key, value) = (layout.key(), layout.value());
    let mut scratch = vec![0.0; scratch_len(layout, 1, 3).unwrap()];
    let (queries, mut out) = (vec![0.1; 3 * key], vec![0.0; 3 * value]);
    let mut least = f64::INFINITY;
    for _ in 0..15 {
        let begun = Instant::now();
        for (layer, head) in
            (0..layout.layers()).flat_map(|layer| (0..layout.kv_heads()).map(move |head| (layer, head)))
        {
            let query = Attend {
                layout,
                blocks: kept,
                layer,
                head,
                queries: &queries,
                stride: 3 * key,
                group: 3,
                tokens: 1,
                position: 2047,
                window: None,
                scale: 0.125,
                soft_cap: None,
            };
            let mut rows = RowsMut::new(&mut out, 1, 3 * value, 3 * value).unwrap();
            attend(Level::best(), &query, &mut scratch, &mut rows).unwrap();
        }
        least = least.min(begun.elapsed().as_secs_f64() * 1e6);
    }
    least
}
