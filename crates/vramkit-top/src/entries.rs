//! The overview's lines: every device, whether it is there or not, then what does not answer as it should; and in a few words
//! how it stands with all of them.

use vramkit::pressure::PressureLevel;
use vramkit_watch::{DeviceTick, Health, Presence, Tick};

use crate::text::{clock, cut, width};

/// A line of the overview.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry<'a> {
    /// A device, here or not.
    Device(&'a DeviceTick),
    /// A source, or what it could not read.
    Trouble { name: &'a str, since: Option<&'a str>, reason: &'a str },
}

impl<'a> Entry<'a> {
    /// What it is called, which tells it from all others.
    pub(crate) fn name(&self) -> &'a str {
        match self {
            Self::Device(device) => &device.snapshot.device.id,
            Self::Trouble { name, .. } => name,
        }
    }

    pub(crate) fn device(&self) -> Option<&'a DeviceTick> {
        match self {
            Self::Device(device) => Some(device),
            Self::Trouble { .. } => None,
        }
    }

    /// Why there are no numbers, in words; `None` of a device that is there.
    pub(crate) fn absence(&self, now: &str) -> Option<String> {
        match self {
            Self::Device(device) => match &device.presence {
                Presence::Lost { since, reason } => {
                    Some(format!("lost since {}: {reason}", clock(since, now)))
                }
                Presence::Unread { since, reason } => {
                    Some(format!("not read since {}: {reason}", clock(since, now)))
                }
                Presence::Given { since, reason } => {
                    Some(format!("given away since {}: {reason}", clock(since, now)))
                }
                Presence::Barred { since, reason } => {
                    Some(format!("barred since {}: {reason}", clock(since, now)))
                }
                Presence::Unknown => Some("in a state that this version has no word for".to_owned()),
                _ => None,
            },
            Self::Trouble { since: Some(since), reason, .. } => {
                Some(format!("does not answer since {}: {reason}", clock(since, now)))
            }
            Self::Trouble { reason, .. } => Some(format!("not available: {reason}")),
        }
    }
}

/// The lines, devices first. What nobody misses, such as cards of a make that this machine has none of, has no line.
pub(crate) fn entries(tick: &Tick) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = tick.devices.iter().map(Entry::Device).collect();
    let is_listed = |entries: &[Entry<'_>], name: &str| entries.iter().any(|entry| entry.name() == name);
    for source in &tick.sources {
        if matches!(source.health, Health::Failing | Health::Late) && !is_listed(&entries, &source.source) {
            let reason = source.reason.as_deref().unwrap_or("no answer yet");
            let since = Some(source.since.as_str()).filter(|since| !since.is_empty());
            entries.push(Entry::Trouble { name: &source.source, since, reason });
        }
    }
    // A device that cannot be asked (`cuda:3`) is missed; a kind of device that this machine has none of is not, unless there is
    // nothing else to show.
    let is_missed = |name: &str| match tick.sources.iter().find(|source| source.source == name) {
        Some(source) if source.health == Health::Absent => false,
        _ => name.rsplit(' ').next().is_some_and(|name| name.contains(':')) || tick.devices.is_empty(),
    };
    for absent in &tick.unavailable {
        if is_missed(&absent.source) && !is_listed(&entries, &absent.source) {
            entries.push(Entry::Trouble { name: &absent.source, since: None, reason: &absent.reason });
        }
    }
    entries
}

/// How it stands with devices, worst first: `1 critical (cuda:7), 2 lost (cuda:1 …), 1 elevated (cuda:0)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many of each, and the first one's name.
    counts: Vec<(&'static str, usize, String)>,
    of: usize,
}

/// What is worth a word, worst first.
const WORST: [&str; 6] = ["critical", "lost", "not read", "not available", "high", "elevated"];

impl Standing {
    pub(crate) fn of<'a>(entries: impl IntoIterator<Item = &'a Entry<'a>>) -> Self {
        let mut standing = Self::default();
        let mut counts: [(usize, Option<&str>); 6] = Default::default();
        for entry in entries {
            let worst = match entry {
                Entry::Device(device) => {
                    standing.of += 1;
                    match (&device.presence, device.snapshot.level) {
                        (Presence::Lost { .. }, _) => Some(1),
                        (Presence::Unread { .. }, _) => Some(2),
                        (_, Some(PressureLevel::Critical)) => Some(0),
                        (_, Some(PressureLevel::High)) => Some(4),
                        (_, Some(PressureLevel::Elevated)) => Some(5),
                        _ => None,
                    }
                }
                Entry::Trouble { .. } => Some(3),
            };
            if let Some(worst) = worst {
                counts[worst].0 += 1;
                counts[worst].1.get_or_insert(entry.name());
            }
        }
        let told = WORST.into_iter().zip(counts);
        standing.counts =
            told.filter_map(|(name, (count, first))| Some((name, count, first?.to_owned()))).collect();
        standing
    }

    /// Devices.
    pub(crate) fn devices(&self) -> usize {
        self.of
    }

    /// What is worst of it.
    pub(crate) fn worst(&self) -> Option<&'static str> {
        self.counts.first().map(|(name, ..)| *name)
    }

    /// Without names: `1 critical, 2 lost`.
    pub(crate) fn short(&self) -> String {
        self.naming(0)
    }

    /// In so much room, with the names of as many as can be, the worst first.
    pub(crate) fn within(&self, room: usize) -> String {
        if self.counts.is_empty() {
            return cut("nothing elevated", room);
        }
        let fits =
            (0..=self.counts.len()).rev().map(|named| self.naming(named)).find(|text| width(text) <= room);
        fits.unwrap_or_else(|| cut(&self.short(), room))
    }

    fn naming(&self, named: usize) -> String {
        let words =
            self.counts.iter().enumerate().map(|(at, (name, count, first))| match (at < named, *count) {
                (false, count) => format!("{count} {name}"),
                (true, 1) => format!("1 {name} ({first})"),
                (true, count) => format!("{count} {name} ({first} …)"),
            });
        words.collect::<Vec<_>>().join(", ")
    }
}
