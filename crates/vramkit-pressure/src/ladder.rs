//! A ladder of rungs: from which fraction of the capacity on which level holds, and what to do there.
//!
//! Numbers of a configuration come in; a ladder that has been checked comes out, or why it makes no sense. Where memory
//! stands on it is the [`PressureGauge`](crate::PressureGauge)'s to say; nothing here acts.

use serde::{Deserialize, Serialize};

use crate::level::PressureLevel;

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
    /// For how long all readings must have been below `exit` before one leaves, in seconds.
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
///
/// ```
/// use vramkit_pressure::{Ladder, PressureLevel, PressurePolicy, Rung};
///
/// let rung = |level, enter, policy| Rung {
///     level,
///     enter,
///     exit: Some(enter - 0.05),
///     dwell_seconds: 1.0,
///     policies: vec![policy],
///     cooldown_seconds: 0.5,
/// };
/// let mut ladder = Ladder {
///     rungs: vec![
///         rung(PressureLevel::Elevated, 0.80, PressurePolicy::Log),
///         rung(PressureLevel::Critical, 0.95, PressurePolicy::Evict),
///     ],
///     patience: 2,
/// };
/// assert_eq!(ladder.check(), Ok(()));
/// ladder.rungs.swap(0, 1);
/// assert!(ladder.check().is_err());
/// ```
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
#[non_exhaustive]
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
    /// Elevated from 0.60, High from 0.80, Critical from 0.90, each left after half a minute 0.05 lower. For watching: nothing
    /// is done on a rung.
    pub fn watch() -> Self {
        let rungs = vec![
            Rung::watched(PressureLevel::Elevated, 0.60, 0.55, 30.0),
            Rung::watched(PressureLevel::High, 0.80, 0.75, 30.0),
            Rung::watched(PressureLevel::Critical, 0.90, 0.85, 30.0),
        ];
        Self { rungs, patience: default_patience() }
    }
}

impl Rung<()> {
    /// A rung on which nothing is done.
    fn watched(level: PressureLevel, enter: f64, exit: f64, dwell_seconds: f64) -> Self {
        Self { level, enter, exit: Some(exit), dwell_seconds, policies: Vec::new(), cooldown_seconds: 0.0 }
    }
}

/// What tests of ladder and gauge stand on: elevated from 0.7 to 0.6, critical from 0.9 to 0.8, without dwell.
#[cfg(test)]
pub(crate) fn two_rungs() -> Ladder<()> {
    let rungs = vec![
        Rung::watched(PressureLevel::Elevated, 0.7, 0.6, 0.0),
        Rung::watched(PressureLevel::Critical, 0.9, 0.8, 0.0),
    ];
    Ladder { rungs, patience: 2 }
}

#[cfg(test)]
mod tests {
    use super::two_rungs as ladder;
    use super::*;

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
}
