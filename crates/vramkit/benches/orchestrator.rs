//! Latency of what an orchestrator does: plan, bind and release 500 tensors, and plan again.
//! `cargo bench -p vramkit --bench orchestrator`.
//!
//! The yardstick in the same run is what programs without a plan do on the same pool: an allocation and a release
//! for each tensor.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use vramkit::ByteSize;
use vramkit::device::SimulatedDevice;
use vramkit::orchestrator::MemoryOrchestrator;
use vramkit::plan::{Model, Schedule, TensorLifetime};
use vramkit::pool::{DeviceMemoryPool, Request};
use vramkit::units::Step;

const TENSORS: u64 = 500;
const ROUNDS: u32 = 50;

fn fastest(mut run: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| run()).min().unwrap_or_default()
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn main() {
    let capacity = ByteSize::gib(80);
    let pool = Arc::new(
        DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).expect("a fresh device"),
    );
    let orchestrator = MemoryOrchestrator::new(pool.clone());
    let size = |i: u64| ByteSize::new((1 + i * 7919 % 64) << (10 + i % 8));
    let tensors = (0..TENSORS).map(|i| TensorLifetime {
        alignment: 256,
        ..TensorLifetime::new("m", &i.to_string(), Step(i), Step(i + 2 + i % 5), size(i))
    });
    let model =
        Model { name: "m".into(), weights: ByteSize::mib(500), start: Step(0), tensors: tensors.collect() };
    let models = [model];
    let plan = orchestrator.plan(&models, Schedule::Fixed).expect("the lifetimes are sound");
    let planning =
        fastest(|| timed(|| drop(orchestrator.plan(&models, Schedule::Fixed).expect("as before"))));
    let binding = fastest(|| {
        let time = timed(|| drop(orchestrator.bind("m", &plan).expect("the capacity is ample")));
        orchestrator.release("m");
        time
    });
    let releasing = fastest(|| {
        orchestrator.bind("m", &plan).expect("the capacity is ample");
        timed(|| {
            orchestrator.release("m");
        })
    });
    let separately = fastest(|| {
        timed(|| {
            let all: Vec<_> =
                (0..TENSORS).map(|i| pool.allocate(Request::new(size(i))).expect("ample")).collect();
            drop(all);
        })
    });
    println!("{TENSORS} tensors on the simulated device, fastest of {ROUNDS}:");
    for (what, time) in [
        ("plan", planning),
        ("bind", binding),
        ("release", releasing),
        ("bind + release", binding + releasing),
        ("500 x allocate + release", separately),
    ] {
        println!("  {what:<26}{time:>12.1?}");
    }
}
