//! What a refusal says would be granted is granted, and what cannot be granted costs nothing.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use std::sync::Arc;

use proptest::prelude::*;
use vramkit_pool::device::SimulatedDevice;
use vramkit_pool::pool::{
    CachingConfig, CachingPool, DeviceMemoryPool, OutOfMemory, PoolConfig, PoolError, Request, SizeClasses,
};
use vramkit_units::ByteSize;

const CAPACITY: ByteSize = ByteSize::mib(120);

fn pool(classes: SizeClasses) -> DeviceMemoryPool {
    let config = PoolConfig { classes, ..PoolConfig::default() };
    DeviceMemoryPool::with_config(Arc::new(SimulatedDevice::new(CAPACITY)), CAPACITY, config).unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T, PoolError>) -> OutOfMemory {
    match result.unwrap_err() {
        PoolError::OutOfMemory(error) => *error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_size_class_that_is_too_large_is_named_with_what_would_be_granted() {
    let pool = pool(SizeClasses::Stepped);
    let error = refused(pool.allocate(Request::new(ByteSize::mib(101))));
    assert_eq!((error.rounded, error.most), (ByteSize::mib(150), ByteSize::mib(100)));
    let text = error.to_string();
    assert!(text.contains("its size class rounds it up to 150 MiB; ask for at most 100 MiB"), "{text}");
    assert!(pool.allocate(Request::new(ByteSize::mib(100))).is_ok());
}

#[test]
fn a_request_that_cannot_be_granted_gives_up_nothing_of_a_cache() {
    let device = Arc::new(SimulatedDevice::new(CAPACITY));
    let pool = CachingPool::new(device, CAPACITY, CachingConfig::default()).unwrap();
    let five = |pool: &Arc<CachingPool>| {
        drop((0..5).map(|_| pool.allocate(ByteSize::mib(20)).unwrap()).collect::<Vec<_>>())
    };
    five(&pool);
    let error = refused(pool.allocate(ByteSize::mib(101)));
    assert_eq!(
        (error.requested, error.rounded),
        (ByteSize::mib(101), ByteSize::mib(150)),
        "of what was asked for"
    );
    let text = error.to_string();
    assert!(text.contains("its size class rounds it up to 150 MiB; ask for at most 20 MiB"), "{text}");
    assert_eq!((pool.stats().idle, pool.stats().evicted, pool.stats().failures), (5, 0, 1));
    // What can be granted gives up as few as it needs, and fails nowhere on the way.
    let failures = pool.pool().stats().failures;
    let ninety = pool.allocate(ByteSize::mib(90)).unwrap();
    assert_eq!(pool.pool().stats().failures, failures);
    assert_eq!((pool.stats().failures, pool.stats().idle), (1, 1));
    // All that idles together is not enough either.
    drop(ninety);
    pool.clear();
    let mut live: Vec<_> = (0..6).map(|_| pool.allocate(ByteSize::mib(20)).unwrap()).collect();
    for at in [4, 2, 0] {
        live.remove(at);
    }
    assert_eq!(refused(pool.allocate(ByteSize::mib(61))).rounded, ByteSize::mib(70));
    assert_eq!((pool.stats().idle, pool.stats().failures), (3, 2));
    // In pieces, but where addresses cost nothing it is.
    assert!(pool.allocate(ByteSize::mib(40)).is_ok());
}

fn classes() -> impl Strategy<Value = SizeClasses> {
    prop_oneof![
        Just(SizeClasses::Exact),
        Just(SizeClasses::Stepped),
        Just(SizeClasses::PyTorch),
        (1u32..9).prop_map(|steps| SizeClasses::PowersOfTwo { steps }),
    ]
}

proptest! {
    #[test]
    fn what_a_refusal_says_would_be_granted_is(
        classes in classes(), sizes in prop::collection::vec(1u64..30 << 20, 0..20), kept in any::<u32>(), asked in 1u64..200 << 20,
        alignment in 0u32..14,
    ) {
        let pool = pool(classes);
        let granted = |size: &u64| Some(pool.allocate_id(Request::new(ByteSize::new(*size))).ok()?.0);
        let (live, gone): (Vec<_>, Vec<_>) =
            sizes.iter().filter_map(granted).enumerate().partition(|(at, _)| kept >> at & 1 == 1);
        gone.into_iter().for_each(|(_, id)| pool.release(id).unwrap());
        let of = |size: ByteSize| Request::new(size).alignment(256 << alignment);
        let would = pool.would_grant(&of(ByteSize::new(asked)), &[]);
        match pool.allocate(of(ByteSize::new(asked))) {
            Ok(_) => prop_assert!(would),
            Err(PoolError::OutOfMemory(error)) => {
                prop_assert!(!would, "{error}");
                prop_assert!(error.most < ByteSize::new(asked), "{error}");
                if !error.most.is_zero() {
                    prop_assert!(pool.would_grant(&of(error.most), &[]), "{error}");
                    prop_assert!(pool.allocate(of(error.most)).is_ok(), "{error}");
                }
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
        // With everything released it would be granted exactly if an empty pool grants it.
        let ids: Vec<_> = live.into_iter().map(|(_, id)| id).collect();
        let empty = pool.would_grant(&of(ByteSize::new(asked)), &ids);
        ids.into_iter().for_each(|id| pool.release(id).unwrap());
        prop_assert_eq!(empty, pool.allocate(of(ByteSize::new(asked))).is_ok());
    }
}
