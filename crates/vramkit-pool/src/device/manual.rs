//! A stream whose work is done when the program says so: for devices without streams of their own, and for tests.

use std::sync::{Arc, Condvar, Mutex};

use super::{DeviceError, Stream, StreamEvent, StreamId};
use crate::sync::lock_std;

/// A queue of work that [`finish`](Self::finish) declares done.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::SimulatedDevice, pool::{DeviceMemoryPool, Request}};
/// # let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// # let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
/// use vramkit_pool::device::ManualStream;
/// let stream = ManualStream::new(1);
/// let (id, _) = pool.allocate_id(Request::new(ByteSize::mib(60)))?;
/// pool.release_on(id, &stream)?;
/// assert_eq!(pool.used(), ByteSize::mib(60)); // work on the stream may still use it
/// stream.finish();
/// assert_eq!(pool.used(), ByteSize::ZERO);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ManualStream {
    id: StreamId,
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Events recorded, and how many of them are done.
    counts: Mutex<(u64, u64)>,
    changed: Condvar,
}

impl ManualStream {
    /// A stream with nothing in it, shown by this name. Two streams of one name are two streams.
    pub fn new(id: u64) -> Self {
        Self { id: StreamId::named(id), progress: Arc::default() }
    }

    /// Everything queued up to now is done.
    pub fn finish(&self) {
        let mut counts = lock_std(&self.progress.counts);
        counts.1 = counts.0;
        self.progress.changed.notify_all();
    }
}

impl Stream for ManualStream {
    fn id(&self) -> StreamId {
        self.id
    }

    fn record(&self) -> Result<Arc<dyn StreamEvent>, DeviceError> {
        let mut counts = lock_std(&self.progress.counts);
        counts.0 += 1;
        Ok(Arc::new(ManualEvent { number: counts.0, progress: self.progress.clone() }))
    }
}

#[derive(Debug)]
struct ManualEvent {
    number: u64,
    progress: Arc<Progress>,
}

impl StreamEvent for ManualEvent {
    fn is_done(&self) -> Result<bool, DeviceError> {
        Ok(lock_std(&self.progress.counts).1 >= self.number)
    }

    fn wait(&self) -> Result<(), DeviceError> {
        let counts = lock_std(&self.progress.counts);
        let done = self.progress.changed.wait_while(counts, |counts| counts.1 < self.number);
        drop(done.unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok(())
    }
}
