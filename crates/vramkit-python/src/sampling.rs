//! A monitor that looks by itself, as a thing that is closed.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use vramkit::monitor::Sampling as Looking;

/// A monitor that looks by itself until this is closed.
#[pyclass(frozen, weakref, module = "vramkit")]
pub struct Sampling {
    looking: Mutex<Option<Looking>>,
}

impl Sampling {
    pub fn of(looking: Looking) -> Self {
        Self { looking: Mutex::new(Some(looking)) }
    }

    fn end(&self, py: Python<'_>) {
        let looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Its thread may be about to call Python.
        py.detach(|| drop(looking));
    }
}

#[pymethods]
impl Sampling {
    /// Ends it; does nothing a second time.
    fn close(&self, py: Python<'_>) {
        self.end(py);
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyTuple>) {
        self.end(py);
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        Python::try_attach(|py| self.end(py));
    }
}
