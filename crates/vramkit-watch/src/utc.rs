//! Times in documents, read; and clocks that are set while somebody looks at them.

use std::time::{Duration, SystemTime};

/// Seconds since 1970 of a time in UTC as documents have it; none of what is no time.
///
/// ```
/// assert_eq!(vramkit_watch::unix_seconds("1970-01-01T00:01:00.500Z"), Some(60.5));
/// assert_eq!(vramkit_watch::unix_seconds("yesterday"), None);
/// ```
pub fn unix_seconds(utc: &str) -> Option<f64> {
    let time = humantime::parse_rfc3339_weak(utc).ok()?;
    Some(since_1970(time))
}

const YEAR_2025: f64 = 1_735_689_600.0;

/// Whether a time is of a clock that had been set: boards without a battery begin in 1970, or in the year in which their firmware
/// was made. Nothing was recorded before this program was written.
pub(crate) fn is_set(utc: &str) -> bool {
    unix_seconds(utc).is_some_and(|seconds| seconds >= YEAR_2025)
}

pub(crate) fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// By how much a clock was set.
#[derive(Clone, Copy)]
pub(crate) struct ClockStep {
    forward: bool,
    by: Duration,
}

impl ClockStep {
    /// Between two readings of a clock, when so much time had gone by; nothing where it went on as clocks do. A jump forward is none
    /// (a machine may have slept), but where the clock had not been set before.
    pub(crate) fn between(before: SystemTime, after: SystemTime, gone: Duration) -> Option<Self> {
        if let Some(back) = before.duration_since(after).ok().filter(|back| !back.is_zero()) {
            return Some(Self { forward: false, by: back + gone });
        }
        let was_set = since_1970(before) >= YEAR_2025;
        let by = after.duration_since(before).ok()?.checked_sub(gone)?;
        (!was_set && since_1970(after) >= YEAR_2025).then_some(Self { forward: true, by })
    }

    /// What a time that was kept is by the clock as it is now.
    pub(crate) fn of(self, time: SystemTime) -> SystemTime {
        let moved = if self.forward { time.checked_add(self.by) } else { time.checked_sub(self.by) };
        moved.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// How many seconds what was kept moves forward.
    pub(crate) fn seconds(self) -> f64 {
        if self.forward { self.by.as_secs_f64() } else { -self.by.as_secs_f64() }
    }
}
