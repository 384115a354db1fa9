//! Ctrl-C and SIGTERM end a search, not the program: what was found so far is still the answer. A second one ends the
//! program. Commands that have no such answer do not ask for this, and end as usual.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
    let raised = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: what ends the program looks at the flag before this signal raises it. Where a handler cannot be
        // had the signal ends the program, as without.
        if flag::register_conditional_shutdown(signal, 128 + signal, raised.clone()).is_ok() {
            let _ = flag::register(signal, raised.clone());
        }
    }
    raised
});

/// Raised by the first signal from now on.
pub fn flag() -> Arc<AtomicBool> {
    INTERRUPTED.clone()
}
