//! How much time is lost waiting for memory? As the Linux kernel's pressure stall information says it
//! (Documentation/accounting/psi.rst): *some* is the time in which at least one thread waits, *full* that in which one
//! waits and no worker does anything else; each as a total, and as averages over 10, 60 and 300 s that forget exponentially.
//!
//! Who says so [works](StallMeter::work). A thread that waits without having said so is no worker: while a worker goes on,
//! nothing is *full*, whoever waits. Where nobody has said anything, a wait is *full*: there is no work that goes on, as in
//! the kernel, where tasks that are in neither state (asleep) do not count.
//!
//! ```
//! use std::time::Duration;
//! use vramkit_pool::stall::StallMeter;
//!
//! let meter = StallMeter::default();
//! let waiting = meter.wait(); // nobody is said to work, so nothing goes on
//! std::thread::sleep(Duration::from_millis(2));
//! drop(waiting);
//! let times = meter.times();
//! assert!(times.some.total_seconds >= 0.002);
//! assert_eq!(times.some, times.full);
//! ```

use std::marker::PhantomData;
use std::sync::Mutex;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::sync::lock_std;

/// Over which the averages are taken, in seconds.
const WINDOWS: [f64; 3] = [10.0, 60.0, 300.0];

/// Time lost of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stall {
    /// Of the last 10 seconds, 0..1.
    pub avg10_ratio: f64,
    /// Of the last 60.
    pub avg60_ratio: f64,
    /// Of the last 300.
    pub avg300_ratio: f64,
    /// Ever.
    pub total_seconds: f64,
}

/// Time lost waiting for memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StallTimes {
    /// At least one thread waited.
    pub some: Stall,
    /// One did, and no worker was doing anything else.
    pub full: Stall,
}

/// Measures it. Share it behind an [`Arc`](std::sync::Arc).
///
/// ```
/// use std::time::Duration;
/// use vramkit_pool::stall::StallMeter;
///
/// let meter = StallMeter::default();
/// let working = meter.work(); // this thread is a worker
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let _waiting = meter.wait(); // and another thread, which is none, waits
///         std::thread::sleep(Duration::from_millis(2));
///     });
/// });
/// let times = meter.times();
/// assert!(times.some.total_seconds >= 0.002);
/// assert_eq!(times.full.total_seconds, 0.0);
/// drop(working);
/// ```
#[derive(Debug)]
pub struct StallMeter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Those that work or wait.
    threads: Vec<Thread>,
    /// Since when they are as they are.
    since: Instant,
    some: Average,
    full: Average,
}

/// A thread, and how many of each guard it holds: a request may be made on the way of another.
#[derive(Debug)]
struct Thread {
    id: ThreadId,
    working: usize,
    waiting: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Average {
    averages: [f64; 3],
    total: Duration,
}

impl Average {
    /// `elapsed` passed, lost or not.
    fn pass(&mut self, elapsed: Duration, lost: bool) {
        for (average, window) in self.averages.iter_mut().zip(WINDOWS) {
            let kept = (-elapsed.as_secs_f64() / window).exp();
            *average = *average * kept + if lost { 1.0 - kept } else { 0.0 };
        }
        if lost {
            self.total += elapsed;
        }
    }

    fn stall(&self) -> Stall {
        let [avg10_ratio, avg60_ratio, avg300_ratio] = self.averages;
        Stall { avg10_ratio, avg60_ratio, avg300_ratio, total_seconds: self.total.as_secs_f64() }
    }
}

impl Default for StallMeter {
    fn default() -> Self {
        Self { state: Mutex::new(State::new(Instant::now())) }
    }
}

impl StallMeter {
    /// Counts the calling thread as a worker until the guard is dropped. What it waits meanwhile is a worker's wait.
    #[must_use = "the worker is counted until the guard is dropped"]
    pub fn work(&self) -> Working<'_> {
        let thread = std::thread::current().id();
        self.change(|state| state.note(thread, |thread| thread.working += 1));
        Working { meter: self, thread, of_this_thread: PhantomData }
    }

    /// Counts the calling thread as waiting for memory until the guard is dropped.
    #[must_use = "the wait ends when the guard is dropped"]
    pub fn wait(&self) -> Waiting<'_> {
        let thread = std::thread::current().id();
        self.change(|state| state.note(thread, |thread| thread.waiting += 1));
        Waiting { meter: self, thread }
    }

    /// What has been lost up to now.
    pub fn times(&self) -> StallTimes {
        self.change(|state| StallTimes { some: state.some.stall(), full: state.full.stall() })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock_std(&self.state);
        state.pass(Instant::now());
        change(&mut state)
    }
}

impl State {
    fn new(since: Instant) -> Self {
        Self { threads: Vec::new(), since, some: Average::default(), full: Average::default() }
    }

    fn pass(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        self.since = now;
        let some = self.threads.iter().any(|thread| thread.waiting > 0);
        let goes_on = self.threads.iter().any(|thread| thread.working > 0 && thread.waiting == 0);
        self.some.pass(elapsed, some);
        self.full.pass(elapsed, some && !goes_on);
    }

    /// Changes what a thread does; one that does nothing is forgotten.
    fn note(&mut self, id: ThreadId, change: impl FnOnce(&mut Thread)) {
        let at = self.threads.iter().position(|thread| thread.id == id).unwrap_or_else(|| {
            self.threads.push(Thread { id, working: 0, waiting: 0 });
            self.threads.len() - 1
        });
        let thread = &mut self.threads[at];
        change(thread);
        if (thread.working, thread.waiting) == (0, 0) {
            self.threads.swap_remove(at);
        }
    }
}

/// A worker; see [`StallMeter::work`]. It stays with its thread, by which its waits are known.
#[derive(Debug)]
pub struct Working<'a> {
    meter: &'a StallMeter,
    thread: ThreadId,
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.meter.change(|state| state.note(self.thread, |thread| thread.working -= 1));
    }
}

/// A wait; see [`StallMeter::wait`].
#[derive(Debug)]
pub struct Waiting<'a> {
    meter: &'a StallMeter,
    thread: ThreadId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.meter.change(|state| state.note(self.thread, |thread| thread.waiting -= 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids of threads that there have been.
    fn ids<const N: usize>() -> [ThreadId; N] {
        std::array::from_fn(|_| std::thread::spawn(|| std::thread::current().id()).join().unwrap())
    }

    #[test]
    fn some_is_one_who_waits_and_full_is_no_worker_that_goes_on() {
        let start = Instant::now();
        let [a, b, nobody] = ids();
        let mut state = State::new(start);
        let mut at = |seconds, thread, change: fn(&mut Thread)| {
            state.pass(start + Duration::from_secs(seconds));
            state.note(thread, change);
            (state.some.stall(), state.full.stall())
        };
        at(0, a, |thread| thread.working += 1);
        at(0, b, |thread| thread.working += 1);
        assert_eq!(at(100, a, |thread| thread.waiting += 1), Default::default());
        at(110, b, |thread| thread.waiting += 1);
        at(113, b, |thread| thread.waiting += 1);
        at(115, a, |thread| thread.waiting -= 1);
        at(120, b, |thread| thread.waiting -= 2);
        let (some, full) = at(125, nobody, |thread| thread.waiting += 1);
        // 20 s of somebody waiting, five of them both.
        assert_eq!((some.total_seconds, full.total_seconds), (20.0, 5.0));
        // Twenty seconds waited up to five seconds ago, with what exponential forgetting keeps of them.
        let expected = (1.0 - (-2.0f64).exp()) * (-0.5f64).exp();
        assert!((some.avg10_ratio - expected).abs() < 1e-12);
        assert!(some.avg10_ratio > full.avg10_ratio && full.avg10_ratio > full.avg60_ratio);
        // One who is no worker waits, and one that is: the other worker goes on.
        at(126, a, |thread| thread.waiting += 1);
        let (some, full) = at(130, b, |thread| thread.working -= 1);
        assert_eq!((some.total_seconds, full.total_seconds), (25.0, 5.0));
        // It has gone: the last worker waits, and then there is none.
        at(132, a, |thread| *thread = Thread { working: 0, waiting: 0, ..*thread });
        let (some, full) = at(137, nobody, |thread| thread.waiting -= 1);
        assert_eq!((some.total_seconds, full.total_seconds), (32.0, 12.0));
        assert!(state.threads.is_empty());
    }

    #[test]
    fn guards_count_and_the_counts_balance() {
        let meter = StallMeter::default();
        {
            let _working = meter.work();
            let _again = meter.work();
            let _waiting = meter.wait();
            std::thread::sleep(Duration::from_millis(20));
        }
        let times = meter.times();
        assert!(times.some.total_seconds >= 0.02, "{times:?}");
        assert!(times.full.total_seconds >= 0.02, "one thread is one worker, however often it says so");
        assert!(lock_std(&meter.state).threads.is_empty());
    }
}
