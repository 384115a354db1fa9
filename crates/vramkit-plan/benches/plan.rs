//! How long planning takes, by number of tensors and kind of workload. `cargo bench -p vramkit-plan --bench plan`.
//!
//! The yardstick in the same run is first fit in order of size with a look at every placed tensor, which is what
//! TFLite's planner does and what many engines copy: its cost grows with the square of the number of tensors.

#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use vramkit_plan::{LifetimeAnalyzer, MemoryPlanner, Model, Schedule, TensorLifetime};
use vramkit_units::{ByteSize, Step};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Layers one after the other, some read again much later, as in networks with skips.
fn network(n: u64) -> Vec<TensorLifetime> {
    let mut random = Random(n);
    let tensor = |i: u64| {
        let skip = if random.below(8) == 0 { 2 + random.below(40) } else { 2 };
        let size = ByteSize::new((1 + random.below(64)) << (10 + random.below(8)));
        TensorLifetime {
            alignment: 256,
            ..TensorLifetime::new("m", &i.to_string(), Step(i), Step((i + skip).min(n + 1)), size)
        }
    };
    (0..n).map(tensor).collect()
}

/// Lifetimes and sizes drawn at random, without the order of a network.
fn scattered(n: u64) -> Vec<TensorLifetime> {
    let mut random = Random(n);
    let tensor = |i: u64| {
        let start = random.below(n);
        let size = ByteSize::new(1 + random.below(1 << 20));
        let end = start + 1 + random.below(n / 10 + 1);
        TensorLifetime {
            alignment: 1,
            ..TensorLifetime::new("m", &i.to_string(), Step(start), Step(end), size)
        }
    };
    (0..n).map(tensor).collect()
}

fn models(tensors: Vec<TensorLifetime>) -> Vec<Model> {
    vec![Model { name: "m".into(), weights: ByteSize::ZERO, start: Step(0), tensors }]
}

/// First fit by size, each tensor against every placed one.
fn quadratic(tensors: &[TensorLifetime]) -> u64 {
    let mut order: Vec<&TensorLifetime> = tensors.iter().collect();
    order.sort_by_key(|tensor| std::cmp::Reverse(tensor.size));
    let mut placed: Vec<(u64, &TensorLifetime)> = Vec::new();
    let mut arena = 0;
    for tensor in order {
        let mut offset = 0u64;
        for &(low, other) in &placed {
            if other.overlaps(tensor) && low < offset + tensor.size.bytes() {
                offset = offset.max((low + other.size.bytes()).next_multiple_of(tensor.alignment));
            }
        }
        let at = placed.partition_point(|&(low, _)| low <= offset);
        placed.insert(at, (offset, tensor));
        arena = arena.max(offset + tensor.size.bytes());
    }
    arena
}

fn fastest(rounds: u32, mut run: impl FnMut()) -> Duration {
    let once = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..rounds).map(|_| once(&mut run)).min().unwrap_or_default()
}

fn main() {
    println!(
        "{:<12}{:>8}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}{:>10}",
        "workload", "tensors", "plan", "analyse", "list pairs", "1,000 shared", "check", "quadratic", "gap"
    );
    for (name, make) in [("network", network as fn(u64) -> Vec<TensorLifetime>), ("scattered", scattered)] {
        for n in [500, 1_000, 20_000, 60_000] {
            let models = models(make(n));
            let rounds = if n <= 1_000 { 50 } else { 3 };
            let planner = MemoryPlanner::new();
            let plan = planner.plan(&models, Schedule::Fixed).expect("the lifetimes are sound");
            let planning = fastest(rounds, || {
                std::hint::black_box(planner.plan(&models, Schedule::Fixed).expect("as before"));
            });
            let analysing = fastest(rounds, || {
                let analyzer = LifetimeAnalyzer::new(&plan.tensors, Schedule::Fixed);
                std::hint::black_box((analyzer.peak().expect("sound"), analyzer.shareable_pairs()));
            });
            // Of every pair: for small workloads.
            let listing = (n <= 1_000).then(|| {
                fastest(rounds, || {
                    let analyzer = LifetimeAnalyzer::new(&plan.tensors, Schedule::Fixed);
                    std::hint::black_box(analyzer.opportunities());
                })
            });
            let sharing = fastest(rounds, || drop(std::hint::black_box(plan.largest_shared(1000))));
            let checking = fastest(rounds, || assert!(plan.is_valid(&plan.tensors)));
            let scanning = fastest(if n <= 1_000 { rounds } else { 1 }, || {
                std::hint::black_box(quadratic(&models[0].tensors));
            });
            println!(
                "{name:<12}{n:>8}{:>12.1?}{:>12.1?}{:>12}{:>12.1?}{:>12.1?}{:>12.1?}{:>9.3}%",
                planning,
                analysing,
                listing.map_or_else(|| "–".to_owned(), |time| format!("{time:.1?}")),
                sharing,
                checking,
                scanning,
                plan.gap_ratio() * 100.0
            );
        }
    }
}
