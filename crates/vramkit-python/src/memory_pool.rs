//! `DeviceMemoryPool`: memory with owners, purposes and tags, and a ledger of who holds what since when.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use vramkit::device::CudaDevice;
use vramkit::monitor::MemorySource;
use vramkit::pool::{DeviceMemoryPool as Pool, Purpose, Request};

use crate::buffer::Buffer;
use crate::caching_pool::{memory_of, next_number};
use crate::device::Place;
use crate::errors;
use crate::memory::{Block, Memory, Where};
use crate::peaks;
use crate::size::Size;

/// A pool of one device, of so many bytes, whose allocations have an owner (a model), a purpose and a tag.
///
/// >>> pool = vramkit.DeviceMemoryPool(vramkit.SimulatedDevice("8GiB"), "4GiB")
/// >>> cache = pool.allocate("1GiB", owner="llama", purpose="kv")
/// >>> pool.owners()[0]["model"], pool.used_fraction
/// ('llama', 0.25)
#[pyclass(frozen, weakref, module = "vramkit")]
pub struct DeviceMemoryPool {
    pub pool: Arc<Pool>,
    number: u64,
    id: Arc<str>,
    place: Where,
    card: Option<Arc<CudaDevice>>,
}

impl DeviceMemoryPool {
    /// A pool of a card that there is.
    pub fn of(index: u32, pool: Arc<Pool>, card: Arc<CudaDevice>) -> Self {
        let id = format!("cuda:{index}").into();
        Self { pool, number: next_number(), id, place: Where::Card(index), card: Some(card) }
    }

    /// The pool as a monitor reads it.
    pub fn source(&self) -> Arc<dyn MemorySource> {
        self.pool.clone()
    }
}

/// What memory is for, by its word.
fn purpose(name: &str) -> PyResult<Purpose> {
    let all = [Purpose::Weights, Purpose::Kv, Purpose::Activation, Purpose::Workspace, Purpose::Other];
    all.into_iter().find(|purpose| purpose.to_string() == name).ok_or_else(|| {
        PyValueError::new_err(format!("purpose `{name}`: use weights, kv, activation, workspace or other"))
    })
}

#[pymethods]
impl DeviceMemoryPool {
    #[new]
    #[pyo3(signature = (device, capacity))]
    fn new(py: Python<'_>, device: Place, capacity: Size) -> PyResult<Self> {
        let (backing, card) = device.backing(py)?;
        let pool =
            py.detach(|| Pool::new(backing, capacity.0)).map_err(|error| errors::of_pool(py, &error))?;
        let (id, place) = (device.id().into(), memory_of(&device));
        Ok(Self { pool: Arc::new(pool), number: next_number(), id, place, card })
    }

    /// Memory of so many bytes, for an owner. Backends are for [`Buffer.array`]: `numpy`, `pytorch`, `cupy`.
    #[pyo3(signature = (size, *, owner = "", purpose = "other", tag = None, alignment = None))]
    fn allocate(
        &self,
        py: Python<'_>,
        size: Size,
        owner: &str,
        purpose: &str,
        tag: Option<&str>,
        alignment: Option<u64>,
    ) -> PyResult<Buffer> {
        let purpose = self::purpose(purpose)?;
        let granted = py.detach(|| {
            let mut request = Request::new(size.0).owner(self.pool.owner(owner, purpose));
            if let Some(tag) = tag {
                request = request.tag(self.pool.tag(tag));
            }
            if let Some(alignment) = alignment {
                request = request.alignment(alignment);
            }
            self.pool.allocate(request)
        });
        let block = granted.map_err(|error| errors::of_pool(py, &error))?;
        peaks::granted();
        let memory = Memory::new(Block::Plain(block), self.card.clone());
        let backend = if self.place == Where::Host { "numpy" } else { "pytorch" };
        Ok(Buffer::new(self.number, backend, self.place, self.id.clone(), size.0, memory))
    }

    /// Gives a buffer of this pool back; a second time is an error.
    fn release(&self, py: Python<'_>, buffer: &Bound<'_, Buffer>) -> PyResult<()> {
        if buffer.get().pool != self.number {
            return Err(errors::raised(
                py,
                "PoolError",
                "this buffer is of another pool: release it there",
                &[],
            ));
        }
        buffer.get().give_back(py)
    }

    /// Most that can be granted, in bytes.
    #[getter]
    fn capacity_bytes(&self) -> u64 {
        self.pool.capacity().bytes()
    }

    /// What is granted, in bytes.
    #[getter]
    fn used_bytes(&self) -> u64 {
        self.pool.used().bytes()
    }

    /// What is held from the device, in bytes.
    #[getter]
    fn committed_bytes(&self) -> u64 {
        self.pool.committed().bytes()
    }

    /// What is granted of all that can be, 0 to 1.
    #[getter]
    fn used_fraction(&self) -> f64 {
        self.pool.used_fraction()
    }

    /// The device's id: `cuda:0`, `host`.
    #[getter]
    fn device(&self) -> &str {
        &self.id
    }

    /// All counts, sizes in bytes.
    fn get_stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(pythonize::pythonize(py, &self.pool.stats())?)
    }

    /// Who holds what, by model and purpose.
    fn owners<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(pythonize::pythonize(py, &self.pool.owners())?)
    }

    /// Who holds what since when, by tag.
    fn ledger<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(pythonize::pythonize(py, &self.pool.ledger())?)
    }

    /// What is live, by address: what would be reported as leaked if the pool were dropped now.
    fn live<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(pythonize::pythonize(py, &self.pool.live())?)
    }

    /// Gives every free granule back to the device: what came of it.
    fn trim<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let report = py.detach(|| self.pool.trim()).map_err(|error| errors::of_pool(py, &error))?;
        Ok(pythonize::pythonize(py, &report)?)
    }

    fn __repr__(&self) -> String {
        let (used, capacity) = (self.pool.used(), self.pool.capacity());
        format!("DeviceMemoryPool({:?}: {used} of {capacity} in use)", &*self.id)
    }
}
