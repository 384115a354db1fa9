//! Room for requests: addresses are cheap, memory grows in place, and what is moved for a request is bounded.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use std::sync::Arc;

use proptest::prelude::*;
use vramkit_pool::device::{Fault, HostDevice, SimulatedDevice};
use vramkit_pool::pool::{
    Allocation, CompactBudget, DeviceMemoryPool, GrowingAllocation, MovableAllocation, PoolConfig, PoolError,
    Purpose, Request,
};
use vramkit_units::ByteSize;

const GRANULE: ByteSize = ByteSize::mib(2);

fn pool(mib: u64) -> DeviceMemoryPool {
    let capacity = ByteSize::mib(mib);
    DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap()
}

fn mib(n: u64) -> Request {
    Request::new(ByteSize::mib(n))
}

#[test]
fn what_fits_in_memory_is_not_refused_for_pieces() {
    let capacity = ByteSize::mib(64);
    let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(capacity)), capacity).unwrap();
    let mut blocks: Vec<Option<Allocation>> = (0..32).map(|_| pool.allocate(mib(2)).ok()).collect();
    blocks.iter_mut().step_by(2).for_each(|block| *block = None);
    assert_eq!(pool.stats().largest_free_bytes, ByteSize::mib(32), "the most that could be granted");
    let mut large = pool.allocate(mib(32)).expect("32 MiB are free, in pieces of 2");
    large.fill(1).unwrap();
    assert_eq!((pool.used(), pool.committed()), (capacity, capacity), "not a granule more than the capacity");
    assert_eq!(pool.resident().value, Some(capacity));
    assert!(matches!(pool.allocate(mib(1)), Err(PoolError::OutOfMemory(_))));
    assert_eq!(large.find_mismatch(1, None), Ok(None));
    drop((blocks, large));
    assert_eq!((pool.used(), pool.stats().largest_free_bytes), (ByteSize::ZERO, capacity));
    let _all = pool.allocate(mib(64)).unwrap();
}

/// The worst order that there is for a first fit, over and over: addresses do not run out.
#[test]
fn addresses_outlast_an_adversary() {
    let pool = pool(256);
    let mut live: Vec<Allocation> = Vec::new();
    for shift in 0..7 {
        let size = ByteSize::mib(2 << shift);
        while pool.available() >= size {
            live.push(pool.allocate(Request::new(size)).unwrap_or_else(|error| panic!("{size}: {error}")));
        }
        // Every other one goes, whatever its size.
        let mut at = 0;
        live.retain(|_| {
            at += 1;
            at % 2 == 0
        });
    }
    for _ in 0..200 {
        live.truncate(live.len() / 2);
        while pool.available() >= ByteSize::mib(10) {
            live.push(pool.allocate(mib(10)).unwrap());
        }
        let third = live.len() / 3;
        live.rotate_left(third);
        while pool.available() >= ByteSize::mib(2) {
            live.push(pool.allocate(mib(2)).unwrap());
        }
        let fifth = live.len() / 5;
        live.rotate_left(fifth);
    }
}

#[test]
fn an_allocation_grows_in_place_and_counts_what_is_committed() {
    let capacity = ByteSize::mib(64);
    let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(capacity)), capacity).unwrap();
    let owner = pool.owner("m", Purpose::Kv);
    // Ten sequences with addresses for a whole context each, ten times what there is of memory.
    let mut sequences: Vec<GrowingAllocation> =
        (0..10).map(|_| pool.reserve(Request::new(ByteSize::ZERO).owner(owner), capacity).unwrap()).collect();
    assert_eq!((pool.used(), pool.committed(), pool.stats().live), (ByteSize::ZERO, ByteSize::ZERO, 10));
    let bases: Vec<u64> = sequences.iter().map(|sequence| sequence.range().base).collect();
    for step in 1..=5u64 {
        for (i, sequence) in sequences.iter_mut().enumerate() {
            sequence.resize(ByteSize::new(step * 1_000_000)).unwrap();
            assert_eq!((sequence.range().base, sequence.requested()), (bases[i], ByteSize::mb(step)));
            assert_eq!(sequence.granted(), ByteSize::mb(step).checked_align_up(GRANULE.bytes()).unwrap());
        }
        let granted: ByteSize = sequences.iter().map(GrowingAllocation::granted).sum();
        assert_eq!((pool.used(), pool.committed()), (granted, granted));
        assert_eq!(pool.resident().value, Some(granted));
        assert_eq!((pool.owners()[0].granted_bytes, pool.ledger()[0].granted_bytes), (granted, granted));
    }
    // One grows into all that is left, and no further; shrinking gives memory back to the device.
    let left = pool.available();
    let most = sequences[0].granted() + left;
    sequences[0].resize(most).unwrap();
    let error = sequences[0].resize(most + ByteSize::new(1)).unwrap_err();
    assert!(matches!(error, PoolError::OutOfMemory(_)), "{error}");
    assert_eq!(sequences[0].requested(), most, "an error has changed nothing");
    assert!(matches!(sequences[1].resize(ByteSize::mib(65)), Err(PoolError::BeyondReserve { .. })));
    sequences[0].resize(ByteSize::new(1)).unwrap();
    assert_eq!(pool.resident().value, Some(pool.committed()));
    assert_eq!(pool.available(), most - GRANULE);
    let plain = pool.allocate(Request::new(most - GRANULE)).expect("what it gave back is anybody's");
    drop((sequences, plain));
    let stats = pool.stats();
    assert_eq!((stats.used_bytes, stats.requested_bytes, stats.live), Default::default());
    pool.trim().unwrap();
    assert_eq!(pool.committed(), ByteSize::ZERO);
}

#[test]
fn growing_keeps_to_budgets_and_waits_as_allocating_does() {
    let pool = pool(64);
    let owner = pool.owner("m", Purpose::Kv);
    pool.set_budget(owner, Some(ByteSize::mib(6))).unwrap();
    let mut sequence = pool.reserve(mib(3).owner(owner), ByteSize::mib(100)).unwrap();
    assert_eq!(sequence.granted(), ByteSize::mib(4));
    sequence.resize(ByteSize::mib(6)).unwrap();
    assert!(matches!(sequence.resize(ByteSize::mib(7)), Err(PoolError::OverBudget(_))));
    assert_eq!((sequence.requested(), pool.used()), (ByteSize::mib(6), ByteSize::mib(6)));
    pool.set_budget(owner, None).unwrap();
    // Room is made for it too.
    let cache = Arc::new(std::sync::Mutex::new(vec![pool.allocate(mib(50)).unwrap()]));
    let guard = pool.add_reclaimer({
        let cache = cache.clone();
        move |request| {
            assert_eq!(request.requested, ByteSize::mib(34), "what is missing, not all of it");
            cache.lock().unwrap().clear();
        }
    });
    sequence.resize(ByteSize::mib(40)).unwrap();
    drop(guard);
    assert_eq!(pool.used(), ByteSize::mib(40));
}

#[test]
fn addresses_that_run_out_are_told_from_memory() {
    let capacity = ByteSize::mib(64);
    let config = PoolConfig { addresses: Some(ByteSize::mib(128)), ..PoolConfig::default() };
    let device = Arc::new(SimulatedDevice::new(capacity));
    let pool = DeviceMemoryPool::with_config(device, capacity, config).unwrap();
    let first = pool.reserve(mib(2), capacity).unwrap();
    let second = pool.reserve(mib(2), ByteSize::mib(60)).unwrap();
    let error = pool.reserve(mib(2), ByteSize::mib(61)).unwrap_err();
    assert!(matches!(error, PoolError::NoAddresses { .. }), "{error}");
    assert!(
        error.to_string().contains("no 61 MiB of addresses in one piece are left of the pool's 128 MiB"),
        "{error}"
    );
    drop((first, second));
    // Without virtual memory addresses are memory, and a pool has those of its capacity.
    let device = Arc::new(SimulatedDevice::builder(capacity).virtual_memory(false).build());
    let pool = DeviceMemoryPool::new(device, capacity).unwrap();
    assert_eq!(pool.range().size, capacity);
    let mut grows = pool.reserve(mib(2), ByteSize::mib(40)).unwrap();
    assert!(matches!(pool.allocate(mib(25)), Err(PoolError::OutOfMemory(_))), "its addresses are taken");
    grows.resize(ByteSize::mib(40)).unwrap();
    assert_eq!(pool.used(), ByteSize::mib(40));
}

/// 512 bytes were once made room for by 4,194,304 copies of 256.
#[test]
fn a_move_by_a_little_takes_few_copies() {
    let capacity = ByteSize::gib(2);
    let device = SimulatedDevice::builder(capacity).virtual_memory(false).build();
    let pool = DeviceMemoryPool::new(Arc::new(device), capacity).unwrap();
    let low = pool.allocate(Request::new(ByteSize::new(256))).unwrap();
    let mut large = pool.allocate_movable(Request::new(ByteSize::gib(1))).unwrap();
    large.pin_mut().unwrap().fill(5).unwrap();
    let gap = pool.allocate(Request::new(ByteSize::new(256))).unwrap();
    let _top = pool.allocate(Request::new(pool.available())).unwrap();
    drop((low, gap));
    // A request may cause 256 copies, and two for each 8 MiB are just as many.
    let _fits = pool.allocate(Request::new(ByteSize::new(512))).expect("moving the large one makes room");
    let stats = pool.stats();
    assert_eq!((stats.moved, stats.moved_bytes), (1, ByteSize::gib(1)));
    assert_eq!(large.pin().find_mismatch(5, Some(ByteSize::mib(1))), Ok(None));
}

#[test]
fn what_is_moved_for_a_request_has_a_budget_and_passes_go_on() {
    let capacity = ByteSize::mib(64);
    let config = PoolConfig {
        compact_budget: CompactBudget { copies: 4, bytes: ByteSize::mib(8) },
        ..PoolConfig::default()
    };
    let device = SimulatedDevice::builder(capacity).virtual_memory(false).build();
    let pool = DeviceMemoryPool::with_config(Arc::new(device), capacity, config).unwrap();
    let mut blocks: Vec<MovableAllocation> =
        (0..32).map(|_| pool.allocate_movable(mib(2)).unwrap()).collect();
    for (i, block) in blocks.iter_mut().enumerate() {
        block.pin_mut().unwrap().fill(i as u32).unwrap();
    }
    let mut number = 0;
    blocks.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    // 8 MiB take three moves; 32 MiB would take fifteen.
    let eight = pool.allocate(mib(8)).expect("within the budget");
    assert_eq!(pool.stats().moved, 3);
    drop(eight);
    let Err(PoolError::OutOfMemory(error)) = pool.allocate(mib(32)) else { panic!("not within the budget") };
    let done = error.compacted.expect("it was tried");
    assert!(done.unfinished && done.copies <= 4 && done.moved_bytes <= ByteSize::mib(8), "{done:?}");
    assert!(error.report().contains("compact in passes"), "{}", error.report());
    let budget = CompactBudget { copies: 4, bytes: ByteSize::mib(8) };
    let mut passes = 0;
    while pool.compact_within(budget).unwrap().unfinished {
        passes += 1;
        assert!(passes < 20);
    }
    assert!(passes >= 2);
    let _all = pool.allocate(mib(32)).expect("compacted in passes");
    for (i, block) in blocks.iter().enumerate() {
        assert_eq!(block.pin().find_mismatch(2 * i as u32 + 1, None), Ok(None), "block {i}");
    }
}

#[test]
fn movable_memory_is_released_on_streams_and_not_while_it_is_pinned() {
    let pool = pool(64);
    let stream = vramkit_pool::device::ManualStream::new(1);
    let block = pool.allocate_movable(mib(2)).unwrap();
    block.release_on(&stream).unwrap();
    assert_eq!(pool.stats().pending_bytes, ByteSize::mib(2));
    stream.finish();
    let mut block = pool.allocate_movable(mib(2)).unwrap();
    let pin = block.pin();
    assert!(matches!(block.pin_mut(), Err(PoolError::Pinned(_))), "somebody reads it");
    assert!(matches!(block.release_on(&stream), Err(PoolError::Pinned(_))));
    assert_eq!(pool.used(), ByteSize::mib(2), "until the pin goes");
    drop(pin);
    assert_eq!(pool.used(), ByteSize::ZERO);
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(u64),
    Movable(u64),
    Reserve(u64, u64),
    Resize(prop::sample::Index, u64),
    Drop(u8, prop::sample::Index),
    Trim,
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = || prop_oneof![1u64..4000, 1u64..60_000];
    let step = prop_oneof![
        4 => size().prop_map(Step::Allocate),
        2 => size().prop_map(Step::Movable),
        1 => (0u64..20_000, 1u64..200_000).prop_map(|(size, most)| Step::Reserve(size, most)),
        4 => (any::<prop::sample::Index>(), 0u64..100_000).prop_map(|(pick, size)| Step::Resize(pick, size)),
        6 => (any::<u8>(), any::<prop::sample::Index>()).prop_map(|(kind, pick)| Step::Drop(kind, pick)),
        1 => Just(Step::Trim),
        1 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Plain, movable and growing memory in one pool, with commits that fail: contents stay, counts are what a list says,
    /// no more is committed than the capacity, and a request is refused only when it would not fit in whole granules.
    #[test]
    fn everything_at_once(steps in steps(), failing in prop_oneof![Just(0.0), Just(0.1)], seed: u64) {
        const GRANULE: u64 = 4096;
        let capacity = ByteSize::new(60 * GRANULE);
        let device = SimulatedDevice::builder(ByteSize::mib(1)).granularity(ByteSize::new(GRANULE)).seed(seed);
        let device = device.fault(Fault::CommitsFailAtRandom { ratio: failing }).build();
        let pool = DeviceMemoryPool::new(Arc::new(device), capacity).unwrap();
        let mut plain: Vec<(Allocation, u32)> = Vec::new();
        let mut movable: Vec<(MovableAllocation, u32)> = Vec::new();
        let mut growing: Vec<GrowingAllocation> = Vec::new();
        for (i, step) in steps.into_iter().enumerate() {
            let pattern = i as u32 * 0x0101 + 1;
            match step {
                Step::Allocate(size) => match pool.allocate(Request::new(ByteSize::new(size))) {
                    Ok(mut block) => {
                        block.fill(pattern).unwrap();
                        plain.push((block, pattern));
                    }
                    Err(PoolError::OutOfMemory(error)) => {
                        let possible = failing == 0.0 && error.device_error.is_none();
                        prop_assert!(!possible || error.largest_free.bytes() < size.next_multiple_of(256));
                    }
                    Err(error) => panic!("{error}"),
                },
                Step::Movable(size) => {
                    if let Ok(mut block) = pool.allocate_movable(Request::new(ByteSize::new(size))) {
                        block.pin_mut().unwrap().fill(pattern).unwrap();
                        movable.push((block, pattern));
                    }
                }
                Step::Reserve(size, most) => {
                    growing.extend(pool.reserve(Request::new(ByteSize::new(size)), ByteSize::new(most)));
                }
                Step::Resize(pick, size) if !growing.is_empty() => {
                    let at = pick.index(growing.len());
                    let (before, base) = (growing[at].requested(), growing[at].range().base);
                    let outcome = growing[at].resize(ByteSize::new(size));
                    let expected = if outcome.is_ok() { ByteSize::new(size) } else { before };
                    prop_assert_eq!((growing[at].requested(), growing[at].range().base), (expected, base));
                }
                Step::Drop(kind, pick) => match kind % 4 {
                    0 | 1 if !plain.is_empty() => drop(plain.swap_remove(pick.index(plain.len()))),
                    2 if !movable.is_empty() => drop(movable.swap_remove(pick.index(movable.len()))),
                    3 if !growing.is_empty() => drop(growing.swap_remove(pick.index(growing.len()))),
                    _ => {}
                },
                Step::Trim => {
                    pool.trim().unwrap();
                }
                Step::Compact => {
                    let _ = pool.compact();
                }
                Step::Resize(..) => {}
            }
            let stats = pool.stats();
            let granted: ByteSize = plain.iter().map(|(block, _)| block.granted()).sum::<ByteSize>()
                + movable.iter().map(|(block, _)| block.requested().checked_align_up(256).unwrap()).sum()
                + growing.iter().map(GrowingAllocation::granted).sum();
            prop_assert_eq!(stats.used_bytes, granted);
            prop_assert_eq!(stats.live as usize, plain.len() + movable.len() + growing.len());
            prop_assert!(pool.committed() <= capacity && stats.used_bytes <= capacity);
            prop_assert_eq!(pool.ledger().iter().map(|entry| entry.granted_bytes).sum::<ByteSize>(), granted);
            prop_assert!(stats.largest_free_bytes <= capacity - granted);
            for (block, pattern) in &plain {
                prop_assert_eq!(block.find_mismatch(*pattern, None), Ok(None));
            }
            for (block, pattern) in &movable {
                prop_assert_eq!(block.pin().find_mismatch(*pattern, None), Ok(None));
            }
        }
        drop((plain, movable, growing));
        let stats = pool.stats();
        prop_assert_eq!((stats.used_bytes, stats.requested_bytes, stats.live), Default::default());
        prop_assert_eq!(stats.largest_free_bytes, pool.capacity());
        pool.trim().unwrap();
        prop_assert_eq!(pool.committed(), ByteSize::ZERO);
    }
}
