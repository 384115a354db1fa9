//! Tells models that their bindings have ended: callbacks on a thread of their own, outside every lock.
//!
//! Notices come in and are queued; a thread runs while there are any and ends with the last, so nothing waits idle and
//! nothing is to be joined. A callback that panics is logged, and the next one runs. Never calls back on the thread that
//! took the memory.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::stale::StaleReason;
use crate::sync::lock_std;
use crate::trace::TraceCollector;
use crate::units::ByteSize;

/// Most notices that wait; beyond it the oldest are dropped, and that is logged.
const MOST: usize = 4096;

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

type Callback = Arc<dyn Fn(&StaleNotice) + Send + Sync>;

/// Who is to be told, and what waits to be.
#[derive(Default)]
pub(super) struct Notifier {
    /// Whether anybody is to be told at all.
    any: AtomicBool,
    listeners: Mutex<Listeners>,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Listeners {
    of_model: HashMap<Arc<str>, Callback>,
    of_all: Vec<Callback>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Callback, StaleNotice)>,
    /// The process whose thread is at it: a forked child has none of its parent's threads.
    worker: Option<u32>,
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
        if callbacks.is_empty() {
            return;
        }
        let notice = StaleNotice { model: model.clone(), why, freed, trace: trace.clone() };
        let mut queue = lock_std(&self.queue);
        queue.waiting.extend(callbacks.into_iter().map(|callback| (callback, notice.clone())));
        let over = queue.waiting.len().saturating_sub(MOST);
        let dropped: Vec<_> = queue.waiting.drain(..over).collect();
        let me = std::process::id();
        let start = queue.worker != Some(me);
        if start {
            queue.worker = Some(me);
        }
        drop(queue);
        if !dropped.is_empty() {
            tracing::warn!(
                dropped = dropped.len(),
                "callbacks on evictions do not keep up: notices were dropped"
            );
        }
        if start {
            let queue = self.queue.clone();
            let thread = std::thread::Builder::new().name("vramkit-notices".into());
            if let Err(error) = thread.spawn(move || run(&queue)) {
                // They wait for the next notice.
                lock_std(&self.queue).worker = None;
                tracing::warn!(%error, "no thread for callbacks on evictions");
            }
        }
    }
}

fn run(queue: &Mutex<Queue>) {
    loop {
        let mut waiting = lock_std(queue);
        let Some((callback, notice)) = waiting.waiting.pop_front() else {
            waiting.worker = None;
            return;
        };
        drop(waiting);
        let model = notice.model.clone();
        // The callback goes in here too: dropping it may be somebody's code as well.
        let outcome = catch_unwind(AssertUnwindSafe(move || callback(&notice)));
        if outcome.is_err() {
            tracing::warn!(%model, "a callback on an eviction panicked");
        }
    }
}
