//! Whether a limit is passed, from check to check: passed anew only after less has been held for a while, so that what is held around a
//! limit is told once. Times come in; nothing is told here.

use std::time::Duration;

use crate::pressure::LimitKind;

/// Where one limit stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crossing {
    /// Since when it has been passed.
    since: Option<Duration>,
    /// Since when less has been held, while it still counts as passed.
    below: Option<Duration>,
}

impl Crossing {
    /// More is held than the limit: whether that is new.
    pub(super) fn over(&mut self, now: Duration) -> bool {
        self.below = None;
        let is_new = self.since.is_none();
        self.since.get_or_insert(now);
        is_new
    }

    /// Less is held: for how long the limit was passed, once that is over. It is when less has been held for `hold`.
    pub(super) fn below(&mut self, now: Duration, hold: Duration) -> Option<Duration> {
        let since = self.since?;
        let below = *self.below.get_or_insert(now);
        if now.saturating_sub(below) < hold {
            return None;
        }
        *self = Self::default();
        Some(below.saturating_sub(since))
    }
}

/// Where the two limits stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crossings {
    soft: Crossing,
    hard: Crossing,
}

impl Crossings {
    pub(super) fn of(&mut self, limit: LimitKind) -> &mut Crossing {
        match limit {
            LimitKind::Soft => &mut self.soft,
            LimitKind::Hard => &mut self.hard,
        }
    }

    /// The highest that counts as passed.
    pub(super) fn passed(&self) -> Option<LimitKind> {
        let passed = |limit: Crossing, kind| limit.since.is_some().then_some(kind);
        passed(self.hard, LimitKind::Hard).or(passed(self.soft, LimitKind::Soft))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_passed_anew_only_after_less_has_been_held_for_a_while() {
        let (mut crossing, at, hold) = (Crossing::default(), Duration::from_secs, Duration::from_secs(5));
        assert!(crossing.over(at(10)));
        assert!(!crossing.over(at(11)), "it is told");
        assert_eq!(crossing.below(at(20), hold), None);
        assert!(!crossing.over(at(24)), "not below for long enough");
        assert_eq!(crossing.below(at(30), hold), None);
        assert_eq!(crossing.below(at(35), hold), Some(at(20)), "from 10 to 30");
        assert_eq!(crossing.since, None);
        assert!(crossing.over(at(36)));
        assert_eq!(Crossing::default().below(at(1), hold), None);
    }
}
