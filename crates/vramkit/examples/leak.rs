//! A server that leaks on purpose: each request keeps a block of keys and values that nobody gives back. Its monitor says so while
//! there is still time, once. `cargo run --release --example leak`
#![allow(clippy::print_stdout)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vramkit::ByteSize;
use vramkit::device::HostDevice;
use vramkit::monitor::VramMonitor;
use vramkit::pool::{DeviceMemoryPool, Purpose, Request};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (capacity, started) = (ByteSize::mib(384), Instant::now());
    let pool = Arc::new(DeviceMemoryPool::new(Arc::new(HostDevice::new(capacity)), capacity)?);
    let (kv, monitor) = (pool.owner("llama", Purpose::Kv), VramMonitor::new(pool.clone()));
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    monitor.on_event(move |event| {
        let (kind, text) = event.describe();
        println!("{:>5.1} s  {kind}: {text}", started.elapsed().as_secs_f64());
        heard.lock().expect("no callback panics").push(kind);
    });
    let _weights =
        pool.allocate(Request::new(ByteSize::mib(128)).owner(pool.owner("llama", Purpose::Weights)))?;
    let _sampling = monitor.start(Duration::from_millis(100))?;
    let mut leaked = Vec::new();
    while let Ok(block) = pool.allocate(Request::new(ByteSize::mib(1)).owner(kv)) {
        leaked.push(block);
        monitor.increment_generation_count();
        monitor.detect_memory_leak();
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{:>5.1} s  out of memory after {} requests", started.elapsed().as_secs_f64(), leaked.len());
    let told = told.lock().expect("no callback panics");
    let times = |kind: &str| told.iter().filter(|told| *told == kind).count();
    assert_eq!((times("generations grew"), times("full soon")), (1, 1), "told in time, and once");
    Ok(())
}
