//! The worst operations, not the mean: what engines feel. `cargo bench -p vramkit-pool --bench tails`.
//!
//! Three workloads on the pool and its peers: random sizes, paged keys and values, and keys and values that grow. Each
//! runs several times from an empty allocator; of every single operation the fastest run counts, so that what else the
//! machine does spoils none. Cold is the first half of a run, warm the second. Operations for which the pool commits
//! memory (the device is simulated, so that costs book-keeping only) are left out of its figures, and counted. Times have
//! the clock's own cost in them, tens of nanoseconds, and are of use as ratios only.
//!
//! Waste is the least capacity with which nothing of the workload is refused, over the most bytes live.

#![allow(clippy::print_stdout, unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use offset_allocator::{Allocation as OffsetAllocation, Allocator};
use vk_mem::{
    VirtualAllocation, VirtualAllocationCreateFlags, VirtualAllocationCreateInfo, VirtualBlock,
    VirtualBlockCreateFlags, VirtualBlockCreateInfo,
};
use vramkit_pool::device::SimulatedDevice;
use vramkit_pool::pool::{AllocationId, DeviceMemoryPool, GrowingAllocation, Request};
use vramkit_units::ByteSize;

const CAPACITY: u64 = 96 << 30;
const ROUNDS: usize = 7;

#[derive(Clone, Copy)]
enum Operation {
    Allocate {
        name: u32,
        size: u64,
    },
    /// As a plain allocator has it: a larger place, then the old one back.
    Grow {
        name: u32,
        size: u64,
    },
    Free {
        name: u32,
    },
}

/// Something that grants offsets.
trait Subject {
    /// Whether there was a place.
    fn allocate(&mut self, name: u32, size: u64) -> bool;
    fn free(&mut self, name: u32);
    /// Makes a place larger, if there is a larger one.
    fn grow(&mut self, name: u32, size: u64) -> bool {
        let old = name + OLD;
        self.rename(name, old);
        let granted = self.allocate(name, size);
        self.free(old);
        granted
    }
    fn rename(&mut self, from: u32, to: u32);
    /// Operations so far for which memory was committed.
    fn commits(&self) -> u64 {
        0
    }
}

/// What is live, by name: made at once, so that its growth is nobody's worst operation.
struct Live<T>(Vec<Option<T>>);

/// Where a place that is about to be given back stands, above all names.
const OLD: u32 = 8192;

impl<T> Live<T> {
    fn new() -> Self {
        Self((0..2 * OLD).map(|_| None).collect())
    }

    fn insert(&mut self, name: u32, what: T) {
        self.0[name as usize] = Some(what);
    }

    fn take(&mut self, name: u32) -> T {
        self.0[name as usize].take().expect("it is live")
    }

    fn rename(&mut self, from: u32, to: u32) {
        self.0.swap(from as usize, to as usize);
    }
}

struct Plain {
    pool: DeviceMemoryPool,
    live: Live<AllocationId>,
}

fn pool(capacity: u64) -> DeviceMemoryPool {
    let capacity = ByteSize::new(capacity);
    DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).expect("a fresh device")
}

impl Subject for Plain {
    fn allocate(&mut self, name: u32, size: u64) -> bool {
        let Ok((id, _)) = self.pool.allocate_id(Request::new(ByteSize::new(size))) else { return false };
        self.live.insert(name, id);
        true
    }

    fn free(&mut self, name: u32) {
        self.pool.release(self.live.take(name)).expect("live");
    }

    fn rename(&mut self, from: u32, to: u32) {
        self.live.rename(from, to);
    }

    fn commits(&self) -> u64 {
        self.pool.stats().misses
    }
}

/// With addresses for a whole context each.
struct InPlace {
    pool: DeviceMemoryPool,
    live: Live<GrowingAllocation>,
}

impl Subject for InPlace {
    fn allocate(&mut self, name: u32, size: u64) -> bool {
        let Ok(grown) = self.pool.reserve(Request::new(ByteSize::new(size)), ByteSize::new(CONTEXT)) else {
            return false;
        };
        self.live.insert(name, grown);
        true
    }

    fn free(&mut self, name: u32) {
        drop(self.live.take(name));
    }

    fn grow(&mut self, name: u32, size: u64) -> bool {
        self.live.0[name as usize].as_mut().expect("it is live").resize(ByteSize::new(size)).is_ok()
    }

    fn rename(&mut self, _: u32, _: u32) {}

    fn commits(&self) -> u64 {
        self.pool.stats().misses
    }
}

struct Offset {
    allocator: Allocator<u32>,
    live: Live<OffsetAllocation<u32>>,
}

impl Subject for Offset {
    fn allocate(&mut self, name: u32, size: u64) -> bool {
        let Some(allocation) = self.allocator.allocate(size.div_ceil(256) as u32) else { return false };
        self.live.insert(name, allocation);
        true
    }

    fn free(&mut self, name: u32) {
        self.allocator.free(self.live.take(name));
    }

    fn rename(&mut self, from: u32, to: u32) {
        self.live.rename(from, to);
    }
}

struct Vma {
    block: VirtualBlock,
    live: Live<VirtualAllocation>,
}

impl Subject for Vma {
    fn allocate(&mut self, name: u32, size: u64) -> bool {
        let flags = VirtualAllocationCreateFlags::empty();
        let info = VirtualAllocationCreateInfo { size, alignment: 256, flags, user_data: 0 };
        // SAFETY: the block lives as long as its allocations, and each is freed once.
        let Ok((allocation, _)) = (unsafe { self.block.allocate(info) }) else { return false };
        self.live.insert(name, allocation);
        true
    }

    fn free(&mut self, name: u32) {
        let mut allocation = self.live.take(name);
        // SAFETY: it is of this block, and freed once.
        unsafe { self.block.free(&mut allocation) };
    }

    fn rename(&mut self, from: u32, to: u32) {
        self.live.rename(from, to);
    }
}

impl Drop for Vma {
    fn drop(&mut self) {
        // SAFETY: nothing is used after this.
        unsafe { self.block.clear() };
    }
}

fn subject(name: &str, capacity: u64) -> Box<dyn Subject> {
    match name {
        "vramkit" => Box::new(Plain { pool: pool(capacity), live: Live::new() }),
        "vramkit, in place" => Box::new(InPlace { pool: pool(capacity), live: Live::new() }),
        "offset-allocator 0.2" => {
            let allocator = Allocator::with_max_allocs((capacity / 256) as u32, 1 << 16);
            Box::new(Offset { allocator, live: Live::new() })
        }
        _ => {
            let info = VirtualBlockCreateInfo {
                size: capacity,
                flags: VirtualBlockCreateFlags::empty(),
                allocation_callbacks: None,
            };
            Box::new(Vma { block: VirtualBlock::new(info).expect("a block"), live: Live::new() })
        }
    }
}

fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 11
    }
}

/// Up to `live` allocations come and go, of sizes that `size` draws.
fn churn(live: usize, operations: usize, mut size: impl FnMut(u64) -> u64) -> Vec<Operation> {
    let mut random = random(42);
    let (mut vacant, mut taken): (Vec<u32>, Vec<u32>) = ((0..live as u32).rev().collect(), Vec::new());
    let mut next = || {
        if taken.is_empty() || (!vacant.is_empty() && random() % 3 < 2) {
            let name = vacant.pop().expect("one is vacant");
            taken.push(name);
            Operation::Allocate { name, size: size(random()) }
        } else {
            let name = taken.swap_remove(random() as usize % taken.len());
            vacant.push(name);
            Operation::Free { name }
        }
    };
    (0..operations).map(|_| next()).collect()
}

/// Bytes of a token of a model of 8 B parameters, and of its whole context.
const TOKEN: u64 = 128 << 10;
const CONTEXT: u64 = 16_384 * TOKEN;

/// Sequences that grow a token a step. A place has room for a quarter more than was needed when it was made.
fn growth(operations: usize) -> Vec<Operation> {
    let mut random = random(7);
    let mut sequences: Vec<(u64, u64, u64)> = vec![(0, 0, 0); 48];
    let mut trace = Vec::new();
    while trace.len() < operations {
        for (name, (tokens, end, room)) in sequences.iter_mut().enumerate() {
            let name = name as u32;
            if *tokens == *end {
                if *end > 0 {
                    trace.push(Operation::Free { name });
                }
                let prompt = 64 + random() % 4000;
                (*tokens, *end, *room) = (prompt, prompt + 1 + random() % 4000, prompt);
                trace.push(Operation::Allocate { name, size: prompt * TOKEN });
            }
            *tokens += 1;
            if *tokens > *room {
                *room = (*room + *room / 4).max(*tokens);
                trace.push(Operation::Grow { name, size: *room * TOKEN });
            }
        }
    }
    trace
}

/// As [`growth`], a token at a time, for what grows in place.
fn growth_by_token(operations: usize) -> Vec<Operation> {
    let mut random = random(7);
    let mut sequences: Vec<(u64, u64)> = vec![(0, 0); 48];
    let mut trace = Vec::new();
    while trace.len() < operations {
        for (name, (tokens, end)) in sequences.iter_mut().enumerate() {
            let name = name as u32;
            if *tokens == *end {
                if *end > 0 {
                    trace.push(Operation::Free { name });
                }
                let prompt = 64 + random() % 4000;
                (*tokens, *end) = (prompt, prompt + 1 + random() % 4000);
                trace.push(Operation::Allocate { name, size: prompt * TOKEN });
            }
            *tokens += 1;
            trace.push(Operation::Grow { name, size: *tokens * TOKEN });
        }
    }
    trace
}

/// Nanoseconds of each operation, its fastest run; `u32::MAX` where memory was committed.
struct Times {
    each: Vec<u32>,
    committing: usize,
}

fn run(trace: &[Operation], name: &str) -> Times {
    let mut times = Times { each: vec![u32::MAX; trace.len()], committing: 0 };
    // Once with a look at the statistics after each operation: which ones commit is the same in every run.
    let mut commits = vec![false; trace.len()];
    let mut subject_of_counts = subject(name, CAPACITY);
    let mut before = 0;
    for (commits, &operation) in commits.iter_mut().zip(trace) {
        assert!(act(&mut *subject_of_counts, operation), "the capacity is ample");
        let after = subject_of_counts.commits();
        *commits = after != before;
        before = after;
    }
    times.committing = commits.iter().filter(|&&commits| commits).count();
    for _ in 0..ROUNDS {
        let mut subject = subject(name, CAPACITY);
        for ((best, &operation), commits) in times.each.iter_mut().zip(trace).zip(&commits) {
            let start = Instant::now();
            act(&mut *subject, operation);
            let time = start.elapsed().as_nanos() as u32;
            *best = if *commits { u32::MAX } else { (*best).min(time) };
        }
    }
    times
}

/// The least capacity, to a thousandth, with which nothing is refused.
fn least_capacity(trace: &[Operation], name: &str, live: u64) -> u64 {
    let (mut below, mut enough) = (live, 2 * live);
    while enough - below > live / 1000 {
        let capacity = below + (enough - below) / 2;
        let mut subject = subject(name, capacity);
        match trace.iter().all(|&operation| act(&mut *subject, operation)) {
            true => enough = capacity,
            false => below = capacity,
        }
    }
    enough
}

fn act(subject: &mut dyn Subject, operation: Operation) -> bool {
    match operation {
        Operation::Allocate { name, size } => subject.allocate(name, size),
        Operation::Grow { name, size } => subject.grow(name, size),
        Operation::Free { name } => {
            subject.free(name);
            true
        }
    }
}

fn peak_live(trace: &[Operation]) -> u64 {
    let (mut sizes, mut live, mut peak) = (HashMap::new(), 0u64, 0);
    for &operation in trace {
        match operation {
            Operation::Allocate { name, size } | Operation::Grow { name, size } => {
                live = live + size - sizes.insert(name, size).unwrap_or(0);
                peak = peak.max(live);
            }
            Operation::Free { name } => live -= sizes.remove(&name).unwrap_or(0),
        }
    }
    peak
}

/// The time that so many of a thousand operations stay below, and the longest.
fn tail(times: &[u32]) -> [u32; 3] {
    let mut times: Vec<u32> = times.iter().copied().filter(|&time| time < u32::MAX).collect();
    times.sort_unstable();
    if times.is_empty() {
        return [0; 3];
    }
    [times[times.len() / 2], times[times.len() * 999 / 1000], times[times.len() - 1]]
}

fn table(what: &str, live: u64, subjects: &[(&str, &[Operation])]) {
    println!("{what}; peak live {}", ByteSize::new(live));
    println!(
        "{:<22}{:>10}{:>22}{:>22}{:>12}{:>20}{:>8}",
        "",
        "median, ns",
        "p99.9, cold / warm",
        "longest, cold / warm",
        "committing",
        "p99.9 to offset's",
        "waste"
    );
    let rows: Vec<(&str, Times)> = subjects.iter().map(|(name, trace)| (*name, run(trace, name))).collect();
    let halves = |times: &Times| {
        let (cold, warm) = times.each.split_at(times.each.len() / 2);
        (tail(cold), tail(warm))
    };
    let peer = rows.iter().find(|(name, _)| name.starts_with("offset")).map(|(_, times)| halves(times));
    for ((name, times), (_, trace)) in rows.iter().zip(subjects) {
        let ([_, cold_tail, cold_most], [median, warm_tail, warm_most]) = halves(times);
        let to_peer = peer.map_or(String::new(), |(cold, warm)| {
            let ratio = |time: u32, of: u32| f64::from(time) / f64::from(of);
            format!("{:.2} / {:.2}", ratio(cold_tail, cold[1]), ratio(warm_tail, warm[1]))
        });
        println!(
            "{name:<22}{median:>10}{:>22}{:>22}{:>12}{to_peer:>20}{:>8.3}",
            format!("{cold_tail} / {warm_tail}"),
            format!("{cold_most} / {warm_most}"),
            times.committing,
            least_capacity(trace, name, live) as f64 / live as f64
        );
    }
    println!();
}

fn main() {
    let names = ["vramkit", "offset-allocator 0.2", "VMA virtual block"];
    let random_sizes = churn(4096, 400_000, |r| {
        (256.0 * 2f64.powf((r % (1 << 20)) as f64 / (1u64 << 20) as f64 * 18.0)) as u64
    });
    let with = |trace: &'static [Operation]| names.map(|name| (name, trace));
    let random_sizes: &'static [Operation] = random_sizes.leak();
    table("random sizes, 256 B to 64 MiB, at most 4,096 live", peak_live(random_sizes), &with(random_sizes));
    let paged: &'static [Operation] = churn(8192, 400_000, |_| 2 << 20).leak();
    table("paged keys and values, 2 MiB, at most 8,192 live", peak_live(paged), &with(paged));
    let grown: &'static [Operation] = growth(60_000).leak();
    table("keys and values that grow by a quarter, copied", peak_live(grown), &with(grown));
    let by_token: &'static [Operation] = growth_by_token(400_000).leak();
    table("the same in place, by a token", peak_live(by_token), &[("vramkit, in place", by_token)]);
}
