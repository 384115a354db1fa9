//! Throughput of one pool shared by threads, each with sizes of its own, against the same work on one thread.
//! `cargo bench -p vramkit-pool --bench threads`.
//!
//! Each thread allocates and frees at random, at most 64 live blocks, sizes drawn from 8 that no other thread
//! uses, 4 KiB to 512 KiB. The fastest of several runs counts. Ratios are to one thread, and to a mutex around
//! offset-allocator under the same load.

#![allow(clippy::print_stdout)]

use std::sync::{Arc, Barrier, Mutex};
use std::time::Instant;

use offset_allocator::Allocator;
use vramkit_pool::device::SimulatedDevice;
use vramkit_pool::pool::{DeviceMemoryPool, Request};
use vramkit_units::ByteSize;

const OPERATIONS: usize = 400_000;
const LIVE: usize = 64;
const ROUNDS: usize = 5;
const CAPACITY: u64 = 64 << 30;

/// One thread's share.
fn work<T>(thread: u64, allocate: impl Fn(u64) -> T, free: impl Fn(T)) {
    let mut x = thread * 2 + 1;
    let mut random = move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) as usize
    };
    let sizes: Vec<u64> = (0..8).map(|i| (4096 << i) + 256 * thread).collect();
    let mut live = Vec::with_capacity(LIVE);
    for _ in 0..OPERATIONS {
        let r = random();
        if live.is_empty() || (live.len() < LIVE && r & 1 == 0) {
            live.push(allocate(sizes[r >> 1 & 7]));
        } else {
            let at = (r >> 1) % live.len();
            free(live.swap_remove(at));
        }
    }
    live.into_iter().for_each(free);
}

/// Millions of operations a second of all threads together, from the first one's start to the last one's end.
fn throughput(threads: u64, run: impl Fn(u64) + Sync) -> f64 {
    let barrier = Barrier::new(threads as usize);
    let times: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let start = |thread| {
            let (run, barrier) = (&run, &barrier);
            scope.spawn(move || {
                barrier.wait();
                let start = Instant::now();
                run(thread);
                (start, Instant::now())
            })
        };
        let threads: Vec<_> = (0..threads).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("nobody panics")).collect()
    });
    let start = times.iter().map(|(start, _)| *start).min().expect("there are threads");
    let end = times.iter().map(|(_, end)| *end).max().expect("there are threads");
    (threads as usize * OPERATIONS) as f64 / (end - start).as_secs_f64() / 1e6
}

fn vramkit_pool(threads: u64) -> f64 {
    let capacity = ByteSize::new(CAPACITY);
    let pool =
        DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).expect("a fresh device");
    let rate = throughput(threads, |thread| {
        let allocate =
            |size| pool.allocate_id(Request::new(ByteSize::new(size))).expect("the capacity is ample").0;
        work(thread, allocate, |id| pool.release(id).expect("it is live"));
    });
    assert_eq!(pool.stats().used_bytes, ByteSize::ZERO);
    rate
}

fn locked_offset_allocator(threads: u64) -> f64 {
    let allocator = Mutex::new(Allocator::<u32>::with_max_allocs((CAPACITY / 256) as u32, 1 << 16));
    throughput(threads, |thread| {
        let allocate = |size: u64| {
            let mut allocator = allocator.lock().expect("nobody panics");
            allocator.allocate(size.div_ceil(256) as u32).expect("the capacity is ample")
        };
        work(thread, allocate, |allocation| allocator.lock().expect("nobody panics").free(allocation));
    })
}

fn main() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} cores; {OPERATIONS} operations a thread, at most {LIVE} live each");
    println!(
        "{:<8}{:>16}{:>14}{:>16}{:>22}{:>14}",
        "threads", "vramkit, M/s", "to one", "to one x cores", "mutex + offset, M/s", "ours to it"
    );
    let best = |run: fn(u64) -> f64, threads| (0..ROUNDS).map(|_| run(threads)).fold(0.0, f64::max);
    best(vramkit_pool, 1);
    let one = best(vramkit_pool, 1);
    for threads in [1, 2, 4, 8] {
        let (ours, theirs) = (best(vramkit_pool, threads), best(locked_offset_allocator, threads));
        println!(
            "{threads:<8}{ours:>16.1}{:>14.2}{:>16.2}{theirs:>22.1}{:>14.2}",
            ours / one,
            ours / one / cores.min(threads as usize) as f64,
            ours / theirs
        );
    }
}
