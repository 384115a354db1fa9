//! What watching costs a program: `cargo bench -p vramkit --bench monitor`. The driver is the stand-in: its calls cost what
//! calls through a table of pointers do, not what a card's do.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use vramkit::ByteSize;
use vramkit::device::{CudaDevice, SimulatedDevice};
use vramkit::monitor::{CudaSource, Limits, MemorySource, MonitorConfig, VramMonitor};
use vramkit::pool::{DeviceMemoryPool, Purpose, Request};

/// The fastest of several rounds, in nanoseconds a call.
fn time(name: &str, bound: &str, calls: u32, mut call: impl FnMut()) {
    let round = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    let best = (0..7).map(|_| round(&mut call)).fold(f64::INFINITY, f64::min);
    println!("{name:<56}{best:>12.1} ns   (required: {bound})");
}

fn monitor(source: Arc<dyn MemorySource>) -> VramMonitor {
    let limits = Limits::new(ByteSize::mib(700), ByteSize::mib(900)).expect("in order");
    VramMonitor::with_config(source, MonitorConfig { limits: Some(limits), ..MonitorConfig::default() })
        .expect("the preset's ladder")
}

fn main() {
    let capacity = ByteSize::gib(1);
    let pool = Arc::new(
        DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).expect("a fresh device"),
    );
    let owners = ["a", "b", "c"].map(|model| pool.owner(model, Purpose::Kv));
    let _held: Vec<_> = (0..600)
        .map(|i| {
            pool.allocate(Request::new(ByteSize::mib(1)).owner(owners[i % 3])).expect("the capacity is ample")
        })
        .collect();
    let of_pool = monitor(pool.clone());
    time("check_limits, from a pool's counters", "< 200 ns", 1_000_000, || {
        assert!(of_pool.check_limits("decode").is_ok());
    });
    time("1,000 x (check_limits + count a generation)", "< 1 ms", 20, || {
        for _ in 0..1000 {
            assert!(of_pool.check_limits("decode").is_ok());
            of_pool.increment_generation_count();
        }
    });
    time("log_snapshot with an event, of a pool", "< 50 us", 2000, || {
        of_pool.log_snapshot("decode", Some(1), &["a", "b"]);
    });
    time("ledger of 600 live allocations", "none", 2000, || assert_eq!(pool.ledger().len(), 3));

    let folder = std::env::current_exe().expect("a program has a path");
    let library = folder.parent().unwrap_or(Path::new(".")).join("libvramkit_standin.so");
    match CudaDevice::with_driver(&library, 0) {
        Ok(card) => {
            let of_card = monitor(Arc::new(CudaSource(card)));
            time("check_limits, with a reading of the driver", "< 20 us", 20_000, || {
                assert!(of_card.check_limits("decode").is_ok());
            });
            time("log_snapshot with an event, of a card", "< 50 us", 2000, || {
                of_card.log_snapshot("decode", Some(1), &["a", "b"]);
            });
        }
        Err(error) => println!("no stand-in driver: {error}"),
    }
}
