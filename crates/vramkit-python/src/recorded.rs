//! A recording of a program's allocations: PyTorch's memory snapshots above all, and everything else that `replay` reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use vramkit::ByteSize;
use vramkit_replay::{Held, PolicyName, Trace, least_capacity, read_traces, replay, traces_of};

use crate::errors;
use crate::size::Size;

/// What one device's allocations were, one after the other.
#[pyclass(frozen, module = "vramkit._vramkit")]
pub struct RecordedTrace {
    trace: Arc<Trace>,
}

fn policy(name: &str) -> PyResult<PolicyName> {
    name.parse().map_err(|error: String| PyValueError::new_err(error))
}

#[pymethods]
impl RecordedTrace {
    /// Reads the traces of a file, or of what would be in one: one a device.
    #[staticmethod]
    #[pyo3(signature = (source, name = ""))]
    fn read(py: Python<'_>, source: Bound<'_, PyAny>, name: &str) -> PyResult<Vec<Self>> {
        let traces = if let Ok(content) = source.cast::<pyo3::types::PyBytes>() {
            let content = content.as_bytes().to_vec();
            py.detach(|| traces_of(content, Path::new(name)))
        } else {
            let path: PathBuf = source.extract()?;
            py.detach(|| read_traces(&path))
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

    /// Owner, bytes and allocations, most bytes first: at the peak, or at the end.
    #[pyo3(signature = (at_peak = true))]
    fn held(&self, py: Python<'_>, at_peak: bool) -> Vec<(String, u64, u64)> {
        let step = if at_peak { self.trace.peak_at() } else { usize::MAX };
        let held: Vec<Held> = py.detach(|| self.trace.held_after(step));
        held.into_iter().map(|held| (held.owner, held.bytes.bytes(), held.allocations)).collect()
    }

    /// What a policy takes for it: bytes held from the device at most, and how many requests it refuses.
    #[pyo3(signature = (policy, capacity = None))]
    fn replay(&self, py: Python<'_>, policy: &str, capacity: Option<Size>) -> PyResult<(u64, u64)> {
        let policy = self::policy(policy)?;
        let report = py.detach(|| replay(&self.trace, policy, capacity.map(|size| size.0)));
        Ok((report.peak_committed_bytes.bytes(), report.failures))
    }

    /// A capacity that a policy gets through with, and not with 2 MiB less; `None` where no capacity is enough.
    fn least_capacity(&self, py: Python<'_>, policy: &str) -> PyResult<Option<u64>> {
        let policy = self::policy(policy)?;
        Ok(py.detach(|| least_capacity(&self.trace, policy)).map(ByteSize::bytes))
    }
}
