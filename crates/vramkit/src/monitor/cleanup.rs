//! Freeing memory on purpose: callbacks of the program, then what the source itself can give back, with both amounts before
//! and after. No lock is held while any of it runs.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use serde::Serialize;

use super::snapshot::Usage;
use super::vram::VramMonitor;
use crate::device::Reading;
use crate::sync::lock_std;
use crate::units::ByteSize;

/// Why memory is cleaned up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CleanupReason {
    /// Somebody asked.
    Asked,
    /// A snapshot found the source fuller than the threshold.
    Threshold,
    /// The soft limit was passed.
    SoftLimit,
    /// The hard limit was passed.
    HardLimit,
}

/// What a cleanup did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CleanupReport {
    /// Why.
    pub reason: CleanupReason,
    /// In allocations, before and after.
    pub allocated_bytes: [Option<ByteSize>; 2],
    /// Held from the device, before and after.
    pub reserved_bytes: [Option<ByteSize>; 2],
    /// Less in allocations than before.
    pub freed_allocated_bytes: ByteSize,
    /// Less held from the device than before.
    pub freed_reserved_bytes: ByteSize,
}

pub(super) type Callback = Arc<dyn Fn(CleanupReason) + Send + Sync>;

impl VramMonitor {
    /// Calls a function that may free memory at every cleanup, without any lock of the monitor.
    pub fn register_cleanup_callback(&self, callback: impl Fn(CleanupReason) + Send + Sync + 'static) {
        lock_std(&self.shared.callbacks).push(Arc::new(callback));
    }

    /// Frees what can be freed: the callbacks, then the source itself.
    pub fn cleanup(&self) -> CleanupReport {
        self.run_cleanup(CleanupReason::Asked)
    }

    pub(super) fn run_cleanup(&self, reason: CleanupReason) -> CleanupReport {
        let before = self.shared.source.read();
        let callbacks = lock_std(&self.shared.callbacks).clone();
        callbacks.iter().for_each(|callback| callback(reason));
        self.shared.source.reclaim();
        let after = self.shared.source.read();
        self.shared.cleanups.fetch_add(1, Relaxed);
        lock_std(&self.shared.state).last_cleanup = Some(Instant::now());
        let pair = |of: fn(&Usage) -> &Reading<ByteSize>| [of(&before).value, of(&after).value];
        let freed = |pair: [Option<ByteSize>; 2]| match pair {
            [Some(before), Some(after)] => before.saturating_sub(after),
            _ => ByteSize::ZERO,
        };
        let (allocated, reserved) =
            (pair(|usage| &usage.allocated_bytes), pair(|usage| &usage.reserved_bytes));
        let report = CleanupReport {
            reason,
            allocated_bytes: allocated,
            reserved_bytes: reserved,
            freed_allocated_bytes: freed(allocated),
            freed_reserved_bytes: freed(reserved),
        };
        tracing::info!(?report, "cleanup");
        report
    }

    /// One at a time, and not within the cooldown.
    pub(super) fn clean_up_elsewhere(&self, reason: CleanupReason) {
        let cooling = lock_std(&self.shared.state)
            .last_cleanup
            .is_some_and(|last| last.elapsed() < self.shared.config.cleanup_cooldown);
        if cooling || self.shared.cleaning.swap(true, Relaxed) {
            return;
        }
        let monitor = self.clone();
        let spawned = std::thread::Builder::new().name("vramkit-cleanup".into()).spawn(move || {
            // Also when a callback panics.
            struct Done(VramMonitor);
            impl Drop for Done {
                fn drop(&mut self) {
                    self.0.shared.cleaning.store(false, Relaxed);
                }
            }
            let done = Done(monitor);
            done.0.run_cleanup(reason);
        });
        if let Err(error) = spawned {
            self.shared.cleaning.store(false, Relaxed);
            tracing::warn!(%error, "no thread for a cleanup");
        }
    }
}
