//! Counts and peaks of a monitor.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use vramkit::ByteSize;
use vramkit::monitor::{MonitorStats, VramMonitor};
use vramkit::pressure::PressureLevel;

use crate::size::to_mb;
use crate::snapshot::word;

/// Counts and peaks of a monitor, as of when it was asked. `_mb` is MiB.
#[pyclass(frozen, module = "vramkit")]
pub struct MemoryStats {
    pub stats: MonitorStats,
    /// Used of all there is in the last snapshot, 0..1.
    pub used_ratio: Option<f64>,
}

/// What it has, in the order in which it is told.
const FIELDS: [&str; 19] = [
    "snapshots",
    "pressure_counts",
    "utilization",
    "average_used_mb",
    "average_used_bytes",
    "peak_used_mb",
    "peak_used_bytes",
    "peak_allocated_mb",
    "peak_allocated_bytes",
    "peak_reserved_mb",
    "peak_reserved_bytes",
    "level_changes",
    "failures",
    "cleanups",
    "unhelpful_cleanups",
    "seconds_since_cleanup",
    "soft_violations",
    "hard_violations",
    "generations",
];

impl MemoryStats {
    /// Those of a monitor now.
    pub fn of(monitor: &VramMonitor) -> Self {
        let last = monitor.history(1);
        let used_ratio = last.last().and_then(|snapshot| snapshot.usage.used_ratio());
        Self { stats: monitor.stats(), used_ratio }
    }
}

#[pymethods]
impl MemoryStats {
    /// Most in allocations of this process in any snapshot, in MiB.
    #[getter]
    fn peak_allocated_mb(&self) -> f64 {
        to_mb(self.stats.peak_allocated_bytes)
    }

    /// The same, in bytes.
    #[getter]
    fn peak_allocated_bytes(&self) -> u64 {
        self.stats.peak_allocated_bytes.bytes()
    }

    /// Most held from the device by this process in any snapshot, in MiB.
    #[getter]
    fn peak_reserved_mb(&self) -> f64 {
        to_mb(self.stats.peak_reserved_bytes)
    }

    /// The same, in bytes.
    #[getter]
    fn peak_reserved_bytes(&self) -> u64 {
        self.stats.peak_reserved_bytes.bytes()
    }

    /// Most in use of the device in any snapshot, in MiB.
    #[getter]
    fn peak_used_mb(&self) -> f64 {
        to_mb(self.stats.peak_used_bytes)
    }

    /// The same, in bytes.
    #[getter]
    fn peak_used_bytes(&self) -> u64 {
        self.stats.peak_used_bytes.bytes()
    }

    /// Mean of what was in use over the snapshots that are kept, in MiB; `None` before the first.
    #[getter]
    fn average_used_mb(&self) -> Option<f64> {
        self.stats.mean_used_bytes.map(to_mb)
    }

    /// The same, in bytes.
    #[getter]
    fn average_used_bytes(&self) -> Option<u64> {
        self.stats.mean_used_bytes.map(ByteSize::bytes)
    }

    /// Used of all there is in the last snapshot, in percent.
    #[getter]
    fn utilization(&self) -> Option<f64> {
        self.used_ratio.map(|ratio| 100.0 * ratio)
    }

    /// Snapshots at each level, by its word.
    #[getter]
    fn pressure_counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (level, count) in PressureLevel::ALL.into_iter().zip(self.stats.snapshots) {
            counts.set_item(word(level), count)?;
        }
        Ok(counts)
    }

    /// Snapshots that had a level.
    #[getter]
    fn snapshots(&self) -> u64 {
        self.stats.snapshots.iter().sum()
    }

    /// Readings that gave no number.
    #[getter]
    fn failures(&self) -> u64 {
        self.stats.failures
    }

    /// Changes of level.
    #[getter]
    fn level_changes(&self) -> u64 {
        self.stats.level_changes
    }

    /// Cleanups, whoever asked for them.
    #[getter]
    fn cleanups(&self) -> u64 {
        self.stats.cleanups
    }

    /// Cleanups that freed nothing, or next to nothing.
    #[getter]
    fn unhelpful_cleanups(&self) -> u64 {
        self.stats.unhelpful_cleanups
    }

    /// What the last cleanup did; `None` before the first.
    #[getter]
    fn last_cleanup<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.stats.last_cleanup.map(|report| Ok(pythonize::pythonize(py, &report)?)).transpose()
    }

    /// Seconds since the last cleanup; `None` before the first.
    #[getter]
    fn seconds_since_cleanup(&self) -> Option<f64> {
        self.stats.seconds_since_cleanup
    }

    /// Crossings of the soft limit.
    #[getter]
    fn soft_violations(&self) -> u64 {
        self.stats.soft_violations
    }

    /// Checks that found the hard limit passed, and no cleanup that cured it.
    #[getter]
    fn hard_violations(&self) -> u64 {
        self.stats.hard_violations
    }

    /// Generations of work that were counted.
    #[getter]
    fn generations(&self) -> u64 {
        self.stats.generations
    }

    /// Everything as plain values, by the names that it has here.
    fn to_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(slf.py());
        for name in FIELDS {
            dict.set_item(name, slf.getattr(name)?)?;
        }
        Ok(dict)
    }

    /// Statistics that were written as JSON, as pickles have them.
    #[staticmethod]
    #[pyo3(signature = (text, /))]
    fn from_json(text: &str) -> PyResult<Self> {
        let both: (MonitorStats, Option<f64>) =
            serde_json::from_str(text).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self { stats: both.0, used_ratio: both.1 })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        let text = serde_json::to_string(&(&slf.get().stats, slf.get().used_ratio))
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok((slf.get_type().getattr("from_json")?, (text,)))
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.stats == other.stats && self.used_ratio == other.used_ratio
    }

    fn __repr__(&self) -> String {
        let stats = &self.stats;
        format!(
            "MemoryStats({} snapshots, peak {} used, {} cleanups)",
            self.snapshots(),
            stats.peak_used_bytes,
            stats.cleanups
        )
    }
}
