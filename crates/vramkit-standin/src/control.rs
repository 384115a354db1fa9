//! What tests in the same process ask of the stand-in.

use std::ffi::{CStr, c_char, c_int, c_uint};

use crate::process;

/// Forgets everything, as a new process would, and takes cards and memory from the environment again.
#[unsafe(no_mangle)]
pub extern "C" fn standin_reset() {
    process::reset();
}

/// Makes the `nth` call from now of a function fail with a code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn standin_fail(function: *const c_char, nth: c_uint, error: c_int) {
    // SAFETY: tests give a text that ends with 0.
    let function = unsafe { CStr::from_ptr(function) }.to_string_lossy().into_owned();
    process::fail(function, nth, error);
}

/// Says how much other processes hold.
#[unsafe(no_mangle)]
pub extern "C" fn standin_others_hold(bytes: u64) {
    process::others_hold(bytes);
}

/// Holds all streams, or lets them go.
#[unsafe(no_mangle)]
pub extern "C" fn standin_hold_streams(held: c_int) {
    process::hold_streams(held != 0);
}

/// How many pages and allocations exist, in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn standin_bytes_created() -> u64 {
    process::created()
}
