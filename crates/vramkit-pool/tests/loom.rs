//! Interleavings of small programs, by a model checker. Run with
//! `LOOM_MAX_PREEMPTIONS=5 RUSTFLAGS="--cfg loom" cargo test -p vramkit-pool --release --test loom`: every interleaving with
//! up to five preemptions in a run; without that bound the larger programs take hours.
//!
//! With `--cfg words` the checker also sees the words of blocks that are read without a lock, in every order that a weakly
//! ordered processor may show: then it runs the tests of those alone (`words`), with up to two preemptions.
#![cfg(loom)]
#![cfg_attr(words, allow(dead_code, unused_imports))]

use std::sync::Arc;

use loom::thread;
use vramkit_pool::device::SimulatedDevice;
use vramkit_pool::pool::{DeviceMemoryPool, Request};
use vramkit_units::ByteSize;

const GRANULE: ByteSize = ByteSize::new(1024);

fn pool(granules: u64) -> Arc<DeviceMemoryPool> {
    let capacity = ByteSize::new(granules * GRANULE.bytes());
    let device = SimulatedDevice::builder(capacity).granularity(GRANULE).build();
    Arc::new(DeviceMemoryPool::new(Arc::new(device), capacity).unwrap())
}

/// Takes memory, uses all of it, gives it back. The device refuses access to what is not committed.
fn use_memory(pool: &DeviceMemoryPool, bytes: u64, pattern: u32) {
    if let Ok(mut allocation) = pool.allocate(Request::new(ByteSize::new(bytes))) {
        allocation.fill(pattern).expect("granted memory is committed");
        assert_eq!(allocation.find_mismatch(pattern, None), Ok(None), "granted memory is nobody else's");
    }
}

#[test]
#[cfg(not(words))]
fn two_threads_share_a_granule() {
    loom::model(|| {
        let pool = pool(2);
        let other = pool.clone();
        let thread = thread::spawn(move || use_memory(&other, 768, 1));
        use_memory(&pool, 512, 2);
        thread.join().unwrap();
        assert_eq!(pool.used(), ByteSize::ZERO);
        pool.trim().unwrap();
        assert_eq!(pool.committed(), ByteSize::ZERO);
    });
}

#[test]
#[cfg(not(words))]
fn trimming_never_takes_what_is_being_granted() {
    loom::model(|| {
        let pool = pool(2);
        drop(pool.allocate(Request::new(ByteSize::new(2048))).unwrap());
        let other = pool.clone();
        let thread = thread::spawn(move || {
            other.trim().unwrap();
        });
        use_memory(&pool, 1280, 3);
        thread.join().unwrap();
        pool.trim().unwrap();
        assert_eq!(pool.committed(), ByteSize::ZERO);
    });
}

#[test]
#[cfg(not(words))]
fn a_failed_commit_is_undone_without_harm_to_a_neighbour() {
    loom::model(|| {
        // Memory for two granules, addresses for four: one of the two requests may fail, none may be hurt.
        let device = SimulatedDevice::builder(ByteSize::new(2 * 1024)).granularity(GRANULE).build();
        let pool = Arc::new(DeviceMemoryPool::new(Arc::new(device), ByteSize::new(4 * 1024)).unwrap());
        let other = pool.clone();
        let thread = thread::spawn(move || use_memory(&other, 512, 4));
        use_memory(&pool, 2304, 5);
        thread.join().unwrap();
        assert_eq!(pool.used(), ByteSize::ZERO);
    });
}

/// A pool whose threads have met at the book's lock, which is when they begin to keep blocks.
fn pool_with_thread_caches(granules: u64) -> Arc<DeviceMemoryPool> {
    let pool = pool(granules);
    pool.use_thread_caches();
    pool
}

#[test]
#[cfg(not(words))]
fn a_block_that_a_thread_keeps_is_nobody_elses() {
    loom::model(|| {
        let pool = pool_with_thread_caches(2);
        let other = pool.clone();
        let thread = thread::spawn(move || {
            use_memory(&other, 512, 6);
            use_memory(&other, 500, 7);
        });
        use_memory(&pool, 512, 8);
        assert!(pool.used() <= pool.capacity());
        thread.join().unwrap();
        assert_eq!((pool.used(), pool.stats().requested_bytes), (ByteSize::ZERO, ByteSize::ZERO));
    });
}

#[test]
#[cfg(not(words))]
fn what_a_thread_keeps_is_there_for_another_that_needs_it() {
    loom::model(|| {
        let pool = pool_with_thread_caches(2);
        let other = pool.clone();
        let thread = thread::spawn(move || use_memory(&other, 768, 9));
        thread.join().unwrap();
        // All of the pool: only there when what the other thread kept comes back.
        let whole = pool.allocate(Request::new(ByteSize::new(2048))).expect("everything is free");
        assert_eq!(pool.used(), ByteSize::new(2048));
        drop(whole);
        assert_eq!(pool.stats().largest_free_bytes, ByteSize::new(2048));
    });
}

#[test]
#[cfg(not(words))]
fn of_two_releases_of_an_id_one_wins() {
    loom::model(|| {
        let pool = pool_with_thread_caches(2);
        let id = pool.allocate(Request::new(ByteSize::new(512))).unwrap().into_id();
        let other = pool.clone();
        let thread = thread::spawn(move || other.release(id).is_ok());
        let here = pool.release(id).is_ok();
        assert!(here ^ thread.join().unwrap());
        assert_eq!((pool.stats().live, pool.used()), (0, ByteSize::ZERO));
    });
}

#[test]
#[cfg(not(words))]
fn threads_may_begin_to_keep_blocks_while_others_release() {
    loom::model(|| {
        let pool = pool(2);
        let (first, second) = (
            pool.allocate(Request::new(ByteSize::new(256))).unwrap().into_id(),
            pool.allocate(Request::new(ByteSize::new(256))).unwrap().into_id(),
        );
        let other = pool.clone();
        let thread = thread::spawn(move || other.release(first).is_ok());
        pool.release(second).unwrap();
        let here = pool.release(first).is_ok();
        assert!(here ^ thread.join().unwrap());
        assert_eq!((pool.stats().live, pool.used()), (0, ByteSize::ZERO));
    });
}

/// A block goes from one owner and size to another while somebody looks who holds no lock.
#[cfg(words)]
mod words {
    use super::*;
    use vramkit_pool::pool::{OwnerId, Purpose};

    fn pool_of_two_owners(thread_caches: bool) -> (Arc<DeviceMemoryPool>, [OwnerId; 2]) {
        let pool = if thread_caches { pool_with_thread_caches(2) } else { pool(2) };
        let owners = ["a", "b"].map(|name| pool.owner(name, Purpose::Kv));
        (pool, owners)
    }

    /// What each owner holds is of its own size: 512 bytes asked for by the one, 700 (768 granted) by the other.
    fn look(pool: &DeviceMemoryPool) {
        for entry in pool.ledger() {
            let each = if entry.model == "a" { 512 } else { 768 };
            assert_eq!(entry.granted_bytes.bytes(), each * entry.allocations, "{}", entry.model);
        }
    }

    #[test]
    fn the_ledger_sees_whole_uses_of_a_block() {
        loom::model(|| {
            let (pool, [a, b]) = pool_of_two_owners(false);
            let first = pool.allocate_id(Request::new(ByteSize::new(512)).owner(a)).unwrap().0;
            let other = pool.clone();
            let thread = thread::spawn(move || {
                other.release(first).unwrap();
                other.allocate_id(Request::new(ByteSize::new(700)).owner(b)).unwrap();
            });
            look(&pool);
            thread.join().unwrap();
            look(&pool);
        });
    }

    /// The next user of a block that a thread keeps labels it without the book's lock.
    #[test]
    fn an_id_leads_to_its_own_memory_or_to_none_where_a_thread_keeps_it() {
        loom::model(|| {
            let (pool, [a, _]) = pool_of_two_owners(true);
            let (id, range) = pool.allocate_id(Request::new(ByteSize::new(512)).owner(a)).unwrap();
            let other = pool.clone();
            let thread = thread::spawn(move || {
                other.release(id).unwrap();
                other.allocate_id(Request::new(ByteSize::new(400)).owner(a)).unwrap();
            });
            if let Ok(found) = pool.resolve(id) {
                assert_eq!(found, range, "of another use");
            }
            look(&pool);
            thread.join().unwrap();
        });
    }

    #[test]
    fn an_id_leads_to_its_own_memory_or_to_none() {
        loom::model(|| {
            let (pool, [a, b]) = pool_of_two_owners(false);
            let (id, range) = pool.allocate_id(Request::new(ByteSize::new(500)).owner(a)).unwrap();
            let other = pool.clone();
            let thread = thread::spawn(move || {
                other.release(id).unwrap();
                other.allocate_id(Request::new(ByteSize::new(700)).owner(b)).unwrap();
            });
            if let Ok(found) = pool.resolve(id) {
                assert_eq!(found, range, "of another use");
            }
            thread.join().unwrap();
            assert!(pool.resolve(id).is_err());
        });
    }
}

/// What a stream has released and finished: freed once, whoever looks, and granted to one who asks.
#[test]
#[cfg(not(words))]
fn finished_memory_is_freed_once() {
    use vramkit_pool::device::ManualStream;
    loom::model(|| {
        let pool = pool(2);
        let stream = Arc::new(ManualStream::new(1));
        let id = pool.allocate_id(Request::new(ByteSize::new(2048))).unwrap().0;
        pool.release_on(id, &*stream).unwrap();
        let (other, own) = (pool.clone(), stream.clone());
        // One finishes and looks, one asks for a part on the stream itself.
        let thread = thread::spawn(move || {
            own.finish();
            other.used()
        });
        let (part, _) = pool.allocate_on(Request::new(ByteSize::new(1024)), &*stream).unwrap();
        let seen = thread.join().unwrap();
        assert!([0, 1024, 2048].contains(&seen.bytes()), "{seen}");
        stream.finish();
        assert_eq!(pool.used(), ByteSize::new(1024));
        pool.release(part).unwrap();
        let stats = pool.stats();
        assert_eq!((stats.used_bytes, stats.pending_bytes, stats.live), Default::default());
        assert_eq!(stats.largest_free_bytes, pool.capacity());
    });
}

/// One asks for memory that a stream still uses, another one when the stream is done: both are served, whoever finds it.
#[test]
#[cfg(not(words))]
fn who_waits_for_a_stream_and_who_comes_later_are_both_served() {
    use vramkit_pool::device::ManualStream;
    loom::model(|| {
        let pool = pool(2);
        let stream = Arc::new(ManualStream::new(1));
        for id in [0, 1].map(|_| pool.allocate_id(Request::new(ByteSize::new(1024))).unwrap().0) {
            pool.release_on(id, &*stream).unwrap();
        }
        let other = pool.clone();
        let waits = thread::spawn(move || other.allocate_id(Request::new(ByteSize::new(1024))).is_ok());
        stream.finish();
        pool.allocate_id(Request::new(ByteSize::new(1024))).expect("the stream is done with both");
        assert!(waits.join().unwrap(), "refused while it would have been enough to wait");
        assert_eq!((pool.used(), pool.stats().waiting), (pool.capacity(), 0));
    });
}
