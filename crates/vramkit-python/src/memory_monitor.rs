//! `GPUMemoryMonitor`: what people know it by (snapshots, pressure, cleanup from a threshold on), over vramkit's monitor of a device.
//!
//! Snapshots are taken where they are asked for; cleanups that nobody asked for run on a thread of their own, callbacks in them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};
use vramkit::ByteSize;
use vramkit::monitor::{MonitorConfig, VramMonitor};

use crate::callback::{Callback, Callbacks, interrupted};
use crate::device::Place;
use crate::errors;
use crate::one_per_device::OnePerDevice;
use crate::size::{Mb, Size, from_mb, seconds};
use crate::snapshot::MemorySnapshot;
use crate::source::WithFrameworks;
use crate::stats::MemoryStats;

/// Watches one device: how full it is, at which level, and what there is to be cleaned up. `get_memory_monitor` gives the process's one
/// monitor of a device; one that is made here is another, with a history and counts of its own.
///
/// A snapshot that finds `cleanup_threshold` (of 1) or more of the device in use cleans up, on a thread of its own and at most every 30
/// seconds: the registered callbacks, Python's garbage, the caches of PyTorch and CuPy where they are loaded, and what idles in
/// vramkit's pools.
///
/// >>> monitor = vramkit.GPUMemoryMonitor(vramkit.SimulatedDevice("8GiB"))
/// >>> monitor.can_allocate(4096)
/// True
/// >>> monitor.get_memory_snapshot().pressure.value
/// 'low'
#[pyclass(frozen, weakref, module = "vramkit")]
pub struct GPUMemoryMonitor {
    pub monitor: VramMonitor,
    id: String,
    cleanup_threshold: Option<f64>,
    callbacks: Callbacks,
}

static MONITORS: OnePerDevice<GPUMemoryMonitor> = OnePerDevice::new(|device| &device.monitor);

impl GPUMemoryMonitor {
    fn make(py: Python<'_>, place: &Place, cleanup_threshold: Option<f64>) -> PyResult<Self> {
        let source = Arc::new(WithFrameworks::new(place.source(py)?));
        let config = MonitorConfig { cleanup_threshold, ..MonitorConfig::default() };
        let monitor = VramMonitor::with_config(source, config)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self { monitor, id: place.id(), cleanup_threshold, callbacks: Callbacks::default() })
    }

    fn could_have(&self, size: ByteSize, margin: f64) -> Option<bool> {
        let usage = self.monitor.usage();
        let (allocated, reserved) = (usage.allocated_bytes.value, usage.reserved_bytes.value);
        let idle = reserved.unwrap_or_default().saturating_sub(allocated.unwrap_or_default());
        let free = usage.free_bytes.value?.saturating_add(idle);
        Some(free.bytes() as f64 >= size.bytes() as f64 * (1.0 + margin))
    }

    fn snapshot(&self, py: Python<'_>, event: &str, slot: Option<u64>, models: &[String]) -> MemorySnapshot {
        let models: Vec<&str> = models.iter().map(String::as_str).collect();
        MemorySnapshot { snapshot: py.detach(|| self.monitor.log_snapshot(event, slot, &models)) }
    }
}

#[pymethods]
impl GPUMemoryMonitor {
    #[new]
    #[pyo3(
        signature = (device_id = None, enable_auto_cleanup = true, cleanup_threshold = 0.85),
        text_signature = "(device_id=0, enable_auto_cleanup=True, cleanup_threshold=0.85)"
    )]
    fn new(
        py: Python<'_>,
        device_id: Option<Place>,
        enable_auto_cleanup: bool,
        cleanup_threshold: f64,
    ) -> PyResult<Self> {
        let place = match device_id {
            Some(place) => place,
            None => Place::first(py)?,
        };
        Self::make(py, &place, threshold(enable_auto_cleanup, cleanup_threshold)?)
    }

    /// The process's one monitor of a device, made when it is first asked for. Asked for with other settings than it was made with, it
    /// is returned as it is, with a warning.
    #[staticmethod]
    #[pyo3(
        signature = (device_id = None, enable_auto_cleanup = true, cleanup_threshold = 0.85),
        text_signature = "(device_id=0, enable_auto_cleanup=True, cleanup_threshold=0.85)"
    )]
    fn of_device(
        py: Python<'_>,
        device_id: Option<Place>,
        enable_auto_cleanup: bool,
        cleanup_threshold: f64,
    ) -> PyResult<Py<Self>> {
        let place = match device_id {
            Some(place) => place,
            None => Place::first(py)?,
        };
        let wanted = threshold(enable_auto_cleanup, cleanup_threshold)?;
        let monitor = MONITORS.get(py, &place, || Py::new(py, Self::make(py, &place, wanted)?))?;
        if monitor.get().cleanup_threshold != wanted {
            let text =
                format!("the monitor of {} is there already, with other settings: they stay", place.id());
            errors::warn(py, "VramkitWarning", &text)?;
        }
        Ok(monitor)
    }

    /// The device's id: `cuda:0`, `host`.
    #[getter]
    fn device(&self) -> &str {
        &self.id
    }

    /// From which part of the device in use on (of 1) snapshots clean up; `None` for never.
    #[getter]
    fn cleanup_threshold(&self) -> Option<f64> {
        self.cleanup_threshold
    }

    /// Whether snapshots clean up by themselves.
    #[getter]
    fn enable_auto_cleanup(&self) -> bool {
        self.cleanup_threshold.is_some()
    }

    /// A reading of the device now; it is kept in the history and counts for the statistics.
    #[pyo3(signature = (event = "", *, slot = None, models = Vec::new()))]
    fn record_snapshot(
        &self,
        py: Python<'_>,
        event: &str,
        slot: Option<u64>,
        models: Vec<String>,
    ) -> MemorySnapshot {
        self.snapshot(py, event, slot, &models)
    }

    /// A reading of the device now: nothing is kept, counted or cleaned up. Its pressure is that of a first reading, while that of
    /// `record_snapshot` holds on to a level for a while.
    fn get_memory_snapshot(&self, py: Python<'_>) -> MemorySnapshot {
        MemorySnapshot { snapshot: py.detach(|| self.monitor.look()) }
    }

    /// Whether `size_mb` MiB could be had with `safety_margin` of them (0.1 for a tenth) to spare; `None` when that is not known. What
    /// idles in pools and in frameworks' caches can be had. A pool rounds what it is asked for up to its class.
    #[pyo3(signature = (size_mb, safety_margin = 0.1))]
    fn can_allocate(&self, py: Python<'_>, size_mb: Mb, safety_margin: f64) -> PyResult<Option<bool>> {
        let size = from_mb("size_mb", size_mb.0)?;
        let safety_margin = margin("safety_margin", safety_margin)?;
        Ok(py.detach(|| self.could_have(size, safety_margin)))
    }

    /// As `can_allocate`, for a number of bytes or text such as `"2GiB"`.
    #[pyo3(signature = (size, safety_margin = 0.1))]
    fn can_allocate_bytes(&self, py: Python<'_>, size: Size, safety_margin: f64) -> PyResult<Option<bool>> {
        let safety_margin = margin("safety_margin", safety_margin)?;
        Ok(py.detach(|| self.could_have(size.0, safety_margin)))
    }

    /// Whether less than `threshold` of the memory (0.1 for a tenth) is free; `None` when that is not known.
    #[pyo3(signature = (threshold = 0.1))]
    fn is_low_memory(&self, py: Python<'_>, threshold: f64) -> PyResult<Option<bool>> {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(PyValueError::new_err(format!(
                "threshold={threshold}: a part of 1, such as 0.1 for a tenth"
            )));
        }
        Ok(py.detach(|| self.monitor.is_low(threshold)))
    }

    /// Frees what can be freed, here and now: what came of it, or `None` while another cleanup is under way (as when a callback asks).
    fn cleanup_memory<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let report = interrupted(py.detach(|| self.monitor.cleanup()))?;
        report.map(|report| Ok(pythonize::pythonize(py, &report)?)).transpose()
    }

    /// Calls a function without arguments at every cleanup, to free what it can. No lock is held meanwhile. What it raises is told to
    /// `sys.unraisablehook`, and the cleanup goes on.
    fn register_cleanup_callback(&self, callback: Callback) {
        self.callbacks.own(&callback);
        self.monitor.register_cleanup_callback(move |_| callback.call(|py| Ok(PyTuple::empty(py))));
    }

    /// Waits until there have been so many cleanups; whether there were within the time.
    #[pyo3(signature = (count = 1, timeout = 10.0))]
    fn wait_for_cleanups(&self, py: Python<'_>, count: u64, timeout: f64) -> PyResult<bool> {
        let until = Instant::now() + seconds("timeout", timeout)?;
        loop {
            if self.monitor.stats().cleanups >= count {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            py.check_signals()?;
            py.detach(|| std::thread::sleep(Duration::from_millis(2)));
        }
    }

    /// Counts and peaks.
    fn get_stats(&self) -> MemoryStats {
        MemoryStats::of(&self.monitor)
    }

    /// The last `n` snapshots, oldest first; all that are kept (at most 1,000) without.
    #[pyo3(signature = (n = None))]
    fn history<'py>(&self, py: Python<'py>, n: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        history(py, &self.monitor, n)
    }

    /// When the device will be full, as of the last snapshot: `None` where that cannot be said.
    fn forecast<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.monitor.forecast().map(|forecast| Ok(pythonize::pythonize(py, &forecast)?)).transpose()
    }

    /// Calls a function with everything that is found (limits, cleanups, levels, growth, leaks) as a `dict`, one after the other, on a
    /// thread of its own.
    fn on_event(&self, callback: Callback) {
        self.callbacks.own(&callback);
        subscribe(&self.monitor, callback);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.callbacks.traverse(&visit)
    }

    fn __clear__(&self) {
        self.callbacks.clear();
    }

    /// Forgets history and counts; callbacks stay.
    fn reset(&self) {
        self.monitor.reset();
    }

    fn __repr__(&self) -> String {
        format!("GPUMemoryMonitor({:?})", self.id)
    }
}

/// Snapshots as `vramkit.history.History`.
pub fn history<'py>(py: Python<'py>, monitor: &VramMonitor, n: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
    let kept = py.detach(|| monitor.history(n.unwrap_or(usize::MAX)));
    let snapshots: Vec<_> = kept.into_iter().map(|snapshot| MemorySnapshot { snapshot }).collect();
    py.import("vramkit.history")?.getattr("History")?.call1((snapshots,))
}

/// Tells a callable of Python's what a monitor finds.
pub fn subscribe(monitor: &VramMonitor, callback: Callback) {
    monitor.on_event(move |event| {
        callback.call(|py| {
            let event = pythonize::pythonize(py, event)?;
            PyTuple::new(py, [event])
        });
    });
}

/// From where on there is a cleanup; also one that is not to be has to make sense.
fn threshold(is_on: bool, threshold: f64) -> PyResult<Option<f64>> {
    if threshold > 0.0 && threshold <= 1.0 {
        return Ok(is_on.then_some(threshold));
    }
    Err(PyValueError::new_err(format!("cleanup_threshold={threshold}: a part of 1, such as 0.85 for 85 %")))
}

/// What is to be left beside.
pub fn margin(name: &str, margin: f64) -> PyResult<f64> {
    if margin >= 0.0 && margin.is_finite() {
        return Ok(margin);
    }
    Err(PyValueError::new_err(format!("{name}={margin}: 0.1 for a tenth, at least 0")))
}
