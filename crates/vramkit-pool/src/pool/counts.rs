//! How much of a pool is granted, and the most that ever was: changed under the book's lock, read without it.
//!
//! What [thread caches](super::thread_cache) keep counts as granted here; who reads takes it off.

use crate::sync::{AtomicU64, Ordering};

/// Bytes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    used: AtomicU64,
    requested: AtomicU64,
    peak_used: AtomicU64,
    peak_requested: AtomicU64,
}

impl Counts {
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// Of the bytes granted, those that were asked for. Between recalls it may be off by what reuses of kept blocks
    /// have added or saved.
    pub(super) fn requested(&self) -> u64 {
        self.requested.load(Ordering::Relaxed)
    }

    pub(super) fn peak_used(&self) -> u64 {
        self.peak_used.load(Ordering::Relaxed)
    }

    pub(super) fn peak_requested(&self) -> u64 {
        self.peak_requested.load(Ordering::Relaxed)
    }

    /// Counts a grant. Under the book's lock, so that nothing comes between reading and writing.
    #[inline(always)]
    pub(super) fn add(&self, granted: u64, slack: u32) {
        let (used, requested) = (self.used.load(Ordering::Relaxed), self.requested());
        self.used.store(used + granted, Ordering::Release);
        self.requested.store(requested.wrapping_add(granted - u64::from(slack)), Ordering::Relaxed);
    }

    /// Counts a release. Under the book's lock.
    #[inline(always)]
    pub(super) fn subtract(&self, granted: u64, slack: u32) {
        let (used, requested) = (self.used.load(Ordering::Relaxed), self.requested());
        self.used.store(used - granted, Ordering::Release);
        self.requested.store(requested.wrapping_sub(granted - u64::from(slack)), Ordering::Relaxed);
    }

    /// Counts the end of a life whose memory is still in use. Under the book's lock.
    pub(super) fn defer(&self, granted: u64, slack: u32) {
        self.requested.store(self.requested().wrapping_sub(granted - u64::from(slack)), Ordering::Relaxed);
    }

    /// Counts the end of such a use. Under the book's lock.
    pub(super) fn settle(&self, granted: u64) {
        self.used.store(self.used.load(Ordering::Relaxed) - granted, Ordering::Release);
    }

    /// Counts that something live has become larger. Under the book's lock.
    pub(super) fn grow(&self, granted: u64, requested: u64) {
        self.used.store(self.used.load(Ordering::Relaxed) + granted, Ordering::Release);
        self.requested.store(self.requested().wrapping_add(requested), Ordering::Relaxed);
    }

    /// Counts that something live has become smaller. Under the book's lock.
    pub(super) fn shrink(&self, granted: u64, requested: u64) {
        self.used.store(self.used.load(Ordering::Relaxed) - granted, Ordering::Release);
        self.requested.store(self.requested().wrapping_sub(requested), Ordering::Relaxed);
    }

    /// So many bytes more, or fewer, of those granted were not asked for. Under the book's lock.
    pub(super) fn change_slack(&self, more: i64) {
        self.requested.store(self.requested().wrapping_add_signed(-more), Ordering::Relaxed);
    }

    /// Notes what is granted as the most, if it is.
    #[inline(always)]
    pub(super) fn note_peaks(&self, used: u64, requested: u64) {
        if used > self.peak_used() {
            self.peak_used.fetch_max(used, Ordering::Relaxed);
        }
        if requested > self.peak_requested() {
            self.peak_requested.fetch_max(requested, Ordering::Relaxed);
        }
    }
}
