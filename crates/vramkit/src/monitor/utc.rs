//! Times as text.

use std::time::SystemTime;

/// RFC 3339, in UTC, for the years that it has.
pub fn utc(time: SystemTime) -> String {
    let last = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(time.clamp(SystemTime::UNIX_EPOCH, last)).to_string()
}
