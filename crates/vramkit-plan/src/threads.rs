//! Jobs on threads, for searches that work side by side.
//!
//! Jobs come in, and are done when the call returns; who does which is left open, so each job carries what it changes.
//! A system that has no thread to give makes this slower, and never fails.

use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

/// Does every job, each on a thread of its own where the system has one, of which this is one.
pub(super) fn spread<J: Send>(jobs: Vec<J>, work: impl Fn(J) + Sync) {
    let helpers = jobs.len().saturating_sub(1);
    let queue = Mutex::new(jobs.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some(job) = next() {
            work(job);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..helpers {
            // The others do what there is no thread for.
            if Builder::new().spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
}
