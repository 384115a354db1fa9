//! Helpers for tests and benchmarks of programs that use a pool or an orchestrator.
//!
//! In: a device, a seed, an orchestrator. Out: a panic that says what a device does wrong ([`check_device`],
//! [`check_pool`]); series, ledgers and programs with and without leaks, all synthetic ([`series`](fn@series),
//! [`Program`]) or as a machine shows them ([`realistic`]); a pool that is full ([`fill_pool_to_fraction`]), or whose device fails when it is told to ([`faulty`](fn@faulty));
//! files of models ([`gguf`]); a machine that is not here ([`system`]). Never here: anything that a program needs but to test.
//!
//! ```
//! use std::sync::Arc;
//! use vramkit::{ByteSize, device::SimulatedDevice, orchestrator::MemoryOrchestrator, pool::DeviceMemoryPool};
//! use vramkit_testing::fill_pool_to_fraction;
//!
//! let capacity = ByteSize::mib(64);
//! let pool = DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity)?;
//! let orchestrator = MemoryOrchestrator::new(Arc::new(pool));
//! fill_pool_to_fraction(&orchestrator, 0.85)?;
//! assert!((orchestrator.pool().used_fraction() - 0.85).abs() < 1e-5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod device;
mod faulty;
mod generations;
pub mod gguf;
mod models;
mod programs;
mod random;
pub mod realistic;
mod series;
mod stores;
pub mod system;

pub use device::{check_device, check_pool};
pub use faulty::{Faults, faulty};
pub use generations::{GENERATIONS, Work, generations};
pub use models::{model, three_models};
pub use programs::{Program, ProgramLeak, Serving};
pub use random::Random;
pub use series::{Healthy, Leaking, Series, series};

use std::sync::Arc;

use vramkit::orchestrator::{BindError, MemoryOrchestrator};
use vramkit::plan::{LifetimeError, Model, Schedule, TensorLifetime};
use vramkit::units::{ByteSize, Step};

/// Why a pool could not be filled.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// A filler could not be planned.
    #[error(transparent)]
    Plan(#[from] LifetimeError),
    /// A filler could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// A model of one tensor, for as long as the model runs.
pub fn filler(name: &str, size: ByteSize) -> Model {
    let tensor = TensorLifetime {
        alignment: 256,
        ..TensorLifetime::new(name, &format!("{name}.all"), Step(0), Step(1), size)
    };
    Model { name: name.into(), weights: ByteSize::ZERO, start: Step(0), tensors: vec![tensor] }
}

/// Binds `filler-0`, `filler-1`… (about a twentieth of the capacity each, the last one smaller) until `fraction`
/// of the pool is used, to the nearest 256 bytes. Returns their names, the least recently used first.
pub fn fill_pool_to_fraction(
    orchestrator: &MemoryOrchestrator,
    fraction: f64,
) -> Result<Vec<Arc<str>>, FillError> {
    let pool = orchestrator.pool();
    let target = (pool.capacity().bytes() as f64 * fraction / 256.0).round() as u64 * 256;
    let each = (pool.capacity().bytes() / 20 / 256).max(1) * 256;
    let mut names = Vec::new();
    while pool.used().bytes() < target {
        let size = ByteSize::new(each.min(target - pool.used().bytes()));
        let model = filler(&format!("filler-{}", names.len()), size);
        let plan = orchestrator.plan(std::slice::from_ref(&model), Schedule::Fixed)?;
        orchestrator.bind(&model.name, &plan)?;
        names.push(model.name);
    }
    Ok(names)
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
