//! A device as a monitor of Python's sees it: the device's own numbers, and what frameworks of this process hold of it beside our
//! pools. Frameworks are asked through `python/vramkit/frameworks.py`, which imports none.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyModule;
use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::{DeviceName, MemorySource, PoolUse, ProcessUse, Usage};

use crate::interpreter::with_python;

/// A device's source, with frameworks.
pub struct WithFrameworks {
    inner: Arc<dyn MemorySource>,
    id: String,
}

impl WithFrameworks {
    pub fn new(inner: Arc<dyn MemorySource>) -> Self {
        let id = inner.device().id;
        Self { inner, id }
    }

    /// What frameworks have given to tensors on the device and hold from it; `None` when there is none.
    fn held(&self) -> Option<(ByteSize, ByteSize)> {
        // Frameworks hold cards.
        if !self.id.starts_with("cuda:") {
            return None;
        }
        with_python(|py| {
            let asked = PyModule::import(py, "vramkit.frameworks")
                .and_then(|frameworks| frameworks.call_method1("held", (self.id.as_str(),)))
                .and_then(|held| held.extract::<Option<(u64, u64)>>());
            asked.unwrap_or_else(|error| {
                error.write_unraisable(py, None);
                None
            })
        })
        .flatten()
        .map(|(allocated, reserved)| (ByteSize::new(allocated), ByteSize::new(reserved)))
    }
}

/// What this process's trackers hold: our pools, and frameworks. Where none has anything, that is nothing.
fn with(pools: Reading<ByteSize>, framework: Option<ByteSize>) -> Reading<ByteSize> {
    match (pools.value, framework) {
        (Some(ours), Some(theirs)) => Reading::known(ours.saturating_add(theirs), Origin::Framework),
        (None, Some(theirs)) => Reading::known(theirs, Origin::Framework),
        (Some(_), None) => pools,
        (None, None) => Reading::known(ByteSize::ZERO, Origin::Pool),
    }
}

impl MemorySource for WithFrameworks {
    fn device(&self) -> DeviceName {
        self.inner.device()
    }

    fn read(&self) -> Usage {
        let usage = self.inner.read();
        let held = self.held();
        Usage {
            allocated_bytes: with(usage.allocated_bytes, held.map(|held| held.0)),
            reserved_bytes: with(usage.reserved_bytes, held.map(|held| held.1)),
            ..usage
        }
    }

    fn held(&self) -> Option<ByteSize> {
        self.inner.held()
    }

    fn would_grant(&self, bytes: ByteSize) -> Option<bool> {
        self.inner.would_grant(bytes)
    }

    /// Python's own garbage first, since it may hold tensors; then frameworks' caches, then ours.
    fn reclaim(&self) {
        with_python(|py| {
            let released = PyModule::import(py, "vramkit.frameworks")
                .and_then(|frameworks| frameworks.call_method1("release", (self.id.as_str(),)));
            if let Err(error) = released {
                error.write_unraisable(py, None);
            }
        });
        self.inner.reclaim();
    }

    fn processes(&self) -> Reading<Vec<ProcessUse>> {
        self.inner.processes()
    }

    fn pools(&self, with_ledgers: bool) -> Vec<PoolUse> {
        self.inner.pools(with_ledgers)
    }
}
