//! A snapshot as a line of a log, in the shape that people know.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use vramkit::monitor::Snapshot;
use vramkit::monitor::names::VramSnapshot as Line;

/// A snapshot as a line of a log; sizes in GB of 10^9 bytes, `None` where they are not known.
#[pyclass(frozen, module = "vramkit")]
pub struct VramSnapshot {
    line: Line,
    time: SystemTime,
}

impl VramSnapshot {
    pub fn of(snapshot: &Snapshot) -> Self {
        Self { line: Line::from(snapshot), time: snapshot.time }
    }
}

#[pymethods]
impl VramSnapshot {
    /// RFC 3339, in UTC.
    #[getter]
    fn timestamp(&self) -> &str {
        &self.line.timestamp
    }

    /// Seconds since 1970, in UTC.
    #[getter]
    fn seconds(&self) -> f64 {
        self.time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
    }

    /// What the program was at.
    #[getter]
    fn event(&self) -> &str {
        &self.line.event
    }

    /// Its job's number.
    #[getter]
    fn slot(&self) -> Option<u64> {
        self.line.slot
    }

    /// Held by every process, in GB.
    #[getter]
    fn vram_usage_gb(&self) -> Option<f64> {
        self.line.vram_usage_gb
    }

    /// In allocations, in GB.
    #[getter]
    fn vram_allocated_gb(&self) -> Option<f64> {
        self.line.vram_allocated_gb
    }

    /// Held from the device by the pool or framework, in GB.
    #[getter]
    fn vram_reserved_gb(&self) -> Option<f64> {
        self.line.vram_reserved_gb
    }

    /// Loaded models.
    #[getter]
    fn models(&self) -> Vec<String> {
        self.line.models.clone()
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.line == other.line
    }

    /// The same as a `dict`.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        Ok(pythonize::pythonize(py, &self.line)?.cast_into()?)
    }

    /// The same as a line of JSON.
    fn to_json(&self) -> String {
        serde_json::to_string(&self.line).unwrap_or_default()
    }

    fn __repr__(&self) -> String {
        format!("VramSnapshot({})", self.to_json())
    }
}
