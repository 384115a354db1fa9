//! Queues of work on a device, as far as memory needs to know them: when has what was queued up to now been done?
//!
//! The pool records an event when memory is released on a stream, and asks it before another stream gets the
//! memory. Nothing here starts work.
//!
//! Which stream it is, is said by an id of ours. A driver's handle will not do: the driver gives the handle of a stream
//! that was destroyed to the next one at once, while work of the first may still run.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::DeviceError;

/// Which stream: issued once in the life of the process, so that streams with equal ids are one queue.
///
/// Two values for one queue may have two ids; that costs a wait where there need be none, and nothing else.
///
/// ```
/// use vramkit_pool::device::StreamId;
///
/// let (first, second) = (StreamId::named(7), StreamId::named(7));
/// assert_ne!(first, second); // a name need not be unique
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId {
    number: u64,
    name: Option<u64>,
}

impl StreamId {
    /// An id that no other stream has, had or will have.
    pub fn issue() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { number: NEXT.fetch_add(1, Relaxed), name: None }
    }

    /// As [`issue`](Self::issue), shown with a name that need not be unique.
    pub fn named(name: u64) -> Self {
        Self { name: Some(name), ..Self::issue() }
    }

    /// The name that it was issued with.
    pub fn name(self) -> Option<u64> {
        self.name
    }
}

/// The number, and the name where there is one: `stream #3`, `stream 7 (#3)`.
impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "stream {name} (#{})", self.number),
            None => write!(f, "stream #{}", self.number),
        }
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A queue of work on a device.
pub trait Stream: Send + Sync + fmt::Debug {
    /// Which one it is: the same for as long as the value lives, and [issued](StreamId::issue) for it.
    fn id(&self) -> StreamId;

    /// Marks the end of what has been queued up to now.
    fn record(&self) -> Result<Arc<dyn StreamEvent>, DeviceError>;
}

/// A mark in a stream.
pub trait StreamEvent: Send + Sync + fmt::Debug {
    /// Whether everything before it has been done.
    fn is_done(&self) -> Result<bool, DeviceError>;

    /// Waits until everything before it has been done.
    fn wait(&self) -> Result<(), DeviceError>;
}
