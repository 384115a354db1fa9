//! Which policy's turn is it? Readings of the pool come in, policies come out: the ladder, where pressure stands on it,
//! and what has been tried. Acts on nothing itself.

use std::time::Duration;

use crate::gauge::PressureGauge;
use crate::ladder::{LadderError, Rung};
use crate::level::{LevelChange, PressureLevel};
use crate::policy::{PolicyLadder, PressurePolicy};

/// Chooses policies by a ladder, with cooldowns, and lets those that free too little give way.
///
/// ```
/// use std::time::Duration;
///
/// use vramkit_pressure::{PolicyLadder, PressureHandler, PressureLevel, PressurePolicy, Turn};
///
/// let mut handler = PressureHandler::new(PolicyLadder::orchestrator())?;
/// handler.read(0.95, Duration::from_secs(1));
/// assert_eq!(handler.next(Duration::from_secs(1)), Turn::Act(PressurePolicy::Compact, 0.90));
/// // It freed too little twice: the next policy of the rung is up.
/// assert_eq!(handler.acted(PressureLevel::Critical, false), None);
/// assert_eq!(handler.acted(PressureLevel::Critical, false), Some(PressurePolicy::Evict));
/// # Ok::<(), vramkit_pressure::LadderError>(())
/// ```
#[derive(Debug)]
pub struct PressureHandler {
    ladder: PolicyLadder,
    gauge: PressureGauge,
    /// The level whose rung has refused new bindings.
    rejecting: Option<PressureLevel>,
    /// On the present rung: which policy's turn it is, and how often in a row it freed too little.
    turn: usize,
    short: u32,
    last_action: Option<Duration>,
}

/// What to do about the present level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Turn {
    /// Nothing: there is no pressure, or its rung has no policy.
    NoPressure,
    /// Nothing yet.
    CoolingDown,
    /// Let this policy act, to get below this fraction of the capacity.
    Act(PressurePolicy, f64),
}

impl PressureHandler {
    /// At no pressure.
    pub fn new(ladder: PolicyLadder) -> Result<Self, LadderError> {
        ladder.check()?;
        let gauge = PressureGauge::new();
        Ok(Self { ladder, gauge, rejecting: None, turn: 0, short: 0, last_action: None })
    }

    /// The ladder.
    pub fn ladder(&self) -> &PolicyLadder {
        &self.ladder
    }

    /// Where pressure stands, and how often each level was read.
    pub fn gauge(&self) -> &PressureGauge {
        &self.gauge
    }

    /// Takes a reading in: `fraction` of the capacity in use at the time `now`. On a change of level the first
    /// policy of its rung is up, and a refusal from above it ends.
    pub fn read(&mut self, fraction: f64, now: Duration) -> Option<LevelChange> {
        let change = self.gauge.read(&self.ladder, fraction, now)?;
        (self.turn, self.short) = (0, 0);
        self.rejecting = self.rejecting.filter(|&rejecting| change.to >= rejecting);
        Some(change)
    }

    /// Whose turn it is; the cooldown runs from here.
    pub fn next(&mut self, now: Duration) -> Turn {
        let Some(rung) = self.ladder.rung(self.gauge.level()) else { return Turn::NoPressure };
        let cooldown = Duration::from_secs_f64(rung.cooldown_seconds);
        if self.last_action.is_some_and(|last| now.saturating_sub(last) < cooldown) {
            return Turn::CoolingDown;
        }
        let Some(&policy) = rung.policies.get(self.turn) else { return Turn::NoPressure };
        self.last_action = Some(now);
        Turn::Act(policy, rung.exit.unwrap_or(rung.enter))
    }

    /// Says what came of the policy that was up at `level`. Returns the policy that it gives way to, if it does.
    pub fn acted(&mut self, level: PressureLevel, freed_enough: bool) -> Option<PressurePolicy> {
        if level != self.gauge.level() {
            return None; // The level has changed, and with it the turn.
        }
        self.short = if freed_enough { 0 } else { self.short + 1 };
        let next = self.ladder.rung(level)?.policies.get(self.turn + 1).copied();
        let next = next.filter(|_| self.short >= self.ladder.patience)?;
        (self.turn, self.short) = (self.turn + 1, 0);
        Some(next)
    }

    /// Refuses new bindings until the level falls below the present one; nothing at no pressure.
    pub fn reject(&mut self) {
        self.rejecting = Some(self.gauge.level()).filter(|&level| level > PressureLevel::Normal);
    }

    /// The rung that refuses new bindings.
    pub fn rejecting(&self) -> Option<&Rung<PressurePolicy>> {
        self.ladder.rung(self.rejecting?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    /// Elevated from .7 (log), critical from .9 (compact, evict, reject); a cooldown of ten seconds.
    fn handler() -> PressureHandler {
        use PressurePolicy::{Compact, Evict, Log, Reject};
        let mut ladder = PolicyLadder::of(&[
            (PressureLevel::Elevated, 0.7, &[Log]),
            (PressureLevel::Critical, 0.9, &[Compact, Evict, Reject]),
        ]);
        for rung in &mut ladder.rungs {
            (rung.exit, rung.dwell_seconds, rung.cooldown_seconds) = (Some(rung.enter - 0.1), 0.0, 10.0);
        }
        PressureHandler::new(ladder).unwrap()
    }

    #[test]
    fn a_turn_comes_once_a_cooldown_and_gives_way_after_its_patience() {
        use PressurePolicy::{Compact, Evict, Log, Reject};
        let mut handler = handler();
        assert_eq!(handler.next(at(0)), Turn::NoPressure);
        let change = handler.read(0.95, at(1)).unwrap();
        assert_eq!((change.from, change.to), (PressureLevel::Normal, PressureLevel::Critical));
        assert_eq!(handler.gauge().level(), PressureLevel::Critical);
        assert_eq!(handler.next(at(1)), Turn::Act(Compact, 0.9 - 0.1));
        assert_eq!(handler.next(at(10)), Turn::CoolingDown);
        assert_eq!(handler.next(at(11)), Turn::Act(Compact, 0.9 - 0.1));
        // Too little, enough, too little: not twice in a row.
        let mut acted = |enough| handler.acted(PressureLevel::Critical, enough);
        assert_eq!([acted(false), acted(true), acted(false)], [None; 3]);
        assert_eq!(acted(false), Some(Evict));
        assert_eq!([acted(false), acted(false)], [None, Some(Reject)]);
        assert_eq!([acted(false), acted(false), acted(false)], [None; 3], "there is no other");
        assert_eq!(handler.next(at(21)), Turn::Act(Reject, 0.9 - 0.1));
        // What came of an earlier level is not counted, and a change of level begins with its first policy.
        assert_eq!(handler.acted(PressureLevel::Elevated, false), None);
        handler.read(0.75, at(30)).unwrap();
        assert_eq!(handler.next(at(31)), Turn::Act(Log, 0.7 - 0.1));
        handler.read(0.95, at(32)).unwrap();
        assert_eq!(handler.next(at(41)), Turn::Act(Compact, 0.9 - 0.1));
        assert_eq!(handler.read(0.95, at(42)), None);
    }

    #[test]
    fn a_refusal_lasts_until_the_level_falls_below_its_own() {
        let mut handler = handler();
        let mut rejects = |fraction, reject: bool| {
            handler.read(fraction, at(1));
            if reject {
                handler.reject();
            }
            handler.rejecting().map(|rung| rung.level)
        };
        assert_eq!(rejects(0.1, true), None, "at no pressure there is nothing to refuse for");
        assert_eq!(rejects(0.75, true), Some(PressureLevel::Elevated));
        assert_eq!(rejects(0.95, false), Some(PressureLevel::Elevated), "it lasts above its level");
        assert_eq!(rejects(0.75, false), Some(PressureLevel::Elevated));
        assert_eq!(rejects(0.1, false), None);
        assert_eq!(rejects(0.95, true), Some(PressureLevel::Critical));
        assert_eq!(rejects(0.75, false), None);
    }
}
