//! Who is told how an answer gets on, and may end the search for a better one.

use std::sync::Arc;

use vramkit::ByteSize;

/// Told from any thread, between steps of the work: what it does must be quick. Every method does nothing unless it is
/// written, and `()` listens to nothing.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use vramkit_ask::{Listener, ReplayQuestion};
///
/// #[derive(Default)]
/// struct Count(AtomicU64);
///
/// impl Listener for Count {
///     fn advanced(&self, units: u64) {
///         self.0.fetch_add(units, Ordering::Relaxed);
///     }
/// }
///
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("one.trace");
/// # std::fs::write(&file, "a 1 100\nf 1\n")?;
/// let count = Arc::new(Count::default());
/// let question = ReplayQuestion { traces: vec![file], ..ReplayQuestion::default() };
/// vramkit_ask::replay(&question, count.clone())?;
/// assert_eq!(count.0.load(Ordering::Relaxed), 4, "one trace, four policies");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Listener: Send + Sync {
    /// So many units of work are to be done: steps of a run, traces against policies.
    fn begun(&self, units: u64) {
        let _ = units;
    }

    /// So many more are done.
    fn advanced(&self, units: u64) {
        let _ = units;
    }

    /// So many more bytes of a file were read; `of` is how many it has, where that is known.
    fn read(&self, bytes: u64, of: Option<u64>) {
        let _ = (bytes, of);
    }

    /// The search for a plan stands here: no arena is below `bound`, and one of `arena` is known.
    fn planning(&self, bound: ByteSize, arena: ByteSize) {
        let _ = (bound, arena);
    }

    /// Whether a search is to end with the best so far.
    fn is_interrupted(&self) -> bool {
        false
    }
}

impl Listener for () {}

/// Listens to nothing.
pub fn quiet() -> Arc<dyn Listener> {
    Arc::new(())
}
