//! A recording of a program's allocations: PyTorch's memory snapshots above all, and everything else that `replay` reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use vramkit::ByteSize;
use vramkit_replay::{
    Held, OwnedBy, PolicyName, Setup, Trace, grown, least_capacity, peak_and_failures, read_traces, traces_of,
};

use crate::errors;
use crate::size::Size;

/// What one device's allocations were, one after the other.
#[pyclass(frozen, module = "vramkit._vramkit")]
pub struct RecordedTrace {
    trace: Arc<Trace>,
}

fn value_error(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

impl RecordedTrace {
    /// PyTorch's allocator under the settings that were recorded, and these.
    fn pytorch(&self, settings: &str, capacity: Option<Size>) -> PyResult<Setup> {
        Setup::new(&self.trace, PolicyName::Pytorch, settings, capacity.map(|size| size.0))
            .map_err(value_error)
    }

    fn held_at(&self, at: &str, by: &str) -> PyResult<Vec<Held>> {
        let by: OwnedBy = by.parse().map_err(|error: String| value_error(error))?;
        match at {
            "peak" => Ok(self.trace.held_at_peak(by)),
            "end" => Ok(self.trace.held_after(usize::MAX, by)),
            at => match at.parse() {
                Ok(step) if step < self.trace.operations.len() => Ok(self.trace.held_after(step, by)),
                Ok(step) => {
                    let last = self.trace.operations.len() - 1;
                    Err(value_error(format!("at={step}: there are operations 0 to {last}")))
                }
                Err(_) => Err(value_error(format!(
                    "at={at:?}: use \"peak\", \"end\" or the number of an operation"
                ))),
            },
        }
    }
}

#[pymethods]
impl RecordedTrace {
    /// Reads the traces of a file, or of what would be in one: one a device.
    #[staticmethod]
    #[pyo3(signature = (source, name = ""))]
    fn read(py: Python<'_>, source: Bound<'_, PyAny>, name: &str) -> PyResult<Vec<Self>> {
        let traces = if let Ok(content) = source.cast::<pyo3::types::PyBytes>() {
            let content = content.as_bytes();
            py.detach(|| traces_of(content, Path::new(name)))
        } else {
            let path: PathBuf = source.extract()?;
            py.detach(|| read_traces(&path, &|_| ()))
        };
        match traces {
            Ok(traces) => Ok(traces.into_iter().map(|trace| Self { trace: Arc::new(trace) }).collect()),
            Err(error) => {
                Err(errors::raised(py, "QuestionError", &error.to_string(), &[("status", 2.into())]))
            }
        }
    }

    /// Where it comes from.
    #[getter]
    fn name(&self) -> &str {
        &self.trace.name
    }

    /// Which device of the program it is of, where the recording tells several apart.
    #[getter]
    fn device(&self) -> Option<u32> {
        self.trace.device
    }

    /// Grants and releases.
    #[getter]
    fn operations(&self) -> usize {
        self.trace.operations.len()
    }

    /// Grants.
    #[getter]
    fn allocations(&self) -> usize {
        self.trace.allocations()
    }

    /// Most bytes that were live at once.
    #[getter]
    fn peak_live_bytes(&self) -> u64 {
        self.trace.peak_live().bytes()
    }

    /// Most bytes that the program held from the device, where the recording says.
    #[getter]
    fn recorded_reserved_bytes(&self) -> Option<u64> {
        self.trace.recorded_reserved.map(ByteSize::bytes)
    }

    /// Whether the recording says in which order memory was asked for.
    #[getter]
    fn has_history(&self) -> bool {
        self.trace.has_history
    }

    /// PyTorch's settings under which the program was recorded, as `PYTORCH_CUDA_ALLOC_CONF` has them.
    #[getter]
    fn recorded_settings(&self) -> &str {
        &self.trace.recorded_settings
    }

    /// What is odd about the recording, and what was made of it.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.trace.notes.clone()
    }

    /// Owner, bytes and allocations, most bytes first: at `"peak"`, `"end"` or after an operation; owners are a `"line"`, a `"stack"` or an
    /// `"annotation"`.
    fn held(&self, py: Python<'_>, at: &str, by: &str) -> PyResult<Vec<(String, u64, u64)>> {
        let held = py.detach(|| self.held_at(at, by))?;
        Ok(held.into_iter().map(|held| (held.owner, held.bytes.bytes(), held.allocations)).collect())
    }

    /// Owner and bytes, before in this one and after in another, most grown first.
    fn grown(&self, py: Python<'_>, other: &Self, at: &str, by: &str) -> PyResult<Vec<(String, u64, u64)>> {
        let grown = py.detach(|| PyResult::Ok(grown(&self.held_at(at, by)?, &other.held_at(at, by)?)))?;
        let told = grown.into_iter().filter(|each| each.grown_bytes != 0);
        Ok(told.map(|each| (each.owner, each.before_bytes.bytes(), each.after_bytes.bytes())).collect())
    }

    /// What PyTorch's allocator takes for it under settings: bytes held from the device at most, and how many requests it refuses.
    #[pyo3(signature = (settings, capacity = None))]
    fn replay(&self, py: Python<'_>, settings: &str, capacity: Option<Size>) -> PyResult<(u64, u64)> {
        let setup = self.pytorch(settings, capacity)?;
        let (peak, failures) = py.detach(|| peak_and_failures(&self.trace, &setup));
        Ok((peak.bytes(), failures))
    }

    /// A capacity that it gets through with under settings, and not with 2 MiB less; `None` where no capacity is enough.
    fn least_capacity(&self, py: Python<'_>, settings: &str) -> PyResult<Option<u64>> {
        let setup = self.pytorch(settings, None)?;
        Ok(py.detach(|| least_capacity(&self.trace, &setup)).map(ByteSize::bytes))
    }
}
