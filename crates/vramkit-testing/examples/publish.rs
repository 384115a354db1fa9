//! A program that lets others see its pool: two models, sequences that come and go, and with `leak` as an argument a
//! buffer that nobody releases. Watch it with `vramkit top` or `vramkit serve`; ends by itself after a number of seconds
//! (the first argument, 60 without).
//!
//! `cargo run --release --example publish -- 600 leak`

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vramkit::ByteSize;
use vramkit::device::SimulatedDevice;
use vramkit::monitor::publish::Publisher;
use vramkit::pool::{DeviceMemoryPool, Purpose, Request};
use vramkit_testing::Random;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(60), |text| text.parse())?;
    let leaks = arguments.next().is_some_and(|word| word == "leak");
    let capacity = ByteSize::gib(80);
    let pool = Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity)?);
    let _publisher = Publisher::new(&[("serving", &pool)])?;

    let request = |model: &str, purpose, tag: &str, size| {
        Request::new(size).owner(pool.owner(model, purpose)).tag(pool.tag(tag))
    };
    let _weights = [
        pool.allocate(request("llama-3-8b", Purpose::Weights, "weights", ByteSize::gib(16)))?,
        pool.allocate(request("qwen-2.5-7b", Purpose::Weights, "weights", ByteSize::gib(14)))?,
    ];
    let (mut random, start) = (Random::new(1), Instant::now());
    let mut sequences = Vec::new();
    let mut lost = Vec::new();
    while start.elapsed() < Duration::from_secs(seconds) {
        let now = start.elapsed().as_secs_f64();
        sequences.retain(|(end, _)| *end > now);
        for model in ["llama-3-8b", "qwen-2.5-7b"] {
            let size = ByteSize::mib(64 + random.below(512));
            // One that finds no room is turned away.
            if let Ok(allocation) = pool.allocate(request(model, Purpose::Kv, "sequence", size)) {
                sequences.push((now + random.exponential(4.0), allocation));
            }
        }
        if leaks {
            lost.push(pool.allocate(request(
                "llama-3-8b",
                Purpose::Workspace,
                "logits",
                ByteSize::mib(24),
            ))?);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
