//! Which device is meant: `0`, `"cuda:1"`, `"host"`, or a simulated one. Where there is no driver, 0 is main memory.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyString};
use vramkit::ByteSize;
use vramkit::device::{
    Backing, CudaDevice, CudaError, Device, HostDevice, NvmlCard, NvmlError, SimulatedDevice as Simulated,
};
use vramkit::monitor::{CardSource, DeviceSource, MemorySource};

use crate::errors;
use crate::size::Size;

/// A device of any size without memory behind it: pools, plans and monitors can be tried on it, and filled to any level.
///
/// `id` is what it is called; two of one id are still two devices. Nothing can be read or written there.
///
/// >>> device = vramkit.SimulatedDevice("8GiB")
/// >>> device.others_hold("6GiB")
/// >>> vramkit.get_memory_monitor(device).get_memory_snapshot().utilization
/// 75.0
#[pyclass(frozen, weakref, module = "vramkit")]
pub struct SimulatedDevice {
    pub device: Arc<Simulated>,
    pub monitor: PyOnceLock<Py<PyAny>>,
    pub pool: PyOnceLock<Py<PyAny>>,
}

#[pymethods]
impl SimulatedDevice {
    #[new]
    #[pyo3(signature = (capacity, *, id = "sim"))]
    fn new(capacity: Size, id: &str) -> PyResult<Self> {
        if capacity.0.is_zero() {
            return Err(PyValueError::new_err("a device of 0 bytes: it has at least 1, such as \"8GiB\""));
        }
        let device = Arc::new(Simulated::builder(capacity.0).id(id).build());
        Ok(Self { device, monitor: PyOnceLock::new(), pool: PyOnceLock::new() })
    }

    /// From now on other processes hold so much of it.
    #[pyo3(signature = (size, /))]
    fn others_hold(&self, size: Size) {
        self.device.others_hold(size.0);
    }

    /// What it is called.
    #[getter]
    fn id(&self) -> String {
        self.device.info().id
    }

    /// Bytes of it.
    #[getter]
    fn capacity_bytes(&self) -> u64 {
        self.device.memory().total_bytes.value.unwrap_or_default().bytes()
    }

    /// Bytes of it that nobody holds.
    #[getter]
    fn free_bytes(&self) -> u64 {
        self.device.memory().free_bytes.value.unwrap_or_default().bytes()
    }

    fn __repr__(&self) -> String {
        format!("SimulatedDevice({:?}, id={:?})", self.capacity_bytes().to_string(), self.id())
    }
}

/// What a pool takes memory from, and the card that it is, where it is one.
pub type Opened = (Arc<dyn Backing>, Option<Arc<CudaDevice>>);

/// A device, as a caller names it.
pub enum Place {
    /// Main memory.
    Host,
    /// One of NVIDIA's cards.
    Card(u32),
    /// A simulated one.
    Simulated(Py<SimulatedDevice>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Place {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(device) = given.cast::<SimulatedDevice>() {
            return Ok(Self::Simulated(device.to_owned().unbind()));
        }
        if let Ok(name) = given.cast::<PyString>() {
            let name = name.to_cow()?.to_lowercase();
            // `u32` would take a sign.
            let digits = name.strip_prefix("cuda:").unwrap_or(&name);
            let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
            let index = digits.parse().ok().filter(|_| is_number);
            return match (&*name, index) {
                ("host" | "cpu", _) => Ok(Self::Host),
                ("cuda", _) => Ok(Self::Card(0)),
                (_, Some(0)) if !name.starts_with("cuda") => Self::first(given.py()),
                (_, Some(index)) => Ok(Self::Card(index)),
                _ => Err(PyValueError::new_err(format!(
                    "`{name}` is not a device: use 0, 1, \"cuda:1\", \"host\" or a SimulatedDevice"
                ))),
            };
        }
        // `torch.device`, without importing torch.
        if given.get_type().name()?.to_cow()? == "device" && given.hasattr("index")? {
            return given.str()?.into_any().as_borrowed().extract();
        }
        let number: Option<i64> = if given.is_instance_of::<PyBool>() { None } else { given.extract().ok() };
        let Some(index) = number else {
            let kind = given.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "a device is 0, 1, \"cuda:1\", \"host\" or a SimulatedDevice, not {kind}"
            )));
        };
        let index =
            u32::try_from(index).map_err(|_| PyValueError::new_err(format!("there is no device {index}")))?;
        if index != 0 {
            return Ok(Self::Card(index));
        }
        // Everything works on a machine without a card.
        match given.py().detach(|| NvmlCard::open(0)) {
            Ok(_) => Ok(Self::Card(0)),
            Err(NvmlError::NoLibrary { .. }) => Ok(Self::Host),
            Err(error) => {
                let text = format!("main memory stands in for device 0: {error}");
                errors::warn(given.py(), "VramkitWarning", &text)?;
                Ok(Self::Host)
            }
        }
    }
}

impl Place {
    /// The device that is meant where none is named.
    pub fn first(py: Python<'_>) -> PyResult<Self> {
        pyo3::types::PyInt::new(py, 0).as_any().as_borrowed().extract()
    }

    /// As the command line names it.
    pub fn id(&self) -> String {
        match self {
            Self::Host => "host".to_owned(),
            Self::Card(index) => format!("cuda:{index}"),
            Self::Simulated(device) => device.get().id(),
        }
    }

    /// Where a pool takes memory from, and the card that it is; of main memory, what is available now.
    pub fn backing(&self, py: Python<'_>) -> PyResult<Opened> {
        match self {
            Self::Host => Ok((Arc::new(HostDevice::with_available_memory()), None)),
            Self::Card(index) => {
                let card: Result<_, CudaError> = py.detach(|| CudaDevice::new(*index));
                let card = Arc::new(card.map_err(|error| absent(py, &error.to_string()))?);
                Ok((card.clone(), Some(card)))
            }
            Self::Simulated(device) => Ok((device.get().device.clone(), None)),
        }
    }

    /// Where a monitor reads; of a card without using it.
    pub fn source(&self, py: Python<'_>) -> PyResult<Arc<dyn MemorySource>> {
        match self {
            Self::Host => Ok(Arc::new(DeviceSource(Arc::new(HostDevice::new(ByteSize::MAX))))),
            Self::Card(index) => {
                let card = py.detach(|| NvmlCard::open(*index));
                let found = card.map_err(|error| absent(py, &error.to_string()))?;
                Ok(Arc::new(CardSource(found)))
            }
            Self::Simulated(device) => Ok(Arc::new(DeviceSource(device.get().device.clone()))),
        }
    }
}

fn absent(py: Python<'_>, reason: &str) -> PyErr {
    errors::raised(py, "DeviceUnavailableError", reason, &[])
}
