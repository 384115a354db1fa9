//! How much time is lost waiting for memory? As the Linux kernel's pressure stall information says it
//! (Documentation/accounting/psi.rst): *some* is the time in which at least one worker waited, *full* that in which all
//! did; each as a total, and as averages over 10, 60 and 300 s that forget exponentially.
//!
//! ```
//! use std::time::Duration;
//! use vramkit_pool::stall::StallMeter;
//!
//! let meter = StallMeter::default();
//! let waiting = meter.wait(); // nobody is said to work, so all that there are wait
//! std::thread::sleep(Duration::from_millis(2));
//! drop(waiting);
//! let times = meter.times();
//! assert!(times.some.total_seconds >= 0.002);
//! assert_eq!(times.some, times.full);
//! ```

use std::sync::Mutex;
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
    /// At least one worker waited.
    pub some: Stall,
    /// All workers did.
    pub full: Stall,
}

/// Measures it. Share it behind an [`Arc`](std::sync::Arc).
///
/// ```
/// use vramkit_pool::stall::StallMeter;
///
/// let meter = StallMeter::default();
/// let working = meter.work();
/// drop(meter.wait()); // the only worker waited, for no time to speak of
/// drop(working);
/// assert!(meter.times().full.total_seconds < 1.0);
/// ```
#[derive(Debug)]
pub struct StallMeter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    workers: usize,
    waiting: usize,
    /// Since when the two counts are as they are.
    since: Instant,
    some: Average,
    full: Average,
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
        let state = State {
            workers: 0,
            waiting: 0,
            since: Instant::now(),
            some: Average::default(),
            full: Average::default(),
        };
        Self { state: Mutex::new(state) }
    }
}

impl StallMeter {
    /// Counts a worker until the guard is dropped.
    #[must_use = "the worker is counted until the guard is dropped"]
    pub fn work(&self) -> Working<'_> {
        self.change(|state| state.workers += 1);
        Working(self)
    }

    /// Counts a worker as waiting for memory until the guard is dropped.
    #[must_use = "the wait ends when the guard is dropped"]
    pub fn wait(&self) -> Waiting<'_> {
        self.change(|state| state.waiting += 1);
        Waiting(self)
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
    fn pass(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        self.since = now;
        self.some.pass(elapsed, self.waiting > 0);
        // Who waits without being counted as a worker is one.
        self.full.pass(elapsed, self.waiting > 0 && self.waiting >= self.workers);
    }
}

/// A worker; see [`StallMeter::work`].
#[derive(Debug)]
pub struct Working<'a>(&'a StallMeter);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.workers -= 1);
    }
}

/// A wait; see [`StallMeter::wait`].
#[derive(Debug)]
pub struct Waiting<'a>(&'a StallMeter);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_is_one_who_waits_and_full_is_all() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut state = State {
            workers: 2,
            waiting: 0,
            since: start,
            some: Average::default(),
            full: Average::default(),
        };
        state.pass(at(100));
        assert_eq!(state.some.stall(), Stall::default());
        state.waiting = 1;
        state.pass(at(110));
        state.waiting = 2;
        state.pass(at(115));
        state.waiting = 0;
        state.pass(at(120));
        let (some, full) = (state.some.stall(), state.full.stall());
        assert_eq!((some.total_seconds, full.total_seconds), (15.0, 5.0));
        assert!(some.avg10_ratio > full.avg10_ratio && full.avg10_ratio > full.avg60_ratio);
        // Fifteen seconds waited up to five seconds ago, with what exponential forgetting keeps of them.
        let expected = (1.0 - (-1.5f64).exp()) * (-0.5f64).exp();
        assert!((some.avg10_ratio - expected).abs() < 1e-12);
    }

    #[test]
    fn guards_count_and_the_counts_balance() {
        let meter = StallMeter::default();
        {
            let _working = meter.work();
            let _waiting = meter.wait();
            std::thread::sleep(Duration::from_millis(20));
        }
        let times = meter.times();
        assert!(times.some.total_seconds >= 0.02 && times.full == times.some, "{times:?}");
        let state = lock_std(&meter.state);
        assert_eq!((state.workers, state.waiting), (0, 0));
    }
}
