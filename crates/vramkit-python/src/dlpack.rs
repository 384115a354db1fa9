//! DLPack (dmlc/dlpack, versions 0 and 1): memory handed to another framework, with a way to say that it is no longer needed.
//!
//! A capsule owns a tensor's description, and the description a share of the memory. Whoever takes the capsule renames it and calls the
//! description's own `deleter`; nobody does where nobody took it, and then the capsule's destructor does.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::Arc;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::memory::{Memory, Where};

const CPU: i32 = 1;
const CUDA: i32 = 2;
const UNSIGNED: u8 = 1;
const PLAIN: &CStr = c"dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";

/// `DLTensor`.
#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device: [i32; 2],
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// `DLManagedTensor`, and what it shows behind it.
#[repr(C)]
struct Plain {
    tensor: Tensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Plain)>,
    shown: Shown,
}

/// `DLManagedTensorVersioned`, and what it shows behind it.
#[repr(C)]
struct Versioned {
    version: [u32; 2],
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Versioned)>,
    flags: u64,
    tensor: Tensor,
    shown: Shown,
}

/// Not part of DLPack: only we look here.
struct Shown {
    shape: i64,
    stride: i64,
    _memory: Arc<Memory>,
}

/// DLPack's words for where memory is.
pub fn device_of(place: Where) -> (i32, i32) {
    match place {
        Where::Card(index) => (CUDA, i32::try_from(index).unwrap_or(i32::MAX)),
        _ => (CPU, 0),
    }
}

fn tensor_of(memory: &Memory, place: Where) -> Tensor {
    let (kind, index) = device_of(place);
    Tensor {
        data: memory.range().base as usize as *mut c_void,
        device: [kind, index],
        ndim: 1,
        code: UNSIGNED,
        bits: 8,
        lanes: 1,
        shape: ptr::null_mut(),
        strides: ptr::null_mut(),
        byte_offset: 0,
    }
}

/// A capsule of memory.
pub fn capsule(
    py: Python<'_>,
    memory: Arc<Memory>,
    place: Where,
    is_versioned: bool,
) -> PyResult<Bound<'_, PyAny>> {
    let tensor = tensor_of(&memory, place);
    let shape = i64::try_from(memory.range().size.bytes()).unwrap_or(i64::MAX);
    let shown = Shown { shape, stride: 1, _memory: memory };
    if is_versioned {
        let version = [1, 0];
        let made = Versioned {
            version,
            context: ptr::null_mut(),
            deleter: Some(delete_versioned),
            flags: 0,
            tensor,
            shown,
        };
        let made = Box::into_raw(Box::new(made));
        // SAFETY: just boxed, and nobody else's yet; the pointers are into the box, which does not move.
        unsafe {
            (*made).tensor.shape = &raw mut (*made).shown.shape;
            (*made).tensor.strides = &raw mut (*made).shown.stride;
            wrap(py, made.cast(), VERSIONED, destroy_versioned, || drop(Box::from_raw(made)))
        }
    } else {
        let made = Plain { tensor, context: ptr::null_mut(), deleter: Some(delete_plain), shown };
        let made = Box::into_raw(Box::new(made));
        // SAFETY: as above.
        unsafe {
            (*made).tensor.shape = &raw mut (*made).shown.shape;
            (*made).tensor.strides = &raw mut (*made).shown.stride;
            wrap(py, made.cast(), PLAIN, destroy_plain, || drop(Box::from_raw(made)))
        }
    }
}

/// Puts a description into a capsule.
///
/// # Safety
/// `made` is what `destroy` is for under this name, and nobody else's.
unsafe fn wrap<'py>(
    py: Python<'py>,
    made: *mut c_void,
    name: &'static CStr,
    destroy: unsafe extern "C" fn(*mut ffi::PyObject),
    undo: impl FnOnce(),
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the pointer is not null and the name lives for ever; what is returned is a new reference, or null with an exception set.
    let capsule =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyCapsule_New(made, name.as_ptr(), Some(destroy))) };
    if capsule.is_err() {
        undo();
    }
    capsule
}

unsafe extern "C" fn delete_plain(made: *mut Plain) {
    // SAFETY: DLPack has a deleter called once, with what it is of, which was boxed in `capsule`.
    drop(unsafe { Box::from_raw(made) });
}

unsafe extern "C" fn delete_versioned(made: *mut Versioned) {
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(made) });
}

unsafe extern "C" fn destroy_plain(capsule: *mut ffi::PyObject) {
    // SAFETY: the interpreter calls a capsule's destructor once, with the capsule. Under its first name it was not taken, so what is in
    // it is still ours; whoever takes it renames it.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, PLAIN.as_ptr()) == 1 {
            delete_plain(ffi::PyCapsule_GetPointer(capsule, PLAIN.as_ptr()).cast());
        }
    }
}

unsafe extern "C" fn destroy_versioned(capsule: *mut ffi::PyObject) {
    // SAFETY: as above.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, VERSIONED.as_ptr()) == 1 {
            delete_versioned(ffi::PyCapsule_GetPointer(capsule, VERSIONED.as_ptr()).cast());
        }
    }
}
