//! `GPUMemoryPool`: memory that is asked for and given back in the same sizes again and again, for several frameworks, over vramkit's
//! caching pool.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use vramkit::ByteSize;
use vramkit::device::CudaDevice;
use vramkit::pool::{CachingConfig, CachingPool};

use crate::buffer::Buffer;
use crate::device::Place;
use crate::errors;
use crate::memory::{Block, Memory, Where};
use crate::one_per_device::OnePerDevice;
use crate::peaks;
use crate::size::{Mb, Size, from_mb, seconds, to_mb};

/// Frameworks that memory is for, by the names that are taken and the name that is given.
const BACKENDS: [(&str, &str); 6] = [
    ("numpy", "numpy"),
    ("host", "numpy"),
    ("pytorch", "pytorch"),
    ("torch", "pytorch"),
    ("cupy", "cupy"),
    ("cuda", "cupy"),
];

/// A pool of one device: blocks that were released stay ready for the next request of their size class and backend. `get_memory_pool`
/// gives the process's one pool of a device.
///
/// Sizes are rounded up: to 0.1 MiB below 1, to 1 below 10, to 10 below 100, to 50 from there. Idle blocks are given back to the device
/// after `idle_timeout` seconds, when they pass `max_pool_size_mb` together, and when a request needs their memory.
///
/// >>> pool = vramkit.GPUMemoryPool(vramkit.SimulatedDevice("8GiB"))
/// >>> pool.release(pool.allocate(1.5))
/// >>> pool.release(pool.allocate(1.8)) # the same class, 2 MiB: a hit
/// >>> buffer = pool.allocate(15)
/// >>> round(pool.get_stats()["hit_rate"], 1)
/// 33.3
#[pyclass(frozen, weakref, module = "vramkit")]
pub struct GPUMemoryPool {
    pub pool: Arc<CachingPool>,
    number: u64,
    id: Arc<str>,
    place: Where,
    card: Option<Arc<CudaDevice>>,
    max_cached: ByteSize,
}

static POOLS: OnePerDevice<GPUMemoryPool> = OnePerDevice::new(|device| &device.pool);

/// The number of a pool, by which its buffers are known.
pub fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

/// Where a place's memory is.
pub fn memory_of(place: &Place) -> Where {
    match place {
        Place::Host => Where::Host,
        Place::Card(index) => Where::Card(*index),
        Place::Simulated(_) => Where::Nowhere,
    }
}

impl GPUMemoryPool {
    fn make(
        py: Python<'_>,
        place: &Place,
        max_cached: ByteSize,
        capacity: Option<ByteSize>,
        config: CachingConfig,
    ) -> PyResult<Self> {
        let (device, card) = place.backing(py)?;
        let there = device.memory().total_bytes.value.unwrap_or(ByteSize::MAX);
        let config = CachingConfig { max_cached, ..config };
        let pool = py.detach(|| CachingPool::new(device, capacity.unwrap_or(there), config));
        let pool = pool.map_err(|error| errors::of_pool(py, &error))?;
        let id: Arc<str> = place.id().into();
        Ok(Self { pool, number: next_number(), id, place: memory_of(place), card, max_cached })
    }

    fn grant(&self, py: Python<'_>, size: ByteSize, backend: Option<&str>) -> PyResult<Buffer> {
        let backend = self.backend(py, backend)?;
        let apart = match backend {
            "numpy" => 0,
            "pytorch" => 1,
            _ => 2,
        };
        // What idles is there at once; the device may take its time.
        let memory = match self.pool.reuse(size, apart) {
            Some(hit) => hit,
            None => py
                .detach(|| self.pool.allocate_apart(size, apart))
                .map_err(|error| errors::of_pool(py, &error))?,
        };
        peaks::granted();
        let memory = Memory::new(Block::Cached(memory), self.card.clone());
        Ok(Buffer::new(self.number, backend, self.place, self.id.clone(), size, memory))
    }

    /// The framework that is meant.
    fn backend(&self, py: Python<'_>, name: Option<&str>) -> PyResult<&'static str> {
        let has = |module: &str| -> PyResult<bool> {
            static FOUND: Mutex<Vec<(String, bool)>> = Mutex::new(Vec::new());
            let known = FOUND
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .find_map(|(name, found)| (name == module).then_some(*found));
            if let Some(found) = known {
                return Ok(found);
            }
            let found = !py.import("importlib.util")?.call_method1("find_spec", (module,))?.is_none();
            FOUND.lock().unwrap_or_else(PoisonError::into_inner).push((module.to_owned(), found));
            Ok(found)
        };
        let Some(name) = name else {
            return Ok(match self.place {
                Where::Host => "numpy",
                _ if self.place == Where::Nowhere || has("torch")? => "pytorch",
                _ => "cupy",
            });
        };
        let named = BACKENDS.iter().find(|(known, _)| *known == name).map(|(_, given)| *given);
        let Some(backend) = named else {
            let text = format!("`{name}` is not a backend: use numpy, pytorch or cupy");
            return Err(errors::raised(py, "BackendError", &text, &[]));
        };
        let fits = match (self.place, backend) {
            (Where::Nowhere, _) | (Where::Host, "numpy") => true,
            (Where::Host, "pytorch") | (Where::Card(_), "pytorch") => has("torch")?,
            (Where::Card(_), "cupy") => has("cupy")?,
            _ => false,
        };
        if fits {
            return Ok(backend);
        }
        let mut there = Vec::new();
        if self.place == Where::Host {
            there.push("numpy");
        } else if has("cupy")? {
            there.push("cupy");
        }
        if has("torch")? {
            there.push("pytorch");
        }
        let text =
            format!("backend `{name}` is not available on {}; available: {}", self.id, there.join(", "));
        Err(errors::raised(py, "BackendError", &text, &[]))
    }
}

#[pymethods]
impl GPUMemoryPool {
    #[new]
    #[pyo3(
        signature = (device_id = None, max_pool_size_mb = 2048.0, *, capacity = None, idle_timeout = 300.0),
        text_signature = "(device_id=0, max_pool_size_mb=2048.0, *, capacity=None, idle_timeout=300.0)"
    )]
    fn new(
        py: Python<'_>,
        device_id: Option<Place>,
        max_pool_size_mb: f64,
        capacity: Option<Size>,
        idle_timeout: f64,
    ) -> PyResult<Self> {
        let place = match device_id {
            Some(place) => place,
            None => Place::first(py)?,
        };
        let config = CachingConfig {
            idle_timeout: seconds("idle_timeout", idle_timeout)?,
            ..CachingConfig::default()
        };
        let max_cached = from_mb("max_pool_size_mb", max_pool_size_mb)?;
        Self::make(py, &place, max_cached, capacity.map(|size| size.0), config)
    }

    /// The process's one pool of a device, made when it is first asked for. Asked for with another size than it was made with, it is
    /// returned as it is, with a warning.
    #[staticmethod]
    #[pyo3(signature = (device_id = None, max_pool_size_mb = 2048.0), text_signature = "(device_id=0, max_pool_size_mb=2048.0)")]
    fn of_device(py: Python<'_>, device_id: Option<Place>, max_pool_size_mb: f64) -> PyResult<Py<Self>> {
        let place = match device_id {
            Some(place) => place,
            None => Place::first(py)?,
        };
        let max_cached = from_mb("max_pool_size_mb", max_pool_size_mb)?;
        let make = || Py::new(py, Self::make(py, &place, max_cached, None, CachingConfig::default())?);
        let pool = POOLS.get(py, &place, make)?;
        if pool.get().max_cached != max_cached {
            let text = format!("the pool of {} is there already, with another size: it stays", place.id());
            errors::warn(py, "VramkitWarning", &text)?;
        }
        Ok(pool)
    }

    /// Memory of `size_mb` MiB. `backend` is `numpy` (main memory), `pytorch` or `cupy`: what idles of one serves no other. Without one:
    /// `numpy` in main memory, on a card `pytorch` where it is installed, else `cupy`.
    #[pyo3(signature = (size_mb, backend = None))]
    fn allocate(&self, py: Python<'_>, size_mb: Mb, backend: Option<&str>) -> PyResult<Buffer> {
        self.grant(py, from_mb("size_mb", size_mb.0)?, backend)
    }

    /// As `allocate`, for a number of bytes or text such as `"2GiB"`.
    #[pyo3(signature = (size, backend = None))]
    fn allocate_bytes(&self, py: Python<'_>, size: Size, backend: Option<&str>) -> PyResult<Buffer> {
        self.grant(py, size.0, backend)
    }

    /// Gives a buffer back. It must be of this pool, and of the backend, where one is named; a second time is an error.
    #[pyo3(signature = (buffer, backend = None))]
    fn release(&self, py: Python<'_>, buffer: &Bound<'_, Buffer>, backend: Option<&str>) -> PyResult<()> {
        let buffer = buffer.get();
        if buffer.pool != self.number {
            let text = "this buffer is of another pool: release it there".to_owned();
            return Err(errors::raised(py, "PoolError", &text, &[]));
        }
        if let Some(name) = backend
            && self.backend(py, backend)? != buffer.backend
        {
            let text = format!("this buffer was allocated for {}, not for {name}", buffer.backend);
            return Err(errors::raised(py, "BackendError", &text, &[]));
        }
        buffer.give_back(py)
    }

    /// Gives everything that idles back to the device.
    fn clear(&self, py: Python<'_>) {
        py.detach(|| self.pool.clear());
    }

    /// Counts: `hits`, `misses`, `hit_rate` (percent of the requests that were granted; 0 before the first), `failures`, `evicted`,
    /// `expired`, `idle_blocks`, `utilization` (percent); `in_use_mb`, `cached_mb`, `total_mb` in MiB, and `in_use_bytes`,
    /// `cached_bytes`, `capacity_bytes`.
    fn get_stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.pool.stats();
        let dict = PyDict::new(py);
        dict.set_item("hits", stats.hits)?;
        dict.set_item("misses", stats.misses)?;
        dict.set_item("hit_rate", 100.0 * stats.hit_ratio().unwrap_or(0.0))?;
        dict.set_item("failures", stats.failures)?;
        dict.set_item("evicted", stats.evicted)?;
        dict.set_item("expired", stats.expired)?;
        dict.set_item("idle_blocks", stats.idle)?;
        dict.set_item("in_use_mb", to_mb(stats.used_bytes))?;
        dict.set_item("cached_mb", to_mb(stats.cached_bytes))?;
        dict.set_item("total_mb", to_mb(stats.used_bytes.saturating_add(stats.cached_bytes)))?;
        dict.set_item("utilization", 100.0 * stats.used_ratio())?;
        dict.set_item("in_use_bytes", stats.used_bytes.bytes())?;
        dict.set_item("cached_bytes", stats.cached_bytes.bytes())?;
        dict.set_item("capacity_bytes", stats.capacity_bytes.bytes())?;
        Ok(dict)
    }

    /// The device's id: `cuda:0`, `host`.
    #[getter]
    fn device(&self) -> &str {
        &self.id
    }

    /// Bytes that are allocated.
    #[getter]
    fn used_bytes(&self) -> u64 {
        self.pool.stats().used_bytes.bytes()
    }

    /// Bytes that idle.
    #[getter]
    fn cached_bytes(&self) -> u64 {
        self.pool.stats().cached_bytes.bytes()
    }

    /// Most that idles together, in MiB.
    #[getter]
    fn max_pool_size_mb(&self) -> f64 {
        to_mb(self.max_cached)
    }

    fn __repr__(&self) -> String {
        let stats = self.pool.stats();
        format!("GPUMemoryPool({:?}: {} in use, {} idle)", &*self.id, stats.used_bytes, stats.cached_bytes)
    }
}
