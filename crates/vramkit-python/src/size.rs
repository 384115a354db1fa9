//! Sizes and times as Python says them: a number of bytes or text with a unit, and `_mb`, which is MiB (2^20 bytes) as in the names that people
//! know.

use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString};
use vramkit::ByteSize;

/// `1048576`, `"24GiB"`, `"700MB"`.
pub struct Size(pub ByteSize);

impl<'a, 'py> FromPyObject<'a, 'py> for Size {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(text) = given.cast::<PyString>() {
            let size: Result<ByteSize, _> = text.to_cow()?.parse();
            return size.map(Self).map_err(|error| PyValueError::new_err(error.to_string()));
        }
        // True would be one byte.
        let number: Option<i128> = if given.is_instance_of::<PyBool>() { None } else { given.extract().ok() };
        let Some(bytes) = number else {
            let kind = given.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "a size is a whole number of bytes or text such as \"24GiB\", not {kind}"
            )));
        };
        let bytes = u64::try_from(bytes).map_err(|_| {
            PyValueError::new_err(format!("a size of {bytes} bytes: it must be within 0 and 2^64 - 1"))
        })?;
        Ok(Self(ByteSize::new(bytes)))
    }
}

/// A number of MiB, which is no text and no truth value.
pub struct Mb(pub f64);

impl<'a, 'py> FromPyObject<'a, 'py> for Mb {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let number = if given.is_instance_of::<PyBool>() { None } else { given.extract().ok() };
        number.map(Self).ok_or_else(|| {
            let kind = given.get_type().name().map_or_else(|_| "that".to_owned(), |name| name.to_string());
            PyTypeError::new_err(format!(
                "a number of MiB, not {kind}: the methods that end in _bytes take text such as \"2GiB\""
            ))
        })
    }
}

/// So many MiB, which may be a fraction; a part of a byte counts as one.
pub fn from_mb(name: &str, mb: f64) -> PyResult<ByteSize> {
    let bytes = mb * MIB;
    if mb.is_finite() && mb >= 0.0 && bytes < u64::MAX as f64 {
        Ok(ByteSize::new(bytes.ceil() as u64))
    } else {
        Err(PyValueError::new_err(format!("{name}={mb}: MiB, at least 0 and below 2^44")))
    }
}

/// A size in MiB.
pub fn to_mb(size: ByteSize) -> f64 {
    size.bytes() as f64 / MIB
}

/// A time in seconds.
pub fn seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| *time < Duration::from_secs(1 << 31))
        .ok_or_else(|| PyValueError::new_err(format!("{name}={seconds}: seconds, at least 0")))
}

const MIB: f64 = 1_048_576.0;

/// A size for people.
///
/// >>> vramkit.format_bytes(9_633_792)
/// '9.19 MiB'
#[pyfunction]
#[pyo3(signature = (size, /))]
pub fn format_bytes(size: Size) -> String {
    size.0.to_string()
}

/// The number of bytes that a text with a unit says: `MB` is 10^6, `MiB` 2^20.
///
/// >>> vramkit.parse_bytes("1.5GiB")
/// 1610612736
#[pyfunction]
#[pyo3(signature = (size, /))]
pub fn parse_bytes(size: Size) -> u64 {
    size.0.bytes()
}
