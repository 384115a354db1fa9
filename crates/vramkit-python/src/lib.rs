//! vramkit for Python: this crate is the wheel's one shared object, and `python/vramkit` beside it what people import.
//!
//! ```text
//! Python's words ──► bytes, devices, questions ──► vramkit, vramkit-ask ──► frozen objects, documents, exceptions
//! ```
//!
//! In: Python's numbers, names and callables. Out: objects that change nothing of what they were made of, JSON documents, memory that
//! frameworks look into without a copy. Never here: a decision, a format, a lock that is held while Python runs; and the interpreter's
//! own lock is given up wherever something waits for memory, a driver or another thread.

mod allocator;
mod ask;
mod buffer;
mod caching_pool;
mod callback;
mod device;
mod dlpack;
mod errors;
mod interpreter;
mod memory;
mod memory_monitor;
mod memory_pool;
mod one_per_device;
mod peaks;
mod recorded;
mod sampling;
mod size;
mod snapshot;
mod source;
mod stats;
mod vram_monitor;
mod vram_snapshot;

/// What is in the shared object.
#[pyo3::pymodule]
mod _vramkit {
    #[pymodule_export]
    use super::allocator::{allocator_pool, allocator_setup};
    #[pymodule_export]
    use super::ask::{ask, commands, draw, main};
    #[pymodule_export]
    use super::buffer::Buffer;
    #[pymodule_export]
    use super::caching_pool::GPUMemoryPool;
    #[pymodule_export]
    use super::device::SimulatedDevice;
    #[pymodule_export]
    use super::memory_monitor::GPUMemoryMonitor;
    #[pymodule_export]
    use super::memory_pool::DeviceMemoryPool;
    #[pymodule_export]
    use super::peaks::PeakWatch;
    #[pymodule_export]
    use super::recorded::RecordedTrace;
    #[pymodule_export]
    use super::sampling::Sampling;
    #[pymodule_export]
    use super::size::{format_bytes, parse_bytes};
    #[pymodule_export]
    use super::snapshot::MemorySnapshot;
    #[pymodule_export]
    use super::stats::MemoryStats;
    #[pymodule_export]
    use super::vram_monitor::VramMonitor;
    #[pymodule_export]
    use super::vram_snapshot::VramSnapshot;

    /// Threads of ours leave Python before it ends.
    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        super::interpreter::close_at_exit(module.py())
    }

    /// The version, from the one place that has it.
    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
