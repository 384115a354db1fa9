//! Times in documents, read.

use std::time::SystemTime;

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

pub(crate) const YEAR_2025: f64 = 1_735_689_600.0;

/// Whether a time is of a clock that had been set: boards without a battery begin in 1970, or in the year in which their firmware
/// was made. Nothing was recorded before this program was written.
pub(crate) fn is_set(utc: &str) -> bool {
    unix_seconds(utc).is_some_and(|seconds| seconds >= YEAR_2025)
}

pub(crate) fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
