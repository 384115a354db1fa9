//! A callable of Python's that is called from threads of ours: with the interpreter's lock and no other. What it raises is told to
//! `sys.unraisablehook`, and changes nothing else. Once the interpreter ends, it is not called any more.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::interpreter::with_python;

/// A callable.
#[derive(Clone)]
pub struct Callback(Arc<Py<PyAny>>);

impl<'a, 'py> FromPyObject<'a, 'py> for Callback {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if given.is_callable() {
            return Ok(Self(Arc::new(given.to_owned().unbind())));
        }
        Err(PyTypeError::new_err(format!("a callable is needed, not {}", given.get_type().name()?)))
    }
}

impl Callback {
    /// Calls it with what is made for it.
    pub fn call(&self, arguments: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>>) {
        with_python(|py| {
            let callable = self.0.bind(py);
            if let Err(error) = arguments(py).and_then(|arguments| callable.call1(arguments)) {
                error.write_unraisable(py, Some(callable));
            }
        });
    }
}
