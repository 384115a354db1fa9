//! What a pool keeps to whatever comes: budgets through every way to memory, names that are told apart, user code that
//! misbehaves.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

mod odd_device;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use odd_device::OddDevice;
use vramkit_pool::device::{ManualStream, SimulatedDevice};
use vramkit_pool::pool::{
    Allocation, DeviceMemoryPool, Holder, OwnerId, PoolError, Purpose, Recorded, Request,
};
use vramkit_units::ByteSize;

fn pool(mib: u64) -> Arc<DeviceMemoryPool> {
    let capacity = ByteSize::mib(mib);
    Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap())
}

fn mib(n: u64) -> Request {
    Request::new(ByteSize::mib(n))
}

/// What thread caches keep, what streams keep, what was granted before: a budget holds for all of it.
#[test]
fn a_budget_holds_however_memory_is_granted() {
    // 64 GiB: a thread cache keeps up to 64 MiB, blocks up to 4 MiB.
    let pool = pool(64 << 10);
    pool.use_thread_caches();
    let owner = pool.owner("m", Purpose::Kv);
    let request = mib(4).owner(owner);
    let grant = |n: usize| -> Vec<Allocation> { (0..n).map(|_| pool.allocate(request).unwrap()).collect() };
    let held = |kept: &[Allocation]| ByteSize::mib(4 * kept.len() as u64);
    drop(grant(16));
    pool.set_budget(owner, Some(ByteSize::mib(1))).unwrap();
    assert!(matches!(pool.allocate(request), Err(PoolError::OverBudget(_))));
    pool.set_budget(owner, Some(ByteSize::mib(20))).unwrap();
    let five = grant(5);
    assert!(matches!(pool.allocate(request), Err(PoolError::OverBudget(_))));
    // Less than it holds: what it holds stays, and what it gives back it does not get again, not from its own thread cache
    // either, until it holds less than it may.
    pool.set_budget(owner, Some(ByteSize::mib(9))).unwrap();
    let mut kept = five;
    while held(&kept) > ByteSize::mib(4) {
        kept.pop();
        let again = pool.allocate(request);
        assert_eq!(again.is_ok(), held(&kept) + ByteSize::mib(4) <= ByteSize::mib(9), "{}", held(&kept));
    }
    assert_eq!(pool.owners()[0].granted_bytes, ByteSize::mib(4));
    pool.set_model_budget("m", Some(ByteSize::mib(4)));
    kept.clear();
    let one = grant(1);
    assert!(matches!(pool.allocate(request), Err(PoolError::OverBudget(_))));
    drop(one);
    pool.set_budget(owner, None).unwrap();
    pool.set_model_budget("m", None);
    assert_eq!(grant(16).len(), 16);
    assert_eq!((pool.used(), pool.owners().len()), (ByteSize::ZERO, 0));
}

#[test]
fn a_budget_holds_for_what_a_stream_gives_back_to_itself() {
    let pool = pool(64);
    let owner = pool.owner("m", Purpose::Kv);
    let stream = ManualStream::new(1);
    let blocks: Vec<_> = (0..4).map(|_| pool.allocate_on(mib(4).owner(owner), &stream).unwrap().0).collect();
    pool.set_budget(owner, Some(ByteSize::mib(8))).unwrap();
    for &id in &blocks[..2] {
        pool.release_on(id, &stream).unwrap();
    }
    // It holds 16 MiB, 8 of them its stream's: its own again, and no more.
    stream.finish();
    assert_eq!(pool.owners()[0].granted_bytes, ByteSize::mib(8));
    assert!(matches!(pool.allocate_on(mib(4).owner(owner), &stream), Err(PoolError::OverBudget(_))));
    pool.release_on(blocks[2], &stream).unwrap();
    let (again, _) = pool.allocate_on(mib(4).owner(owner), &stream).expect("in place of what it gave back");
    stream.finish();
    assert!(matches!(pool.allocate_on(mib(1).owner(owner), &stream), Err(PoolError::OverBudget(_))));
    for id in [blocks[3], again] {
        pool.release(id).unwrap();
    }
    assert_eq!(pool.used(), ByteSize::ZERO);
}

#[test]
fn every_way_counts_once_in_the_ledger_and_the_statistics() {
    let pool = pool(64 << 10);
    pool.use_thread_caches();
    let owner = pool.owner("m", Purpose::Kv);
    let stream = ManualStream::new(1);
    let mut grants = 0;
    for round in 0..50 {
        let plain = pool.allocate(mib(1).owner(owner)).unwrap();
        let movable = pool.allocate_movable(mib(2).owner(owner)).unwrap();
        let growing = pool.reserve(mib(3).owner(owner), ByteSize::mib(100)).unwrap();
        let (id, _) = pool.allocate_on(mib(4).owner(owner), &stream).unwrap();
        grants += 4;
        let ledger = pool.ledger();
        assert_eq!((ledger.len(), ledger[0].allocations), (1, 4), "round {round}");
        assert_eq!(
            ledger[0].granted_bytes,
            ByteSize::mib(1 + 2 + 4 + 4),
            "a growing one counts whole granules"
        );
        assert_eq!(pool.stats().granted, grants);
        assert_eq!(pool.stats().requested_bytes, ByteSize::mib(10));
        assert_eq!(pool.owners()[0].allocations, 4);
        drop((plain, movable, growing));
        pool.release_on(id, &stream).unwrap();
        assert!(pool.ledger().is_empty());
    }
    stream.finish();
    assert_eq!((pool.used(), pool.stats().live), (ByteSize::ZERO, 0));
}

#[test]
fn owners_run_out_with_an_error_and_come_back_when_they_are_forgotten() {
    let pool = pool(64);
    let first = pool.owner("0", Purpose::Kv);
    for i in 1..65_534 {
        pool.try_owner(&i.to_string(), Purpose::Kv).unwrap();
    }
    assert_eq!(pool.try_owner("one more", Purpose::Kv), Err(PoolError::TooManyOwners));
    let nobody_else = pool.owner("one more", Purpose::Kv);
    assert_eq!(pool.set_budget(nobody_else, Some(ByteSize::ZERO)), Err(PoolError::TooManyOwners));
    assert_eq!(pool.allocate(mib(1).owner(nobody_else)).unwrap_err(), PoolError::TooManyOwners);
    assert!(pool.reserve(mib(1).owner(nobody_else), ByteSize::mib(2)).is_err());
    // An owner that holds something stays; one that does not may go, and its id is refused from then on.
    let held = pool.allocate(mib(2).owner(first)).unwrap();
    let error = pool.forget_owner(first).unwrap_err();
    assert!(error.to_string().contains("0 (kv) still holds 2 MiB"), "{error}");
    drop(held);
    let stream = ManualStream::new(1);
    let id = pool.allocate_id(mib(2).owner(first)).unwrap().0;
    pool.release_on(id, &stream).unwrap();
    assert!(matches!(pool.forget_owner(first), Err(PoolError::OwnerHolds { .. })), "a stream uses it still");
    stream.finish();
    pool.forget_owner(first).unwrap();
    assert_eq!(pool.allocate(mib(1).owner(first)).unwrap_err(), PoolError::UnknownOwner);
    assert_eq!(pool.forget_owner(first), Err(PoolError::UnknownOwner));
    let new = pool.try_owner("one more", Purpose::Kv).unwrap();
    pool.set_budget(new, Some(ByteSize::mib(1))).unwrap();
    assert_eq!(pool.allocate(mib(1).owner(first)).unwrap_err(), PoolError::UnknownOwner, "not the new owner");
    let _one = pool.allocate(mib(1).owner(new)).unwrap();
    assert!(matches!(pool.allocate(mib(1).owner(new)), Err(PoolError::OverBudget(_))));
    pool.forget_owner(OwnerId::NONE).unwrap();
    let _nobodys = pool.allocate(mib(1)).unwrap();
}

/// A thread cache that kept blocks for an owner does not serve the next one that has its number by the old id, nor the old one.
#[test]
fn a_front_does_not_mistake_owners() {
    let pool = pool(64 << 10);
    pool.use_thread_caches();
    let old = pool.owner("old", Purpose::Kv);
    drop(pool.allocate(mib(1).owner(old)).unwrap());
    pool.forget_owner(old).unwrap();
    let new = pool.owner("new", Purpose::Kv);
    drop(pool.allocate(mib(1).owner(new)).unwrap());
    assert_eq!(pool.allocate(mib(1).owner(old)).unwrap_err(), PoolError::UnknownOwner);
    drop(pool.allocate(mib(1).owner(new)).unwrap());
    assert!(pool.owners().is_empty());
}

#[test]
fn nobody_has_one_name() {
    let pool = pool(64);
    pool.set_budget(OwnerId::NONE, Some(ByteSize::mib(8))).unwrap();
    assert_eq!(pool.owner("", Purpose::Other), OwnerId::NONE);
    let _held = pool.allocate(mib(1)).unwrap();
    assert_eq!(
        (pool.owners()[0].model.clone(), pool.ledger()[0].model.clone()),
        (Holder::Nobody, Holder::Nobody)
    );
    assert_eq!(pool.live().leaks[0].model, Holder::Nobody);
    assert_eq!(serde_json::to_value(&pool.ledger()[0]).unwrap()["model"], serde_json::Value::Null);
    assert_eq!(serde_json::to_value(&pool.owners()[0]).unwrap()["model"], serde_json::Value::Null);
    assert!(pool.live().to_string().contains("of nobody (other)"), "{}", pool.live());
    let error = pool.allocate(mib(9)).unwrap_err().to_string();
    assert!(error.contains("for nobody (other)"), "{error}");
    // A model may be called so, and is another one; documents of before wrote nobody as an empty name.
    assert_ne!(pool.owner("nobody", Purpose::Other), OwnerId::NONE);
    assert_eq!(serde_json::from_str::<Holder>("\"\"").unwrap(), Holder::Nobody);
    assert_eq!(serde_json::from_str::<Holder>("\"nobody\"").unwrap(), Holder::Model("nobody".into()));
}

#[test]
fn tags_run_out_with_a_word() {
    let pool = pool(64);
    for i in 0..65_534 {
        pool.try_tag(&i.to_string()).unwrap();
    }
    assert_eq!(pool.try_tag("one more"), Err(PoolError::TooManyTags));
    let _held = pool.allocate(mib(1).tag(pool.tag("one more"))).unwrap();
    assert!(pool.ledger()[0].tag.contains("beyond 65,534"), "{:?}", pool.ledger()[0].tag);
}

#[test]
fn a_recorder_that_panics_leaks_nothing() {
    let pool = pool(64);
    let id = pool.allocate_id(mib(1)).unwrap().0;
    let handle = pool.allocate(mib(2)).unwrap();
    assert!(pool.record(|_| panic!("on purpose")));
    assert!(catch_unwind(AssertUnwindSafe(|| pool.allocate(mib(4)))).is_err());
    assert_eq!(pool.used(), ByteSize::mib(3));
    assert!(catch_unwind(AssertUnwindSafe(|| pool.release(id))).is_err());
    assert_eq!(pool.used(), ByteSize::mib(2), "released, although nobody was told");
    assert!(catch_unwind(AssertUnwindSafe(|| drop(handle))).is_err());
    let stream = ManualStream::new(1);
    assert!(pool.stop_recording());
    let id = pool.allocate_id(mib(8)).unwrap().0;
    assert!(pool.record(|_| panic!("on purpose")));
    assert!(catch_unwind(AssertUnwindSafe(|| pool.release_on(id, &stream))).is_err());
    stream.finish();
    assert_eq!((pool.used(), pool.stats().live, pool.stats().requested_bytes), Default::default());
    // Handles dropped while a panic unwinds tell the recorder too; its panic then goes no further.
    assert!(pool.stop_recording());
    let handle = pool.allocate(mib(1)).unwrap();
    assert!(pool.record(|_| panic!("on purpose")));
    let outcome = catch_unwind(AssertUnwindSafe(move || {
        let _handle = handle;
        panic!("the program's own");
    }));
    assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&"the program's own"));
    assert_eq!(pool.used(), ByteSize::ZERO);
}

#[test]
fn a_recorder_can_be_taken_out_and_another_put_in() {
    let pool = pool(64);
    let count = Arc::new(AtomicUsize::new(0));
    let counting = |count: &Arc<AtomicUsize>| {
        let count = count.clone();
        move |_: &Recorded| {
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    assert!(!pool.stop_recording());
    assert!(pool.record(counting(&count)) && !pool.record(counting(&count)));
    drop(pool.allocate(mib(1)).unwrap());
    assert!(pool.stop_recording());
    drop(pool.allocate(mib(1)).unwrap());
    assert_eq!((count.load(Ordering::Relaxed), Arc::strong_count(&count)), (2, 1), "and it was dropped");
    assert!(pool.record(counting(&count)));
    drop(pool.allocate(mib(1)).unwrap());
    assert_eq!(count.load(Ordering::Relaxed), 4);
}

#[test]
fn a_recorder_that_asks_the_pool_is_refused_and_one_that_releases_is_not() {
    let pool = pool(64);
    let (weak, seen) = (Arc::downgrade(&pool), Arc::new(Mutex::new(Vec::new())));
    let cache = Arc::new(Mutex::new(vec![pool.allocate(mib(8)).unwrap()]));
    assert!(pool.record({
        let (seen, cache) = (seen.clone(), cache.clone());
        move |_| {
            let pool = weak.upgrade().unwrap();
            seen.lock().unwrap().push(pool.allocate(mib(1)).map(|_| ()));
            let released = cache.lock().unwrap().pop();
            drop(released);
            assert!(pool.stats().used_bytes <= pool.capacity(), "readers may ask");
        }
    }));
    let held = pool.allocate(mib(1)).unwrap();
    assert_eq!(*seen.lock().unwrap(), [Err(PoolError::Reentrant)]);
    assert_eq!(pool.used(), ByteSize::mib(1), "what the recorder released is free");
    drop(held);
    assert_eq!((pool.used(), pool.stats().granted), (ByteSize::ZERO, 2));
}

#[test]
fn a_reclaimer_may_ask_the_pool_and_is_not_called_for_that() {
    let pool = pool(16);
    let _held = pool.allocate(mib(12)).unwrap();
    let (weak, calls) = (Arc::downgrade(&pool), Arc::new(AtomicUsize::new(0)));
    let guard = pool.add_reclaimer({
        let calls = calls.clone();
        move |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            let pool = weak.upgrade().unwrap();
            drop(pool.allocate(mib(2)).expect("there is room for it"));
            assert!(matches!(pool.allocate(mib(8)), Err(PoolError::OutOfMemory(_))));
        }
    });
    assert!(matches!(pool.allocate(mib(8)), Err(PoolError::OutOfMemory(_))));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    drop(guard);
    let panics = pool.add_reclaimer(|_| panic!("on purpose"));
    assert!(catch_unwind(AssertUnwindSafe(|| pool.allocate(mib(8)))).is_err());
    drop(panics);
    assert!(pool.allocate(mib(8)).is_err(), "and the next request is a plain failure");
    assert_eq!((pool.used(), pool.stats().live), (ByteSize::mib(12), 1));
}

#[test]
fn a_device_that_panics_leaks_nothing() {
    let (device, wrongs) = OddDevice::new(ByteSize::mib(64));
    let pool = DeviceMemoryPool::new(device, ByteSize::mib(64)).unwrap();
    let panicking = |what: &mut dyn FnMut()| {
        wrongs.panics.store(true, Ordering::Relaxed);
        assert!(catch_unwind(AssertUnwindSafe(what)).is_err());
        assert!(!wrongs.panics.load(Ordering::Relaxed));
    };
    panicking(&mut || drop(pool.allocate(mib(8))));
    assert_eq!((pool.used(), pool.committed(), pool.stats().granted), (ByteSize::ZERO, ByteSize::ZERO, 0));
    let mut growing = pool.reserve(mib(2), ByteSize::mib(32)).unwrap();
    panicking(&mut || drop(growing.resize(ByteSize::mib(20))));
    assert_eq!(
        (growing.requested(), growing.granted(), pool.used()),
        (ByteSize::mib(2), ByteSize::mib(2), ByteSize::mib(2))
    );
    growing.resize(ByteSize::mib(20)).unwrap();
    drop(growing);
    let below = pool.allocate(Request::new(ByteSize::mib(3))).unwrap();
    let mut moved = pool.allocate_movable(Request::new(ByteSize::mib(3))).unwrap();
    moved.pin_mut().unwrap().fill(7).unwrap();
    drop(below);
    panicking(&mut || drop(pool.compact()));
    assert_eq!(moved.pin().find_mismatch(7, None), Ok(None));
    assert_eq!(pool.compact().unwrap().moved, 1, "and then it is moved");
    assert_eq!(moved.pin().find_mismatch(7, None), Ok(None));
    drop(moved);
    assert_eq!((pool.used(), pool.stats().largest_free_bytes), (ByteSize::ZERO, pool.capacity()));
    pool.trim().unwrap();
    assert_eq!(pool.committed(), ByteSize::ZERO);
}

/// Pieces of a move lie over where others came from: when one is refused, all go back.
#[test]
fn a_move_that_fails_half_way_loses_nothing() {
    let (device, wrongs) = OddDevice::new(ByteSize::mib(64));
    let pool = DeviceMemoryPool::new(device, ByteSize::mib(64)).unwrap();
    let below = pool.allocate(mib(4)).unwrap();
    let mut block = pool.allocate_movable(Request::new(ByteSize::new((18 << 20) + 700))).unwrap();
    let content: Vec<u8> =
        (0..block.requested().bytes()).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    block.pin_mut().unwrap().write(0, &content).unwrap();
    drop(below);
    let check = |block: &vramkit_pool::pool::MovableAllocation| {
        let mut found = vec![0; content.len()];
        block.pin().read(0, &mut found).unwrap();
        assert!(found == content, "content was lost");
    };
    // The third of five copies is refused, and those that undo the first two are not.
    wrongs.copies.store(2, Ordering::Relaxed);
    assert!(matches!(pool.compact(), Err(PoolError::Device(_))));
    check(&block);
    assert_eq!(pool.stats().moved, 0);
    assert_eq!(pool.compact().unwrap().moved, 1);
    check(&block);
    drop(block);
    assert_eq!((pool.used(), pool.stats().largest_free_bytes), (ByteSize::ZERO, pool.capacity()));
}
