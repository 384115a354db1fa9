use std::sync::atomic::AtomicUsize;

use std::sync::Arc;

use super::*;
use crate::device::{Device, DeviceError, Fault, HostDevice, ManualStream, SimulatedDevice, Stream};
use proptest::prelude::*;
use vramkit_units::ByteSize;

fn simulated(capacity: ByteSize) -> DeviceMemoryPool {
    DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap()
}

/// A device whose addresses are its memory: what is free in pieces is in pieces.
fn without_virtual_memory(capacity: ByteSize) -> DeviceMemoryPool {
    let device = SimulatedDevice::builder(capacity).virtual_memory(false).build();
    DeviceMemoryPool::new(Arc::new(device), capacity).unwrap()
}

fn mib(n: u64) -> Request {
    Request::new(ByteSize::mib(n))
}

#[test]
fn counts_balance_and_return_to_zero() {
    let pool = simulated(ByteSize::mib(64));
    let (a, b) = (pool.owner("a", Purpose::Weights), pool.owner("b", Purpose::Kv));
    assert_eq!(pool.owner("a", Purpose::Weights), a);
    let first = pool.allocate(mib(10).owner(a)).unwrap();
    let second = pool.allocate(Request::new(ByteSize::new(1000)).owner(b).tag(pool.tag("block"))).unwrap();
    assert_eq!(second.granted(), ByteSize::new(1024));
    let stats = pool.stats();
    assert_eq!(stats.used_bytes, ByteSize::new((10 << 20) + 1024));
    assert_eq!(stats.requested_bytes, ByteSize::new((10 << 20) + 1000));
    assert_eq!(stats.used_bytes + stats.available_bytes(), stats.capacity_bytes);
    assert_eq!(stats.committed_bytes, ByteSize::mib(12));
    assert_eq!((stats.live, stats.granted, stats.hits, stats.misses), (2, 2, 0, 2));
    assert_eq!(pool.owners()[0].model, "a");
    drop(first);
    let again = pool.allocate(mib(1).owner(a)).unwrap();
    assert_eq!(pool.stats().hits, 1, "its memory was committed already");
    drop((second, again));
    let stats = pool.stats();
    assert_eq!((stats.used_bytes, stats.requested_bytes, stats.live), (ByteSize::ZERO, ByteSize::ZERO, 0));
    assert_eq!(stats.largest_free_bytes, stats.capacity_bytes);
    assert!(pool.owners().is_empty());
    assert_eq!(stats.external_fragmentation_ratio(), 0.0);
}

#[test]
fn alignment_is_kept_and_nonsense_is_refused() {
    let pool = simulated(ByteSize::mib(64));
    let _odd = pool.allocate(Request::new(ByteSize::new(1))).unwrap();
    for shift in 0..22 {
        let allocation = pool.allocate(Request::new(ByteSize::new(300)).alignment(1 << shift)).unwrap();
        assert!(allocation.range().base.is_multiple_of(1 << shift), "{shift}");
    }
    assert!(matches!(pool.allocate(Request::new(ByteSize::ZERO)), Err(PoolError::ZeroSize)));
    assert!(matches!(pool.allocate(mib(1).alignment(48)), Err(PoolError::Alignment(48))));
    assert!(matches!(pool.allocate(mib(1).alignment(0)), Err(PoolError::Alignment(0))));
    for size in [u64::MAX, 1 << 63, u64::MAX - 255] {
        assert!(matches!(pool.allocate(Request::new(ByteSize::new(size))), Err(PoolError::OutOfMemory(_))));
    }
    assert_eq!(pool.stats().failures, 3, "refused for lack of memory; malformed requests are not counted");
}

#[test]
fn an_error_names_the_numbers_and_the_way_out() {
    let pool = without_virtual_memory(ByteSize::mib(16));
    let llama = pool.owner("llama", Purpose::Weights);
    let _low = pool.allocate(mib(6).owner(llama)).unwrap();
    let gap = pool.allocate(mib(4)).unwrap();
    let _high = pool.allocate(mib(4)).unwrap();
    drop(gap);
    let Err(PoolError::OutOfMemory(error)) = pool.allocate(mib(5)) else { panic!("4 + 2 MiB are free") };
    assert_eq!((error.requested, error.free), (ByteSize::mib(5), ByteSize::mib(6)));
    assert_eq!(error.largest_free, ByteSize::mib(4));
    assert_eq!((error.owners[0].model.as_str(), error.owners[0].granted_bytes), ("llama", ByteSize::mib(6)));
    assert!(error.to_string().contains("in pieces"), "{error}");
    let error = pool.allocate(mib(9)).unwrap_err().to_string();
    assert!(error.contains("release 3 MiB more; llama (weights) holds the most"), "{error}");
    assert!(pool.allocate(mib(99)).unwrap_err().to_string().contains("larger pool"));
}

#[test]
fn a_second_release_is_an_error_that_changes_nothing() {
    let pool = simulated(ByteSize::mib(16));
    let other = simulated(ByteSize::mib(16));
    let id = pool.allocate(mib(1)).unwrap().into_id();
    assert_eq!(pool.used(), ByteSize::mib(1));
    assert_eq!(pool.resolve(id).unwrap().size, ByteSize::mib(1));
    assert!(other.release(id).is_err());
    pool.release(id).unwrap();
    assert_eq!(pool.release(id), Err(PoolError::UnknownAllocation(id)));
    let reused = pool.allocate(mib(1)).unwrap();
    assert!(pool.release(id).is_err(), "the place is in use again, by another");
    assert!(pool.resolve(id).is_err());
    assert_eq!(pool.used(), ByteSize::mib(1));
    drop(reused);
}

#[test]
fn trim_leaves_live_bytes_rounded_to_granules_on_real_memory() {
    let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::mib(64))), ByteSize::new(41_000_000))
        .unwrap();
    let mut blocks: Vec<_> = (0..10).map(|_| pool.allocate(Request::new(ByteSize::mb(4))).unwrap()).collect();
    assert_eq!(pool.resident().value, Some(pool.committed()));
    assert_eq!(pool.committed(), ByteSize::mib(40));
    for (i, block) in blocks.iter_mut().enumerate() {
        block.fill(i as u32).unwrap();
    }
    let kept: Vec<_> = blocks.into_iter().enumerate().filter(|(i, _)| i % 5 == 2).collect();
    let report = pool.trim().unwrap();
    let touched: u64 =
        kept.iter().map(|(_, b)| (b.offset() + 4_000_000).div_ceil(2 << 20) - b.offset() / (2 << 20)).sum();
    assert_eq!(pool.committed(), ByteSize::mib(2 * touched));
    assert_eq!(report.freed_bytes, ByteSize::mib(40) - pool.committed());
    assert_eq!(pool.resident().value, Some(pool.committed()));
    for (i, block) in &kept {
        let wrong = block.find_mismatch(*i as u32, None).unwrap();
        assert_eq!(wrong, None, "trimming moved or lost a live byte");
    }
    drop(kept);
    pool.trim().unwrap();
    assert_eq!((pool.committed(), pool.resident().value), (ByteSize::ZERO, Some(ByteSize::ZERO)));
}

#[test]
fn a_reclaimer_runs_without_locks_and_saves_a_request_once() {
    let pool = Arc::new(simulated(ByteSize::mib(16)));
    let cache = Arc::new(std::sync::Mutex::new(vec![pool.allocate(mib(12)).unwrap()]));
    let calls = Arc::new(AtomicUsize::new(0));
    let guard = pool.add_reclaimer({
        let (cache, calls, pool) = (cache.clone(), calls.clone(), Arc::downgrade(&pool));
        move |request| {
            calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(request.requested, ByteSize::mib(8));
            let pool = pool.upgrade().unwrap();
            assert!(pool.stats().used_bytes >= ByteSize::mib(8), "the pool answers during the callback");
            cache.lock().unwrap().pop();
        }
    });
    let saved = pool.allocate(mib(8)).unwrap();
    assert_eq!((calls.load(std::sync::atomic::Ordering::Relaxed), pool.stats().failures), (1, 0));
    drop(guard);
    drop(saved);
    let _hold = pool.allocate(mib(12)).unwrap();
    assert!(pool.allocate(mib(8)).is_err());
}

#[test]
fn a_refused_commit_is_retried_and_otherwise_changes_nothing() {
    let device = SimulatedDevice::builder(ByteSize::mib(64)).fault(Fault::CommitFails { nth: 1 }).build();
    let pool = DeviceMemoryPool::new(Arc::new(device), ByteSize::mib(64)).unwrap();
    let _saved = pool.allocate(mib(4)).expect("the second try is not refused");
    let device = SimulatedDevice::builder(ByteSize::mib(64))
        .fault(Fault::OthersHold { from_operation: 0, bytes: ByteSize::mib(62) })
        .build();
    let pool = DeviceMemoryPool::new(Arc::new(device), ByteSize::mib(64)).unwrap();
    let Err(PoolError::OutOfMemory(error)) = pool.allocate(mib(4)) else { panic!("2 MiB are left") };
    assert!(matches!(error.device_error, Some(DeviceError::OutOfMemory { .. })));
    assert_eq!((pool.used(), pool.committed(), pool.stats().granted), (ByteSize::ZERO, ByteSize::ZERO, 0));
    let _fits = pool.allocate(mib(2)).unwrap();
}

#[test]
fn live_allocations_of_a_dropped_pool_are_reported_and_stay_usable() {
    let seen = Arc::new(std::sync::Mutex::new(LeakReport::default()));
    let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::mib(8))), ByteSize::mib(8)).unwrap();
    let pool = pool.on_leak({
        let seen = seen.clone();
        move |report| *seen.lock().unwrap() = report.clone()
    });
    let owner = pool.owner("bert", Purpose::Activation);
    let mut kept =
        pool.allocate(Request::new(ByteSize::new(5000)).owner(owner).tag(pool.tag("attention"))).unwrap();
    drop(pool);
    let report = seen.lock().unwrap().clone();
    assert_eq!(report.leaks.len(), 1);
    assert_eq!(
        (report.leaks[0].tag.as_str(), report.leaks[0].requested_bytes),
        ("attention", ByteSize::new(5000))
    );
    assert!(report.to_string().contains("attention: 4.88 KiB of bert (activation)"), "{report}");
    kept.fill(7).unwrap();
    assert_eq!(kept.find_mismatch(7, None), Ok(None));
}

#[test]
fn many_threads_leave_nothing_behind() {
    let pool = Arc::new(simulated(ByteSize::mib(256)));
    std::thread::scope(|scope| {
        for seed in 0..8u64 {
            let pool = &pool;
            scope.spawn(move || {
                let (mut live, mut x) = (Vec::new(), seed * 2 + 1);
                for _ in 0..2000 {
                    x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    if x >> 63 == 0 || live.is_empty() {
                        live.extend(pool.allocate(Request::new(ByteSize::new((x >> 40) % 400_000 + 1))));
                    } else {
                        live.swap_remove((x >> 33) as usize % live.len());
                    }
                    if x >> 58 == 0 {
                        pool.trim().unwrap();
                    }
                    assert!(pool.used() <= pool.capacity());
                }
            });
        }
    });
    assert_eq!((pool.used(), pool.stats().live), (ByteSize::ZERO, 0));
    pool.trim().unwrap();
    assert_eq!(pool.committed(), ByteSize::ZERO);
}

/// Threads with sizes of their own and sizes in common, with and without thread caches: at every step the memory granted is
/// nobody else's, and the counts make sense; at the end everything is back.
#[test]
fn threads_that_keep_blocks_share_none() {
    for thread_caches in [false, true] {
        let pool = Arc::new(
            DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::gib(64))), ByteSize::gib(64)).unwrap(),
        );
        if thread_caches {
            pool.use_thread_caches();
        }
        let owners = ["a", "b"].map(|name| pool.owner(name, Purpose::Other));
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let pool = &pool;
                scope.spawn(move || {
                    let (mut live, mut x) = (Vec::new(), thread * 2 + 1);
                    for step in 0..3000u32 {
                        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let r = x >> 33;
                        if r & 1 == 0 || live.is_empty() {
                            let size = (512 << (r >> 1 & 3)) + if r & 64 == 0 { 256 * thread } else { 0 }
                                - (r >> 8 & 63);
                            let owner = owners[(r >> 20 & 1) as usize];
                            let id =
                                pool.allocate_id(Request::new(ByteSize::new(size)).owner(owner)).unwrap();
                            let pattern = (thread as u32) << 16 | step;
                            pool.fill(id.0, pattern).unwrap();
                            live.push((id, pattern));
                        } else {
                            let ((id, range), pattern) = live.swap_remove(r as usize % live.len());
                            assert_eq!(pool.resolve(id), Ok(range));
                            let wrong = pool.find_mismatch(id, pattern, None);
                            assert_eq!(wrong, Ok(None), "thread {thread}, step {step}");
                            pool.release(id).unwrap();
                            assert_eq!(pool.release(id), Err(PoolError::UnknownAllocation(id)));
                        }
                        assert!(pool.used() <= pool.capacity());
                        if r >> 24 & 255 == 0 {
                            let stats = pool.stats();
                            assert!(stats.requested_bytes <= stats.used_bytes && stats.live > 0);
                            assert!(stats.largest_free_bytes <= stats.available_bytes());
                        }
                        if r >> 24 & 511 == 1 {
                            pool.trim().unwrap();
                        }
                    }
                    live.into_iter().for_each(|((id, _), _)| pool.release(id).unwrap());
                });
            }
        });
        let stats = pool.stats();
        assert_eq!(
            (stats.live, stats.used_bytes, stats.requested_bytes),
            (0, ByteSize::ZERO, ByteSize::ZERO)
        );
        assert_eq!(stats.largest_free_bytes, stats.capacity_bytes);
        assert!(pool.owners().is_empty());
        pool.trim().unwrap();
        assert_eq!(pool.committed(), ByteSize::ZERO);
    }
}

#[test]
fn budgets_of_owners_and_models_are_kept() {
    let pool = simulated(ByteSize::gib(1));
    let (kv, weights) = (pool.owner("llama", Purpose::Kv), pool.owner("llama", Purpose::Weights));
    pool.set_budget(kv, Some(ByteSize::mib(10))).unwrap();
    pool.set_model_budget("llama", Some(ByteSize::mib(16)));
    let _eight = pool.allocate(mib(8).owner(kv)).unwrap();
    let Err(PoolError::OverBudget(error)) = pool.allocate(mib(3).owner(kv)) else { panic!("11 of 10 MiB") };
    assert_eq!(
        (error.held, error.budget, error.purpose),
        (ByteSize::mib(8), ByteSize::mib(10), Some(Purpose::Kv))
    );
    assert!(error.to_string().contains("release 1 MiB"), "{error}");
    let _six = pool.allocate(mib(6).owner(weights)).unwrap();
    let Err(PoolError::OverBudget(error)) = pool.allocate(mib(4).owner(weights)) else {
        panic!("18 of 16 MiB")
    };
    assert_eq!((error.held, error.purpose), (ByteSize::mib(14), None));
    // A purpose named later is under its model's budget too, and others are not.
    let workspace = pool.owner("llama", Purpose::Workspace);
    assert!(pool.allocate(mib(3).owner(workspace)).is_err());
    let _other = pool.allocate(mib(100)).unwrap();
    pool.set_model_budget("llama", None);
    let _workspace = pool.allocate(mib(3).owner(workspace)).unwrap();
    assert_eq!(pool.stats().failures, 3);
}

#[test]
fn memory_released_on_a_stream_is_its_own_at_once_and_others_when_its_work_is_done() {
    let pool = simulated(ByteSize::mib(64));
    let (one, two) = (ManualStream::new(1), ManualStream::new(2));
    let owners = ["a", "b"].map(|name| pool.owner(name, Purpose::Activation));
    let (id, range) = pool.allocate_on(mib(40).owner(owners[0]), &one).unwrap();
    pool.release_on(id, &one).unwrap();
    assert_eq!(pool.release_on(id, &one), Err(PoolError::UnknownAllocation(id)));
    assert!(pool.release(id).is_err());
    assert_eq!((pool.used(), pool.stats().pending_bytes), (ByteSize::mib(40), ByteSize::mib(40)));
    let (other, elsewhere) = pool.allocate_on(mib(20), &two).unwrap();
    assert!(elsewhere.base >= range.end() || elsewhere.end() <= range.base);
    // The same stream, the same size: the same memory, for another owner.
    let (again, same) = pool.allocate_on(mib(40).owner(owners[1]), &one).unwrap();
    assert_eq!((same, pool.stats().pending_bytes), (range, ByteSize::ZERO));
    assert_eq!(pool.owners()[0].model, "b");
    pool.release_on(again, &one).unwrap();
    one.finish();
    pool.release_on(other, &two).unwrap();
    assert_eq!(pool.used(), ByteSize::mib(20), "what was done is free in passing; the second stream is not");
    // A request that needs all of it waits for the work.
    std::thread::scope(|scope| {
        let pool = &pool;
        let waiting = scope.spawn(move || pool.allocate(mib(64)).map(|allocation| allocation.granted()));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!waiting.is_finished());
        two.finish();
        assert_eq!(waiting.join().unwrap(), Ok(ByteSize::mib(64)));
    });
    let handle = pool.allocate(mib(1)).unwrap();
    handle.release_on(&two).unwrap();
    two.finish();
    pool.trim().unwrap();
    assert_eq!((pool.used(), pool.committed(), pool.stats().requested_bytes), Default::default());
}

#[test]
fn streams_of_one_name_are_two_streams() {
    let pool = simulated(ByteSize::mib(16));
    let (one, two) = (ManualStream::new(7), ManualStream::new(7));
    assert_ne!(one.id(), two.id());
    assert_eq!(one.id().name(), two.id().name());
    assert!(one.id().to_string().starts_with("stream 7 (#"), "{}", one.id());
    let (id, range) = pool.allocate_on(mib(4), &one).unwrap();
    pool.release_on(id, &one).unwrap();
    let (other, elsewhere) = pool.allocate_on(mib(4), &two).unwrap();
    assert_ne!(range, elsewhere, "the first stream's work may still use it");
    let (again, same) = pool.allocate_on(mib(4), &one).unwrap();
    assert_eq!(range, same);
    pool.release(other).unwrap();
    pool.release(again).unwrap();
}

#[test]
fn a_streams_own_memory_is_subject_to_budgets_and_checks_too() {
    let pool = simulated(ByteSize::mib(64));
    let (stream, capped) = (ManualStream::new(1), pool.owner("capped", Purpose::Kv));
    pool.set_budget(capped, Some(ByteSize::mib(4))).unwrap();
    let (id, _) = pool.allocate_on(mib(8), &stream).unwrap();
    pool.release_on(id, &stream).unwrap();
    assert!(matches!(pool.allocate_on(mib(8).alignment(48), &stream), Err(PoolError::Alignment(48))));
    assert_eq!(pool.stats().pending_bytes, ByteSize::mib(8), "it stayed in line");
    stream.finish();
    assert!(matches!(pool.allocate_on(mib(8).owner(capped), &stream), Err(PoolError::OverBudget(_))));
    assert_eq!(pool.used(), ByteSize::ZERO);
}

#[test]
fn fragmentation_alone_moves_what_may_be_moved() {
    let pool = without_virtual_memory(ByteSize::mib(32));
    let mut movable: Vec<_> = (0..16).map(|_| pool.allocate_movable(mib(2)).unwrap()).collect();
    for (i, block) in movable.iter_mut().enumerate() {
        block.pin_mut().unwrap().fill(i as u32).unwrap();
    }
    let kept: Vec<_> = movable.into_iter().enumerate().filter(|(i, _)| i % 2 == 1).collect();
    let mut pins: Vec<Pinned> = kept.iter().map(|(_, block)| block.pin()).collect();
    let Err(PoolError::OutOfMemory(error)) = pool.allocate(mib(8)) else { panic!("pinned memory stays") };
    assert_eq!((error.largest_free, error.largest_after_compacting), (ByteSize::mib(2), ByteSize::mib(2)));
    let report = pool.compact().unwrap();
    assert!(report.pinned && report.moved == 0);
    // A pin may be kept anywhere, and outlives its handle: others move, this block stays.
    let first = pins.swap_remove(0);
    let stays = first.range();
    drop(pins);
    let first = std::thread::spawn(move || first).join().unwrap();
    let mut eight = pool.allocate(mib(8)).expect("moving makes room");
    assert_eq!(pool.stats().moved_bytes, ByteSize::mib(6), "as few as make room");
    eight.fill(99).unwrap();
    assert_eq!((first.range(), first.find_mismatch(1, None)), (stays, Ok(None)));
    drop(first);
    let report = pool.compact().unwrap();
    // What moved for the request is on one side of it, what did not on the other.
    assert!(!report.pinned && report.largest_after_bytes == ByteSize::mib(6), "{report:?}");
    for (i, block) in &kept {
        assert_eq!(block.pin().find_mismatch(*i as u32, None), Ok(None), "block {i}");
    }
    drop((kept, eight));
    assert_eq!((pool.used(), pool.stats().largest_free_bytes), (ByteSize::ZERO, pool.capacity()));
}

#[test]
fn the_out_of_memory_report_says_who_and_what_would_help() {
    let pool = simulated(ByteSize::mib(64));
    let (llama, bert) = (pool.owner("llama", Purpose::Weights), pool.owner("bert", Purpose::Kv));
    pool.set_priority(llama, 9).unwrap();
    let _weights = pool.allocate(mib(40).owner(llama)).unwrap();
    let _kv = pool.allocate(mib(16).owner(bert)).unwrap();
    let Err(PoolError::OutOfMemory(error)) = pool.allocate(mib(20)) else { panic!("8 MiB are free") };
    assert_eq!(error.evict.iter().map(|owner| owner.model.as_str()).collect::<Vec<_>>(), ["bert"]);
    let report = error.report();
    assert!(report.contains("bert (kv): 16 MiB in 1, at most 16 MiB, priority 0"), "{report}");
    let json = serde_json::to_value(&*error).unwrap();
    assert_eq!(
        (&json["requested_bytes"], &json["evict"][0]["granted_bytes"]),
        (&(20 << 20).into(), &(16 << 20).into())
    );
    let Err(PoolError::OutOfMemory(error)) = pool.allocate(mib(65)) else { panic!("more than there is") };
    assert!(error.evict.is_empty() && error.report().contains("evicting everybody would not be enough"));
}

#[test]
fn what_is_idle_is_used_again_expires_and_makes_room() {
    let device = Arc::new(SimulatedDevice::new(ByteSize::mib(100)));
    let config = CachingConfig { max_cached: ByteSize::mib(60), ..CachingConfig::default() };
    let pool = CachingPool::new(device.clone(), ByteSize::mib(100), config).unwrap();
    let first = pool.allocate(ByteSize::new(1_500_000)).unwrap();
    let range = first.range();
    drop(first);
    assert_eq!((pool.stats().idle, pool.stats().cached_bytes), (1, ByteSize::mib(2)));
    let again = pool.allocate(ByteSize::mib(2)).unwrap();
    assert_eq!(again.range().base, range.base, "the same class, asked for a little more");
    assert_eq!((pool.stats().hit_ratio(), pool.stats().idle), (Some(0.5), 0));
    drop(again);
    // More idle than allowed: the least recently used goes.
    let blocks: Vec<_> = (0..3).map(|_| pool.allocate(ByteSize::mib(20)).unwrap()).collect();
    drop(blocks);
    assert_eq!((pool.stats().evicted, pool.stats().cached_bytes), (1, ByteSize::mib(60)));
    // Only as many as a request needs.
    let large = pool.allocate(ByteSize::mib(80)).unwrap();
    assert_eq!((pool.stats().evicted, pool.stats().idle), (3, 1));
    // Time alone, without a request.
    let now = std::time::Instant::now();
    let due = pool.sweep(now).expect("one block is idle");
    assert!(due > now + std::time::Duration::from_secs(290));
    assert_eq!(pool.sweep(due), None);
    assert_eq!((pool.stats().expired, pool.stats().cached_bytes), (1, ByteSize::ZERO));
    assert_eq!(device.memory().committed_bytes.value, Some(pool.pool().committed()));
    assert!(matches!(pool.allocate(ByteSize::ZERO), Err(PoolError::ZeroSize)));
    assert!(matches!(pool.allocate(ByteSize::mib(61)), Err(PoolError::OutOfMemory(_))));
    drop(large);
    pool.clear();
    assert_eq!(device.memory().committed_bytes.value, Some(ByteSize::ZERO));
}

#[test]
fn the_sweeper_comes_by_itself() {
    let device = Arc::new(SimulatedDevice::new(ByteSize::mib(100)));
    let config =
        CachingConfig { idle_timeout: std::time::Duration::from_millis(30), ..CachingConfig::default() };
    let pool = CachingPool::new(device, ByteSize::mib(100), config).unwrap();
    // It sleeps by now, for long: nothing is idle.
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(pool.allocate(ByteSize::mib(5)).unwrap());
    let start = std::time::Instant::now();
    while pool.stats().expired == 0 {
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "nothing swept the idle block");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(pool.pool().used(), ByteSize::ZERO);
}

#[test]
fn what_a_pool_records_can_be_read_back() {
    let lines = Arc::new(std::sync::Mutex::new(Vec::<Recorded>::new()));
    let pool = simulated(ByteSize::mib(8));
    let sink = lines.clone();
    assert!(pool.record(move |recorded| sink.lock().unwrap().push(recorded.clone())));
    assert!(!pool.record(|_| {}), "a pool records to one place");
    let owner = pool.owner("m", Purpose::Kv);
    let block = pool.allocate(Request::new(ByteSize::new(100)).owner(owner).tag(pool.tag("t"))).unwrap();
    drop(block);
    let lines = lines.lock().unwrap();
    let Recorded::Allocate { id, bytes, address, owner, tag } = &lines[0] else { panic!("{lines:?}") };
    assert_eq!(*address, pool.range().base);
    assert_eq!((bytes, owner.as_str(), tag.as_str()), (&ByteSize::new(100), "m (kv)", "t"));
    assert_eq!(lines[1], Recorded::Release { id: id.clone() });
}

#[test]
fn size_classes_waste_what_they_say() {
    let waste = |classes, size| {
        let config = PoolConfig { classes, ..PoolConfig::default() };
        let device = Arc::new(SimulatedDevice::new(ByteSize::gib(1)));
        let pool = DeviceMemoryPool::with_config(device, ByteSize::gib(1), config).unwrap();
        let allocation = pool.allocate(Request::new(ByteSize::new(size))).unwrap();
        assert_eq!(allocation.requested(), ByteSize::new(size));
        let stats = pool.stats();
        assert_eq!(stats.used_bytes, allocation.granted());
        stats.internal_fragmentation_ratio()
    };
    assert_eq!(waste(SizeClasses::Exact, 1 << 20), 0.0);
    assert_eq!(waste(SizeClasses::Stepped, 3 << 19), 0.25);
    assert_eq!(waste(SizeClasses::PyTorch, 256), 0.5);
    assert_eq!(waste(SizeClasses::PowersOfTwo { steps: 1 }, 3 << 19), 0.25);
}

#[test]
fn the_book_is_small() {
    let pool = simulated(ByteSize::gib(64));
    let mut live: Vec<_> = (0..200_000)
        .map(|i| pool.allocate_id(Request::new(ByteSize::new(256 + i % 5000))).unwrap().0)
        .collect();
    let bytes_each = |live: usize| pool.stats().book_bytes.bytes() as f64 / live as f64;
    assert!(bytes_each(live.len()) <= 48.0, "{}", bytes_each(live.len()));
    // A third of them gone, here and there: free blocks between live ones count too.
    for i in (0..66_000).rev() {
        pool.release(live.swap_remove(i * 3)).unwrap();
    }
    assert!(bytes_each(live.len()) <= 64.0, "{}", bytes_each(live.len()));
    live.into_iter().for_each(|id| pool.release(id).unwrap());
}

#[test]
fn pools_of_many_tebibytes_count_in_coarser_units() {
    let capacity = ByteSize::gib(8 << 10);
    let pool = simulated(capacity);
    assert_eq!(pool.capacity(), capacity);
    let one = pool.allocate(Request::new(ByteSize::new(1))).unwrap();
    assert!(one.granted() > ByteSize::new(256) && one.granted() < ByteSize::mib(1));
    let rest = pool.allocate(Request::new(capacity - one.granted())).unwrap();
    assert_eq!(pool.available(), ByteSize::ZERO);
    drop((one, rest));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is asked in whatever order, under commits that fail at random: live allocations never overlap,
    /// have memory behind them, keep their content, and the counts balance.
    #[test]
    fn live_memory_is_disjoint_committed_and_intact(
        seed: u64,
        operations in prop::collection::vec((0u8..8, 1u64..40_000, any::<prop::sample::Index>()), 1..150),
    ) {
        let device = SimulatedDevice::builder(ByteSize::mib(1))
            .granularity(ByteSize::new(4096))
            .seed(seed)
            .fault(Fault::CommitsFailAtRandom { ratio: 0.2 })
            .build();
        let pool = DeviceMemoryPool::new(Arc::new(device), ByteSize::new(300_001)).unwrap();
        let mut live: Vec<(Allocation, u32)> = Vec::new();
        for (i, (kind, size, pick)) in operations.into_iter().enumerate() {
            match kind {
                0..=4 => {
                    if let Ok(mut allocation) = pool.allocate(Request::new(ByteSize::new(size))) {
                        allocation.fill(i as u32).unwrap();
                        live.push((allocation, i as u32));
                    }
                }
                5 | 6 if !live.is_empty() => {
                    live.swap_remove(pick.index(live.len()));
                }
                _ => {
                    pool.trim().unwrap();
                }
            }
            let stats = pool.stats();
            prop_assert_eq!(stats.live, live.len() as u64);
            prop_assert_eq!(stats.used_bytes, live.iter().map(|(a, _)| a.granted()).sum());
            prop_assert_eq!(stats.requested_bytes, live.iter().map(|(a, _)| a.requested()).sum());
            prop_assert_eq!(pool.used() + pool.available(), pool.capacity());
            prop_assert_eq!(pool.resident().value, Some(pool.committed()));
        }
        for (allocation, pattern) in &live {
            prop_assert_eq!(allocation.find_mismatch(*pattern, None), Ok(None));
        }
        live.clear();
        pool.trim().unwrap();
        prop_assert_eq!(pool.stats().used_bytes + pool.committed(), ByteSize::ZERO);
    }

    /// Whatever is movable and whatever is not: compacting keeps every content, and the largest free block is then as
    /// large as was foretold.
    #[test]
    fn compacting_keeps_content_and_does_what_it_says(
        operations in prop::collection::vec((0u8..4, 1u64..30_000, any::<prop::sample::Index>()), 1..80),
        enough in 0u32..400,
        virtual_memory: bool,
    ) {
        enum Live {
            Fixed(Allocation),
            Movable(MovableAllocation),
        }
        let device = SimulatedDevice::builder(ByteSize::mib(1)).granularity(ByteSize::new(4096));
        let device = Arc::new(device.virtual_memory(virtual_memory).build());
        let pool = DeviceMemoryPool::new(device, ByteSize::new(300_000)).unwrap();
        let mut live: Vec<(Live, u32)> = Vec::new();
        let check = |live: &[(Live, u32)]| {
            for (allocation, pattern) in live {
                // A pattern is tied to addresses: moved memory is looked at as it was written, word for word.
                let wrong = match allocation {
                    Live::Fixed(fixed) => fixed.find_mismatch(*pattern, None),
                    Live::Movable(movable) => movable.pin().find_mismatch(*pattern, None),
                };
                assert_eq!(wrong, Ok(None));
            }
        };
        for (i, (kind, size, pick)) in operations.into_iter().enumerate() {
            let request = Request::new(ByteSize::new(size));
            let allocation = match kind {
                0 => pool.allocate(request).ok().map(Live::Fixed),
                1 | 2 => pool.allocate_movable(request).ok().map(Live::Movable),
                _ if live.is_empty() => None,
                _ => {
                    live.swap_remove(pick.index(live.len()));
                    None
                }
            };
            if let Some(mut allocation) = allocation {
                match &mut allocation {
                    Live::Fixed(fixed) => fixed.fill(i as u32).unwrap(),
                    Live::Movable(movable) => movable.pin_mut().unwrap().fill(i as u32).unwrap(),
                }
                live.push((allocation, i as u32));
            }
        }
        check(&live);
        let foretold = {
            let book = pool.inner.recalled();
            ByteSize::new(u64::from(pool.inner.room_after_compacting(&book).largest) * 256)
        };
        pool.inner.compact(Some(enough), CompactBudget::UNLIMITED).unwrap();
        check(&live);
        let report = pool.compact().unwrap();
        // Within its capacity's granules a pool may be unable to move something, and says so.
        prop_assert!(report.largest_after_bytes == foretold || virtual_memory && report.unfinished);
        check(&live);
        pool.trim().unwrap();
        check(&live);
        live.clear();
        prop_assert_eq!(pool.stats().largest_free_bytes, pool.capacity());
    }
}
