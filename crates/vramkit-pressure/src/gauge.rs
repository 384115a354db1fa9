//! Where memory stands on a ladder, with hysteresis.
//!
//! Fractions of the capacity come in with the time at which they were read; levels come out, and changes of level. A rung is
//! entered at its `enter` fraction at once, and left when *all* readings of its dwell have been below its `exit` fraction: one
//! reading is enough to say that memory is short, and one is not enough to say that it no longer is. So a load that is noisy at
//! a threshold does not flutter: it stays on the rung that its peaks reach. Everybody who judges pressure does it with this;
//! nothing here acts or reads a clock.

use std::time::Duration;

use crate::ladder::Ladder;
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
/// gauge.read(&ladder, 0.77, Duration::from_secs(100));
/// assert_eq!(gauge.level(), PressureLevel::High);
/// // Below it, and then for the rung's dwell.
/// gauge.read(&ladder, 0.70, Duration::from_secs(101));
/// assert_eq!(gauge.level(), PressureLevel::High);
/// gauge.read(&ladder, 0.70, Duration::from_secs(130));
/// assert_eq!((gauge.level(), gauge.changes()), (PressureLevel::Elevated, 2));
/// ```
#[derive(Clone, Debug)]
pub struct PressureGauge {
    level: PressureLevel,
    /// By level: when a reading was last not below the exit of its rung.
    held: [Duration; 4],
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
        Self { level: PressureLevel::Normal, held: [Duration::ZERO; 4], readings: [0; 4], changes: 0 }
    }

    /// Takes a reading in: `fraction` of the capacity in use at the time `now` (of any clock that does not go
    /// back). Returns the change of level, if there is one.
    pub fn read<P>(&mut self, ladder: &Ladder<P>, fraction: f64, now: Duration) -> Option<LevelChange> {
        let from = self.level;
        self.level = PressureLevel::Normal;
        for rung in &ladder.rungs {
            let held = &mut self.held[rung.level as usize];
            let holds = fraction >= rung.exit.unwrap_or(rung.enter);
            if holds {
                *held = now;
            }
            let dwell = Duration::from_secs_f64(rung.dwell_seconds);
            // One that was never entered is not held.
            let stays = rung.level <= from && (holds || now.saturating_sub(*held) < dwell);
            if fraction >= rung.enter || stays {
                self.level = self.level.max(rung.level);
            }
        }
        self.readings[self.level as usize] += 1;
        if self.level == from {
            return None;
        }
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
    fn a_level_is_left_when_all_of_its_dwell_was_below_its_exit() {
        let (mut ladder, mut gauge) = (ladder(), PressureGauge::new());
        ladder.rungs.iter_mut().for_each(|rung| rung.dwell_seconds = 5.0);
        let mut read = |second, fraction| gauge.read(&ladder, fraction, Duration::from_secs(second));
        let change = |from, to| Some(LevelChange { from, to });
        assert_eq!(read(10, 0.8), change(PressureLevel::Normal, PressureLevel::Elevated));
        assert_eq!(read(14, 0.1), None);
        // Once more not below 0.6: the dwell begins anew.
        assert_eq!(read(15, 0.61), None);
        assert_eq!(read(19, 0.1), None);
        assert_eq!(read(20, 0.1), change(PressureLevel::Elevated, PressureLevel::Normal));
        // Up two rungs at once; down to the one that was held last.
        assert_eq!(read(30, 0.95), change(PressureLevel::Normal, PressureLevel::Critical));
        assert_eq!(read(33, 0.65), None);
        assert_eq!(read(35, 0.1), change(PressureLevel::Critical, PressureLevel::Elevated));
        assert_eq!(read(38, 0.1), change(PressureLevel::Elevated, PressureLevel::Normal));
    }

    #[test]
    fn noise_at_a_threshold_stays_on_the_rung_that_its_peaks_reach() {
        let ladder = Ladder::watch();
        let mut state = 1u64;
        let mut noise = || {
            // The sum of twelve even draws is nearly normal.
            let sum: f64 = (0..12)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 11) as f64 / (1u64 << 53) as f64
                })
                .sum();
            0.02 * (sum - 6.0)
        };
        for mean in [0.70, 0.78, 0.82, 0.84, 0.86, 0.88, 0.90, 0.92] {
            let mut gauge = PressureGauge::new();
            for second in 0..3600 {
                gauge.read(&ladder, mean + noise(), Duration::from_secs(second));
            }
            assert!(gauge.changes() <= 8, "{} changes an hour at {mean}", gauge.changes());
            if mean >= 0.88 {
                assert!(gauge.readings()[PressureLevel::Critical as usize] > 3500, "{mean}");
            }
        }
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
