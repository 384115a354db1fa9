//! Every maximal set of models that fits: one to which no other model can be added.
//!
//! In: what each model takes of a device, and how much there is. Out: the sets, the fullest first. Pure: no files, no devices.
//!
//! A set is maximal when its smallest missing model does not fit into what it leaves. So for each model in turn, as the
//! smallest that is missing, all smaller ones are in, and what remains is to choose among the larger ones a sum that fits and
//! leaves less than that model's size. Choosing goes from the largest down and stops where the rest can no longer reach that
//! window, or has passed it. There can be exponentially many maximal sets: beyond a number of sets or of steps the answer is
//! cut short, says so, and still has a set for each model that fits at all.

use std::collections::BTreeSet;

use vramkit_units::ByteSize;

/// Sets that are listed.
const MOST_SETS: usize = 1_000;
/// Choices that are tried, some tens of milliseconds' worth.
const MOST_STEPS: u64 = 2_000_000;
/// Models among which choices are tried at all.
const MOST_MODELS: usize = 1_000;

/// Models that fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FittingSet {
    /// Their names, in the order that they were given in.
    pub models: Vec<String>,
    /// What they take.
    pub total: ByteSize,
    /// What they leave.
    pub headroom_bytes: i64,
}

/// The maximal sets of models that fit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaximalSets {
    /// What there is.
    pub capacity: ByteSize,
    /// The sets: those of the most models first, among them the fullest.
    pub sets: Vec<FittingSet>,
    /// Models that do not fit even alone, with what they take.
    pub too_large: Vec<(String, ByteSize)>,
    /// Whether there are more sets than are listed.
    pub truncated: bool,
}

/// The maximal sets of models that fit into a capacity; each model by name with what it takes, its process's overhead in it.
///
/// ```
/// use vramkit_sets::maximal_sets;
/// use vramkit_units::ByteSize;
///
/// let models = [("chat", 14), ("code", 9), ("embed", 2), ("huge", 40)];
/// let models = models.map(|(name, gib)| (name.to_owned(), ByteSize::gib(gib)));
/// let answer = maximal_sets(&models, ByteSize::gib(24));
/// let sets: Vec<_> = answer.sets.iter().map(|set| set.models.join(" + ")).collect();
/// assert_eq!(sets, ["chat + code", "chat + embed", "code + embed"]);
/// assert_eq!(answer.too_large[0].0, "huge");
/// ```
pub fn maximal_sets(sizes: &[(String, ByteSize)], capacity: ByteSize) -> MaximalSets {
    solve(sizes, capacity, MOST_SETS, MOST_STEPS)
}

fn solve(sizes: &[(String, ByteSize)], capacity: ByteSize, most_sets: usize, most_steps: u64) -> MaximalSets {
    let (fit, too_large): (Vec<usize>, Vec<usize>) = (0..sizes.len()).partition(|&i| sizes[i].1 <= capacity);
    let mut order = fit;
    order.sort_by_key(|&i| (std::cmp::Reverse(sizes[i].1), i));
    let taken: Vec<u128> = order.iter().map(|&i| u128::from(sizes[i].1.bytes())).collect();
    let mut search = Search {
        capacity: u128::from(capacity.bytes()),
        rest: rests(&taken),
        taken,
        chosen: Vec::new(),
        found: BTreeSet::new(),
        steps: most_steps,
        most_sets,
        truncated: false,
    };
    search.run();
    let mut sets: Vec<FittingSet> = search
        .found
        .iter()
        .map(|set| {
            let mut members: Vec<usize> = set.iter().map(|&i| order[i]).collect();
            members.sort_unstable();
            let total = members.iter().fold(0, |sum, &i| sizes[i].1.bytes().saturating_add(sum));
            FittingSet {
                models: members.iter().map(|&i| sizes[i].0.clone()).collect(),
                total: ByteSize::new(total),
                headroom_bytes: headroom(capacity.bytes(), total),
            }
        })
        .collect();
    sets.sort_by_key(|set| (std::cmp::Reverse((set.models.len(), set.total)), set.models.clone()));
    MaximalSets {
        capacity,
        sets,
        too_large: too_large.into_iter().map(|i| sizes[i].clone()).collect(),
        truncated: search.truncated,
    }
}

/// What is left of a capacity.
pub(crate) fn headroom(capacity: u64, total: u64) -> i64 {
    let left = i128::from(capacity) - i128::from(total);
    i64::try_from(left).unwrap_or(if left < 0 { i64::MIN } else { i64::MAX })
}

/// For each place, the sum from it to the end; one more than places.
fn rests(taken: &[u128]) -> Vec<u128> {
    let mut rest = vec![0_u128; taken.len() + 1];
    for i in (0..taken.len()).rev() {
        rest[i] = rest[i + 1].saturating_add(taken[i]);
    }
    rest
}

/// The models from the largest to the smallest, and what has been found.
struct Search {
    capacity: u128,
    taken: Vec<u128>,
    rest: Vec<u128>,
    chosen: Vec<usize>,
    found: BTreeSet<Vec<usize>>,
    steps: u64,
    most_sets: usize,
    truncated: bool,
}

impl Search {
    fn run(&mut self) {
        let n = self.taken.len();
        if n > 0 && self.rest[0] <= self.capacity {
            self.found.insert((0..n).collect());
            return;
        }
        self.truncated = n > MOST_MODELS;
        for missing in (0..n).rev() {
            let smaller = self.rest[missing + 1];
            if smaller > self.capacity || self.truncated {
                break;
            }
            self.choose(0, missing, smaller);
        }
        if self.truncated {
            self.cover();
        }
    }

    /// Chooses among the models before `missing`, from `next` on, with `sum` taken already.
    fn choose(&mut self, next: usize, missing: usize, sum: u128) {
        if self.truncated {
            return;
        }
        if self.steps == 0 {
            self.truncated = true;
            return;
        }
        self.steps -= 1;
        // All that is left to choose from would not fill the window.
        let reach = sum + (self.rest[next] - self.rest[missing]);
        if reach + self.taken[missing] <= self.capacity {
            return;
        }
        if next == missing {
            if self.found.len() == self.most_sets {
                self.truncated = true;
                return;
            }
            let smaller = missing + 1..self.taken.len();
            self.found.insert(self.chosen.iter().copied().chain(smaller).collect());
            return;
        }
        if sum + self.taken[next] <= self.capacity {
            self.chosen.push(next);
            self.choose(next + 1, missing, sum + self.taken[next]);
            self.chosen.pop();
        }
        self.choose(next + 1, missing, sum);
    }

    /// One more set for each model that is in none yet: the model, and from the largest down whatever still fits.
    fn cover(&mut self) {
        let mut covered = vec![false; self.taken.len()];
        self.found.iter().flatten().for_each(|&model| covered[model] = true);
        for model in 0..self.taken.len() {
            if covered[model] {
                continue;
            }
            let mut sum = self.taken[model];
            let mut set = vec![model];
            for (other, taken) in self.taken.iter().enumerate() {
                if other != model && sum + taken <= self.capacity {
                    sum += taken;
                    set.push(other);
                }
            }
            set.sort_unstable();
            set.iter().for_each(|&model| covered[model] = true);
            self.found.insert(set);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn named(sizes: &[u64]) -> Vec<(String, ByteSize)> {
        sizes.iter().enumerate().map(|(i, size)| (format!("m{i:02}"), ByteSize::new(*size))).collect()
    }

    /// Every set, tried one by one.
    fn by_force(sizes: &[u64], capacity: u64) -> BTreeSet<Vec<String>> {
        let sum = |set: u32| (0..sizes.len()).filter(|i| set >> i & 1 == 1).map(|i| sizes[i]).sum::<u64>();
        let fits = |set: u32| sum(set) <= capacity;
        let maximal = |set: &u32| {
            *set != 0 && fits(*set) && (0..sizes.len()).all(|i| set >> i & 1 == 1 || !fits(set | 1 << i))
        };
        let names =
            |set: u32| (0..sizes.len()).filter(|i| set >> i & 1 == 1).map(|i| format!("m{i:02}")).collect();
        (0..1u32 << sizes.len()).filter(maximal).map(names).collect()
    }

    proptest! {
        #[test]
        fn all_maximal_sets_and_no_others(sizes in prop::collection::vec(0..40u64, 0..=12), capacity in 0..120u64) {
            let answer = maximal_sets(&named(&sizes), ByteSize::new(capacity));
            prop_assert!(!answer.truncated);
            let found: Vec<_> = answer.sets.iter().map(|set| set.models.clone()).collect();
            let distinct: BTreeSet<_> = found.iter().cloned().collect();
            prop_assert_eq!(found.len(), distinct.len());
            prop_assert_eq!(distinct, by_force(&sizes, capacity));
            let too_large = sizes.iter().filter(|size| **size > capacity).count();
            prop_assert_eq!(answer.too_large.len(), too_large);
        }

        #[test]
        fn cut_short_still_fits_is_maximal_and_has_every_model(
            sizes in prop::collection::vec(1..40u64, 1..=12), capacity in 40..120u64, most in 0..3usize,
        ) {
            let answer = solve(&named(&sizes), ByteSize::new(capacity), most, MOST_STEPS);
            let force = by_force(&sizes, capacity);
            prop_assert!(answer.truncated || answer.sets.len() == force.len());
            prop_assert!(answer.sets.iter().all(|set| force.contains(&set.models)));
            let covered: BTreeSet<_> = answer.sets.iter().flat_map(|set| set.models.clone()).collect();
            prop_assert_eq!(covered.len(), sizes.len());
        }
    }

    #[test]
    fn totals_and_what_is_left_add_up() {
        let answer = maximal_sets(&named(&[14, 9, 2]), ByteSize::new(24));
        assert!(answer.sets.iter().all(|set| set.total.bytes() as i64 + set.headroom_bytes == 24));
        assert_eq!(answer.sets[0].total, ByteSize::new(23));
    }

    #[test]
    fn sizes_at_the_end_of_the_range_do_not_overflow() {
        let answer = maximal_sets(&named(&[u64::MAX, u64::MAX, 1]), ByteSize::MAX);
        assert_eq!(answer.sets.len(), 3);
    }

    #[test]
    fn nothing_fits_into_nothing() {
        let answer = maximal_sets(&named(&[1, 2]), ByteSize::ZERO);
        assert_eq!((answer.sets.len(), answer.too_large.len()), (0, 2));
        assert!(maximal_sets(&[], ByteSize::gib(1)).sets.is_empty());
    }

    #[test]
    fn sixty_four_models_of_mixed_sizes_are_quick() {
        let mixed: Vec<u64> = (0..64).map(|i| 1_000 + (i * 7_919) % 23_001).collect();
        let begin = Instant::now();
        let answer = maximal_sets(&named(&mixed), ByteSize::new(24_000));
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        let covered: BTreeSet<_> = answer.sets.iter().flat_map(|set| &set.models).collect();
        assert_eq!(covered.len() + answer.too_large.len(), 64);
    }
}
