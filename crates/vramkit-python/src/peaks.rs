//! The most that this process's pools had given to allocations on a device while somebody watched.
//!
//! Pools of Python's tell of every grant as long as somebody watches; otherwise a grant costs one look at a counter.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::prelude::*;
use vramkit::device::Device;
use vramkit::pool::{DeviceKey, held_by_pools};

use crate::device::Place;

struct Watch {
    key: DeviceKey,
    peak: AtomicU64,
}

static WATCHES: Mutex<Vec<Weak<Watch>>> = Mutex::new(Vec::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// What pools have given to allocations on a device.
fn allocated(key: &DeviceKey) -> u64 {
    held_by_pools(key.clone()).map_or(0, |(allocated, _)| allocated.bytes())
}

/// A pool has granted something.
pub fn granted() {
    if COUNT.load(Relaxed) > 0 {
        let watches: Vec<Arc<Watch>> = {
            let mut all = WATCHES.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|watch| watch.strong_count() > 0);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        watches.iter().for_each(|watch| {
            watch.peak.fetch_max(allocated(&watch.key), Relaxed);
        });
    }
}

/// Watches the most that this process's pools give to allocations on a device, from when it is made.
#[pyclass(frozen, module = "vramkit._vramkit")]
pub struct PeakWatch {
    watch: Arc<Watch>,
}

#[pymethods]
impl PeakWatch {
    #[new]
    fn new(device: Place) -> Self {
        let key = match &device {
            Place::Simulated(device) => DeviceKey::from(&*device.get().device as &dyn Device),
            place => DeviceKey::from(place.id().as_str()),
        };
        let peak = AtomicU64::new(allocated(&key));
        let watch = Arc::new(Watch { key, peak });
        WATCHES.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&watch));
        COUNT.fetch_add(1, Relaxed);
        Self { watch }
    }

    /// The most so far, in bytes.
    #[getter]
    fn peak_bytes(&self) -> u64 {
        self.watch.peak.fetch_max(allocated(&self.watch.key), Relaxed).max(allocated(&self.watch.key))
    }

    /// What is given to allocations now, in bytes.
    #[getter]
    fn allocated_bytes(&self) -> u64 {
        allocated(&self.watch.key)
    }

    /// What pools hold from the device now, in bytes.
    #[getter]
    fn reserved_bytes(&self) -> u64 {
        held_by_pools(self.watch.key.clone()).map_or(0, |(_, reserved)| reserved.bytes())
    }
}

impl Drop for PeakWatch {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Relaxed);
    }
}
