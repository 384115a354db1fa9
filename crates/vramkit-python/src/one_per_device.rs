//! What a process has one of for each device: made when it is first asked for, the same for everybody from then on.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::sync::PyOnceLock;
use pyo3::{PyClass, PyTypeInfo};

use crate::device::{Place, SimulatedDevice};

/// Of cards and main memory by their ids; a simulated device, which may be gone one day, keeps its own.
pub struct OnePerDevice<T> {
    known: LazyLock<Mutex<HashMap<String, Py<T>>>>,
    simulated: fn(&SimulatedDevice) -> &PyOnceLock<Py<PyAny>>,
}

impl<T: PyClass<Frozen = True> + PyTypeInfo + Sync> OnePerDevice<T> {
    pub const fn new(simulated: fn(&SimulatedDevice) -> &PyOnceLock<Py<PyAny>>) -> Self {
        Self { known: LazyLock::new(Mutex::default), simulated }
    }

    /// The one of a device.
    pub fn get(
        &self,
        py: Python<'_>,
        place: &Place,
        make: impl FnOnce() -> PyResult<Py<T>>,
    ) -> PyResult<Py<T>> {
        if let Place::Simulated(device) = place {
            let kept = (self.simulated)(device.get()).get_or_try_init(py, || make().map(Py::into_any))?;
            return Ok(kept.bind(py).cast::<T>()?.clone().unbind());
        }
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(&place.id()) {
            return Ok(found.clone_ref(py));
        }
        // A driver is asked without the lock.
        let made = make()?;
        Ok(known().entry(place.id()).or_insert(made).clone_ref(py))
    }
}
