//! What lifetimes alone say, before anything is placed: loads, baselines, and which tensors could share.

use std::collections::HashMap;

use super::lifetime::{Schedule, TensorLifetime, sum_of_sizes};
use super::lifetime_error::LifetimeError;
use super::problem::compile;
use vramkit_units::{ByteSize, Step};

/// Two tensors of which one ends before the other starts, and so may have the same place. (Those that share only
/// through a gap in one's life are not counted.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharingOpportunity<'a> {
    /// The one that ends first (by its id where the schedule leaves that open).
    pub first: &'a TensorLifetime,
    /// The other.
    pub second: &'a TensorLifetime,
}

impl SharingOpportunity<'_> {
    /// The smaller of both: what one place for both saves.
    pub fn saved(&self) -> ByteSize {
        self.first.size.min(self.second.size)
    }

    /// The last step of the first and the first step of the second, between which the place changes hands.
    pub fn hand_over(&self) -> (Step, Step) {
        (self.first.end, self.second.start)
    }

    /// Why sharing is safe, in words.
    pub fn reason(&self) -> String {
        let (end, start) = self.hand_over();
        format!("`{}` ends at {end}, `{}` starts at {start}", self.first.id, self.second.id)
    }

    /// Whether the two belong to different models.
    pub fn across_models(&self) -> bool {
        self.first.model != self.second.model
    }
}

/// Analyses lifetimes that a schedule has put on one clock.
///
/// ```
/// use vramkit_plan::{LifetimeAnalyzer, Schedule, TensorLifetime};
/// use vramkit_units::{ByteSize, Step};
///
/// let tensor = |id, start, end| TensorLifetime::new("net", id, Step(start), Step(end), ByteSize::mib(1));
/// let lifetimes = [tensor("a", 0, 2), tensor("b", 1, 3), tensor("c", 2, 4)];
/// let analyzer = LifetimeAnalyzer::new(&lifetimes, Schedule::Fixed);
/// assert_eq!((analyzer.sum_of_sizes(), analyzer.peak()?), (ByteSize::mib(3), ByteSize::mib(2)));
/// assert_eq!(analyzer.opportunities()[0].reason(), "`a` ends at step 2, `c` starts at step 2");
/// # Ok::<(), vramkit_plan::LifetimeError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LifetimeAnalyzer<'a> {
    lifetimes: &'a [TensorLifetime],
    schedule: Schedule,
}

impl<'a> LifetimeAnalyzer<'a> {
    /// Of [`on_one_clock`](super::on_one_clock) under the same schedule.
    pub fn new(lifetimes: &'a [TensorLifetime], schedule: Schedule) -> Self {
        Self { lifetimes, schedule }
    }

    /// Bytes of all tensors that ever live: what it takes when nothing is shared.
    pub fn sum_of_sizes(&self) -> ByteSize {
        sum_of_sizes(self.lifetimes)
    }

    /// Each model's tensors, in the order of the models' first tensors.
    fn by_model(&self) -> Vec<Vec<&'a TensorLifetime>> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut models: Vec<Vec<&'a TensorLifetime>> = Vec::new();
        for tensor in self.lifetimes {
            let place = *places.entry(&tensor.model).or_insert(models.len());
            if place == models.len() {
                models.push(Vec::new());
            }
            models[place].push(tensor);
        }
        models
    }

    /// Most bytes live at one time: no arena is smaller. Under [`Schedule::Concurrent`] every model may be at
    /// its peak at once.
    ///
    /// # Errors
    /// Pins that contradict one another.
    pub fn peak(&self) -> Result<ByteSize, LifetimeError> {
        match self.schedule {
            Schedule::Fixed | Schedule::Sequential => load(self.lifetimes.iter()),
            Schedule::Concurrent => self.by_model().iter().map(|tensors| load(tensors.iter().copied())).sum(),
        }
    }

    /// Pairs that are never live together: a count, in O(n log n).
    pub fn shareable_pairs(&self) -> u64 {
        match self.schedule {
            Schedule::Concurrent => self.shareable_within_models(),
            Schedule::Fixed | Schedule::Sequential => disjoint_pairs(&mut self.lifetimes.iter()),
        }
    }

    /// Of the [shareable pairs](Self::shareable_pairs), those within one model.
    pub fn shareable_within_models(&self) -> u64 {
        self.by_model().iter().map(|tensors| disjoint_pairs(&mut tensors.iter().copied())).sum()
    }

    /// Every pair that is never live together, each once, by who ends first. There are O(n²) of them: for small workloads.
    pub fn opportunities(&self) -> Vec<SharingOpportunity<'a>> {
        let mut all = Vec::with_capacity(self.shareable_pairs() as usize);
        let mut list = |mut tensors: Vec<&'a TensorLifetime>| {
            tensors.retain(|tensor| tensor.takes_room());
            let mut later = tensors.clone();
            tensors.sort_by_key(|tensor| tensor.end);
            later.sort_by_key(|tensor| tensor.start);
            for first in tensors {
                let from = later.partition_point(|second| second.start < first.end);
                all.extend(later[from..].iter().map(|second| SharingOpportunity { first, second }));
            }
        };
        match self.schedule {
            Schedule::Concurrent => self.by_model().into_iter().for_each(list),
            Schedule::Fixed | Schedule::Sequential => list(self.lifetimes.iter().collect()),
        }
        all
    }
}

/// Most bytes live at one time.
fn load<'a>(tensors: impl ExactSizeIterator<Item = &'a TensorLifetime>) -> Result<ByteSize, LifetimeError> {
    Ok(compile(tensors)?.problem.max_load())
}

/// Pairs of which one ends before the other starts.
fn disjoint_pairs(tensors: &mut dyn Iterator<Item = &TensorLifetime>) -> u64 {
    let mut starts = Vec::new();
    let mut ends = Vec::new();
    for tensor in tensors.filter(|tensor| tensor.takes_room()) {
        starts.push(tensor.start.0);
        ends.push(tensor.end.0);
    }
    pairs_apart(starts, ends)
}

/// Of half-open intervals given by their starts and ends: the pairs that do not overlap.
pub(super) fn pairs_apart(mut starts: Vec<u64>, mut ends: Vec<u64>) -> u64 {
    starts.sort_unstable();
    ends.sort_unstable();
    let mut ended = 0;
    let mut pairs = 0;
    for start in starts {
        while ended < ends.len() && ends[ended] <= start {
            ended += 1;
        }
        pairs += ended as u64;
    }
    pairs
}
