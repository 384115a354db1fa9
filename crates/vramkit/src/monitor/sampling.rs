//! A monitor that looks by itself: a thread takes a reading every so often, and more often as headroom shrinks. What it finds is told
//! as it is for any other reading.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::vram_monitor::VramMonitor;
use crate::own_thread::OwnThread;
use crate::pressure::sampling_period;
use crate::sync::lock_std;

/// Readings come no closer.
const SHORTEST: Duration = Duration::from_millis(10);

/// A monitor looks by itself until this is dropped.
#[derive(Debug)]
#[must_use = "sampling ends when this is dropped"]
pub struct Sampling {
    ended: Arc<Ended>,
    thread: OwnThread,
}

#[derive(Debug, Default)]
struct Ended {
    ended: Mutex<bool>,
    wake: Condvar,
}

impl Ended {
    /// Waits for so long, or until it ends; whether it has.
    fn wait(&self, time: Duration) -> bool {
        let waited = self.wake.wait_timeout_while(lock_std(&self.ended), time, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl VramMonitor {
    /// Takes a reading now and then every `interval`, on a thread of its own: keeps it among the snapshots, checks the limits,
    /// cleans up from the threshold, and judges growth, owners' leaks and when it will be full. Readings come closer, to a tenth of
    /// the interval, as headroom shrinks. What is found is told to [`on_event`](Self::on_event), to `tracing` and to the trace.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::time::Duration;
    /// # use vramkit::{ByteSize, device::SimulatedDevice};
    /// use vramkit::monitor::{DeviceSource, VramMonitor};
    ///
    /// let card = Arc::new(SimulatedDevice::new(ByteSize::gib(24)));
    /// let monitor = VramMonitor::new(Arc::new(DeviceSource(card)));
    /// monitor.on_event(|event| println!("{}", event.describe().1));
    /// let sampling = monitor.start(Duration::from_millis(20))?;
    /// std::thread::sleep(Duration::from_millis(100));
    /// drop(sampling);
    /// assert!(monitor.history(1000).len() > 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(&self, interval: Duration) -> io::Result<Sampling> {
        let ended = Arc::new(Ended::default());
        let (monitor, end) = (self.clone(), ended.clone());
        let interval = interval.max(SHORTEST);
        let bounds = ((interval / 10).max(SHORTEST), interval);
        let look = move || {
            loop {
                // A source and callbacks are somebody's code: one that panics does not end the watch.
                if catch_unwind(AssertUnwindSafe(|| monitor.sample())).is_err() {
                    monitor.shared.failures.fetch_add(1, Relaxed);
                    tracing::error!(target: "vramkit::monitor", "a look at the memory panicked");
                }
                let (headroom, fastest) = monitor.filling();
                let period = headroom.map_or(interval, |headroom| sampling_period(headroom, fastest, bounds));
                if end.wait(period) {
                    return;
                }
            }
        };
        Ok(Sampling { ended, thread: OwnThread::spawn("vramkit-monitor", look)? })
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        if self.thread.is_here() {
            *lock_std(&self.ended.ended) = true;
            self.ended.wake.notify_all();
            self.thread.join();
        }
    }
}
