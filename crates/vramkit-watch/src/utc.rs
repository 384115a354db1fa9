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

pub(crate) fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
