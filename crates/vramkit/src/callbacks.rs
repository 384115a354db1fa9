//! Calls a program's functions on a thread of its own, one after the other, outside every lock.
//!
//! Calls come in and are queued; a thread runs while there are any and ends with the last, so nothing waits idle and
//! nothing is to be joined. A function that panics is logged, and the next one runs. Never calls on the thread that the call came
//! from.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use crate::sync::lock_std;

/// Most calls that wait; beyond it the oldest are dropped, and that is logged.
const MOST: usize = 4096;

/// A program's function of a `T`.
pub(crate) type Callback<T> = Arc<dyn Fn(&T) + Send + Sync>;

/// Calls that wait for their turn.
pub(crate) struct CallbackQueue<T> {
    /// What the functions are told of, for the log.
    of: &'static str,
    queue: Arc<Mutex<Queue<T>>>,
}

struct Queue<T> {
    waiting: VecDeque<(Callback<T>, T)>,
    /// The process whose thread is at it: a forked child has none of its parent's threads.
    worker: Option<u32>,
}

impl<T: Clone + Send + 'static> CallbackQueue<T> {
    pub(crate) fn new(of: &'static str) -> Self {
        let queue = Queue { waiting: VecDeque::new(), worker: None };
        Self { of, queue: Arc::new(Mutex::new(queue)) }
    }

    /// Queues a call of each function with the value.
    pub(crate) fn call(&self, callbacks: Vec<Callback<T>>, value: &T) {
        if callbacks.is_empty() {
            return;
        }
        let mut queue = lock_std(&self.queue);
        queue.waiting.extend(callbacks.into_iter().map(|callback| (callback, value.clone())));
        let over = queue.waiting.len().saturating_sub(MOST);
        let dropped: Vec<_> = queue.waiting.drain(..over).collect();
        let me = std::process::id();
        let start = queue.worker != Some(me);
        if start {
            queue.worker = Some(me);
        }
        drop(queue);
        let of = self.of;
        if !dropped.is_empty() {
            tracing::warn!(dropped = dropped.len(), of, "callbacks do not keep up: calls were dropped");
        }
        if start {
            let queue = self.queue.clone();
            let thread = std::thread::Builder::new().name("vramkit-notices".into());
            if let Err(error) = thread.spawn(move || run(&queue, of)) {
                // They wait for the next call.
                lock_std(&self.queue).worker = None;
                tracing::warn!(%error, of, "no thread for callbacks");
            }
        }
    }
}

fn run<T>(queue: &Mutex<Queue<T>>, of: &'static str) {
    loop {
        let mut waiting = lock_std(queue);
        let Some((callback, value)) = waiting.waiting.pop_front() else {
            waiting.worker = None;
            return;
        };
        drop(waiting);
        // The callback goes in here too: dropping it may be somebody's code as well.
        if catch_unwind(AssertUnwindSafe(move || callback(&value))).is_err() {
            tracing::warn!(of, "a callback panicked");
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn calls_are_dropped_beyond_a_bound_and_that_is_said() {
        let queue: CallbackQueue<u32> = CallbackQueue::new("this test");
        let (begun, begins) = channel();
        let (go, going) = channel::<()>();
        let (went, goes) = channel();
        // The first keeps the worker until the others are queued.
        let going = Mutex::new(going);
        let first: Callback<u32> = Arc::new(move |_: &u32| {
            begun.send(()).unwrap();
            lock_std(&going).recv().unwrap();
        });
        let other: Callback<u32> = Arc::new(move |value: &u32| went.send(*value).unwrap());
        assert_eq!(crate::heard::warnings(|| queue.call(vec![first], &0)), 0);
        begins.recv().unwrap();
        let call = |value: u32| crate::heard::warnings(|| queue.call(vec![other.clone()], &value));
        assert_eq!((0..MOST as u32).map(&call).sum::<usize>(), 0, "so many wait");
        assert_eq!(call(MOST as u32), 1, "the oldest goes");
        go.send(()).unwrap();
        assert_eq!(goes.recv().unwrap(), 1);
    }
}
