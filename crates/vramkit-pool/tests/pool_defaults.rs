//! What a pool does when nobody says otherwise: the caching preset's bounds and times, the steps of its classes, ages in reports.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use std::sync::Arc;
use std::time::{Duration, Instant};

use vramkit_pool::ByteSize;
use vramkit_pool::device::SimulatedDevice;
use vramkit_pool::pool::{CachingConfig, CachingPool, DeviceMemoryPool, Request, SizeClasses};

fn caching() -> Arc<CachingPool> {
    let capacity = ByteSize::gib(8);
    CachingPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity, CachingConfig::default()).unwrap()
}

#[test]
fn two_gibibytes_may_idle_and_no_more() {
    let pool = caching();
    assert_eq!((pool.stats().hit_ratio(), pool.stats().used_ratio()), (None, 0.0));
    let blocks: Vec<_> = (0..5).map(|_| pool.allocate(ByteSize::mib(512)).unwrap()).collect();
    let class = blocks[0].range().size;
    assert_eq!(class, ByteSize::mib(512));
    assert_eq!((pool.stats().hit_ratio(), pool.stats().used_ratio()), (Some(0.0), 5.0 * 550.0 / 8192.0));
    drop(blocks);
    // Classes of 50 MiB above 100: 550 MiB each, so that three are within 2,048 MiB.
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.cached_bytes, stats.evicted), (3, ByteSize::mib(3 * 550), 2));
    assert_eq!(CachingConfig::default().max_cached, ByteSize::mib(2048));
}

#[test]
fn a_block_idles_for_five_minutes() {
    let pool = caching();
    let before = Instant::now();
    drop(pool.allocate(ByteSize::mib(5)).unwrap());
    let after = Instant::now();
    let next = pool.sweep(before + Duration::from_millis(299_999)).expect("it still idles");
    assert!(next >= before + Duration::from_secs(300) && next <= after + Duration::from_secs(300));
    assert_eq!((pool.stats().idle, pool.stats().expired), (1, 0));
    assert_eq!(pool.sweep(after + Duration::from_secs(300)), None);
    assert_eq!((pool.stats().idle, pool.stats().expired), (0, 1));
}

#[test]
fn the_steps_of_a_class_grow_with_the_size() {
    let rounded = |mib: f64| {
        let size = SizeClasses::Stepped.round((mib * f64::from(1 << 20)) as u64).unwrap();
        size as f64 / f64::from(1 << 20)
    };
    // By 1 MiB below 10, by 10 below 100, by 50 from 100 on, and what is on a step stays there.
    let table = [
        (1.5, 2.0),
        (9.5, 10.0),
        (10.0, 10.0),
        (10.1, 20.0),
        (15.0, 20.0),
        (95.0, 100.0),
        (100.0, 100.0),
        (100.1, 150.0),
        (150.0, 150.0),
        (151.0, 200.0),
    ];
    for (asked, granted) in table {
        assert_eq!(rounded(asked), granted, "{asked} MiB");
    }
    assert!((rounded(0.41) - 0.5).abs() < 0.001);
}

#[test]
fn a_report_of_what_is_live_says_how_old_it_is() {
    let capacity = ByteSize::mib(64);
    let pool = DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap();
    let _old = pool.allocate(Request::new(ByteSize::mib(2)).tag(pool.tag("old"))).unwrap();
    std::thread::sleep(Duration::from_millis(120));
    let _new = pool.allocate(Request::new(ByteSize::mib(1)).tag(pool.tag("new"))).unwrap();
    let report = pool.live();
    let age = |tag: &str| report.leaks.iter().find(|leak| leak.tag == tag).unwrap().age.unwrap();
    assert!(age("old") >= Duration::from_millis(100) && age("old") < Duration::from_secs(30));
    assert!(age("new") + Duration::from_millis(90) <= age("old"));
    assert!(report.to_string().contains(" s old"), "{report}");
}
