//! Memory released on streams: what is finished is free for every reader, who waits is seen, and nobody waits in vain.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;
use vramkit_pool::device::{ManualStream, SimulatedDevice};
use vramkit_pool::pool::{DeviceMemoryPool, PoolError, Purpose, Request};
use vramkit_units::ByteSize;

fn pool(mib: u64) -> Arc<DeviceMemoryPool> {
    let capacity = ByteSize::mib(mib);
    Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap())
}

fn mib(n: u64) -> Request {
    Request::new(ByteSize::mib(n))
}

/// Waits for something that another thread is about to do.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("never: {what}");
}

#[test]
fn a_request_beside_one_that_waits_waits_too_and_both_are_seen() {
    let pool = pool(64);
    let slow = Arc::new(ManualStream::new(1));
    for id in [0, 1].map(|_| pool.allocate_id(mib(32)).unwrap().0) {
        pool.release_on(id, &*slow).unwrap();
    }
    let (done, outcomes) = mpsc::channel();
    for i in 0..2 {
        let (pool, done) = (pool.clone(), done.clone());
        std::thread::spawn(move || {
            let outcome = pool.allocate_id(mib(32)).map(|_| ()).map_err(|error| error.to_string());
            done.send((i, outcome)).unwrap();
        });
    }
    until("both wait", || pool.stats().waiting == 2);
    assert_eq!(pool.stats().pending_bytes, ByteSize::mib(64), "what they wait for is there to be seen");
    assert!(outcomes.try_recv().is_err());
    slow.finish();
    for _ in 0..2 {
        let (i, outcome) = outcomes.recv_timeout(Duration::from_secs(20)).expect("the wait has ended");
        assert_eq!(outcome, Ok(()), "request {i}");
    }
    assert_eq!((pool.stats().waiting, pool.stats().pending_bytes), (0, ByteSize::ZERO));
}

#[test]
fn finished_memory_is_free_for_every_reader_at_once() {
    let pool = pool(64);
    let owner = pool.owner("m", Purpose::Activation);
    let stream = ManualStream::new(1);
    let id = pool.allocate_id(mib(58).owner(owner)).unwrap().0;
    pool.release_on(id, &stream).unwrap();
    let stats = pool.stats();
    assert_eq!((stats.used_bytes, stats.pending_bytes), (ByteSize::mib(58), ByteSize::mib(58)));
    assert_eq!((stats.live, stats.requested_bytes), (0, ByteSize::ZERO), "nobody holds it any more");
    assert_eq!(pool.owners()[0].granted_bytes, ByteSize::mib(58));
    stream.finish();
    assert_eq!((pool.used(), pool.available()), (ByteSize::ZERO, ByteSize::mib(64)));
    let id = pool.allocate_id(mib(58).owner(owner)).unwrap().0;
    pool.release_on(id, &stream).unwrap();
    stream.finish();
    assert_eq!(pool.used_fraction(), 0.0);
    let id = pool.allocate_id(mib(58).owner(owner)).unwrap().0;
    pool.release_on(id, &stream).unwrap();
    stream.finish();
    assert!(pool.owners().is_empty());
    let id = pool.allocate_id(mib(58).owner(owner)).unwrap().0;
    pool.release_on(id, &stream).unwrap();
    stream.finish();
    let stats = pool.stats();
    assert_eq!((stats.used_bytes, stats.pending_bytes), (ByteSize::ZERO, ByteSize::ZERO));
    assert_eq!(stats.largest_free_bytes, ByteSize::mib(64));
}

#[test]
fn a_stream_that_is_done_does_not_stand_behind_one_that_is_busy() {
    let pool = pool(64);
    let (busy, done) = (ManualStream::new(1), ManualStream::new(2));
    let (one, sixty) = (pool.allocate_id(mib(1)).unwrap().0, pool.allocate_id(mib(60)).unwrap().0);
    pool.release_on(one, &busy).unwrap();
    pool.release_on(sixty, &done).unwrap();
    done.finish();
    assert_eq!(pool.used(), ByteSize::mib(1));
    pool.allocate_id(mib(60)).expect("60 MiB are free, whatever the other stream does");
    busy.finish();
    assert_eq!(pool.used(), ByteSize::mib(60));
}

#[test]
fn nobody_waits_for_what_would_not_be_enough() {
    let pool = pool(64);
    let stream = ManualStream::new(1);
    let id = pool.allocate_id(mib(32)).unwrap().0;
    let _held = pool.allocate(mib(32)).unwrap();
    pool.release_on(id, &stream).unwrap();
    // More than there is, more than there would be, more than the owner may have: the stream never ends.
    assert!(matches!(pool.allocate(mib(65)), Err(PoolError::OutOfMemory(_))));
    assert!(matches!(pool.allocate(mib(33)), Err(PoolError::OutOfMemory(_))));
    let capped = pool.owner("capped", Purpose::Kv);
    pool.set_budget(capped, Some(ByteSize::mib(4))).unwrap();
    assert!(matches!(pool.allocate(mib(5).owner(capped)), Err(PoolError::OverBudget(_))));
    pool.set_model_budget("capped", Some(ByteSize::mib(3)));
    assert!(matches!(pool.allocate(mib(4).owner(capped)), Err(PoolError::OverBudget(_))));
    stream.finish();
}

#[test]
fn an_owner_waits_for_its_own_streams_when_that_brings_it_under_its_budget() {
    let pool = pool(64);
    let capped = pool.owner("capped", Purpose::Kv);
    pool.set_budget(capped, Some(ByteSize::mib(8))).unwrap();
    let stream = Arc::new(ManualStream::new(1));
    let id = pool.allocate_id(mib(6).owner(capped)).unwrap().0;
    pool.release_on(id, &*stream).unwrap();
    let waits = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.allocate_id(mib(4).owner(capped)).map(|_| ()))
    };
    until("it waits", || pool.stats().waiting == 1);
    stream.finish();
    waits.join().unwrap().expect("within the budget by now");
    assert_eq!(pool.owners()[0].granted_bytes, ByteSize::mib(4));
}

#[test]
fn a_plain_release_ends_a_wait_too() {
    let pool = pool(64);
    let stream = Arc::new(ManualStream::new(1));
    let (first, second) = (pool.allocate_id(mib(32)).unwrap().0, pool.allocate_id(mib(32)).unwrap().0);
    pool.release_on(first, &*stream).unwrap();
    let waits = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.allocate_id(mib(32)).map(|_| ()))
    };
    until("it waits", || pool.stats().waiting == 1);
    pool.release(second).unwrap();
    waits.join().unwrap().expect("the stream is busy still, and somebody else has given back enough");
    assert_eq!(pool.stats().pending_bytes, ByteSize::mib(32));
    stream.finish();
}

#[test]
fn a_streams_own_memory_is_split_and_joined() {
    let pool = pool(64);
    let (stream, other) = (ManualStream::new(1), ManualStream::new(2));
    let blocks: Vec<_> = (0..4).map(|_| pool.allocate_on(mib(8), &stream).unwrap()).collect();
    let first = blocks[0].1.base;
    for (id, _) in blocks {
        pool.release_on(id, &stream).unwrap();
    }
    // Joined: four of 8 MiB are one of 32.
    let (all, range) = pool.allocate_on(mib(32), &stream).unwrap();
    assert_eq!((range.base, pool.stats().pending_bytes), (first, ByteSize::ZERO));
    pool.release_on(all, &stream).unwrap();
    // Split, aligned, and for the stream alone.
    let (small, range) = pool.allocate_on(mib(3).alignment(1 << 20), &stream).unwrap();
    assert!(range.base >= first && range.end() <= first + (32 << 20));
    assert_eq!(pool.stats().pending_bytes, ByteSize::mib(29));
    let (elsewhere, range) = pool.allocate_on(mib(16), &other).unwrap();
    assert!(range.base >= first + (32 << 20), "another stream's work may not touch it yet");
    stream.finish();
    assert_eq!(pool.used(), ByteSize::mib(19));
    let handle = pool.allocate_handle_on(mib(1), &stream).unwrap();
    drop(handle);
    for id in [small, elsewhere] {
        pool.release(id).unwrap();
    }
    assert_eq!((pool.used(), pool.stats().live), (ByteSize::ZERO, 0));
    assert_eq!(pool.stats().largest_free_bytes, pool.capacity());
}

#[test]
fn streams_of_one_name_are_two() {
    let pool = pool(64);
    let (one, two) = (ManualStream::new(1), ManualStream::new(1));
    let (id, range) = pool.allocate_on(mib(8), &one).unwrap();
    pool.release_on(id, &one).unwrap();
    let (_, elsewhere) = pool.allocate_on(mib(8), &two).unwrap();
    assert_ne!(elsewhere.base, range.base, "the first one's work may still use it");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Allocate { stream: usize, size: u64, shift: u32, owner: bool },
    Release { pick: prop::sample::Index },
    ReleaseOn { pick: prop::sample::Index, stream: usize },
    Finish { stream: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..3, 1u64..60_000, 8u32..14, any::<bool>())
            .prop_map(|(stream, size, shift, owner)| Step::Allocate { stream, size, shift, owner }),
        1 => any::<prop::sample::Index>().prop_map(|pick| Step::Release { pick }),
        4 => (any::<prop::sample::Index>(), 0usize..3).prop_map(|(pick, stream)| Step::ReleaseOn { pick, stream }),
        1 => (0usize..3).prop_map(|stream| Step::Finish { stream }),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Whatever streams do: no memory is two's at once, but a stream's own; counts are what a plain list says; at the end
    /// everything is back in one piece.
    #[test]
    fn no_memory_is_two_streams_at_once(steps in steps()) {
        let device = SimulatedDevice::builder(ByteSize::mib(8)).granularity(ByteSize::new(4096)).build();
        let pool = DeviceMemoryPool::new(Arc::new(device), ByteSize::mib(8)).unwrap();
        let owner = pool.owner("m", Purpose::Kv);
        let streams: Vec<ManualStream> = (0..3).map(ManualStream::new).collect();
        let mut live = Vec::new();
        let mut busy: Vec<(usize, u64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Allocate { stream, size, shift, owner: owned } => {
                    let request = Request::new(ByteSize::new(size)).alignment(1 << shift);
                    let request = if owned { request.owner(owner) } else { request };
                    let Ok((id, range)) = pool.allocate_on(request, &streams[stream]) else { continue };
                    let (from, to) = (range.base, range.base + size.next_multiple_of(256));
                    prop_assert_eq!(from % (1 << shift), 0);
                    for &(_, other_from, other_to) in &live {
                        prop_assert!(to <= other_from || other_to <= from, "two live ones");
                    }
                    let mut left = Vec::new();
                    for &(of, busy_from, busy_to) in &busy {
                        if to <= busy_from || busy_to <= from {
                            left.push((of, busy_from, busy_to));
                            continue;
                        }
                        prop_assert_eq!(of, stream, "another stream's work may still use it");
                        left.extend((busy_from < from).then_some((of, busy_from, from)));
                        left.extend((to < busy_to).then_some((of, to, busy_to)));
                    }
                    busy = left;
                    live.push((id, from, to));
                }
                Step::Release { pick } if !live.is_empty() => {
                    let (id, ..) = live.swap_remove(pick.index(live.len()));
                    pool.release(id).unwrap();
                    prop_assert!(pool.release_on(id, &streams[0]).is_err());
                }
                Step::ReleaseOn { pick, stream } if !live.is_empty() => {
                    let (id, from, to) = live.swap_remove(pick.index(live.len()));
                    pool.release_on(id, &streams[stream]).unwrap();
                    prop_assert!(pool.release(id).is_err());
                    busy.push((stream, from, to));
                }
                Step::Finish { stream } => {
                    streams[stream].finish();
                    busy.retain(|&(of, ..)| of != stream);
                }
                _ => {}
            }
            let bytes = |ranges: &mut dyn Iterator<Item = (u64, u64)>| ranges.map(|(from, to)| to - from).sum::<u64>();
            let pending = bytes(&mut busy.iter().map(|&(_, from, to)| (from, to)));
            let held = bytes(&mut live.iter().map(|&(_, from, to)| (from, to)));
            let stats = pool.stats();
            prop_assert_eq!(stats.pending_bytes.bytes(), pending);
            prop_assert_eq!(stats.used_bytes.bytes(), pending + held);
            prop_assert_eq!(pool.used().bytes(), pending + held);
            prop_assert_eq!(pool.owners().iter().map(|owner| owner.granted_bytes.bytes()).sum::<u64>(), pending + held);
            prop_assert_eq!(stats.live, live.len() as u64);
        }
        for (id, ..) in live {
            pool.release(id).unwrap();
        }
        streams.iter().for_each(ManualStream::finish);
        let stats = pool.stats();
        prop_assert_eq!((stats.used_bytes, stats.requested_bytes, stats.live), Default::default());
        prop_assert_eq!(stats.largest_free_bytes, pool.capacity());
        pool.trim().unwrap();
        prop_assert_eq!(pool.committed(), ByteSize::ZERO);
    }
}
