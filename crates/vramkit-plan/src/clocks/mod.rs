//! Lives between moments of several clocks (threads, streams), put on one clock of steps.
//!
//! A moment is a vector of counters, one a clock (Mattern, "Virtual time and global states of distributed systems", 1988). One life is
//! over before another begins when its end is at most the other's start in every counter; two of which neither is may be live
//! together, and conflict.
//!
//! ```text
//! moments ─► who conflicts (relation) ─► cuts: sets of lives that all conflict, until every conflict is in one
//!                                          └─ the heaviest of all (antichain) ─► a step for each ─► lives with gaps
//! ```
//!
//! Steps are cuts, so two lives have a step in common exactly when they conflict: whatever plans lives with gaps plans these
//! as they are, its proofs hold, and the most that is live at a step is a bound. Steps say nothing about what happens first.

mod antichain;
mod relation;

use relation::{Relation, ones};
use vramkit_units::{ByteSize, Step};

/// Lives for which pairs are looked at.
const LIVES: usize = 20_000;

/// Words of bits, one for each life, that are looked at for conflicts, and then for cuts: some tenths of a second.
const WORK: usize = 400_000_000;

/// Cuts at most: each is a step, at which search looks.
const CUTS: usize = 8_192;

/// Lives in all cuts together, at most.
const MEMBERS: usize = 4_000_000;

/// Lives up to which the heaviest set of any that conflict is looked for.
const HEAVIEST: usize = 1_000;

/// From one moment to another, as counters of every clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockLife {
    /// When it begins.
    pub start: Vec<u64>,
    /// When it is over: the first counts that no longer need it.
    pub end: Vec<u64>,
    /// What it takes, which decides on the bound alone. Without bytes it conflicts with nothing.
    pub size: ByteSize,
}

impl ClockLife {
    /// Whether it is over when the other begins.
    pub fn is_before(&self, other: &Self) -> bool {
        self.end.iter().zip(&other.start).all(|(end, start)| end <= start)
    }

    /// Whether it takes any room at any time.
    fn takes_room(&self) -> bool {
        !self.size.is_zero() && self.start != self.end
    }
}

/// A life on one clock: its steps, half-open, without its gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepLife {
    /// The first step.
    pub start: Step,
    /// The first step after it.
    pub end: Step,
    /// Steps of it that belong to others, ascending and apart.
    pub gaps: Vec<(Step, Step)>,
}

/// Why lives of several clocks cannot be put on one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// Not every moment has as many counters.
    #[error(
        "a moment of {found} counters where the first has {expected}; every moment has one counter for each clock"
    )]
    Counters {
        /// Which life.
        life: usize,
        /// How many it has.
        found: usize,
        /// How many the first start has.
        expected: usize,
    },
    /// A life ends before it starts.
    #[error("it ends at {end} on clock {clock}, before its start at {start}")]
    EndBeforeStart {
        /// Which life.
        life: usize,
        /// On which clock, counted from 0.
        clock: usize,
        /// Its start there.
        start: u64,
        /// Its end there.
        end: u64,
    },
    /// More than pairs are looked at for.
    #[error(
        "{lives} lives on {clocks} clocks; up to {LIVES}, and 25.6 * 10^9 counters of all pairs, are compared"
    )]
    TooMany {
        /// How many lives.
        lives: usize,
        /// How many clocks.
        clocks: usize,
    },
    /// So many may be live together in so many ways that no search would end.
    #[error(
        "more than {CUTS} sets of lives that may all be live together; fewer clocks, or moments at which clocks wait for one another, make fewer"
    )]
    TooManyCuts,
}

impl ClockError {
    /// The life that is to blame, where one is.
    pub fn life(&self) -> Option<usize> {
        match self {
            Self::Counters { life, .. } | Self::EndBeforeStart { life, .. } => Some(*life),
            _ => None,
        }
    }
}

/// Puts lives on one clock, so that two have a step in common exactly when neither is over before the other begins.
/// With one clock the steps are its counts.
///
/// ```
/// use vramkit_plan::{ByteSize, ClockLife, steps_of_clocks};
///
/// let life = |start: [u64; 2], end: [u64; 2]| ClockLife { start: start.into(), end: end.into(), size: ByteSize::mib(1) };
/// // The first two run one after the other on clock 0; what is on clock 1 may be live together with either.
/// let steps = steps_of_clocks(&[life([0, 0], [1, 0]), life([1, 0], [2, 0]), life([0, 0], [0, 3])])?;
/// let meet = |i: usize, j: usize| steps[i].start < steps[j].end && steps[j].start < steps[i].end;
/// assert!(!meet(0, 1) && meet(0, 2) && meet(1, 2));
/// # Ok::<(), vramkit_plan::ClockError>(())
/// ```
///
/// # Errors
/// Moments that are none, and more lives or conflicts than are looked at: see [`ClockError`].
pub fn steps_of_clocks(lives: &[ClockLife]) -> Result<Vec<StepLife>, ClockError> {
    let clocks = lives.first().map_or(0, |life| life.start.len());
    for (i, life) in lives.iter().enumerate() {
        for moment in [&life.start, &life.end] {
            if moment.len() != clocks || clocks == 0 {
                return Err(ClockError::Counters { life: i, found: moment.len(), expected: clocks.max(1) });
            }
        }
        let mut counters = life.start.iter().zip(&life.end).enumerate();
        if let Some((clock, (&start, &end))) = counters.find(|(_, (start, end))| end < start) {
            return Err(ClockError::EndBeforeStart { life: i, clock, start, end });
        }
    }
    if clocks == 1 {
        let own = |life: &ClockLife| StepLife {
            start: Step(life.start[0]),
            end: Step(life.end[0]),
            gaps: Vec::new(),
        };
        return Ok(lives.iter().map(own).collect());
    }
    let mut order: Vec<usize> = (0..lives.len()).filter(|&i| lives[i].takes_room()).collect();
    let words = order.len() * order.len().div_ceil(64);
    if order.len() > LIVES || words.saturating_mul(clocks) > WORK {
        return Err(ClockError::TooMany { lives: order.len(), clocks });
    }
    // What is before another comes before it here.
    let sum = |moment: &[u64]| moment.iter().map(|&count| u128::from(count)).sum::<u128>();
    order.sort_by_key(|&i| (sum(&lives[i].start), sum(&lives[i].end), i));
    let moments: Vec<(&[u64], &[u64])> = order.iter().map(|&i| (&*lives[i].start, &*lives[i].end)).collect();
    let relation = Relation::new(&moments);
    let mut cuts = relation.cuts(CUTS, MEMBERS, WORK).ok_or(ClockError::TooManyCuts)?;
    if order.len() <= HEAVIEST {
        let sizes: Vec<u64> = order.iter().map(|&i| lives[i].size.bytes()).collect();
        cuts.extend(antichain::heaviest(&relation, &sizes));
    }
    // By what begins last in each: where counters are as on one clock, nobody has a gap.
    cuts.sort_by_cached_key(|cut| {
        let members: Vec<usize> = ones(cut).collect();
        (members.last().copied(), members.first().copied())
    });
    cuts.dedup();
    let mut steps = vec![StepLife::default(); lives.len()];
    for (cut, step) in cuts.iter().zip(0..) {
        for i in ones(cut) {
            let life = &mut steps[order[i]];
            if life.end == Step(0) {
                life.start = Step(step);
            } else if life.end < Step(step) {
                life.gaps.push((life.end, Step(step)));
            }
            life.end = Step(step + 1);
        }
    }
    Ok(steps)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::{MemoryPlanner, Model, Schedule, TensorLifetime};
    use proptest::prelude::*;

    fn life(start: &[u64], end: &[u64], size: u64) -> ClockLife {
        ClockLife { start: start.to_vec(), end: end.to_vec(), size: ByteSize::new(size) }
    }

    /// The most that any set of lives takes that all conflict, and the smallest arena: by trying everything.
    fn by_trying(lives: &[ClockLife]) -> (u64, u64) {
        let conflict = |i: usize, j: usize| {
            let room = lives[i].takes_room() && lives[j].takes_room();
            room && !lives[i].is_before(&lives[j]) && !lives[j].is_before(&lives[i])
        };
        let n = lives.len();
        let whole = |set: u32| {
            let members: Vec<usize> = (0..n).filter(|i| set >> i & 1 == 1).collect();
            members
                .iter()
                .all(|&i| lives[i].takes_room() && members.iter().all(|&j| i == j || conflict(i, j)))
        };
        let weight =
            |set: u32| (0..n).filter(|i| set >> i & 1 == 1).map(|i| lives[i].size.bytes()).sum::<u64>();
        let heaviest = (0..1u32 << n).filter(|&set| whole(set)).map(weight).max().unwrap_or(0);
        // Every order, each life as low as those before it leave: one of them is best.
        fn place(
            n: usize,
            placed: &mut Vec<(usize, u64)>,
            lives: &[ClockLife],
            conflict: &dyn Fn(usize, usize) -> bool,
        ) -> u64 {
            let top = placed.iter().map(|&(i, at)| at + lives[i].size.bytes()).max().unwrap_or(0);
            if placed.len() == n {
                return top;
            }
            let rest = (0..n).filter(|i| placed.iter().all(|&(j, _)| j != *i)).collect::<Vec<_>>();
            let next = rest.into_iter().map(|i| {
                let size = lives[i].size.bytes();
                let fits = |&at: &u64| {
                    placed.iter().all(|&(j, other)| {
                        !conflict(i, j) || at + size <= other || other + lives[j].size.bytes() <= at
                    })
                };
                let ends = placed.iter().map(|&(j, at)| at + lives[j].size.bytes());
                let at = ends.chain([0]).filter(fits).min().unwrap_or(0);
                placed.push((i, at));
                let reached = place(n, placed, lives, conflict);
                placed.pop();
                reached
            });
            next.min().unwrap_or(top)
        }
        (heaviest, place(n, &mut Vec::new(), lives, &conflict))
    }

    fn plan(lives: &[ClockLife]) -> crate::AllocationPlan {
        let steps = steps_of_clocks(lives).unwrap();
        let tensors = steps.into_iter().zip(lives).enumerate().map(|(i, (steps, life))| TensorLifetime {
            gaps: steps.gaps,
            alignment: 1,
            ..TensorLifetime::new("m", &i.to_string(), steps.start, steps.end, life.size)
        });
        let model =
            Model { name: "m".into(), weights: ByteSize::ZERO, start: Step(0), tensors: tensors.collect() };
        let planner = MemoryPlanner::thorough(std::time::Duration::from_secs(2)).threads(1);
        planner.plan(&[model], Schedule::Fixed).unwrap()
    }

    #[test]
    fn a_cycle_of_conflicts_needs_more_than_any_set() {
        // Of five lives on three clocks each conflicts with its neighbours in a ring only where orders allow; here two threads
        // hand over to one another.
        let lives = [
            life(&[0, 0], &[2, 0], 4),
            life(&[0, 0], &[0, 2], 4),
            life(&[2, 0], &[3, 0], 4),
            life(&[0, 2], &[0, 3], 4),
        ];
        let plan = plan(&lives);
        assert_eq!((plan.arena_size, plan.proven_optimal), (ByteSize::new(8), true));
    }

    #[test]
    fn faults_are_named() {
        let error = |lives: &[ClockLife]| steps_of_clocks(lives).unwrap_err();
        assert_eq!(error(&[life(&[0, 0], &[1, 1], 1), life(&[0], &[1], 1)]).life(), Some(1));
        assert!(error(&[life(&[0, 2], &[1, 1], 1)]).to_string().contains("ends at 1 on clock 1"));
        assert!(error(&[life(&[], &[], 1)]).to_string().contains("0 counters"));
        // Two threads that never meet: every pair of one life of each.
        let apart = |i: u64| [life(&[i, 0], &[i + 1, 0], 1), life(&[0, i], &[0, i + 1], 1)];
        let lives: Vec<ClockLife> = (1..200).flat_map(apart).collect();
        assert_eq!(error(&lives), ClockError::TooManyCuts);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// On three clocks, against trying everything.
        #[test]
        fn plans_are_those_of_the_conflicts(
            rows in prop::collection::vec(([(0u64..5, 0u64..4), (0u64..5, 0u64..4), (0u64..3, 0u64..3)], 0u64..9), 1..7),
        ) {
            let lives: Vec<ClockLife> = rows
                .iter()
                .map(|&(counters, size)| life(&counters.map(|(at, _)| at), &counters.map(|(at, more)| at + more), size))
                .collect();
            let steps = steps_of_clocks(&lives).unwrap();
            let tensors: Vec<TensorLifetime> = steps.iter().map(|steps| TensorLifetime {
                gaps: steps.gaps.clone(),
                ..TensorLifetime::new("m", "t", steps.start, steps.end, ByteSize::new(1))
            }).collect();
            for (i, j) in (0..lives.len()).flat_map(|j| (0..j).map(move |i| (i, j))) {
                let (a, b) = (&lives[i], &lives[j]);
                let conflict = a.takes_room() && b.takes_room() && !a.is_before(b) && !b.is_before(a);
                prop_assert_eq!(tensors[i].overlaps(&tensors[j]), conflict, "{} and {}", i, j);
            }
            let plan = plan(&lives);
            let room: Vec<ClockLife> = lives.into_iter().filter(ClockLife::takes_room).collect();
            let (heaviest, best) = by_trying(&room);
            prop_assert_eq!(plan.lower_bound.bytes(), heaviest);
            prop_assert!(plan.proven_optimal);
            prop_assert_eq!(plan.arena_size.bytes(), best);
        }

        #[test]
        fn one_clock_is_a_clock_of_steps(rows in prop::collection::vec((0u64..50, 0u64..9), 0..20)) {
            let one: Vec<ClockLife> = rows.iter().map(|&(a, d)| life(&[a], &[a + d], 1)).collect();
            let steps = steps_of_clocks(&one).unwrap();
            prop_assert!(steps.iter().zip(&rows).all(|(steps, &(a, d))| (steps.start.0, steps.end.0) == (a, a + d) && steps.gaps.is_empty()));
            // Said twice, it is still one: intervals without gaps.
            let two: Vec<ClockLife> = rows.iter().map(|&(a, d)| life(&[a, a], &[a + d, a + d], 1)).collect();
            prop_assert!(steps_of_clocks(&two).unwrap().iter().all(|steps| steps.gaps.is_empty()));
        }
    }
}
