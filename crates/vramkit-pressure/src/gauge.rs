//! Where memory stands on a ladder, with hysteresis.
//!
//! Fractions of the capacity come in with the time at which they were read; levels come out, and changes of level. A rung is
//! entered at its `enter` fraction and left below its `exit` fraction, and not before its dwell has passed, so that a load at
//! a threshold does not flutter. Everybody who judges pressure does it with this; nothing here acts or reads a clock.

use std::time::Duration;

use crate::ladder::{Ladder, Rung};
use crate::level::{LevelChange, PressureLevel};

/// Where one stands on a ladder, and how often each level was read.
///
/// ```
/// use std::time::Duration;
///
/// use vramkit_pressure::{Ladder, PressureGauge, PressureLevel};
///
/// let (ladder, mut gauge) = (Ladder::watch(), PressureGauge::new());
/// gauge.read(&ladder, 0.82, Duration::from_secs(1));
/// assert_eq!(gauge.level(), PressureLevel::High);
/// // Below 0.80, and still not below the 0.75 at which that rung is left.
/// gauge.read(&ladder, 0.77, Duration::from_secs(20));
/// assert_eq!(gauge.level(), PressureLevel::High);
/// gauge.read(&ladder, 0.70, Duration::from_secs(21));
/// assert_eq!((gauge.level(), gauge.changes()), (PressureLevel::Elevated, 2));
/// ```
#[derive(Clone, Debug)]
pub struct PressureGauge {
    level: PressureLevel,
    entered: Duration,
    readings: [u64; 4],
    changes: u64,
}

impl Default for PressureGauge {
    fn default() -> Self {
        Self::new()
    }
}

impl PressureGauge {
    /// On the ground.
    pub fn new() -> Self {
        Self { level: PressureLevel::Normal, entered: Duration::ZERO, readings: [0; 4], changes: 0 }
    }

    /// Takes a reading in: `fraction` of the capacity in use at the time `now` (of any clock that does not go
    /// back). Returns the change of level, if there is one.
    pub fn read<P>(&mut self, ladder: &Ladder<P>, fraction: f64, now: Duration) -> Option<LevelChange> {
        let from = self.level;
        let entered = |rung: &&Rung<P>| fraction >= rung.enter;
        let reached =
            ladder.rungs.iter().rev().find(entered).map_or(PressureLevel::Normal, |rung| rung.level);
        if reached > from {
            self.level = reached;
        } else if let Some(rung) = ladder.rung(from)
            && now.saturating_sub(self.entered) >= Duration::from_secs_f64(rung.dwell_seconds)
        {
            // Down to the highest rung that one has not yet left.
            let held = |rung: &&Rung<P>| rung.level <= from && fraction >= rung.exit.unwrap_or(rung.enter);
            self.level =
                ladder.rungs.iter().rev().find(held).map_or(PressureLevel::Normal, |rung| rung.level);
        }
        self.readings[self.level as usize] += 1;
        if self.level == from {
            return None;
        }
        self.entered = now;
        self.changes += 1;
        Some(LevelChange { from, to: self.level })
    }

    /// The level of the last reading.
    pub fn level(&self) -> PressureLevel {
        self.level
    }

    /// How many readings were at each level, by [`PressureLevel::ALL`].
    pub fn readings(&self) -> [u64; 4] {
        self.readings
    }

    /// How often the level has changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::two_rungs as ladder;
    use proptest::prelude::*;

    #[test]
    fn thresholds_are_lower_inclusive_and_levels_are_left_below_their_exit() {
        let (ladder, mut gauge) = (ladder(), PressureGauge::new());
        for (fraction, level) in [
            (0.6999, PressureLevel::Normal),
            (0.70, PressureLevel::Elevated),
            (0.61, PressureLevel::Elevated),
            (0.5999, PressureLevel::Normal),
            (0.90, PressureLevel::Critical),
            (0.80, PressureLevel::Critical),
            (0.79, PressureLevel::Elevated),
            (0.95, PressureLevel::Critical),
            (0.1, PressureLevel::Normal),
        ] {
            gauge.read(&ladder, fraction, Duration::ZERO);
            assert_eq!(gauge.level(), level, "at {fraction}");
        }
        assert_eq!(gauge.readings().iter().sum::<u64>(), 9);
        assert_eq!(gauge.changes(), 6);
    }

    #[test]
    fn a_level_is_kept_for_its_dwell() {
        let (mut ladder, mut gauge) = (ladder(), PressureGauge::new());
        ladder.rungs[0].dwell_seconds = 5.0;
        let at = Duration::from_secs;
        assert!(gauge.read(&ladder, 0.8, at(10)).is_some());
        assert_eq!(gauge.read(&ladder, 0.1, at(14)), None);
        let change = gauge.read(&ladder, 0.1, at(15)).unwrap();
        assert_eq!(change, LevelChange { from: PressureLevel::Elevated, to: PressureLevel::Normal });
    }

    proptest! {
        /// Whatever is read, the level is one that hysteresis allows.
        #[test]
        fn the_level_always_agrees_with_the_thresholds(fractions in prop::collection::vec(0.0f64..1.0, 1..100)) {
            let (ladder, mut gauge) = (ladder(), PressureGauge::new());
            for fraction in fractions {
                gauge.read(&ladder, fraction, Duration::ZERO);
                for rung in &ladder.rungs {
                    if fraction >= rung.enter {
                        prop_assert!(gauge.level() >= rung.level);
                    }
                    if fraction < rung.exit.unwrap() {
                        prop_assert!(gauge.level() < rung.level);
                    }
                }
            }
        }
    }
}
