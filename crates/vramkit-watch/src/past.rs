//! The past of a device in bounded memory: every reading of late, before that one a minute, before that one in ten minutes,
//! each the one with the most bytes of its time.
//!
//! Samples are in the order of time. When the clock is set, what is kept is moved with it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use vramkit::ByteSize;
use vramkit::pressure::PressureLevel;

use crate::clock::ClockStep;
use crate::tick::{HistorySample, HolderUse};

/// Holders told apart in a sample of late, and in one of before.
const HOLDERS: usize = 8;
const FEW: usize = 4;
/// A day of minutes, and six more of ten minutes.
const BEFORE: [(f64, usize); 2] = [(60.0, 1440), (600.0, 864)];
/// Of more devices than these, less is kept of each.
const DEVICES: usize = 16;
/// A sample without a number stands so long after the last one of what was read again from a recording.
const GAP: f64 = 1e-3;

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Held {
    #[serde(serialize_with = "text")]
    name: Arc<str>,
    bytes: ByteSize,
}

fn text<S: Serializer>(name: &str, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name)
}

/// As [`HistorySample`], smaller.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Sample {
    unix_seconds: f64,
    used_bytes: Option<ByteSize>,
    level: Option<PressureLevel>,
    holders: Box<[Held]>,
}

/// See the module's first lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    recent: VecDeque<Sample>,
    before: [VecDeque<Sample>; 2],
}

impl Past {
    /// Keeps a sample: about `most` of them as they are.
    pub(crate) fn keep<'a>(
        &mut self,
        unix_seconds: f64,
        used_bytes: Option<ByteSize>,
        level: Option<PressureLevel>,
        holders: impl Iterator<Item = (&'a str, ByteSize)>,
        (most, devices): (usize, usize),
    ) {
        let last = self.recent.back();
        // Names are mostly those of the sample before.
        let name = |name: &str| {
            let known = last.and_then(|last| last.holders.iter().find(|held| &*held.name == name));
            known.map_or_else(|| Arc::from(name), |held| held.name.clone())
        };
        let holders = holders.take(HOLDERS).map(|(text, bytes)| Held { name: name(text), bytes }).collect();
        let sample = Sample { unix_seconds, used_bytes, level, holders };
        if let Some(last) = self.recent.back_mut().filter(|last| last.unix_seconds > unix_seconds) {
            // A gap begins a little after the sample before it, and the next may come sooner.
            if last.used_bytes.is_some() || last.unix_seconds - unix_seconds > GAP {
                return;
            }
            last.unix_seconds = unix_seconds;
        }
        self.recent.push_back(sample);
        let share = |most: usize| (most * DEVICES / devices.max(DEVICES)).max(1);
        while self.recent.len() > share(most) {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.thin(0, oldest, &share);
        }
    }

    /// Takes a sample into one of the thinner parts.
    fn thin(&mut self, part: usize, mut sample: Sample, share: &dyn Fn(usize) -> usize) {
        let Some(&(seconds, most)) = BEFORE.get(part) else { return };
        if sample.holders.len() > FEW {
            sample.holders = sample.holders[..FEW].into();
        }
        let kept = &mut self.before[part];
        let period = |sample: &Sample| (sample.unix_seconds / seconds).floor();
        match kept.back_mut() {
            Some(last) if period(last) == period(&sample) => {
                if sample.used_bytes > last.used_bytes {
                    *last = sample;
                }
            }
            _ => kept.push_back(sample),
        }
        let over = kept.len().saturating_sub(share(most));
        let oldest: Vec<Sample> = kept.drain(..over).collect();
        oldest.into_iter().for_each(|sample| self.thin(part + 1, sample, share));
    }

    /// Says that nothing is known from the last sample on.
    pub(crate) fn gap(&mut self) {
        if let Some(last) = self.recent.back().filter(|last| last.used_bytes.is_some()) {
            let unix_seconds = last.unix_seconds + GAP;
            self.recent.push_back(Sample { unix_seconds, used_bytes: None, level: None, holders: [].into() });
        }
    }

    /// The clock was set.
    pub(crate) fn shift(&mut self, by: &ClockStep) {
        let parts = self.before.iter_mut().chain([&mut self.recent]);
        parts.flatten().for_each(|sample| sample.unix_seconds = by.moved(sample.unix_seconds));
    }

    fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.before.iter().rev().chain([&self.recent]).flatten()
    }

    /// Everything, oldest first.
    pub(crate) fn history(&self) -> Vec<HistorySample> {
        let held = |held: &Held| HolderUse { name: held.name.to_string(), bytes: held.bytes };
        self.samples()
            .map(|sample| HistorySample {
                unix_seconds: sample.unix_seconds,
                used_bytes: sample.used_bytes,
                level: sample.level,
                holders: sample.holders.iter().map(held).collect(),
            })
            .collect()
    }
}

impl Serialize for Past {
    /// As [`Past::history`], without making it.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.samples())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn week(devices: usize) -> Past {
        let mut past = Past::default();
        for second in (0..8 * 86_400u32).step_by(2) {
            let used = if second % 7200 == 3000 { 9 } else { 1 + u64::from(second % 5) };
            let holders = [("a", 5), ("b", 4), ("c", 3), ("d", 2), ("e", 1)];
            let holders = holders.into_iter().map(|(name, bytes)| (name, ByteSize::new(bytes)));
            past.keep(second.into(), Some(ByteSize::new(used)), None, holders, (600, devices));
        }
        past
    }

    #[test]
    fn a_week_is_kept_in_little_and_the_peaks_stay() {
        let kept = week(1).history();
        assert!(kept.windows(2).all(|pair| pair[0].unix_seconds < pair[1].unix_seconds));
        assert!(kept.len() <= 600 + 1440 + 864, "{}", kept.len());
        let (first, last) = (kept[0].unix_seconds, kept[kept.len() - 1].unix_seconds);
        assert!(last - first > 6.9 * 86_400.0, "{first} to {last}");
        let peaks = kept.iter().filter(|sample| sample.used_bytes == Some(ByteSize::new(9)));
        assert_eq!(peaks.count(), (6.99 * 12.0f64) as usize + 1);
        assert_eq!((kept[0].holders.len(), kept[kept.len() - 1].holders.len()), (FEW, 5));
        assert!(week(64).history().len() <= kept.len() / 4 + 1, "of many devices less is kept");
    }

    #[test]
    fn what_is_not_known_leaves_a_gap_and_nothing_goes_back() {
        let mut past = Past::default();
        let keep = |past: &mut Past, second: f64, used: Option<u64>| {
            past.keep(second, used.map(ByteSize::new), None, std::iter::empty(), (10, 1));
        };
        keep(&mut past, 10.0, Some(1));
        past.gap();
        past.gap();
        keep(&mut past, 5.0, Some(7));
        keep(&mut past, 20.0, Some(2));
        let used: Vec<_> =
            past.history().iter().map(|sample| sample.used_bytes.map(ByteSize::bytes)).collect();
        assert_eq!(used, [Some(1), None, Some(2)]);
        assert_eq!(serde_json::to_value(&past).unwrap(), serde_json::to_value(past.history()).unwrap());
    }
}
