//! Freeing memory on purpose: callbacks of the program, then what the source itself can give back, with both amounts before
//! and after. No lock is held while any of it runs; when it is due is the monitor's to say.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::snapshot::Usage;
use super::source::MemorySource;
use crate::device::Reading;
use crate::sync::lock_std;
use crate::units::ByteSize;

/// Why memory is cleaned up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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
#[non_exhaustive]
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

type Callback = Arc<dyn Fn(CleanupReason) + Send + Sync>;

/// Cleans one source up.
pub(super) struct Cleaner {
    source: Arc<dyn MemorySource>,
    cooldown: Duration,
    callbacks: Mutex<Vec<Callback>>,
    cleanups: AtomicU64,
    last: Mutex<Option<Instant>>,
    /// Whether a thread is at it.
    busy: AtomicBool,
}

impl Cleaner {
    pub(super) fn new(source: Arc<dyn MemorySource>, cooldown: Duration) -> Self {
        Self {
            source,
            cooldown,
            callbacks: Mutex::new(Vec::new()),
            cleanups: AtomicU64::new(0),
            last: Mutex::new(None),
            busy: AtomicBool::new(false),
        }
    }

    pub(super) fn register(&self, callback: Callback) {
        lock_std(&self.callbacks).push(callback);
    }

    /// How many there were.
    pub(super) fn cleanups(&self) -> u64 {
        self.cleanups.load(Relaxed)
    }

    /// Since the last one.
    pub(super) fn since_last(&self) -> Option<Duration> {
        lock_std(&self.last).map(|last| last.elapsed())
    }

    /// Forgets how many there were, and when.
    pub(super) fn reset(&self) {
        self.cleanups.store(0, Relaxed);
        *lock_std(&self.last) = None;
    }

    /// Cleans up, here and now.
    pub(super) fn run(&self, reason: CleanupReason) -> CleanupReport {
        let before = self.source.read();
        let callbacks = lock_std(&self.callbacks).clone();
        callbacks.iter().for_each(|callback| callback(reason));
        self.source.reclaim();
        let after = self.source.read();
        self.cleanups.fetch_add(1, Relaxed);
        *lock_std(&self.last) = Some(Instant::now());
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

    /// Cleans up on a thread of its own: one at a time, and not within the cooldown.
    pub(super) fn run_elsewhere(self: &Arc<Self>, reason: CleanupReason) {
        let cooling = self.since_last().is_some_and(|time| time < self.cooldown);
        if cooling || self.busy.swap(true, Relaxed) {
            return;
        }
        let cleaner = self.clone();
        let spawned = std::thread::Builder::new().name("vramkit-cleanup".into()).spawn(move || {
            // Also when a callback panics.
            struct Done(Arc<Cleaner>);
            impl Drop for Done {
                fn drop(&mut self) {
                    self.0.busy.store(false, Relaxed);
                }
            }
            let done = Done(cleaner);
            done.0.run(reason);
        });
        if let Err(error) = spawned {
            self.busy.store(false, Relaxed);
            tracing::warn!(%error, "no thread for a cleanup");
        }
    }
}
