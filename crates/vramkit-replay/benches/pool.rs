//! The pool against its peers on one random trace, in one run: 1 M operations, sizes log-uniform from 256 B to
//! 64 MiB, at most 4,096 live. `cargo bench -p vramkit-replay --bench pool`.
//!
//! Each allocator runs the trace several times, in turns. Of every part of it the fastest pass counts, so that what
//! else the machine does for some milliseconds spoils no run. Times are of use as ratios only.

#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Instant;

use offset_allocator::{Allocation as OffsetAllocation, Allocator};
use vramkit_pool::device::SimulatedDevice;
use vramkit_pool::pool::{Allocation, DeviceMemoryPool, PoolConfig, Request};
use vramkit_replay::BestFit;
use vramkit_units::ByteSize;

const OPERATIONS: usize = 1_000_000;
const LIVE: usize = 4096;
const CAPACITY: u64 = 96 << 30;
const ROUNDS: usize = 15;
/// Operations of a part that is timed by itself.
const PART: usize = 20_000;

#[derive(Clone, Copy)]
enum Operation {
    Allocate { slot: u32, size: u64 },
    Free { slot: u32 },
}

/// The trace and the most bytes that are live at once in it.
fn trace() -> (Vec<Operation>, u64) {
    let mut state = 42u64;
    let mut random = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 11
    };
    let (mut vacant, mut taken): (Vec<u32>, Vec<(u32, u64)>) = ((0..LIVE as u32).rev().collect(), Vec::new());
    let (mut live, mut peak) = (0, 0);
    let trace = (0..OPERATIONS)
        .map(|_| {
            // Two in three, so that the number of live allocations stays near its limit.
            let allocate = taken.is_empty() || (!vacant.is_empty() && random() % 3 < 2);
            if allocate {
                let slot = vacant.pop().expect("there is a vacant slot");
                let size = (256.0 * 2f64.powf(random() as f64 / (1u64 << 53) as f64 * 18.0)) as u64;
                taken.push((slot, size));
                live += size;
                peak = peak.max(live);
                Operation::Allocate { slot, size }
            } else {
                let (slot, size) = taken.swap_remove(random() as usize % taken.len());
                vacant.push(slot);
                live -= size;
                Operation::Free { slot }
            }
        })
        .collect();
    (trace, peak)
}

/// How an allocator did: the fastest pass of each part, in nanoseconds, and the highest end of anything placed.
#[derive(Clone, Default)]
struct Outcome {
    parts: Vec<f64>,
    arena: u64,
}

impl Outcome {
    fn best_of(&mut self, other: Self) {
        self.parts.resize(other.parts.len(), f64::INFINITY);
        self.parts.iter_mut().zip(other.parts).for_each(|(best, time)| *best = best.min(time));
        self.arena = other.arena;
    }

    fn per_operation(&self) -> f64 {
        self.parts.iter().sum::<f64>() / OPERATIONS as f64
    }
}

/// Runs the trace once.
fn run<T>(
    trace: &[Operation],
    mut allocate: impl FnMut(u64) -> (T, u64),
    mut free: impl FnMut(T),
) -> Outcome {
    let mut slots: Vec<Option<T>> = (0..LIVE).map(|_| None).collect();
    let mut outcome = Outcome::default();
    for part in trace.chunks(PART) {
        let start = Instant::now();
        for &operation in part {
            match operation {
                Operation::Allocate { slot, size } => {
                    let (handle, end) = allocate(size);
                    outcome.arena = outcome.arena.max(end);
                    slots[slot as usize] = Some(handle);
                }
                Operation::Free { slot } => free(slots[slot as usize].take().expect("allocated before")),
            }
        }
        outcome.parts.push(start.elapsed().as_nanos() as f64);
    }
    outcome
}

fn vramkit_pool(trace: &[Operation]) -> Outcome {
    let capacity = ByteSize::new(CAPACITY);
    let pool =
        DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).expect("a fresh device");
    let allocate = |size| -> (Allocation, u64) {
        let allocation = pool.allocate(Request::new(ByteSize::new(size))).expect("the capacity is ample");
        let end = allocation.offset() + size.next_multiple_of(256);
        (allocation, end)
    };
    run(trace, allocate, drop)
}

fn vramkit_pool_ids(trace: &[Operation]) -> Outcome {
    with_ids(trace, PoolConfig::default())
}

fn vramkit_pool_without_ages(trace: &[Operation]) -> Outcome {
    with_ids(trace, PoolConfig { ages: false, ..PoolConfig::default() })
}

fn with_ids(trace: &[Operation], config: PoolConfig) -> Outcome {
    let capacity = ByteSize::new(CAPACITY);
    let device = Arc::new(SimulatedDevice::new(capacity));
    let pool = DeviceMemoryPool::with_config(device, capacity, config).expect("a fresh device");
    let base = pool.range().base;
    let allocate = |size| {
        let (id, range) = pool.allocate_id(Request::new(ByteSize::new(size))).expect("the capacity is ample");
        (id, (range.end() - base).next_multiple_of(256))
    };
    let outcome = run(trace, allocate, |id| pool.release(id).expect("it is live"));
    if std::env::args().any(|argument| argument == "book") {
        let stats = pool.stats();
        println!("book: {} for {} live allocations", stats.book_bytes, stats.live);
    }
    outcome
}

fn offset_allocator(trace: &[Operation]) -> Outcome {
    let allocator =
        std::cell::RefCell::new(Allocator::<u32>::with_max_allocs((CAPACITY / 256) as u32, 1 << 16));
    let allocate = |size: u64| -> (OffsetAllocation<u32>, u64) {
        let units = size.div_ceil(256) as u32;
        let allocation = allocator.borrow_mut().allocate(units).expect("the capacity is ample");
        (allocation, (u64::from(allocation.offset) + u64::from(units)) * 256)
    };
    run(trace, allocate, |allocation| allocator.borrow_mut().free(allocation))
}

fn best_fit(trace: &[Operation]) -> Outcome {
    let book = std::cell::RefCell::new(BestFit::new(CAPACITY));
    let allocate = |size: u64| {
        let (offset, size) = book.borrow_mut().take_smallest(size).expect("the capacity is ample");
        ((offset, size), offset + size)
    };
    run(trace, allocate, |block| book.borrow_mut().give_back(block))
}

type Peer = (&'static str, fn(&[Operation]) -> Outcome);

fn main() {
    let (trace, peak) = trace();
    // Which of them ratios are to.
    const OFFSET_ALLOCATOR: usize = 3;
    let peers: [Peer; 5] = [
        ("vramkit pool, ids", vramkit_pool_ids),
        ("the same without ages", vramkit_pool_without_ages),
        ("vramkit pool, handles", vramkit_pool),
        ("offset-allocator 0.2", offset_allocator),
        ("best fit over B-trees", best_fit),
    ];
    let mut best: [Outcome; 5] = Default::default();
    for _ in 0..ROUNDS {
        for (best, (_, run)) in best.iter_mut().zip(&peers) {
            best.best_of(run(&trace));
        }
    }
    let peer = best[OFFSET_ALLOCATOR].per_operation();
    println!("random trace: {OPERATIONS} operations, at most {LIVE} live, peak live {}", ByteSize::new(peak));
    println!(
        "{:<24}{:>12}{:>30}{:>20}",
        "allocator", "ns per op", "ratio to offset-allocator", "arena / peak live"
    );
    for (outcome, (name, _)) in best.iter().zip(&peers) {
        let (ns, arena) = (outcome.per_operation(), outcome.arena as f64 / peak as f64);
        println!("{name:<24}{ns:>12.1}{:>30.2}{arena:>20.3}", ns / peer);
    }
}
