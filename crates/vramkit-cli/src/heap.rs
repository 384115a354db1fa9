//! How the C library keeps what is freed, for a program that runs for months and makes large texts every second.
#![allow(unsafe_code)]

/// Buffers of this size or more go back to the system as they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 128 << 10;

/// Keeps little. As it comes, glibc raises the size from which on a buffer is one of the system's to that of the largest that was
/// freed, and has a heap for each of several threads: the texts of ticks then leave holes that a few small things keep open.
pub fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the calls set numbers that malloc goes by from here on, and touch no memory that is in use; each takes a number in
    // its range, and one that it does not take changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
