//! Whether it can answer with a fresh reading, and what is amiss: each source, each card that is lost or unread, the
//! recording, each with since when.
//!
//! Ready is who has read something of late, be it one source of four: a card that is lost or a driver that hangs is what a
//! monitor is there to tell, and no reason to ask another. Not ready is who has not made a reading for some intervals, or
//! whose sources are all late or failing.

use std::fmt::Write as _;
use std::time::Duration;

use crate::source::Health;
use crate::tick::{Presence, RecorderTick, SourceTick, Tick};
use serde::Serialize;

/// Older than so many intervals, but not younger than this, a reading is not fresh.
const INTERVALS: u32 = 3;
const LEAST: Duration = Duration::from_secs(10);

/// From when on a reading is old, where one is due at every interval.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(vramkit_watch::old(Duration::from_secs(60)), Duration::from_secs(180));
/// ```
pub fn old(interval: Duration) -> Duration {
    interval.saturating_mul(INTERVALS).max(LEAST)
}

/// Whether there is a fresh reading, and what is amiss.
///
/// ```
/// use std::time::Duration;
/// use vramkit_watch::Readiness;
///
/// let nothing = Readiness::of(None, Duration::from_secs(1));
/// assert!(!nothing.is_ready() && nothing.text().contains("nothing has been read yet"));
/// ```
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Readiness<'a> {
    /// `vramkit.ready/1`.
    schema: &'static str,
    /// Whether there is a fresh reading.
    ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How old the last reading is.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<f64>,
    /// How it stands with each source.
    sources: &'a [SourceTick],
    /// Devices that are lost or unread.
    devices: Vec<Absent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// How it stands with the recording, where there is one.
    recorder: Option<&'a RecorderTick>,
}

/// A device that is not there.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Absent<'a> {
    /// As everywhere else.
    id: &'a str,
    /// Its model.
    name: &'a str,
    /// Where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<&'a str>,
    #[serde(flatten)]
    presence: &'a Presence,
}

impl<'a> Readiness<'a> {
    /// Of the last reading and its age, where there is one, and the interval at which one is due.
    pub fn of(last: Option<(&'a Tick, Duration)>, interval: Duration) -> Self {
        let mut readiness = Self {
            schema: "vramkit.ready/1",
            ready: false,
            reason: Some("nothing has been read yet".into()),
            age_seconds: None,
            sources: &[],
            devices: Vec::new(),
            recorder: None,
        };
        let Some((tick, age)) = last else { return readiness };
        let is_up = |source: &SourceTick| source.health == Health::Up;
        readiness.reason = if age > old(interval) {
            Some(format!("the last reading is {:.0} s old", age.as_secs_f64()))
        } else if !tick.sources.is_empty() && !tick.sources.iter().any(is_up) {
            Some("no source answers".into())
        } else {
            None
        };
        readiness.ready = readiness.reason.is_none();
        readiness.age_seconds = Some(age.as_secs_f64());
        readiness.sources = &tick.sources;
        readiness.recorder = tick.recorder.as_ref();
        let is_amiss =
            |presence: &Presence| matches!(presence, Presence::Lost { .. } | Presence::Unread { .. });
        let devices = tick.devices.iter().filter(|device| is_amiss(&device.presence));
        readiness.devices = devices
            .map(|device| {
                let name = &device.snapshot.device;
                let uuid = name.uuid.as_deref();
                Absent { id: &name.id, name: &name.name, uuid, presence: &device.presence }
            })
            .collect();
        readiness
    }

    /// Whether there is a fresh reading.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// A line for each.
    pub fn text(&self) -> String {
        let mut text = match (&self.reason, self.age_seconds) {
            (Some(reason), _) => format!("not ready: {reason}\n"),
            (None, age) => format!("ready: the last reading is {:.1} s old\n", age.unwrap_or(0.0)),
        };
        let because = |reason: Option<&str>| reason.map_or_else(String::new, |reason| format!(": {reason}"));
        for source in self.sources {
            let health = match source.health {
                Health::Up => "up",
                Health::Absent => "absent",
                Health::Failing => "failing",
                Health::Late => "late",
                Health::Unknown => "unknown",
            };
            let (name, since) = (&source.source, &source.since);
            let _ =
                writeln!(text, "source {name}: {health} since {since}{}", because(source.reason.as_deref()));
        }
        for device in &self.devices {
            let (state, since, reason) = match device.presence {
                Presence::Lost { since, reason } => ("lost", since, reason),
                Presence::Unread { since, reason } => ("unread", since, reason),
                _ => continue,
            };
            let named = [Some(device.name), device.uuid].into_iter().flatten().collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "device {} ({named}): {state} since {since}: {reason}", device.id);
        }
        if let Some(RecorderTick { file, up, since, reason, .. }) = self.recorder {
            let state = if *up { "up" } else { "failing" };
            let _ = writeln!(text, "recorder {file}: {state} since {since}{}", because(reason.as_deref()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tick(health: [&str; 2]) -> Tick {
        let source = |name: &str, health: &str| {
            json!({"source": name, "health": health, "since": "2026-01-01T00:00:00.000Z",
                   "reason": (health != "up").then_some("a reason")})
        };
        serde_json::from_value(json!({
            "schema": "vramkit.top/1", "time": "2026-01-01T00:00:01.000Z", "devices": [], "unavailable": [], "events": [],
            "sources": [source("nvml", health[0]), source("host", health[1])],
            "recorder": {"file": "r.jsonl", "up": false, "since": "2026-01-01T00:00:00.500Z", "reason": "no space"},
        }))
        .unwrap()
    }

    #[test]
    fn one_source_that_answers_is_enough_and_what_is_amiss_is_said() {
        let (second, fresh) = (Duration::from_secs(1), Duration::from_millis(400));
        let hung = tick(["late", "up"]);
        let readiness = Readiness::of(Some((&hung, fresh)), second);
        assert!(readiness.ready);
        assert_eq!(
            readiness.text().lines().collect::<Vec<_>>(),
            [
                "ready: the last reading is 0.4 s old",
                "source nvml: late since 2026-01-01T00:00:00.000Z: a reason",
                "source host: up since 2026-01-01T00:00:00.000Z",
                "recorder r.jsonl: failing since 2026-01-01T00:00:00.500Z: no space",
            ]
        );
        assert!(!Readiness::of(Some((&hung, Duration::from_secs(11))), second).ready);
        assert!(Readiness::of(Some((&hung, Duration::from_secs(11))), 9 * second).ready, "readings are rare");
        for gone in [["late", "failing"], ["absent", "late"]] {
            assert!(!Readiness::of(Some((&tick(gone), fresh)), second).ready, "{gone:?}");
        }
        let nothing = Readiness::of(None, second);
        assert!(!nothing.ready && nothing.text().contains("nothing has been read yet"));
    }
}
