//! Where a policy puts every allocation of a trace: one at a time, or with the whole trace known.

use std::time::{Duration, Instant};

use vramkit_plan::{MemoryPlanner, Model, Schedule, TensorLifetime};
use vramkit_pool::pool::SizeClasses;
use vramkit_units::{ByteSize, Step};

use crate::best_fit::BestFit;
use crate::policy::{FirstFit, Policy, PolicyName, Pool};
use crate::pytorch::{self, Expandable, Native};
use crate::trace::{Operation, Trace};

/// What a policy that holds everything below its highest end is taken to hold: whole granules.
pub(crate) const GRANULE: u64 = 2 << 20;

/// Where an allocation of a trace was, and when.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedAllocation {
    /// Which allocation.
    pub number: u32,
    /// From the start of the arena.
    pub offset: ByteSize,
    /// Bytes taken.
    pub granted: ByteSize,
    /// Bytes asked for.
    pub requested: ByteSize,
    /// The operations between which it is live.
    pub start: usize,
    /// One past the last.
    pub end: usize,
}

/// Where everything went, with what was refused, what was held, and how long planning took.
pub(crate) struct Placed {
    pub(crate) placements: Vec<PlacedAllocation>,
    pub(crate) failures: u64,
    pub(crate) peak_committed: Option<u64>,
    pub(crate) time: Duration,
}

/// Where a policy places each allocation of a trace; what is refused is left out.
pub fn place(trace: &Trace, name: PolicyName, capacity: Option<ByteSize>) -> Vec<PlacedAllocation> {
    run(trace, name, capacity).placements
}

pub(crate) fn run(trace: &Trace, name: PolicyName, capacity: Option<ByteSize>) -> Placed {
    with_policy(trace, name, capacity, Place(trace)).unwrap_or_else(|| offline(trace, capacity))
}

/// Something that is done with a policy, whichever it is.
pub(crate) trait Act {
    type Outcome;

    fn act(self, policy: impl Policy) -> Self::Outcome;
}

/// A fresh policy; `None` for the plan, which places nothing one at a time.
pub(crate) fn with_policy<A: Act>(
    trace: &Trace,
    name: PolicyName,
    capacity: Option<ByteSize>,
    act: A,
) -> Option<A::Outcome> {
    // A multiple of the peak and more is ample for every policy here.
    let size = capacity.unwrap_or(ByteSize::new(trace.peak_live().bytes() * 4 + (1 << 30)));
    let pool = |classes| Pool::new(classes, size);
    Some(match name {
        PolicyName::Default => act.act(pool(SizeClasses::default())),
        PolicyName::Exact => act.act(pool(SizeClasses::Exact)),
        PolicyName::Stepped => act.act(pool(SizeClasses::Stepped)),
        PolicyName::Pow2 => act.act(pool(SizeClasses::PowersOfTwo { steps: 8 })),
        PolicyName::BestFit => act.act(BestFit::new(size.bytes())),
        PolicyName::FirstFit => act.act(FirstFit(BestFit::new(size.bytes()))),
        PolicyName::Pytorch => act.act(Native::new(size.bytes())),
        PolicyName::PytorchExpandable => act.act(Expandable::new(size.bytes())),
        PolicyName::Offline => return None,
    })
}

/// Replays once and keeps where everything was.
struct Place<'a>(&'a Trace);

impl Act for Place<'_> {
    type Outcome = Placed;

    fn act(self, mut policy: impl Policy) -> Placed {
        let Self(trace) = self;
        let mut placements: Vec<PlacedAllocation> = Vec::new();
        let mut at = vec![None; trace.allocations()];
        let (mut failures, end) = (0, trace.operations.len());
        for (step, &operation) in trace.operations.iter().enumerate() {
            match operation {
                Operation::Allocate { number, size } => match policy.allocate(size) {
                    Some(granted) => {
                        at[number as usize] = Some((placements.len(), granted.handle));
                        placements.push(PlacedAllocation {
                            number,
                            offset: ByteSize::new(granted.offset),
                            granted: ByteSize::new(granted.size),
                            requested: ByteSize::new(size),
                            start: step,
                            end,
                        });
                    }
                    None => failures += 1,
                },
                Operation::Free { number } => {
                    if let Some((place, handle)) = at[number as usize].take() {
                        policy.free(handle);
                        placements[place].end = step;
                    }
                }
            }
        }
        join_ranges(&mut placements);
        Placed { placements, failures, peak_committed: policy.peak_committed(), time: Duration::ZERO }
    }
}

/// Puts the large blocks' range, which the model keeps apart, after the small ones'.
fn join_ranges(placements: &mut [PlacedAllocation]) {
    let is_large = |placed: &PlacedAllocation| placed.offset.bytes() >= pytorch::LARGE_BASE;
    let small_end =
        placements.iter().filter(|placed| !is_large(placed)).map(|p| (p.offset + p.granted).bytes()).max();
    let small_end = small_end.unwrap_or(0).next_multiple_of(GRANULE);
    for placed in placements.iter_mut().filter(|placed| is_large(placed)) {
        placed.offset = ByteSize::new(placed.offset.bytes() - pytorch::LARGE_BASE + small_end);
    }
}

/// How long the plan of a whole trace is searched for, unless it is proven the best before.
const TIME_TO_PLAN: Duration = Duration::from_secs(1);

/// One plan for the whole trace, the best one at hand: each allocation lives from its step to its free's. What does not
/// fit into the capacity counts as refused.
fn offline(trace: &Trace, capacity: Option<ByteSize>) -> Placed {
    let mut placements: Vec<PlacedAllocation> = Vec::with_capacity(trace.allocations());
    for (step, &operation) in trace.operations.iter().enumerate() {
        match operation {
            Operation::Allocate { number, size } => placements.push(PlacedAllocation {
                number,
                offset: ByteSize::ZERO,
                granted: ByteSize::new(size.next_multiple_of(256)),
                requested: ByteSize::new(size),
                start: step,
                end: trace.operations.len(),
            }),
            Operation::Free { number } => placements[number as usize].end = step,
        }
    }
    let lifetimes: Vec<TensorLifetime> = placements
        .iter()
        .map(|placed| {
            let (id, start, end) = (placed.number.to_string(), placed.start as u64, placed.end as u64);
            TensorLifetime { alignment: 256, ..TensorLifetime::new("trace", &id, start, end, placed.granted) }
        })
        .collect();
    let model = Model { name: "trace".into(), weights: ByteSize::ZERO, start: Step(0), tensors: lifetimes };
    let start = Instant::now();
    let plan = MemoryPlanner::thorough(TIME_TO_PLAN).plan(&[model], Schedule::Fixed);
    let time = start.elapsed();
    let plan = plan.expect("the steps of a trace are lifetimes");
    for (placed, &offset) in placements.iter_mut().zip(&plan.offsets) {
        placed.offset = offset;
    }
    // Where a policy that sees one allocation at a time has put them is a plan too: on long random traces the planner
    // may end higher.
    for name in [PolicyName::Default, PolicyName::BestFit] {
        if let Some(online) = with_policy(trace, name, None, Place(trace))
            && end_of(&online.placements) < end_of(&placements)
        {
            placements = online.placements;
        }
    }
    let all = placements.len();
    if let Some(capacity) = capacity {
        placements.retain(|placed| placed.offset + placed.granted <= capacity);
    }
    Placed { failures: (all - placements.len()) as u64, placements, peak_committed: None, time }
}

/// The highest end of anything placed.
pub(crate) fn end_of(placements: &[PlacedAllocation]) -> ByteSize {
    placements.iter().map(|placed| placed.offset + placed.granted).max().unwrap_or_default()
}
