//! Does a series of used bytes grow without end? Judged on floors at several scales, so that what is given back again
//! does not count.
//!
//! ```text
//! readings ──► clock ──► lane 0 (30 floors of 10 s: 5 min) ───┐
//!                   ├──► lane 1 (10 min) … lane 9 (42 h) ─────┴──► look ──► held for a while ──► one verdict
//! ```
//!
//! The minimum over a block hides everything shorter than it. When a block closes on a full lane, its floors are
//! looked at (`look`): how much they grew, of the level and of the headroom; how evenly; whether they are above all that
//! was there before; whether they slow; and whether a shape that goes on explains them better than one that has ended
//! (`shape`). What is asked for is in `gates`. From bytes alone a leak cannot be told from a cache that fills or a slow
//! rise of load: the words say growth, not leak.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use vramkit_units::ByteSize;

use super::floors::FLOORS;
use super::gates::{self, gate};
use super::lane::{Lane, Pushed};
use super::look::{Look, Since, Window};
use super::shape;
use crate::clock::Clock;

/// The shortest block.
const BLOCK: Duration = Duration::from_secs(10);
/// Lanes; the last one looks at 42 hours.
const LANES: usize = 10;

/// How bytes grow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Growth {
    /// Over the window, of the level at its start.
    pub growth_ratio: f64,
    /// What was looked at, in seconds.
    pub window_seconds: f64,
    /// A second, by the median of slopes.
    pub bytes_per_second: f64,
}

/// A change in what is known of a series. Growth is told once, by the first of the three that holds, until it is over.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum GrowthEvent {
    /// More than a fifth in five minutes, evenly.
    Fast(Growth),
    /// The floor rises, and does not slow.
    Sustained(Growth),
    /// A quarter and more of the headroom at the window's start was taken over the window, evenly; told only where the
    /// capacity is known.
    FullSoon(Growth),
    /// What was said before is over: it slows, was given back, or there was a gap in which nobody looked.
    Stopped,
}

/// Watches one series of used bytes, read at any times from five a second to one in ten minutes. A few microseconds a
/// closed block, 7 KB.
///
/// ```
/// use std::time::Duration;
///
/// use vramkit_pressure::leak::{GrowthDetector, GrowthEvent};
/// use vramkit_units::ByteSize;
///
/// let mut detector = GrowthDetector::of_capacity(ByteSize::gib(80));
/// let mut told = Vec::new();
/// for second in 0..1200 {
///     let used = ByteSize::gib(74) + ByteSize::mib(3 * second);
///     told.extend(detector.push(Duration::from_secs(second), used));
/// }
/// // 3 MiB a second: it would be full after 34 minutes.
/// assert!(matches!(told[..], [GrowthEvent::FullSoon(growth)] if growth.window_seconds <= 600.0), "{told:?}");
/// ```
#[derive(Clone, Debug, Default)]
pub struct GrowthDetector {
    clock: Clock,
    capacity: Option<f64>,
    lanes: [Lane; LANES],
    held: [Held; LANES],
    told: Option<Told>,
}

/// What a lane showed at each of the last blocks, the newest in the lowest bit.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    fast: u64,
    soon: u64,
    sustained: u64,
}

/// Growth that was told and not taken back.
#[derive(Clone, Copy, Debug)]
struct Told {
    lane: usize,
    level: f64,
    rise: f64,
}

impl GrowthDetector {
    /// Nothing seen yet, of a memory of unknown size: growth is judged by the level alone, and told the sooner.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing seen yet, of a memory of so many bytes: what is a small part of the headroom waits, and what takes much of it
    /// is told at any level.
    pub fn of_capacity(total: ByteSize) -> Self {
        let mut detector = Self::new();
        detector.set_capacity(Some(total));
        detector
    }

    /// What the memory holds, from now on.
    pub fn set_capacity(&mut self, total: Option<ByteSize>) {
        self.capacity = total.map(|total| total.bytes() as f64);
    }

    /// Takes a reading in: `used` at the time `now`. A reading from before the last one is left out; after three of them in a
    /// row the clock was set back, and time goes on from there, or all begins anew when it was set back by more than two
    /// hours. Returns what has changed.
    pub fn push(&mut self, now: Duration, used: ByteSize) -> Option<GrowthEvent> {
        let block = (self.clock.read(now)?.as_nanos() / BLOCK.as_nanos()) as u64;
        let mut event = None;
        for lane in 0..LANES {
            event = match self.lanes[lane].push(block >> lane, used.bytes() as f64) {
                Pushed::Kept => event,
                // One change at a time.
                Pushed::Closed if event.is_none() => self.judge(lane),
                Pushed::Closed => event,
                Pushed::Anew => self.begin_anew(lane).or(event),
            };
        }
        event
    }

    /// Whether growth has been said and not taken back.
    pub fn is_growing(&self) -> bool {
        self.told.is_some()
    }

    /// Nobody knows what was in a gap: what this lane said no longer stands.
    fn begin_anew(&mut self, lane: usize) -> Option<GrowthEvent> {
        self.held[lane] = Held::default();
        self.told.take_if(|told| told.lane == lane).map(|_| GrowthEvent::Stopped)
    }

    /// Looks at a lane whose newest block has just closed.
    fn judge(&mut self, lane: usize) -> Option<GrowthEvent> {
        if let Some(told) = self.told {
            if !told.is_over(lane, &mut self.lanes[lane]) {
                return None;
            }
            self.told = None;
            self.held = [Held::default(); LANES];
            return Some(GrowthEvent::Stopped);
        }
        let gate = gate(lane, self.capacity.is_some());
        let readings = self.lanes[lane].readings();
        let look = self.window(lane).and_then(|window| window.look(gate));
        let held = &mut self.held[lane];
        held.note(look.as_ref());
        let look = look?;
        if look.since == Since::StartAndSlows {
            return None;
        }
        // Who knows no capacity cannot tell whether there is time to wait.
        let longer =
            if look.since == Since::Start && self.capacity.is_some() { gates::FILL_HOLD } else { 1.0 };
        // Of blocks, only those that were read count.
        let read = f64::from(readings) / FLOORS as f64;
        let holds = |bits: u64, blocks: u32| {
            let blocks = (f64::from(blocks) * longer * read).round().max(1.0) as u32;
            (bits & ((1 << blocks) - 1)).count_ones() * 5 >= blocks * 4
        };
        let seconds = (BLOCK.as_secs() << lane) as f64;
        let growth = Growth {
            growth_ratio: look.rise() / look.level.max(1.0),
            window_seconds: seconds * FLOORS as f64,
            bytes_per_second: look.slope / seconds,
        };
        let event = if holds(held.soon, gates::URGENT_HOLD) {
            GrowthEvent::FullSoon(growth)
        } else if holds(held.fast, gates::URGENT_HOLD) {
            GrowthEvent::Fast(growth)
        } else if holds(held.sustained, gate.hold) {
            GrowthEvent::Sustained(growth)
        } else {
            return None;
        };
        self.told = Some(Told { lane, level: look.level, rise: look.rise() });
        Some(event)
    }

    /// What there is to look at in a lane; none before it is full.
    fn window(&mut self, lane: usize) -> Option<Window<'_>> {
        let (lanes, longer) = self.lanes.split_at_mut(lane + 1);
        let this = &mut lanes[lane];
        // The next lane's floors go back twice as far.
        let before = longer.first_mut().map_or(&[][..], |next| next.floors());
        let (readings, past) = (this.readings(), this.past());
        let (floors, scatters) = this.floors_and_scatters();
        (floors.len() == FLOORS).then(|| Window {
            before: &before[..before.len().saturating_sub(FLOORS / 2)],
            past,
            readings,
            capacity: self.capacity,
            lane,
            scatters,
            floors,
        })
    }
}

impl Held {
    fn note(&mut self, look: Option<&Look>) {
        let shift = |bits: &mut u64, holds: bool| *bits = *bits << 1 | u64::from(holds);
        shift(&mut self.fast, look.is_some_and(|look| look.is_fast));
        shift(&mut self.soon, look.is_some_and(|look| look.takes_headroom));
        shift(&mut self.sustained, look.is_some());
    }
}

impl Told {
    /// Whether it no longer holds, by a lane of which a block has closed.
    fn is_over(&self, lane: usize, floors: &mut Lane) -> bool {
        let newest = floors.newest().unwrap_or(0.0);
        if lane == 0 && newest < gates::RESTARTED * self.level {
            return true;
        }
        if lane != self.lane {
            return false;
        }
        if newest < self.level + gates::GIVEN_BACK * self.rise {
            return true;
        }
        let mut thirds =
            floors.floors().chunks_exact(FLOORS / 3).map(|third| shape::median(&mut third.to_vec()));
        match (thirds.nth(1), thirds.next()) {
            (Some(middle), Some(last)) => last - middle < gates::OVER * self.rise / 3.0,
            _ => false,
        }
    }
}
