//! One device at one instant, as people who know `GPUMemoryMonitor` read it.

use std::time::{Duration, UNIX_EPOCH};

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyType};
use vramkit::ByteSize;
use vramkit::device::Reading;
use vramkit::monitor::{Snapshot, utc};
use vramkit::pressure::PressureLevel;

use crate::size::to_mb;

/// A level as `vramkit.MemoryPressure`.
pub fn pressure(py: Python<'_>, level: PressureLevel) -> PyResult<Bound<'_, PyAny>> {
    static ENUM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let words = ENUM.import(py, "vramkit.errors", "MemoryPressure")?;
    words.call1((word(level),))
}

/// The word of a level.
pub fn word(level: PressureLevel) -> &'static str {
    match level {
        PressureLevel::Normal => "low",
        PressureLevel::Elevated => "moderate",
        PressureLevel::High => "high",
        PressureLevel::Critical => "critical",
    }
}

/// One device at one instant. Sizes in bytes, and in MiB under names ending `_mb`; `None` for what is not known, with the reason in
/// `unavailable`. `allocated` and `reserved` are what trackers of this process (vramkit's pools, PyTorch, CuPy) have given to
/// allocations and hold from the device, 0 where none has anything; `used` is what every process together holds.
///
/// `dict(snapshot)`, `snapshot.to_dict()` and `pandas.DataFrame(history)` work.
#[pyclass(frozen, mapping, module = "vramkit")]
pub struct MemorySnapshot {
    pub snapshot: Snapshot,
}

/// What a snapshot has, in the order in which it is told.
const FIELDS: [&str; 15] = [
    "timestamp",
    "device",
    "event",
    "slot",
    "models",
    "total_bytes",
    "used_bytes",
    "free_bytes",
    "allocated_bytes",
    "reserved_bytes",
    "total_mb",
    "used_mb",
    "free_mb",
    "utilization",
    "pressure",
];

impl MemorySnapshot {
    fn bytes(reading: &Reading<ByteSize>) -> Option<u64> {
        reading.value.map(ByteSize::bytes)
    }

    fn mb(reading: &Reading<ByteSize>) -> Option<f64> {
        reading.value.map(to_mb)
    }
}

#[pymethods]
impl MemorySnapshot {
    /// Seconds since 1970, in UTC.
    #[getter]
    fn timestamp(&self) -> f64 {
        self.snapshot.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    /// The same as text (RFC 3339).
    #[getter]
    fn time(&self) -> String {
        utc(self.snapshot.time)
    }

    /// The device's id: `cuda:0`, `host`.
    #[getter]
    fn device(&self) -> &str {
        &self.snapshot.device.id
    }

    /// The device's name, as its maker calls it.
    #[getter]
    fn device_name(&self) -> &str {
        &self.snapshot.device.name
    }

    /// What the program was at; empty for a plain look.
    #[getter]
    fn event(&self) -> &str {
        &self.snapshot.event
    }

    /// Its job's number.
    #[getter]
    fn slot(&self) -> Option<u64> {
        self.snapshot.slot
    }

    /// Loaded models.
    #[getter]
    fn models(&self) -> Vec<String> {
        self.snapshot.models.clone()
    }

    /// Bytes that each model holds, where that is known.
    #[getter]
    fn model_bytes(&self) -> std::collections::BTreeMap<String, u64> {
        self.snapshot.model_bytes.iter().map(|(name, size)| (name.clone(), size.bytes())).collect()
    }

    /// All of the device, in bytes.
    #[getter]
    fn total_bytes(&self) -> Option<u64> {
        Self::bytes(&self.snapshot.usage.total_bytes)
    }

    /// What every process together holds, in bytes.
    #[getter]
    fn used_bytes(&self) -> Option<u64> {
        Self::bytes(&self.snapshot.usage.used_bytes)
    }

    /// What could be had now, in bytes.
    #[getter]
    fn free_bytes(&self) -> Option<u64> {
        Self::bytes(&self.snapshot.usage.free_bytes)
    }

    /// In allocations of this process, in bytes.
    #[getter]
    fn allocated_bytes(&self) -> Option<u64> {
        Self::bytes(&self.snapshot.usage.allocated_bytes)
    }

    /// Held from the device by this process's pools and frameworks, in bytes.
    #[getter]
    fn reserved_bytes(&self) -> Option<u64> {
        Self::bytes(&self.snapshot.usage.reserved_bytes)
    }

    /// All of the device, in MiB.
    #[getter]
    fn total_mb(&self) -> Option<f64> {
        Self::mb(&self.snapshot.usage.total_bytes)
    }

    /// What every process together holds, in MiB.
    #[getter]
    fn used_mb(&self) -> Option<f64> {
        Self::mb(&self.snapshot.usage.used_bytes)
    }

    /// What could be had now, in MiB.
    #[getter]
    fn free_mb(&self) -> Option<f64> {
        Self::mb(&self.snapshot.usage.free_bytes)
    }

    /// In allocations of this process, in MiB.
    #[getter]
    fn allocated_mb(&self) -> Option<f64> {
        Self::mb(&self.snapshot.usage.allocated_bytes)
    }

    /// Held from the device by this process's pools and frameworks, in MiB.
    #[getter]
    fn reserved_mb(&self) -> Option<f64> {
        Self::mb(&self.snapshot.usage.reserved_bytes)
    }

    /// Used of all there is, in percent.
    #[getter]
    fn utilization(&self) -> Option<f64> {
        self.snapshot.usage.used_ratio().map(|ratio| 100.0 * ratio)
    }

    /// How full it is, as a `MemoryPressure`.
    #[getter]
    fn pressure<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.snapshot.level.map(|level| pressure(py, level)).transpose()
    }

    /// Why a number is `None`, by its name.
    #[getter]
    fn unavailable(&self) -> std::collections::BTreeMap<&'static str, String> {
        let usage = &self.snapshot.usage;
        let all = [
            ("total_bytes", &usage.total_bytes),
            ("used_bytes", &usage.used_bytes),
            ("free_bytes", &usage.free_bytes),
            ("allocated_bytes", &usage.allocated_bytes),
            ("reserved_bytes", &usage.reserved_bytes),
        ];
        let missing = all.into_iter().filter(|(_, reading)| reading.value.is_none());
        missing.map(|(name, reading)| (name, reading.unavailable.clone().unwrap_or_default())).collect()
    }

    /// One that was written as JSON, as pickles have it.
    #[staticmethod]
    #[pyo3(signature = (text, nanoseconds = None, /))]
    fn from_json(text: &str, nanoseconds: Option<u64>) -> PyResult<Self> {
        let mut snapshot: Snapshot =
            serde_json::from_str(text).map_err(|error| PyValueError::new_err(error.to_string()))?;
        // Its text has milliseconds.
        if let Some(nanoseconds) = nanoseconds {
            snapshot.time = UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        }
        Ok(Self { snapshot })
    }

    /// The whole snapshot as JSON, with processes and pools where they are known.
    fn to_json(&self) -> PyResult<String> {
        serde_json::to_string(&self.snapshot).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String, u64))> {
        let since = slf.get().snapshot.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or_default();
        Ok((slf.get_type().getattr("from_json")?, (slf.get().to_json()?, nanoseconds)))
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: Bound<'_, PyAny>) -> Py<Self> {
        slf
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.snapshot == other.snapshot
    }

    /// A value, or another where it has none of that name.
    #[pyo3(signature = (name, default = None, /))]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        name: &str,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if FIELDS.contains(&name) { Self::__getitem__(slf, name).map(Some) } else { Ok(default) }
    }

    /// Names with their values.
    fn items<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::to_dict(slf)?.call_method0("items")
    }

    /// The values.
    fn values<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::to_dict(slf)?.call_method0("values")
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> bool {
        name.extract::<String>().is_ok_and(|name| FIELDS.contains(&name.as_str()))
    }

    /// Everything as plain values; the pressure is its word.
    fn to_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(slf.py());
        for name in FIELDS {
            dict.set_item(name, Self::__getitem__(slf, name)?)?;
        }
        Ok(dict)
    }

    /// The names of what it has.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, FIELDS)
    }

    fn __getitem__<'py>(slf: &Bound<'py, Self>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        if !FIELDS.contains(&name) {
            return Err(PyKeyError::new_err(name.to_owned()));
        }
        let value = slf.getattr(name)?;
        if name == "pressure" && !value.is_none() { value.getattr("value") } else { Ok(value) }
    }

    fn __len__(&self) -> usize {
        FIELDS.len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyList::new(py, FIELDS)?.try_iter()?.into_any())
    }

    fn __repr__(&self) -> String {
        let usage = &self.snapshot.usage;
        let level = self.snapshot.level.map_or("not known", word);
        format!(
            "MemorySnapshot({}: {} used of {}, {} free, pressure {level})",
            self.snapshot.device.id, usage.used_bytes, usage.total_bytes, usage.free_bytes
        )
    }
}
