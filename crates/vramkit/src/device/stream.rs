//! Queues of work on a device, as far as memory needs to know them: when has what was queued up to now been done?
//!
//! The pool records an event when memory is released on a stream, and asks it before another stream gets the
//! memory. Nothing here starts work.

use std::fmt;
use std::sync::Arc;

use super::DeviceError;

/// Names a stream of a device. Streams with equal ids are one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u64);

/// A queue of work on a device.
pub trait Stream: Send + Sync + fmt::Debug {
    /// Its name.
    fn id(&self) -> StreamId;

    /// Marks the end of what has been queued up to now.
    fn record(&self) -> Result<Arc<dyn Event>, DeviceError>;
}

/// A mark in a stream.
pub trait Event: Send + Sync + fmt::Debug {
    /// Whether everything before it has been done.
    fn is_done(&self) -> Result<bool, DeviceError>;

    /// Waits until everything before it has been done.
    fn wait(&self) -> Result<(), DeviceError>;
}
