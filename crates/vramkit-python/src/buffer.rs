//! Memory of a pool as Python sees it: looked into without a copy by whoever speaks DLPack, the buffer protocol or CUDA's array
//! interface, and alive for as long as anybody looks.
//!
//! ```text
//! pool ──► Buffer ──► DLPack capsule, memoryview ──► NumPy, PyTorch, CuPy
//!             │                 │
//!          release          looks no more
//!             └──── both ───────┴──► the memory goes back to the pool
//! ```
//!
//! Released, a buffer gives no more looks; those that there are stay good, and the memory is nobody else's until the last is gone.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyModule, PyTuple};
use vramkit::ByteSize;

use crate::dlpack;
use crate::errors;
use crate::memory::{Memory, Where};
use crate::size::to_mb;

/// Memory of a pool. `numpy.asarray(buffer)`, `memoryview(buffer)`, `torch.from_dlpack(buffer)` and `cupy.from_dlpack(buffer)` look
/// into it without a copy; `buffer.array(dtype)` does for its own backend. It goes back to the pool when it is released or nobody has
/// it any more, and when nobody looks into it.
///
/// >>> pool = vramkit.GPUMemoryPool("host")
/// >>> with pool.allocate(1) as buffer:
/// ...     memoryview(buffer)[0] = 7
/// ...     bytes(memoryview(buffer)[:2])
/// b'\x07\x00'
/// >>> buffer.released
/// True
#[pyclass(frozen, weakref, module = "vramkit")]
pub struct Buffer {
    /// The pool's number.
    pub pool: u64,
    /// For which framework.
    pub backend: &'static str,
    place: Where,
    id: Arc<str>,
    size: ByteSize,
    state: Mutex<State>,
}

struct State {
    memory: Option<Arc<Memory>>,
    is_released: bool,
    /// Looks by the buffer protocol.
    looks: usize,
}

impl Buffer {
    pub fn new(
        pool: u64,
        backend: &'static str,
        place: Where,
        id: Arc<str>,
        size: ByteSize,
        memory: Memory,
    ) -> Self {
        let state = State { memory: Some(Arc::new(memory)), is_released: false, looks: 0 };
        Self { pool, backend, place, id, size, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The memory, while it may be looked into.
    fn live(&self, py: Python<'_>) -> PyResult<Arc<Memory>> {
        let memory = {
            let state = self.state();
            state.memory.clone().filter(|_| !state.is_released)
        };
        memory.ok_or_else(|| self.gone(py))
    }

    fn gone(&self, py: Python<'_>) -> PyErr {
        let text = format!("this buffer of {} on {} was released: allocate another", self.size, self.id);
        errors::raised(py, "ReleasedError", &text, &[])
    }

    /// Gives it back.
    pub fn give_back(&self, py: Python<'_>) -> PyResult<()> {
        let memory = {
            let mut state = self.state();
            if state.is_released {
                drop(state);
                let text = format!("this buffer of {} on {} was released before", self.size, self.id);
                return Err(errors::raised(py, "ReleasedError", &text, &[]));
            }
            state.is_released = true;
            if state.looks == 0 { state.memory.take() } else { None }
        };
        match memory {
            Some(memory) if !memory.goes_back_at_once() => py.detach(|| drop(memory)),
            memory => drop(memory),
        }
        Ok(())
    }

    fn address(&self, memory: &Memory) -> *mut c_void {
        memory.range().base as usize as *mut c_void
    }

    /// A module of a framework.
    fn framework<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyModule>> {
        PyModule::import(py, name).map_err(|error| {
            let text = format!("{name} cannot be imported ({error}): install it, or use another backend");
            errors::raised(py, "BackendError", &text, &[])
        })
    }

    fn is_in_this_process(&self) -> PyResult<()> {
        if self.place == Where::Host {
            return Ok(());
        }
        let text = format!("the buffer is on {}: this process has no view of it", self.id);
        Err(PyBufferError::new_err(text))
    }

    fn is_nowhere(&self) -> PyResult<()> {
        if self.place == Where::Nowhere {
            let text = format!("{} is a simulated device: there is no memory to look into", self.id);
            return Err(PyBufferError::new_err(text));
        }
        Ok(())
    }
}

#[pymethods]
impl Buffer {
    /// Bytes that were asked for.
    #[getter]
    fn nbytes(&self) -> u64 {
        self.size.bytes()
    }

    /// The same, in MiB.
    #[getter]
    fn size_mb(&self) -> f64 {
        to_mb(self.size)
    }

    /// For which framework it was allocated: `numpy`, `pytorch`, `cupy`.
    #[getter]
    fn backend(&self) -> &str {
        self.backend
    }

    /// The device's id: `cuda:0`, `host`.
    #[getter]
    fn device(&self) -> &str {
        &self.id
    }

    /// Its first address on the device.
    #[getter]
    fn ptr(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.live(py)?.shown().range().base)
    }

    /// Whether it was released.
    #[getter]
    fn released(&self) -> bool {
        self.state().is_released
    }

    /// Gives the memory back to the pool, or says that it is to go when nobody looks into it any more. A second time is an error.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.give_back(py)
    }

    /// What its own backend calls an array, over the same memory: `numpy.ndarray`, `torch.Tensor`, `cupy.ndarray`. Without a type, bytes.
    #[pyo3(signature = (dtype = None))]
    fn array<'py>(slf: &Bound<'py, Self>, dtype: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        match slf.get().backend {
            "pytorch" => Self::torch(slf, dtype),
            "cupy" => Self::cupy(slf, dtype),
            _ => Self::numpy(slf, dtype),
        }
    }

    /// A `numpy.ndarray` over the same memory.
    #[pyo3(signature = (dtype = None))]
    fn numpy<'py>(slf: &Bound<'py, Self>, dtype: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().live(slf.py())?;
        let numpy = slf.get().framework(slf.py(), "numpy")?;
        let dtype = match dtype {
            Some(dtype) => dtype,
            None => numpy.getattr("uint8")?,
        };
        numpy.call_method1("frombuffer", (slf, dtype))
    }

    /// A `torch.Tensor` over the same memory.
    #[pyo3(signature = (dtype = None))]
    fn torch<'py>(slf: &Bound<'py, Self>, dtype: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().live(slf.py())?;
        let tensor = slf.get().framework(slf.py(), "torch")?.call_method1("from_dlpack", (slf,))?;
        match dtype {
            Some(dtype) => tensor.call_method1("view", (dtype,)),
            None => Ok(tensor),
        }
    }

    /// A `cupy.ndarray` over the same memory.
    #[pyo3(signature = (dtype = None))]
    fn cupy<'py>(slf: &Bound<'py, Self>, dtype: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().live(slf.py())?;
        let array = slf.get().framework(slf.py(), "cupy")?.call_method1("from_dlpack", (slf,))?;
        match dtype {
            Some(dtype) => array.call_method1("view", (dtype,)),
            None => Ok(array),
        }
    }

    /// For `numpy.asarray`, which asks here where it finds no memory to look into: says why.
    #[pyo3(signature = (dtype = None, copy = None))]
    fn __array__<'py>(
        slf: &Bound<'py, Self>,
        dtype: Option<Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.get().live(slf.py())?;
        slf.get().is_in_this_process()?;
        let array = Self::numpy(slf, dtype)?;
        if copy == Some(true) { array.call_method0("copy") } else { Ok(array) }
    }

    /// DLPack: which kind of device, and which of them.
    fn __dlpack_device__(&self) -> PyResult<(i32, i32)> {
        self.is_nowhere()?;
        Ok(dlpack::device_of(self.place))
    }

    /// DLPack: the memory as bytes in a row. Nothing is queued that a stream would wait for.
    #[pyo3(signature = (*, stream = None, max_version = None, dl_device = None, copy = None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = stream;
        self.is_nowhere()?;
        if copy == Some(true) {
            return Err(PyBufferError::new_err("a buffer is never copied: copy what is made of it"));
        }
        if dl_device.is_some_and(|device| device != dlpack::device_of(self.place)) {
            return Err(PyBufferError::new_err(format!("the buffer is on {} and is never copied", self.id)));
        }
        let is_versioned = max_version.is_some_and(|(major, _)| major >= 1);
        dlpack::capsule(py, self.live(py)?.shown(), self.place, is_versioned)
    }

    /// CUDA's array interface, version 3; of memory on a card alone.
    #[getter]
    fn __cuda_array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        if !matches!(self.place, Where::Card(_)) {
            let text = format!("the buffer is on {}, not on a card", self.id);
            return Err(pyo3::exceptions::PyAttributeError::new_err(text));
        }
        let interface = PyDict::new(py);
        interface.set_item("shape", (self.size.bytes(),))?;
        interface.set_item("typestr", "|u1")?;
        interface.set_item("data", (self.ptr(py)?, false))?;
        interface.set_item("version", 3)?;
        interface.set_item("strides", py.None())?;
        Ok(interface)
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let (py, buffer) = (slf.py(), slf.get());
        buffer.is_in_this_process()?;
        let memory = buffer.live(py)?;
        let length = ffi::Py_ssize_t::try_from(buffer.size.bytes()).unwrap_or(ffi::Py_ssize_t::MAX);
        // SAFETY: `view` is the interpreter's, to be filled. The memory is host memory of `length` bytes, initialised when it was
        // committed, and stays this buffer's until `__releasebuffer__` has been called for every look: a release leaves it alone while
        // `looks` is not 0, and the view keeps the buffer itself alive.
        let filled =
            unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), buffer.address(&memory), length, 0, flags) };
        if filled != 0 {
            return Err(PyErr::fetch(py));
        }
        let mut state = buffer.state();
        state.looks += 1;
        if state.is_released && state.memory.is_none() {
            // Another thread released it meanwhile; it stays this look's until the look is over.
            state.memory = Some(memory);
        }
        Ok(())
    }

    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        let memory = {
            let mut state = self.state();
            state.looks -= 1;
            if state.looks == 0 && state.is_released { state.memory.take() } else { None }
        };
        drop(memory);
    }

    fn __len__(&self) -> usize {
        usize::try_from(self.size.bytes()).unwrap_or(usize::MAX)
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().live(slf.py())?;
        Ok(slf)
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, py: Python<'_>, _raised: &Bound<'_, PyTuple>) -> PyResult<()> {
        if self.released() { Ok(()) } else { self.give_back(py) }
    }

    fn __repr__(&self) -> String {
        let state = if self.released() { ", released" } else { "" };
        format!("Buffer({} on {}, {}{state})", self.size, self.id, self.backend)
    }
}
