//! How full is it? A ladder of rungs, with hysteresis.
//!
//! Fractions of the capacity come in with the time at which they were read; levels come out, and changes of
//! level. A rung is entered at its `enter` fraction and left below its `exit` fraction, and not before `dwell`
//! has passed, so that a load at a threshold does not flutter. Nothing here acts: see
//! [`orchestrator`](crate::orchestrator).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The severities that every ladder is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PressureLevel {
    /// Below every rung.
    #[default]
    Normal,
    /// Worth knowing.
    Elevated,
    /// Worth acting.
    High,
    /// About to run out.
    Critical,
}

impl PressureLevel {
    /// Every level, lowest first.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Elevated, Self::High, Self::Critical];
}

impl fmt::Display for PressureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Normal => "normal",
            Self::Elevated => "elevated",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// One rung of a ladder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung<P> {
    /// The level of being on it.
    pub level: PressureLevel,
    /// The fraction from which on one is on it, 0..1.
    pub enter: f64,
    /// The fraction below which one leaves it, at most `enter`; `enter` itself when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<f64>,
    /// How long one stays at least, in seconds.
    #[serde(default)]
    pub dwell_seconds: f64,
    /// What to do there, the mildest first.
    #[serde(default = "Vec::new")]
    pub policies: Vec<P>,
    /// How long to wait after acting before acting again, in seconds.
    #[serde(default)]
    pub cooldown_seconds: f64,
}

/// Rungs, lowest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "P: Deserialize<'de>"))]
pub struct Ladder<P> {
    /// The rungs.
    pub rungs: Vec<Rung<P>>,
    /// A policy that frees less than was needed this many times in a row gives way to the next of its rung.
    #[serde(default = "default_patience")]
    pub patience: u32,
}

fn default_patience() -> u32 {
    2
}

/// Why a ladder makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LadderError {
    /// A rung is not above the one before it, or is the ground.
    #[error("rung `{0}` must be above the rung before it, in level and in `enter`")]
    Order(PressureLevel),
    /// A fraction is not one.
    #[error("rung `{level}`: {name} {value} must be within {range}")]
    Fraction {
        /// The rung.
        level: PressureLevel,
        /// Which of its numbers.
        name: &'static str,
        /// The number.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
}

impl<P> Ladder<P> {
    /// Checks that levels and thresholds rise, that `exit <= enter`, and that times are not negative.
    pub fn check(&self) -> Result<(), LadderError> {
        let mut below = (PressureLevel::Normal, 0.0);
        for rung in &self.rungs {
            let fraction =
                |name, value, range| LadderError::Fraction { level: rung.level, name, value, range };
            // Written so that NaN fails.
            if !(rung.enter > 0.0 && rung.enter <= 1.0) {
                return Err(fraction("enter", rung.enter, "(0, 1]"));
            }
            if let Some(exit) = rung.exit
                && !(exit >= 0.0 && exit <= rung.enter)
            {
                return Err(fraction("exit", exit, "[0, enter]"));
            }
            for (name, value) in
                [("dwell_seconds", rung.dwell_seconds), ("cooldown_seconds", rung.cooldown_seconds)]
            {
                if !(0.0..=1e9).contains(&value) {
                    return Err(fraction(name, value, "[0, 1e9]"));
                }
            }
            if rung.level <= below.0 || rung.enter <= below.1 {
                return Err(LadderError::Order(rung.level));
            }
            below = (rung.level, rung.enter);
        }
        Ok(())
    }

    /// The rung of a level, if the ladder has it.
    pub fn rung(&self, level: PressureLevel) -> Option<&Rung<P>> {
        self.rungs.iter().find(|rung| rung.level == level)
    }
}

impl Ladder<()> {
    /// Elevated from 0.60, High from 0.80, Critical from 0.90, each left 0.05 lower and not within five seconds. For
    /// watching: nothing is done on a rung.
    pub fn watch() -> Self {
        let rung = |level, enter: f64, exit| Rung {
            level,
            enter,
            exit: Some(exit),
            dwell_seconds: 5.0,
            policies: Vec::new(),
            cooldown_seconds: 0.0,
        };
        let rungs = vec![
            rung(PressureLevel::Elevated, 0.60, 0.55),
            rung(PressureLevel::High, 0.80, 0.75),
            rung(PressureLevel::Critical, 0.90, 0.85),
        ];
        Self { rungs, patience: default_patience() }
    }
}

/// A change of level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelChange {
    /// Before.
    pub from: PressureLevel,
    /// After.
    pub to: PressureLevel,
}

/// Where one stands on a ladder, and how often each level was read.
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
    use proptest::prelude::*;

    fn ladder() -> Ladder<()> {
        let rung = |level, enter, exit| Rung {
            level,
            enter,
            exit: Some(exit),
            dwell_seconds: 0.0,
            policies: Vec::new(),
            cooldown_seconds: 0.0,
        };
        Ladder {
            rungs: vec![rung(PressureLevel::Elevated, 0.7, 0.6), rung(PressureLevel::Critical, 0.9, 0.8)],
            patience: 2,
        }
    }

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

    #[test]
    fn senseless_ladders_are_refused() {
        let spoil: [fn(&mut Ladder<()>); 6] = [
            |l| l.rungs[0].enter = f64::NAN,
            |l| l.rungs[0].exit = Some(0.71),
            |l| l.rungs.swap(0, 1),
            |l| l.rungs[1].enter = 0.7,
            |l| l.rungs[1].level = PressureLevel::Elevated,
            |l| l.rungs[1].dwell_seconds = -1.0,
        ];
        assert_eq!(ladder().check(), Ok(()));
        for spoil in spoil {
            let mut ladder = ladder();
            spoil(&mut ladder);
            assert!(ladder.check().is_err(), "{ladder:?}");
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
