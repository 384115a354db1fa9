//! Telling a recorder: of a grant and of a trim after it is made, of a release before, outside the pool's locks.
//!
//! A recorder is user code. It may panic: what it was to be told of a grant is then given back, and a release is done. It
//! may ask the pool: for memory it is refused, since it would be called again, and what it releases is not recorded.

use super::core::Inner;
use super::error::PoolError;
use super::ids::AllocationId;
use super::inside::Inside;
use super::record::Recorded;
use super::request::Request;
use vramkit_units::{Holder, Purpose};

impl Inner {
    /// Tells the recorder of a grant. When it panics, or asked for the memory itself, the memory is given back.
    #[cold]
    pub(super) fn record_allocation(&self, id: AllocationId, request: &Request) -> Result<(), PoolError> {
        let Some(recorder) = self.recording.recorder() else { return Ok(()) };
        let unrecorded = GiveBack { pool: self, id };
        let Some(_inside) = Inside::enter(self) else { return Err(PoolError::Reentrant) };
        recorder(&self.recorded(id, request));
        std::mem::forget(unrecorded);
        Ok(())
    }

    /// Tells the recorder of a release, and then does it: also when the recorder panics.
    #[cold]
    pub(super) fn recording_release<T>(&self, id: AllocationId, release: impl FnOnce() -> T) -> T {
        if !self.recording.is_on() {
            return release();
        }
        let recorder = self.recording.recorder();
        let (Some(recorder), Some(_inside)) = (recorder, Inside::enter(self)) else {
            // What a recorder itself releases is released; to record it would call the recorder again, without end.
            return release();
        };
        let called = std::panic::AssertUnwindSafe(|| recorder(&Recorded::Release { id: id.to_string() }));
        let outcome = std::panic::catch_unwind(called);
        let released = release();
        match outcome {
            Ok(()) => released,
            Err(_) if std::thread::panicking() => released,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Tells the recorder of a trim that is done.
    pub(super) fn record_trim(&self) {
        if self.recording.is_on()
            && let (Some(recorder), Some(_inside)) = (self.recording.recorder(), Inside::enter(self))
        {
            recorder(&Recorded::Trim {});
        }
    }

    fn recorded(&self, id: AllocationId, request: &Request) -> Recorded {
        let book = self.book.lock();
        let block = self.table().at(id.0.index);
        let owner = match book.owners.name(block.label().owner) {
            (Holder::Nobody, Purpose::Other) => String::new(),
            (model, purpose) => format!("{model} ({purpose})"),
        };
        Recorded::Allocate {
            id: id.to_string(),
            bytes: request.size,
            address: self.range.base + self.bytes(block.offset()),
            owner,
            tag: book.tags.name(request.tag.0).to_owned(),
        }
    }
}

/// Gives an allocation back that its caller will not hear of.
struct GiveBack<'a> {
    pool: &'a Inner,
    id: AllocationId,
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        // What grows in place is its handle's to give back.
        let book = &mut self.pool.book.lock();
        if !self.id.0.is_growing() && self.pool.find(self.id).is_ok_and(|block| block.keep(self.id.0.stamp)) {
            self.pool.take_back(book, self.id.0.index);
            // It was never anybody's.
            book.granted -= 1;
        }
    }
}
