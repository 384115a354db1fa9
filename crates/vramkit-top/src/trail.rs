//! What the screen remembers of a device: the samples of its graph, and since when it holds memory without computing.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use vramkit_watch::DeviceTick;

/// Samples of the graph.
const SAMPLES: usize = 600;
/// Less of a device is nothing that anybody misses.
const MUCH: f64 = 0.1;
/// Less of the time is no work.
const WORK: f64 = 0.005;
/// A pause in a device's work is no sign of anything.
const WHILE: Duration = Duration::from_secs(60);

/// See the module's first lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    samples: VecDeque<Option<f64>>,
    quiet: Option<SystemTime>,
    last: Option<SystemTime>,
}

impl Trail {
    /// Takes a reading in.
    pub(crate) fn take(&mut self, device: &DeviceTick) {
        let used = device.snapshot.usage.used_ratio();
        self.samples.push_back(used);
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        let busy = device.activity.as_ref().and_then(|activity| activity.utilization_ratio);
        let is_quiet = used.is_some_and(|used| used >= MUCH) && busy.is_some_and(|busy| busy < WORK);
        // What is not known ends it: nothing is said of a time that nobody looked at.
        self.quiet = if is_quiet { self.quiet.or(Some(device.snapshot.time)) } else { None };
        self.last = Some(device.snapshot.time);
    }

    /// The last samples.
    pub(crate) fn samples(&self, most: usize) -> impl Iterator<Item = Option<f64>> {
        self.samples.iter().skip(self.samples.len().saturating_sub(most)).copied()
    }

    /// For how long much has been held and nothing computed, if for a while.
    pub(crate) fn idle(&self) -> Option<Duration> {
        let idle = self.last?.duration_since(self.quiet?).ok()?;
        (idle >= WHILE).then_some(idle)
    }
}
