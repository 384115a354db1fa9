//! When each of several models should start, so that their peaks do not meet.
//!
//! On one clock and within a makespan, every model may start at any step that lets it end in time. What counts is
//! the most that is live together; the best starts are among those at which a rise of one model's load meets a
//! fall of another's, or an end of the clock. Models are moved one after the other to their best start while that
//! lowers the peak (then the time spent at it), from several beginnings: the starts given, all at once, one
//! after the other, and random ones.

use super::lifetime::{Model, Schedule, on_one_clock};
use super::lifetime_error::LifetimeError;
use super::problem::collect;
use vramkit_units::{ByteSize, SplitMix64, Step};

/// Beginnings that are tried.
const BEGINNINGS: usize = 12;

/// Starts that are tried for one model, at most: evenly chosen where there are more.
const STARTS: usize = 400;

/// Starts of models, and what they save.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Starts {
    /// One for each model.
    pub starts: Vec<Step>,
    /// Most bytes live together with the starts given.
    pub before: ByteSize,
    /// Most bytes live together with these.
    pub peak: ByteSize,
    /// No starts have less: the largest model's own peak, or all models' bytes spread evenly over the makespan.
    pub bound: ByteSize,
}

/// Why no starts were chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartsError {
    /// The lifetimes themselves cannot be planned.
    #[error(transparent)]
    Lifetimes(#[from] LifetimeError),
    /// A model takes longer than the makespan.
    #[error(
        "model `{model}` takes {0} steps, more than the makespan of {1}; give at least {0}", steps.0, makespan.0
    )]
    TooLong {
        /// The model.
        model: String,
        /// The first step after it, where it starts at step 0.
        steps: Step,
        /// What there is.
        makespan: Step,
    },
}

/// A model's load: what it rises or falls by at steps from its start, ascending.
struct Profile {
    changes: Vec<(u64, i128)>,
    steps: u64,
}

/// Chooses starts within a makespan for models on one clock (the fixed schedule). `seed` is where random beginnings start.
///
/// ```
/// use vramkit_plan::{Model, TensorLifetime, choose_starts};
/// use vramkit_units::{ByteSize, Step};
///
/// let model = |name: &str| Model {
///     name: name.into(),
///     weights: ByteSize::ZERO,
///     start: Step(0),
///     tensors: vec![TensorLifetime::new(name, "x", Step(0), Step(4), ByteSize::mib(8))],
/// };
/// let chosen = choose_starts(&[model("a"), model("b")], Step(8), 0)?;
/// assert_eq!((chosen.before, chosen.peak), (ByteSize::mib(16), ByteSize::mib(8)));
/// # Ok::<(), vramkit_plan::StartsError>(())
/// ```
///
/// # Errors
/// What is wrong with the lifetimes, and a model that takes longer than the makespan.
pub fn choose_starts(models: &[Model], makespan: Step, seed: u64) -> Result<Starts, StartsError> {
    // Checked as a whole once; then each model alone.
    on_one_clock(models, Schedule::Fixed)?;
    let profiles: Vec<Profile> = models.iter().map(profile).collect::<Result<_, LifetimeError>>()?;
    for (model, profile) in models.iter().zip(&profiles) {
        if profile.steps > makespan.0 {
            let model = model.name.to_string();
            return Err(StartsError::TooLong { model, steps: Step(profile.steps), makespan });
        }
    }
    let latest: Vec<u64> = profiles.iter().map(|profile| makespan.0 - profile.steps).collect();
    let given: Vec<u64> = models.iter().map(|model| model.start.0).collect();
    let before = height(&profiles, &given).0;
    let alone = (0..models.len()).map(|i| height(&profiles[i..=i], &[0]).0).max().unwrap_or(0);
    let area = profiles.iter().map(Profile::area).fold(0, u128::saturating_add);
    let even = area.div_ceil(u128::from(makespan.0.max(1)));
    let bound = alone.max(u64::try_from(even).unwrap_or(u64::MAX));

    let mut random = SplitMix64::new(seed);
    let mut best: Option<((u64, u64), Vec<u64>)> = None;
    for beginning in 0..BEGINNINGS {
        let mut next = 0;
        let starts = profiles.iter().zip(&latest).zip(&given).map(|((profile, &latest), &given)| {
            let at = match beginning {
                0 => given,
                1 => 0,
                2 => next,
                _ => random.below(usize::try_from(latest).unwrap_or(usize::MAX).saturating_add(1)) as u64,
            };
            next = next.saturating_add(profile.steps);
            at.min(latest)
        });
        let mut starts: Vec<u64> = starts.collect();
        let reached = descend(&profiles, &latest, &mut starts);
        if best.as_ref().is_none_or(|(height, _)| reached < *height) {
            best = Some((reached, starts));
        }
        if best.as_ref().is_some_and(|((peak, _), _)| *peak <= bound) {
            break;
        }
    }
    let ((peak, _), starts) = best.unwrap_or_default();
    // Starts that were given and fit are kept unless others are better.
    let fits = given.iter().zip(&latest).all(|(given, latest)| given <= latest);
    let (peak, starts) = if fits && before <= peak { (before, given) } else { (peak, starts) };
    Ok(Starts {
        starts: starts.into_iter().map(Step).collect(),
        before: ByteSize::new(before),
        peak: ByteSize::new(peak),
        bound: ByteSize::new(bound),
    })
}

/// Moves one model after the other to its best start until no move helps.
fn descend(profiles: &[Profile], latest: &[u64], starts: &mut [u64]) -> (u64, u64) {
    let mut reached = height(profiles, starts);
    loop {
        let before = reached;
        for i in 0..profiles.len() {
            let mut best = starts[i];
            for start in meetings(profiles, latest[i], starts, i) {
                starts[i] = start;
                let height = height(profiles, starts);
                if height < reached {
                    (reached, best) = (height, start);
                }
            }
            starts[i] = best;
        }
        if reached == before {
            return reached;
        }
    }
}

/// The starts of one model at which one of its changes meets one of another's, and both ends of the clock.
fn meetings(profiles: &[Profile], latest: u64, starts: &[u64], i: usize) -> Vec<u64> {
    let mut all = vec![0, latest];
    for (j, other) in profiles.iter().enumerate().filter(|&(j, _)| j != i) {
        for (theirs, _) in &other.changes {
            let own =
                profiles[i].changes.iter().filter_map(|(own, _)| (starts[j] + theirs).checked_sub(*own));
            all.extend(own.filter(|&start| start <= latest));
        }
        // Before it grows without end: evenly chosen ones will do.
        if all.len() > 64 * STARTS {
            all.sort_unstable();
            all.dedup();
            thin(&mut all);
        }
    }
    all.sort_unstable();
    all.dedup();
    thin(&mut all);
    all
}

fn thin(all: &mut Vec<u64>) {
    let stride = all.len().div_ceil(STARTS).max(1);
    let mut i = 0;
    all.retain(|_| {
        i += 1;
        (i - 1) % stride == 0
    });
}

/// Most bytes live together, and for how many steps.
fn height(profiles: &[Profile], starts: &[u64]) -> (u64, u64) {
    let moved = |(profile, &start): (&Profile, &u64)| {
        profile.changes.iter().map(move |&(step, change)| (start + step, change)).collect::<Vec<_>>()
    };
    let mut changes: Vec<(u64, i128)> = profiles.iter().zip(starts).flat_map(moved).collect();
    changes.sort_unstable();
    let (mut load, mut peak, mut long) = (0i128, 0i128, 0u64);
    for (i, (step, change)) in changes.iter().enumerate() {
        load += change;
        // Falls sort before rises of one step, so what is seen here does not pass what is live.
        let until = changes.get(i + 1).map_or(*step, |next| next.0);
        match load.cmp(&peak) {
            std::cmp::Ordering::Greater => (peak, long) = (load, until - step),
            std::cmp::Ordering::Equal => long += until - step,
            std::cmp::Ordering::Less => {}
        }
    }
    (u64::try_from(peak).unwrap_or(0), long)
}

impl Profile {
    /// Bytes times steps, or the most that can be said.
    fn area(&self) -> u128 {
        let (mut load, mut sum, mut last) = (0i128, 0u128, 0u64);
        for &(step, change) in &self.changes {
            // A load is of 64 bits, and never negative.
            sum = sum.saturating_add(load.unsigned_abs().saturating_mul(u128::from(step - last)));
            load += change;
            last = step;
        }
        sum
    }
}

/// Of a model's tensors, alias groups as one, on its own clock from 0.
fn profile(model: &Model) -> Result<Profile, LifetimeError> {
    let (compiled, units) = collect(model.tensors.iter())?;
    let mut changes: Vec<(u64, i128)> = Vec::new();
    for (buffer, unit) in compiled.problem.buffers.iter().zip(&units) {
        for (start, end) in unit.runs() {
            changes.push((start, i128::from(buffer.bytes())));
            changes.push((end, -i128::from(buffer.bytes())));
        }
    }
    changes.sort_unstable();
    changes.dedup_by(|next, last| {
        let same = next.0 == last.0;
        if same {
            last.1 += next.1;
        }
        same
    });
    changes.retain(|(_, change)| *change != 0);
    let steps = model.tensors.iter().map(|tensor| tensor.end.0).max().unwrap_or(0);
    Ok(Profile { changes, steps })
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::TensorLifetime;
    use proptest::prelude::*;

    fn model(name: &str, rows: &[(u64, u64, u64)]) -> Model {
        let tensors = rows.iter().enumerate().map(|(i, &(start, end, bytes))| {
            let id = i.to_string();
            TensorLifetime {
                alignment: 1,
                ..TensorLifetime::new(name, &id, Step(start), Step(end), ByteSize::new(bytes))
            }
        });
        Model { name: name.into(), weights: ByteSize::ZERO, start: Step(0), tensors: tensors.collect() }
    }

    #[test]
    fn peaks_are_moved_apart() {
        // Each has 10 throughout and 100 in the middle third.
        let one = |name| model(name, &[(0, 9, 10), (3, 6, 90)]);
        let starts = choose_starts(&[one("a"), one("b"), one("c")], Step(15), 0).unwrap();
        assert_eq!((starts.before, starts.peak), (ByteSize::new(300), ByteSize::new(120)));
        let sorted = {
            let mut sorted: Vec<u64> = starts.starts.iter().map(|start| start.0).collect();
            sorted.sort_unstable();
            sorted
        };
        assert!(sorted[0] + 3 <= sorted[1] && sorted[1] + 3 <= sorted[2] && sorted[2] <= 6, "{sorted:?}");
        let error = choose_starts(&[one("a")], Step(8), 0).unwrap_err().to_string();
        assert!(error.contains("`a` takes 9 steps") && error.contains("at least 9"), "{error}");
    }

    proptest! {
        /// Two models, against every start of both.
        #[test]
        fn two_models_are_placed_best(
            a in prop::collection::vec((0u64..6, 1u64..5, 1u64..20), 1..5),
            b in prop::collection::vec((0u64..6, 1u64..5, 1u64..20), 1..5),
            more in 0u64..8,
        ) {
            let rows = |rows: Vec<(u64, u64, u64)>| rows.into_iter().map(|(s, l, n)| (s, s + l, n)).collect::<Vec<_>>();
            let models = [model("a", &rows(a)), model("b", &rows(b))];
            let profiles: Vec<Profile> = models.iter().map(|model| profile(model).unwrap()).collect();
            let makespan = profiles[0].steps.max(profiles[1].steps) + more;
            let found = choose_starts(&models, Step(makespan), 0).unwrap();
            let all = (0..=makespan - profiles[0].steps).flat_map(|x| (0..=makespan - profiles[1].steps).map(move |y| [x, y]));
            let best = all.map(|starts| height(&profiles, &starts).0).min().unwrap();
            prop_assert_eq!(found.peak.bytes(), best);
            prop_assert!(found.bound <= found.peak);
            let ends = found.starts.iter().zip(&profiles).map(|(start, profile)| start.0 + profile.steps);
            prop_assert!(ends.max().unwrap() <= makespan);
        }
    }
}
