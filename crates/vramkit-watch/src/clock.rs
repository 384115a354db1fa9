//! A wall clock that is set while somebody looks at it: by how much what was kept has to move, and which of it.
//!
//! ```text
//! forward ── it had not been set (1970, a firmware's year) ──► all that was kept goes along
//!         ── else ──► a gap: the machine may have slept; remembered
//! back    ── what was kept since a jump forward moves by all of it, what was kept before by what the jump had not added
//! forward again, by as much, within minutes ──► the same the other way round
//! ```
//!
//! So what a clock that is ahead for a moment stamped comes back to where it belongs, and nothing else moves. In: times, and
//! how much has gone by, as far as that is known. Out: steps, which times and samples are moved by.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use crate::utc::{YEAR_2025, since_1970};

/// Jumps forward that are remembered.
const JUMPS: usize = 32;
/// A step back is taken back by one forward within so many seconds, which is as large but for so many.
const UNDONE_WITHIN: f64 = 600.0;
const AS_LARGE: f64 = 60.0;

/// The first time after a jump forward, and by how much it went.
#[derive(Clone, Copy, Debug)]
struct Jump {
    since: f64,
    by: f64,
}

/// See the module's first lines. Times are seconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: Option<f64>,
    jumps: VecDeque<Jump>,
    /// When it was last set back, and the step that takes that back.
    back: Option<(f64, ClockStep)>,
}

impl Clock {
    /// What follows from the next time, when `gone` seconds have gone by since the last one: nothing where it went on as clocks
    /// do, give or take `slack`.
    pub(crate) fn follow(&mut self, time: f64, gone: f64, slack: f64) -> Option<ClockStep> {
        let last = self.last.replace(time)?;
        let step = if time < last {
            self.set_back(last - time + gone, time)
        } else {
            let by = time - last - gone;
            if last < YEAR_2025 && time >= YEAR_2025 {
                ClockStep(vec![(f64::NEG_INFINITY, by)])
            } else if by > slack {
                self.set_forward(time, by)?
            } else {
                return None;
            }
        };
        self.jumps.iter_mut().for_each(|jump| jump.since = step.moved(jump.since));
        Some(step)
    }

    fn set_back(&mut self, by: f64, time: f64) -> ClockStep {
        let (mut left, mut parts) = (by, Vec::new());
        while left > 0.0 {
            let Some(Jump { since, by }) = self.jumps.pop_back() else { break };
            parts.push((since, -left));
            if by > left {
                self.jumps.push_back(Jump { since, by: by - left });
            }
            left -= by;
        }
        if left > 0.0 {
            parts.push((f64::NEG_INFINITY, -left));
        }
        parts.reverse();
        let step = ClockStep(parts);
        self.back = Some((time, step.inverse()));
        step
    }

    /// Nothing where it is a gap.
    fn set_forward(&mut self, time: f64, by: f64) -> Option<ClockStep> {
        let undone = self.back.take().filter(|(at, step)| {
            let since = time - by - at;
            since <= UNDONE_WITHIN && (step.largest() - by).abs() <= AS_LARGE
        });
        if undone.is_none() {
            self.jumps.push_back(Jump { since: time, by });
            let over = self.jumps.len().saturating_sub(JUMPS);
            self.jumps.drain(..over);
        }
        undone.map(|(_, step)| step)
    }
}

/// By how much what was kept moves: from which time on, and by how many seconds forward. What is before all of them stays.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClockStep(Vec<(f64, f64)>);

impl ClockStep {
    /// What a kept time is by the clock as it is now.
    pub(crate) fn moved(&self, time: f64) -> f64 {
        let part = self.0.iter().rev().find(|(since, _)| *since <= time);
        part.map_or(time, |(_, by)| time + by)
    }

    /// As [`moved`](Self::moved).
    pub(crate) fn of(&self, time: SystemTime) -> SystemTime {
        let moved = self.moved(since_1970(time)).max(0.0);
        Duration::try_from_secs_f64(moved).map_or(time, |moved| SystemTime::UNIX_EPOCH + moved)
    }

    /// How far the last of what was kept moves.
    fn largest(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, by)| *by)
    }

    fn inverse(&self) -> Self {
        Self(self.0.iter().map(|(since, by)| (since + by, -by)).collect())
    }
}

impl std::fmt::Display for ClockStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:+.0} s", self.largest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 2e9;

    /// What is kept of a sample every second, the clock being ahead by so much at each.
    fn kept(ahead: &[f64]) -> Vec<f64> {
        let (mut clock, mut kept) = (Clock::default(), Vec::<f64>::new());
        for (second, ahead) in ahead.iter().enumerate() {
            let time = NOW + second as f64 + ahead;
            if let Some(step) = clock.follow(time, 1.0, 1.0) {
                kept.iter_mut().for_each(|sample| *sample = step.moved(*sample));
            }
            kept.push(time);
        }
        kept.iter().map(|sample| sample - NOW).collect()
    }

    #[test]
    fn what_a_clock_stamped_while_it_was_wrong_comes_back_and_nothing_else_moves() {
        let right: Vec<f64> = (0..8).map(f64::from).collect();
        for ahead in [3600.0, 31_536_000.0, -3600.0] {
            let mut clock = [0.0; 8];
            clock[3..5].fill(ahead);
            assert_eq!(kept(&clock), right, "wrong by {ahead} for two seconds");
        }
        // Further, and then back in two steps.
        assert_eq!(kept(&[0.0, 0.0, 50.0, 50.0, 7000.0, 50.0, 0.0, 0.0]), right);
    }

    #[test]
    fn a_clock_that_is_set_back_takes_all_with_it_and_a_gap_stays_one() {
        assert_eq!(kept(&[0.0, 0.0, -100.0, -100.0]), [-100.0, -99.0, -98.0, -97.0]);
        // It slept, and was set back by seconds: what is from before stays.
        assert_eq!(kept(&[0.0, 0.0, 28_800.0, 28_800.0, 28_795.0]), [0.0, 1.0, 28_797.0, 28_798.0, 28_799.0]);
        // Set back by more than the jump had added: what was before it as well.
        assert_eq!(kept(&[0.0, 0.0, 100.0, -50.0]), [-50.0, -49.0, -48.0, -47.0]);
        // Much later forward again: a gap.
        let mut long = vec![0.0; 1000];
        long[2..900].fill(-100.0);
        assert_eq!(kept(&long)[0], -100.0);
    }
}
