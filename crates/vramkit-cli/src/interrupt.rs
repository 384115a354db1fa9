//! Ctrl-C ends a search, not the program: what was found so far is still the answer. A second one ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Raised by the first Ctrl-C from now on.
pub fn flag() -> &'static AtomicBool {
    // A handler that is there already is this one.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    &INTERRUPTED
}
