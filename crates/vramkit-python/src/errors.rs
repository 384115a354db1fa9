//! Errors and warnings as Python's classes, which are in `python/vramkit/errors.py`: the class says what happened, its attributes are
//! the numbers, its text is what the library says.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule, PyType};
use serde_json::Value;
use vramkit::ByteSize;
use vramkit::pool::PoolError;

/// A class of `vramkit.errors`.
pub fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyType>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || PyModule::import(py, "vramkit.errors").map(Bound::unbind))?;
    Ok(module.bind(py).getattr(name)?.cast_into()?)
}

/// An instance of a class of `vramkit.errors`, with numbers as attributes.
pub fn instance<'py>(
    py: Python<'py>,
    name: &str,
    text: &str,
    numbers: &[(&str, Value)],
) -> PyResult<Bound<'py, PyAny>> {
    let attributes = PyDict::new(py);
    for (name, value) in numbers {
        attributes.set_item(name, pythonize::pythonize(py, value)?)?;
    }
    class(py, name)?.call((text,), Some(&attributes))
}

/// The same, to be raised.
pub fn raised(py: Python<'_>, name: &str, text: &str, numbers: &[(&str, Value)]) -> PyErr {
    instance(py, name, text, numbers).map_or_else(|error| error, PyErr::from_value)
}

/// What a pool refused, and why.
pub fn of_pool(py: Python<'_>, error: &PoolError) -> PyErr {
    let bytes = |size: ByteSize| Value::from(size.bytes());
    match error {
        PoolError::OutOfMemory(refused) => raised(
            py,
            "OutOfMemoryError",
            &error.to_string(),
            &[
                ("device", refused.device.as_str().into()),
                ("requested_bytes", bytes(refused.requested)),
                ("largest_free_bytes", bytes(refused.largest_free)),
                ("free_bytes", bytes(refused.free)),
                ("capacity_bytes", bytes(refused.capacity)),
                ("most_bytes", bytes(refused.most)),
                ("report", refused.report().into()),
            ],
        ),
        PoolError::UnknownAllocation(_) => raised(py, "ReleasedError", &error.to_string(), &[]),
        error => raised(py, "PoolError", &error.to_string(), &[]),
    }
}

/// A warning of a class of `vramkit.errors`, where the caller stands.
pub fn warn(py: Python<'_>, name: &str, text: &str) -> PyResult<()> {
    let text = std::ffi::CString::new(text.replace('\0', " ")).unwrap_or_default();
    PyErr::warn(py, class(py, name)?.as_any(), &text, 1)
}

/// A warning that is already an instance.
pub fn warn_of(py: Python<'_>, warning: &Bound<'_, PyAny>) -> PyResult<()> {
    py.import("warnings")?.call_method1("warn", (warning,))?;
    Ok(())
}
