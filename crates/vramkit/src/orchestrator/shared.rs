//! What bindings and runs keep of an orchestrator: the table of bindings under its lock, and how changes of it are waited
//! for. Neither the pool nor a callback is called under the lock.

use super::table::BindingTable;
use crate::sync::{AtomicU32, Condvar, Mutex, MutexGuard, Ordering, lock, wait};

/// What bindings and runs keep of an orchestrator.
pub(super) struct Shared {
    pub(super) table: Mutex<BindingTable>,
    /// Notified whenever memory or a binding's state changes, if anybody waits for that.
    pub(super) changed: Condvar,
    /// How many do.
    waiting: AtomicU32,
}

/// Somebody who waits, or may be about to.
pub(super) struct Waiting<'a>(&'a Shared);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            table: Mutex::new(BindingTable::default()),
            changed: Condvar::new(),
            waiting: AtomicU32::new(0),
        }
    }

    /// Until the guard goes, every change is noted. What changed before is there to be seen.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    pub(super) fn wait<'a>(&self, table: MutexGuard<'a, BindingTable>) -> MutexGuard<'a, BindingTable> {
        let _waiting = self.waiting();
        wait(&self.changed, table)
    }

    /// Says that something has changed. Called after memory has gone back, so that whoever is woken finds it.
    pub(super) fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            lock(&self.table).note_change();
            self.changed.notify_all();
        }
    }

    /// Says that an arena that others wait to share is made, or will not be. Memory is as it was: that is no change for those who wait
    /// for some.
    pub(super) fn wake_for_arenas(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            // The lock, so that nobody is between looking and waiting.
            drop(lock(&self.table));
            self.changed.notify_all();
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_noted_only_while_somebody_waits() {
        let shared = Shared::new();
        let changes_after_a_wake = || {
            shared.wake();
            lock(&shared.table).changes()
        };
        assert_eq!(changes_after_a_wake(), 0);
        let (first, second) = (shared.waiting(), shared.waiting());
        assert_eq!(changes_after_a_wake(), 1);
        drop(first);
        assert_eq!(changes_after_a_wake(), 2, "there is another");
        drop(second);
        assert_eq!(changes_after_a_wake(), 2);
    }
}
