//! A callable of Python's that is called from threads of ours: with the interpreter's lock and no other. What it raises is told to
//! `sys.unraisablehook`, and changes nothing else. Once the interpreter ends, it is not called any more.
//!
//! Python's object owns its callables, so that the collector sees a callable which refers to it; what is called elsewhere looks there.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::{PyKeyboardInterrupt, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};

use crate::interpreter::with_python;

type Slot = Arc<Mutex<Option<Py<PyAny>>>>;

/// A callable; nothing once its owner was collected.
#[derive(Clone)]
pub struct Callback(Slot);

impl<'a, 'py> FromPyObject<'a, 'py> for Callback {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if given.is_callable() {
            return Ok(Self(Arc::new(Mutex::new(Some(given.to_owned().unbind())))));
        }
        Err(PyTypeError::new_err(format!("a callable is needed, not {}", given.get_type().name()?)))
    }
}

impl Callback {
    /// Calls it with what is made for it.
    pub fn call(&self, arguments: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>>) {
        with_python(|py| {
            let callable = {
                let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                slot.as_ref().map(|callable| callable.clone_ref(py))
            };
            let Some(callable) = callable else { return };
            let callable = callable.bind(py);
            if let Err(error) = arguments(py).and_then(|arguments| callable.call1(arguments)) {
                // Ctrl-C is the program's, wherever it came.
                if error.is_instance_of::<PyKeyboardInterrupt>(py) {
                    INTERRUPTED.set(true);
                    return;
                }
                error.write_unraisable(py, Some(callable));
            }
        });
    }
}

/// What a call came to in which callables may have been called: an error where one of them was interrupted.
pub fn interrupted<T>(outcome: T) -> PyResult<T> {
    if INTERRUPTED.take() { Err(PyKeyboardInterrupt::new_err(())) } else { Ok(outcome) }
}

thread_local! {
    static INTERRUPTED: Cell<bool> = const { Cell::new(false) };
}

/// The callables of one object of Python's.
#[derive(Default)]
pub struct Callbacks(Mutex<Vec<Slot>>);

impl Callbacks {
    /// Owns one more.
    pub fn own(&self, callback: &Callback) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(callback.0.clone());
    }

    /// Shows the collector what is owned. Who holds a lock now is seen another time.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(all) = self.0.try_lock() else { return Ok(()) };
        for slot in all.iter() {
            if let Ok(slot) = slot.try_lock() {
                visit.call(&*slot)?;
            }
        }
        Ok(())
    }

    /// Lets go of it.
    pub fn clear(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let callables: Vec<_> =
            all.iter().map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).take()).collect();
        drop(callables);
    }
}
