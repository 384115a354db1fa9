//! How long planning takes on the lifetimes of real networks: `cargo bench -p vramkit-models`.

#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::{Duration, Instant};

use vramkit_models::{ReadOptions, read};
use vramkit_plan::{MemoryPlanner, Schedule};

fn main() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/vision.toml");
    let demand = read(&path, &ReadOptions::default()).expect("the example is sound");
    let mut sets: Vec<_> = demand.models.iter().map(|model| vec![model.clone()]).collect();
    sets.push(demand.models.clone());
    println!("{:<36}{:>8}{:>12}  optimal", "networks", "tensors", "plan");
    for models in sets {
        let planner = MemoryPlanner::thorough(Duration::from_secs(1));
        let plan = planner.plan(&models, Schedule::Sequential).expect("the lifetimes are sound");
        let once = || {
            let start = Instant::now();
            std::hint::black_box(planner.plan(&models, Schedule::Sequential).expect("as before"));
            start.elapsed()
        };
        let fastest = (0..200).map(|_| once()).min().unwrap_or_default();
        let names: Vec<&str> = models.iter().map(|model| &*model.name).collect();
        let names = names.join(", ");
        println!("{names:<36}{:>8}{fastest:>12.1?}  {}", plan.tensors.len(), plan.proven_optimal);
    }
}
