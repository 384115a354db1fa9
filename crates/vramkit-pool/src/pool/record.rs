//! Every allocation, release and trim of a pool as it happens, to be replayed later.
//!
//! A pool that records calls a function with each, outside its locks: a release before it is done, an allocation after,
//! so that what one thread passes to another is in order. `vramkit-replay` writes and reads files of them.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::sync::{AtomicU32, Ordering, lock_std};
use vramkit_units::ByteSize;

/// One allocation, release or trim.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::SimulatedDevice, pool::{DeviceMemoryPool, Request}};
/// # let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// # let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
/// use std::sync::Mutex;
/// use vramkit_pool::pool::Recorded;
/// let seen = Arc::new(Mutex::new(Vec::new()));
/// let sink = seen.clone();
/// pool.record(move |recorded: &Recorded| sink.lock().unwrap().push(recorded.clone()));
/// drop(pool.allocate(Request::new(ByteSize::mib(1)))?);
/// assert!(matches!(seen.lock().unwrap()[..], [Recorded::Allocate { .. }, Recorded::Release { .. }]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Recorded {
    /// Memory was granted.
    Allocate {
        /// Names the allocation until it is released.
        id: String,
        /// Bytes asked for.
        bytes: ByteSize,
        /// Where they are on the device.
        #[serde(default)]
        address: u64,
        /// For whom: the model and, in brackets, what for; empty for nobody in particular.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        owner: String,
        /// What the requester calls it; empty when it has no tag.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        tag: String,
    },
    /// Memory is given back.
    Release {
        /// Which allocation.
        id: String,
    },
    /// What idled was given back to the device.
    Trim {},
}

/// What a recording pool calls.
pub(super) type Recorder = Arc<dyn Fn(&Recorded) + Send + Sync>;

/// Whether a pool records, and to what. Nobody holds the lock while the recorder runs. Apart from what changes with every
/// grant, since every grant looks at it.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Recording {
    /// 0 while there is no recorder: all that a request looks at.
    on: AtomicU32,
    recorder: Mutex<Option<Recorder>>,
}

impl Recording {
    #[inline(always)]
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire) != 0
    }

    /// Records to this from now on; false when the pool records to something already.
    pub(super) fn start(&self, recorder: Recorder) -> bool {
        let mut current = lock_std(&self.recorder);
        if current.is_some() {
            return false;
        }
        *current = Some(recorder);
        self.on.store(1, Ordering::Release);
        true
    }

    /// Takes the recorder out; it is the caller's to drop.
    pub(super) fn stop(&self) -> Option<Recorder> {
        let mut current = lock_std(&self.recorder);
        self.on.store(0, Ordering::Release);
        current.take()
    }

    pub(super) fn recorder(&self) -> Option<Recorder> {
        lock_std(&self.recorder).clone()
    }
}
