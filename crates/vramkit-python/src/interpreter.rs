//! The way into Python for threads of ours: open until the interpreter ends.
//!
//! A thread that asks for the interpreter's lock while the interpreter ends is ended itself, in the middle of what it does. So before it
//! ends, this way in is closed: who is inside comes out, and nobody enters any more.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyCFunction;

static CLOSED: AtomicBool = AtomicBool::new(false);
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static PROCESS: AtomicU32 = AtomicU32::new(0);

/// Whoever does not come out by then is left to the interpreter, as its own threads are.
const LONGEST: Duration = Duration::from_secs(5);

struct Inside;

impl Inside {
    fn enter() -> Option<Self> {
        INSIDE.fetch_add(1, SeqCst);
        let inside = Self;
        (!CLOSED.load(SeqCst)).then_some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, SeqCst);
    }
}

/// Does something in Python; `None` once the interpreter ends.
pub fn with_python<R>(work: impl for<'py> FnOnce(Python<'py>) -> R) -> Option<R> {
    let _inside = Inside::enter()?;
    Python::try_attach(work)
}

/// Closes it when the interpreter ends.
pub fn close_at_exit(py: Python<'_>) -> PyResult<()> {
    PROCESS.store(std::process::id(), SeqCst);
    let close = PyCFunction::new_closure(py, None, None, |arguments, _| close(arguments.py()))?;
    py.import("atexit")?.call_method1("register", (close,))?;
    Ok(())
}

fn close(py: Python<'_>) {
    CLOSED.store(true, SeqCst);
    // A forked child has the count of its parent's threads, and not the threads.
    if std::process::id() == PROCESS.load(SeqCst) {
        py.detach(|| {
            let until = Instant::now() + LONGEST;
            while INSIDE.load(SeqCst) > 0 && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }
}
