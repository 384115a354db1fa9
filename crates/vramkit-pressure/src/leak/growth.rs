//! Does a series of used bytes grow without end? Judged on floors at several scales, so that what is given back again
//! does not count.
//!
//! ```text
//! samples ──► floors of 10 s ──► lane 0 (30 floors: 5 min) ──┬──► fast growth
//!                  └─ by two ──► lane 1 (10 min) … lane 9 ───┴──► sustained growth, held for a while
//! ```
//!
//! The minimum over a block hides everything shorter than it. When a block closes on a full lane, its floors are
//! looked at: how much they grew, how evenly, whether they are at their highest, whether they slow, and whether a
//! shape that goes on explains them better than one that has ended (`shape`). A step up is never growth. From bytes
//! alone a leak cannot be told from a cache that fills or a slow rise of load: the words say growth, not leak.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use vramkit_units::ByteSize;

use super::floors::{FLOORS, keep};
use super::shape;

/// The shortest block.
const BLOCK: Duration = Duration::from_secs(10);
/// Lanes; the last one looks at 42 hours.
const LANES: usize = 10;
/// Blocks without a sample that are bridged by the last floor; after more, everything begins anew.
const BRIDGED: u64 = 6;

/// What is asked of a lane before it speaks. The numbers were tuned on one half of the labelled series and are
/// judged on the other: `cargo bench -p vramkit-testing --bench leaks`.
struct Gate {
    /// Growth over the window, of the level at its start.
    growth: f64,
    /// For how many ticks the conditions are watched, of which four in five must hold.
    hold: usize,
}

/// Fast growth, over the first lane: nearly at once, but the more even.
const FAST: Gate = Gate { growth: 0.20, hold: 3 };
const FAST_EVENNESS: f64 = 0.5;

/// Sustained growth, by lane.
const fn gate(lane: usize) -> Gate {
    match lane {
        0 => Gate { growth: 0.20, hold: 20 },
        1 => Gate { growth: 0.14, hold: 14 },
        2 => Gate { growth: 0.07, hold: 6 },
        _ => Gate { growth: 0.03, hold: 1 },
    }
}

/// The second smallest of five rises, of their mean, in what grows sustainedly.
const EVENNESS: f64 = 0.1;
/// The last third's rise, of the one before, below which growth slows.
const SATURATION: f64 = 0.7;
/// And below which it is over.
const OVER: f64 = 0.3;

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

/// A change in what is known of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GrowthEvent {
    /// More than a fifth in five minutes, evenly.
    Fast(Growth),
    /// The floor rises, and does not slow.
    Sustained(Growth),
    /// What was said before is over.
    Stopped,
}

/// Watches one series of used bytes. A few microseconds a minute, 3 KB.
///
/// ```
/// use std::time::Duration;
///
/// use vramkit_pressure::leak::{GrowthDetector, GrowthEvent};
/// use vramkit_units::ByteSize;
///
/// let mut detector = GrowthDetector::new();
/// let mut told = Vec::new();
/// for second in 0..1200 {
///     told.extend(detector.push(Duration::from_secs(second), ByteSize::mb(1000 + second)));
/// }
/// assert!(matches!(told[0], GrowthEvent::Fast(growth) if growth.growth_ratio > 0.2));
/// ```
#[derive(Clone, Debug)]
pub struct GrowthDetector {
    lanes: Vec<Lane>,
    /// The block that is open: its number since the clock's zero, and the least bytes in it.
    open: Option<(u64, f64)>,
    /// The lane that said that growth is fast or sustained, and has not taken it back.
    fast: bool,
    sustained: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    floors: VecDeque<f64>,
    /// The first half of a block of the next lane.
    half: Option<f64>,
    /// Whether the conditions of sustained and of fast growth held at each of the last ticks, the newest in the lowest
    /// bit.
    held: u32,
    fast: u32,
}

/// What a lane's floors look like.
struct Look {
    growth: Growth,
    rises: bool,
    evenness: (f64, f64),
    saturation: f64,
}

impl Default for GrowthDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl GrowthDetector {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { lanes: vec![Lane::default(); LANES], open: None, fast: false, sustained: None }
    }

    /// Takes a sample in: `used` at the time `now` of a clock that does not go back (a sample from before the last one
    /// is left out). Returns what has changed.
    pub fn push(&mut self, now: Duration, used: ByteSize) -> Option<GrowthEvent> {
        let block = now.as_secs() / BLOCK.as_secs();
        let used = used.bytes() as f64;
        let Some((open, least)) = self.open else {
            self.open = Some((block, used));
            return None;
        };
        if block <= open {
            if block == open {
                self.open = Some((open, least.min(used)));
            }
            return None;
        }
        self.open = Some((block, used));
        if block - open > BRIDGED {
            *self = Self { open: self.open, ..Self::new() };
            return None;
        }
        (open..block).filter_map(|_| self.close(least)).last()
    }

    /// Whether growth has been said and not taken back.
    pub fn is_growing(&self) -> bool {
        self.fast || self.sustained.is_some()
    }

    /// Closes a block of the first lane, and those of later lanes that end with it.
    fn close(&mut self, mut floor: f64) -> Option<GrowthEvent> {
        let mut event = None;
        for lane in 0..LANES {
            let floors = &mut self.lanes[lane].floors;
            keep(floors, floor);
            if floors.len() == FLOORS {
                event = self.judge(lane).or(event);
            }
            match self.lanes[lane].half.take() {
                Some(half) => floor = floor.min(half),
                None => {
                    self.lanes[lane].half = Some(floor);
                    break;
                }
            }
        }
        event
    }

    /// Looks at a lane whose newest block has just closed.
    fn judge(&mut self, lane: usize) -> Option<GrowthEvent> {
        let gate = gate(lane);
        let Lane { floors, fast, .. } = &mut self.lanes[lane];
        let look = look(floors.make_contiguous(), lane);
        let on = look.rises && look.saturation >= SATURATION;
        let mut event = None;
        if lane == 0 {
            note(fast, on && look.growth.growth_ratio > FAST.growth && look.evenness.0 >= FAST_EVENNESS);
            if self.fast && look.is_over(&FAST) {
                self.fast = false;
                event = self.stopped();
            } else if holds(*fast, &FAST) && !self.fast {
                self.fast = true;
                event = Some(GrowthEvent::Fast(look.growth));
            }
        }
        let held = &mut self.lanes[lane].held;
        note(held, on && look.growth.growth_ratio > gate.growth && look.evenness.1 >= EVENNESS);
        let sustained = holds(*held, &gate);
        if self.sustained == Some(lane) && look.is_over(&gate) {
            self.sustained = None;
            event = self.stopped();
        } else if sustained && self.sustained.is_none() {
            self.sustained = Some(lane);
            event = Some(GrowthEvent::Sustained(look.growth));
        }
        event
    }

    fn stopped(&self) -> Option<GrowthEvent> {
        (!self.is_growing()).then_some(GrowthEvent::Stopped)
    }
}

/// Shifts a tick's outcome in.
fn note(held: &mut u32, outcome: bool) {
    *held = *held << 1 | u32::from(outcome);
}

/// Whether four in five of the last ticks agree.
fn holds(held: u32, gate: &Gate) -> bool {
    (held & ((1 << gate.hold) - 1)).count_ones() as usize * 5 >= gate.hold * 4
}

impl Look {
    /// Whether what a lane said under a gate no longer holds.
    fn is_over(&self, gate: &Gate) -> bool {
        self.growth.growth_ratio < gate.growth / 4.0 || self.saturation < OVER
    }
}

fn look(floors: &[f64], lane: usize) -> Look {
    let without = shape::without_step(floors);
    let floors = without.as_deref().unwrap_or(floors);
    let step = (BLOCK.as_secs() << lane) as f64;
    let (slope, level) = shape::theil_sen(floors);
    let growth = Growth {
        growth_ratio: slope * FLOORS as f64 / level.max(1.0),
        window_seconds: step * FLOORS as f64,
        bytes_per_second: slope / step,
    };
    // The cheap conditions first: most series fail them.
    let rises = slope > 0.0 && shape::is_record(floors) && shape::goes_on(floors);
    Look { growth, rises, evenness: shape::evenness(floors), saturation: shape::saturation(floors) }
}
