//! Tells models that their bindings have ended, by callbacks that run on a thread of their own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::stale::StaleReason;
use crate::callbacks::{self, CallbackQueue};
use crate::sync::lock_std;
use crate::trace::TraceCollector;
use crate::units::ByteSize;

/// A model's binding has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StaleNotice {
    /// The model.
    pub model: Arc<str>,
    /// What ended it. After [`Compacted`](StaleReason::Compacted) and [`Degraded`](StaleReason::Degraded) the model is
    /// still bound, with a new binding.
    pub why: StaleReason,
    /// What went back to the pool; for an arena that was planned again, by how much it shrank.
    pub freed: ByteSize,
    /// Where the decision is recorded.
    pub trace: Arc<TraceCollector>,
}

type Callback = callbacks::Callback<StaleNotice>;

/// Who is to be told, and what waits to be.
pub(super) struct Notifier {
    /// Whether anybody is to be told at all.
    any: AtomicBool,
    listeners: Mutex<Listeners>,
    queue: CallbackQueue<StaleNotice>,
}

#[derive(Default)]
struct Listeners {
    of_model: HashMap<Arc<str>, Callback>,
    of_all: Vec<Callback>,
}

impl Default for Notifier {
    fn default() -> Self {
        let queue = CallbackQueue::new("evictions");
        Self { any: AtomicBool::new(false), listeners: Mutex::default(), queue }
    }
}

impl Notifier {
    pub(super) fn listen(&self, model: Option<&str>, callback: Callback) {
        let mut listeners = lock_std(&self.listeners);
        let before = match model {
            Some(model) => listeners.of_model.insert(model.into(), callback),
            None => {
                listeners.of_all.push(callback);
                None
            }
        };
        self.any.store(true, Ordering::Release);
        drop(listeners);
        drop(before); // Somebody's code: without the lock.
    }

    /// Queues a notice for those who listen.
    pub(super) fn tell(
        &self,
        model: &Arc<str>,
        why: StaleReason,
        freed: ByteSize,
        trace: &Arc<TraceCollector>,
    ) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let listeners = lock_std(&self.listeners);
        let callbacks: Vec<Callback> =
            listeners.of_model.get(model).into_iter().chain(&listeners.of_all).cloned().collect();
        drop(listeners);
        let notice = StaleNotice { model: model.clone(), why, freed, trace: trace.clone() };
        self.queue.call(callbacks, &notice);
    }
}
