//! Where parts of the pool meet: addresses that run out, devices that refuse half-way, events that misbehave, owners of
//! nothing yet, models of many names.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

mod odd_device;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use odd_device::OddDevice;
use vramkit_pool::device::{DeviceError, ManualStream, SimulatedDevice, Stream, StreamEvent, StreamId};
use vramkit_pool::pool::{DeviceMemoryPool, PoolConfig, PoolError, Purpose, Request, SizeClasses};
use vramkit_units::ByteSize;

fn mib(n: u64) -> Request {
    Request::new(ByteSize::mib(n))
}

fn pool_with(mib: u64, virtual_memory: bool, config: PoolConfig) -> Arc<DeviceMemoryPool> {
    let capacity = ByteSize::mib(mib);
    let device = SimulatedDevice::builder(capacity).virtual_memory(virtual_memory).build();
    Arc::new(DeviceMemoryPool::with_config(Arc::new(device), capacity, config).unwrap())
}

#[test]
fn movable_memory_keeps_its_alignment() {
    let pool = pool_with(64, true, PoolConfig::default());
    let _low = pool.allocate(Request::new(ByteSize::new(300))).unwrap();
    let hole = pool.allocate(Request::new(ByteSize::new(300))).unwrap();
    let aligned = pool.allocate_movable(Request::new(ByteSize::new(1000)).alignment(4096)).unwrap();
    let plain = pool.allocate_movable(Request::new(ByteSize::new(1000))).unwrap();
    drop(hole);
    pool.compact().unwrap();
    assert_eq!(aligned.pin().range().base % 4096, 0);
    drop((aligned, plain));
    assert_eq!(pool.used(), ByteSize::new(512));
}

#[test]
fn an_owner_of_memory_that_has_yet_to_grow_is_not_forgotten() {
    let pool = pool_with(64, true, PoolConfig::default());
    let owner = pool.owner("a", Purpose::Kv);
    let mut grows = pool.reserve(Request::new(ByteSize::ZERO).owner(owner), ByteSize::mib(16)).unwrap();
    assert!(matches!(pool.forget_owner(owner), Err(PoolError::OwnerHolds { .. })));
    grows.resize(ByteSize::mib(4)).unwrap();
    assert_eq!(pool.owners()[0].model, "a");
    drop(grows);
    pool.forget_owner(owner).unwrap();
    assert_eq!((pool.used(), pool.stats().live), (ByteSize::ZERO, 0));
}

#[test]
fn addresses_and_finished_memory_go_together() {
    for (virtual_memory, addresses) in [(false, None), (true, Some(ByteSize::mib(64)))] {
        let config = PoolConfig { addresses, patience: Duration::from_millis(50), ..PoolConfig::default() };
        let pool = pool_with(64, virtual_memory, config);
        let stream = ManualStream::new(1);
        let id = pool.allocate_id(mib(64)).unwrap().0;
        pool.release_on(id, &stream).unwrap();
        stream.finish();
        drop(
            pool.reserve(Request::new(ByteSize::ZERO), ByteSize::mib(32)).expect("what is finished is free"),
        );
        // With no addresses left, what is free in pieces is in pieces, and the numbers say so.
        let mut blocks: Vec<_> = (0..32).map(|_| pool.allocate(mib(2)).ok()).collect();
        blocks.iter_mut().step_by(2).for_each(|block| *block = None);
        assert_eq!(pool.stats().largest_free_bytes, ByteSize::mib(2));
        let Err(PoolError::OutOfMemory(error)) = pool.allocate(mib(4)) else { panic!("in pieces of 2 MiB") };
        assert!(error.to_string().contains("ask for at most 2 MiB"), "{error}");
        let _two = pool.allocate(mib(2)).unwrap();
    }
}

#[test]
fn granules_below_a_unit_are_counted_in_units() {
    let device = SimulatedDevice::builder(ByteSize::new(8192)).granularity(ByteSize::new(16)).build();
    let pool = DeviceMemoryPool::new(Arc::new(device), ByteSize::new(5000)).unwrap();
    assert_eq!(pool.stats().largest_free_bytes, pool.capacity());
    let all = pool.allocate(Request::new(pool.capacity())).unwrap();
    assert_eq!(pool.stats().largest_free_bytes, ByteSize::ZERO);
    drop(all);
    let mut blocks: Vec<_> = (0..20).map(|_| pool.allocate(Request::new(ByteSize::new(256))).ok()).collect();
    blocks.iter_mut().step_by(2).for_each(|block| *block = None);
    let _large = pool.allocate(Request::new(ByteSize::new(2304))).expect("ten free pieces of 256 bytes");
}

#[test]
fn a_size_class_that_is_too_large_says_so() {
    let pool = pool_with(64, true, PoolConfig { classes: SizeClasses::Stepped, ..PoolConfig::default() });
    let error = pool.allocate(mib(64)).unwrap_err().to_string();
    assert!(error.contains("its size class rounds it up to 70 MiB"), "{error}");
}

#[test]
fn a_model_budget_is_of_the_model_on_a_stream_too() {
    let pool = pool_with(64, true, PoolConfig::default());
    let (kv, weights) = (pool.owner("m", Purpose::Kv), pool.owner("m", Purpose::Weights));
    pool.set_model_budget("m", Some(ByteSize::mib(16)));
    let stream = ManualStream::new(1);
    let (id, range) = pool.allocate_on(mib(16).owner(kv), &stream).unwrap();
    pool.release_on(id, &stream).unwrap();
    let (_, same) =
        pool.allocate_on(mib(16).owner(weights), &stream).expect("the model holds as much as before");
    assert_eq!(same, range);
}

/// A stream with one event that does as it is told.
#[derive(Debug)]
struct Odd(Arc<OddEvent>, ManualStream);

#[derive(Debug)]
struct OddEvent {
    does: Does,
    over: AtomicBool,
}

#[derive(Debug)]
enum Does {
    Fail,
    Panic,
    Ask(Weak<DeviceMemoryPool>),
}

impl Odd {
    fn new(does: Does) -> Self {
        Self(Arc::new(OddEvent { does, over: AtomicBool::new(false) }), ManualStream::new(9))
    }
}

impl Stream for Odd {
    fn id(&self) -> StreamId {
        self.1.id()
    }

    fn record(&self) -> Result<Arc<dyn StreamEvent>, DeviceError> {
        Ok(self.0.clone())
    }
}

impl StreamEvent for OddEvent {
    fn is_done(&self) -> Result<bool, DeviceError> {
        if self.over.load(Ordering::Relaxed) {
            return Ok(true);
        }
        match &self.does {
            Does::Panic => panic!("on purpose"),
            Does::Ask(pool) => {
                let pool = pool.upgrade().unwrap();
                assert!(pool.used() <= pool.capacity() && pool.stats().live < 9);
                Ok(false)
            }
            Does::Fail => {
                let (device, operation, reason) = ("sim".to_owned(), "asking", "on purpose".to_owned());
                Err(DeviceError::Driver { device, operation, reason })
            }
        }
    }

    fn wait(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

#[test]
fn an_event_that_cannot_be_asked_stands_in_nobodys_way() {
    for does in [Does::Fail, Does::Panic] {
        let pool = pool_with(64, true, PoolConfig::default());
        let (bad, good) = (Odd::new(does), Arc::new(ManualStream::new(1)));
        let (small, large) = (pool.allocate_id(mib(2)).unwrap().0, pool.allocate_id(mib(62)).unwrap().0);
        pool.release_on(small, &bad).unwrap();
        pool.release_on(large, &*good).unwrap();
        let waits = {
            let pool = pool.clone();
            std::thread::spawn(move || pool.allocate_id(mib(62)).map(|(id, _)| id))
        };
        while pool.stats().waiting == 0 && !waits.is_finished() {
            std::thread::yield_now();
        }
        good.finish();
        let id = waits.join().unwrap().expect("the good stream gives enough");
        pool.release(id).unwrap();
        // What it holds is not waited for, reclaimers are asked, and the error at last is the stream's.
        let cache = Arc::new(std::sync::Mutex::new(vec![pool.allocate(mib(60)).unwrap()]));
        let guard = pool.add_reclaimer({
            let cache = cache.clone();
            move |_| cache.lock().unwrap().clear()
        });
        drop(pool.allocate(mib(60)).expect("a reclaimer gives enough"));
        drop(guard);
        let failures = pool.stats().failures;
        assert!(matches!(pool.allocate(mib(63)), Err(PoolError::Device(_))));
        assert_eq!(pool.stats().failures, failures + 1);
        assert!(matches!(pool.allocate(mib(65)), Err(PoolError::OutOfMemory(_))), "no stream holds so much");
        bad.0.over.store(true, Ordering::Relaxed);
        let _all = pool.allocate(mib(64)).expect("and in the end it can be asked");
    }
}

#[test]
fn an_event_may_ask_the_pool() {
    let pool = pool_with(64, true, PoolConfig::default());
    let stream = Odd::new(Does::Ask(Arc::downgrade(&pool)));
    let id = pool.allocate_id(mib(2)).unwrap().0;
    pool.release_on(id, &stream).unwrap();
    assert_eq!(pool.used(), ByteSize::mib(2));
    stream.0.over.store(true, Ordering::Relaxed);
    assert_eq!(pool.used(), ByteSize::ZERO);
}

#[test]
fn memory_that_a_device_does_not_take_back_is_no_ones_loss() {
    let (device, wrongs) = OddDevice::new(ByteSize::mib(64));
    let pool = DeviceMemoryPool::new(device, ByteSize::mib(64)).unwrap();
    let mut grows = pool.reserve(mib(16), ByteSize::mib(32)).unwrap();
    grows.fill(7).unwrap();
    wrongs.keeps.store(true, Ordering::Relaxed);
    grows.resize(ByteSize::mib(4)).expect("it is smaller, whatever the device does");
    assert_eq!(
        (grows.requested(), grows.granted(), pool.used()),
        (ByteSize::mib(4), ByteSize::mib(4), ByteSize::mib(4))
    );
    for size in [8, 16, 2, 30] {
        grows.resize(ByteSize::mib(size)).unwrap();
        assert_eq!(pool.used(), ByteSize::mib(size));
    }
    assert!(grows.view::<u8>().is_err(), "on a simulated device there is nothing to see");
    let mut first = vec![0; 2 << 20];
    grows.read(0, &mut first).unwrap();
    assert!(first.chunks(4).all(|word| word == 7u32.to_le_bytes()));
    wrongs.keeps.store(false, Ordering::Relaxed);
    drop(grows);
    pool.trim().unwrap();
    assert_eq!((pool.used(), pool.committed()), (ByteSize::ZERO, ByteSize::ZERO));
}
