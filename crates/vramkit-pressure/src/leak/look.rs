//! What a window of floors shows: how much it grew, whether that matters, and whether anything but growth that goes on
//! explains it as well. The cheap questions come first, because most series fail them.

use super::floors::FLOORS;
use super::gates::{self, Gate};
use super::shape;

/// A full lane, and what is known from elsewhere.
pub(super) struct Window<'a> {
    /// The floors, oldest first.
    pub(super) floors: &'a [f64],
    /// By how much readings scatter within each block.
    pub(super) scatters: &'a [f64],
    /// Floors from before the window, each over two of its blocks.
    pub(super) before: &'a [f64],
    /// The highest before the window.
    pub(super) past: f64,
    /// How many of the blocks were read.
    pub(super) readings: u32,
    pub(super) capacity: Option<f64>,
    pub(super) lane: usize,
}

/// Growth that is even, new, does not slow, and matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Bytes a block, by the median of slopes.
    pub(super) slope: f64,
    /// Bytes at the window's start.
    pub(super) level: f64,
    /// A fifth and more of the level in the first lane's window, and even.
    pub(super) is_fast: bool,
    /// Much of the headroom, and even.
    pub(super) takes_headroom: bool,
    /// When it began.
    pub(super) since: Since,
}

/// When growth began, as far as one can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// After a time without it.
    Later,
    /// With all that is known, and it goes on as it was.
    Start,
    /// With all that is known, and it slows.
    StartAndSlows,
}

impl Look {
    /// Bytes over the window.
    pub(super) fn rise(&self) -> f64 {
        self.slope * FLOORS as f64
    }
}

impl Window<'_> {
    /// Whether it grows by what a gate asks for; none when it does not, or not like something that goes on.
    pub(super) fn look(&self, gate: Gate) -> Option<Look> {
        let least = |floors: &[f64]| floors.iter().copied().fold(f64::INFINITY, f64::min);
        let newest = least(&self.floors[FLOORS - 5..]);
        // Taking a step out raises what was before it, so neither of the last two can come to hold by that.
        if self.readings < gates::READINGS
            || newest - least(&self.floors[..FLOORS / 3]) < gates::LEAST_BYTES / 2.0
            || newest <= self.past
            || !shape::is_record(self.floors)
        {
            return None;
        }
        // What a model's loading adds at once says nothing of the growth before and after.
        let without = shape::without_step(self.floors);
        let floors = without.as_deref().unwrap_or(self.floors);
        let (slope, level) = shape::theil_sen(floors);
        let rise = slope * FLOORS as f64;
        if rise < gates::LEAST_BYTES {
            return None;
        }
        // Of the headroom at the window's start.
        let of_headroom =
            self.capacity.map(|capacity| rise / ((capacity - floors[FLOORS - 1]).max(0.0) + rise));
        if of_headroom.is_some_and(|part| part < gates::LEAST_OF_HEADROOM) {
            return None;
        }
        let of_headroom = of_headroom.unwrap_or(0.0);
        let of_level = rise / level.max(1.0);
        // How many times what is asked for.
        let times = (of_level / gate.of_level).max(of_headroom / gate.of_headroom);
        let is_news = newest - self.past >= gates::NEWS * rise / times;
        if times < 1.0 || !is_news || !shape::is_record(floors) || shape::saturation(floors) < gates::SLOWS {
            return None;
        }
        if self.scatters_more(rise) {
            return None;
        }
        let (smallest, second) = shape::evenness(floors);
        let is_few = self.readings < gates::FEW_READINGS;
        let urgent_evenness = if is_few { gates::FEW_EVENNESS } else { gates::URGENT_EVENNESS };
        let is_even = smallest >= urgent_evenness;
        if second < gates::EVENNESS || is_few && !is_even || !shape::goes_on(floors) {
            return None;
        }
        let takes_much = of_headroom > gates::MUCH_OF_HEADROOM;
        if self.lane >= gates::STAIRS_FROM && !takes_much && shape::is_staircase(floors, gates::STAIRS) {
            return None;
        }
        Some(Look {
            slope,
            level,
            is_fast: self.lane == 0 && is_even && of_level > gates::FAST_OF_LEVEL,
            takes_headroom: takes_much || is_even && of_headroom > gates::SOON_OF_HEADROOM,
            since: self.since(slope),
        })
    }

    /// Whether readings scatter the more within blocks the higher they are, as those of a load do.
    fn scatters_more(&self, rise: f64) -> bool {
        let middle = |part: &[f64]| shape::median(&mut part.to_vec());
        let (first, last) = (&self.scatters[..FLOORS / 3], &self.scatters[2 * FLOORS / 3..]);
        middle(last) - gates::SCATTERS * middle(first) > gates::SCATTER * rise
    }

    fn since(&self, slope: f64) -> Since {
        let can_wait = gates::can_wait(self.lane, self.capacity.is_some());
        let began = if self.before.len() >= gates::BEFORE {
            let before = &self.before[self.before.len().saturating_sub(FLOORS / 2)..];
            let before = shape::theil_sen(before).0 / 2.0;
            if can_wait && before >= gates::STEEPER * slope {
                return Since::StartAndSlows;
            }
            before <= gates::LEVEL * slope
        } else {
            shape::saturation(self.floors) > gates::BEGAN
        };
        if began {
            Since::Later
        } else if can_wait && shape::saturation(self.floors) < gates::FILL_SLOWS {
            Since::StartAndSlows
        } else {
            Since::Start
        }
    }
}
