//! What a pool does when nobody says otherwise: the caching preset's bounds and times, the steps of its classes, ages in reports.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use std::sync::Arc;
use std::time::{Duration, Instant};

use vramkit_pool::ByteSize;
use vramkit_pool::device::{Device, SimulatedDevice};
use vramkit_pool::pool::{
    CachingConfig, CachingPool, DeviceMemoryPool, Request, SizeClasses, give_back_idle,
};

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
fn what_idles_goes_back_when_it_is_cleared_and_at_the_end() {
    let device = Arc::new(SimulatedDevice::builder(ByteSize::mib(64)).id("sim:clear").build());
    let pool = CachingPool::new(device.clone(), ByteSize::mib(64), CachingConfig::default()).unwrap();
    let idle = |pool: &Arc<CachingPool>| drop(pool.allocate(ByteSize::mib(8)).unwrap());
    idle(&pool);
    assert_eq!(device.memory().committed_bytes.value, Some(ByteSize::mib(8)));
    pool.clear();
    assert_eq!((pool.stats().idle, device.memory().committed_bytes.value), (0, Some(ByteSize::ZERO)));
    idle(&pool);
    assert_eq!(give_back_idle("sim:clear"), ByteSize::mib(8), "by the cache, and nothing twice");
    idle(&pool);
    drop(pool);
    assert_eq!(device.memory().committed_bytes.value, Some(ByteSize::ZERO));
}

#[test]
fn of_two_blocks_of_a_class_the_younger_is_used_after_the_older_went() {
    let config = CachingConfig { max_cached: ByteSize::mib(10), ..CachingConfig::default() };
    let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
    let pool = CachingPool::new(device, ByteSize::mib(64), config).unwrap();
    let (older, younger) =
        (pool.allocate(ByteSize::mib(6)).unwrap(), pool.allocate(ByteSize::mib(6)).unwrap());
    let place = younger.range().base;
    drop(older);
    drop(younger);
    assert_eq!((pool.stats().idle, pool.stats().evicted), (1, 1), "two are more than may idle");
    assert_eq!(pool.allocate(ByteSize::mib(6)).unwrap().range().base, place);
    assert_eq!(pool.stats().hits, 1);
}

#[test]
fn idle_blocks_make_way_where_the_device_has_less_than_the_pool_may_take() {
    let device = Arc::new(SimulatedDevice::new(ByteSize::mib(40)));
    let pool = CachingPool::new(device, ByteSize::mib(100), CachingConfig::default()).unwrap();
    drop(pool.allocate(ByteSize::mib(30)).unwrap());
    let granted = pool.allocate(ByteSize::mib(20)).expect("what idles is what the device can have back");
    assert_eq!((pool.stats().idle, pool.stats().evicted, pool.stats().failures), (0, 1, 0));
    drop(granted);
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
