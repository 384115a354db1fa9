//! A trace against policies: once to see where everything goes, then again and again to see how long it takes.

use std::time::{Duration, Instant};

use crate::best_fit::BestFit;
use serde::Serialize;
use vramkit_plan::{MemoryPlanner, Model, Schedule, TensorLifetime};
use vramkit_pool::pool::SizeClasses;
use vramkit_units::{ByteSize, Step};

use crate::policy::{FirstFit, Policy, PolicyName, Pool};
use crate::pytorch::{self, Expandable, Native};
use crate::trace::{Operation, Trace};

/// What a policy that holds everything below its highest end is taken to hold: whole granules.
const GRANULE: u64 = 2 << 20;
/// Times are medians over runs that take this long together, at least so many.
const TIME_FOR_RUNS: Duration = Duration::from_millis(60);
const RUNS: usize = 3;

/// Traces against policies: `vramkit.replay/1`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplayReport {
    /// `vramkit.replay/1`.
    pub schema: &'static str,
    /// One for each trace.
    pub traces: Vec<TraceReport>,
}

/// One trace against policies.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TraceReport {
    /// The file, with the device where it has several.
    pub file: String,
    /// Allocations and frees.
    pub operations: usize,
    /// Most bytes live at once, as asked for.
    pub peak_live_bytes: ByteSize,
    /// Most bytes that the recorded program held from its device, where the file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_reserved_bytes: Option<ByteSize>,
    /// One for each policy.
    pub policies: Vec<PolicyReport>,
}

/// What a policy made of a trace.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyReport {
    /// The policy.
    pub policy: PolicyName,
    /// The highest end of anything placed.
    pub peak_arena_bytes: ByteSize,
    /// Most bytes held from the device.
    pub peak_committed_bytes: ByteSize,
    /// When most is live: how much of what is free below the arena's end is not in one piece, 0..1.
    pub external_fragmentation_ratio: f64,
    /// When most is live: how much of what is granted was not asked for, 0..1.
    pub internal_fragmentation_ratio: f64,
    /// Allocations refused for lack of memory.
    pub failures: u64,
    /// The median over runs, after a first one, of a run's time for each operation; for `offline`, planning's.
    pub nanoseconds_per_operation: f64,
}

/// Where an allocation of a trace was, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
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
struct Placed {
    placements: Vec<Placement>,
    failures: u64,
    peak_committed: Option<u64>,
    time: Duration,
}

/// Replays a trace against a policy. `capacity`: what there is; ample when `None`.
pub fn replay(trace: &Trace, name: PolicyName, capacity: Option<ByteSize>) -> PolicyReport {
    let first = run(trace, name, capacity);
    let arena =
        first.placements.iter().map(|placed| placed.offset + placed.granted).max().unwrap_or_default();
    let committed = match first.peak_committed {
        Some(bytes) => ByteSize::new(bytes),
        None => arena.checked_align_up(GRANULE).unwrap_or(arena),
    };
    let (external, internal) = fragmentation(&first.placements, trace.peak_at(), arena);
    PolicyReport {
        policy: name,
        peak_arena_bytes: arena,
        peak_committed_bytes: committed,
        external_fragmentation_ratio: external,
        internal_fragmentation_ratio: internal,
        failures: first.failures,
        nanoseconds_per_operation: time_per_operation(trace, name, capacity, &first),
    }
}

/// Where a policy places each allocation of a trace; what is refused is left out.
pub fn place(trace: &Trace, name: PolicyName, capacity: Option<ByteSize>) -> Vec<Placement> {
    run(trace, name, capacity).placements
}

/// Something that is done with a policy, whichever it is.
trait Act {
    type Outcome;

    fn act(self, policy: impl Policy) -> Self::Outcome;
}

/// A fresh policy; `None` for the plan, which places nothing one at a time.
fn with_policy<A: Act>(
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
        let mut placements: Vec<Placement> = Vec::new();
        let mut at = vec![None; trace.allocations()];
        let (mut failures, end) = (0, trace.operations.len());
        for (step, &operation) in trace.operations.iter().enumerate() {
            match operation {
                Operation::Allocate { number, size } => match policy.allocate(size) {
                    Some(granted) => {
                        at[number as usize] = Some((placements.len(), granted.handle));
                        placements.push(Placement {
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

/// Replays again and again against one policy, so that the memory that a first run takes from the device is there.
struct Times<'a>(&'a Trace);

impl Act for Times<'_> {
    type Outcome = Vec<Duration>;

    fn act(self, mut policy: impl Policy) -> Vec<Duration> {
        let Self(trace) = self;
        let (mut times, begin) = (Vec::new(), Instant::now());
        while times.len() <= RUNS || (begin.elapsed() < TIME_FOR_RUNS && times.len() < 1000) {
            let mut handles = vec![None; trace.allocations()];
            let start = Instant::now();
            for &operation in &trace.operations {
                match operation {
                    Operation::Allocate { number, size } => {
                        handles[number as usize] = policy.allocate(size).map(|granted| granted.handle);
                    }
                    Operation::Free { number } => {
                        if let Some(handle) = handles[number as usize].take() {
                            policy.free(handle);
                        }
                    }
                }
            }
            times.push(start.elapsed());
            handles.into_iter().flatten().for_each(|handle| policy.free(handle));
            if begin.elapsed() > TIME_FOR_RUNS * 20 && times.len() > 1 {
                break;
            }
        }
        times.remove(0);
        times
    }
}

fn time_per_operation(trace: &Trace, name: PolicyName, capacity: Option<ByteSize>, first: &Placed) -> f64 {
    let mut times = with_policy(trace, name, capacity, Times(trace)).unwrap_or_else(|| vec![first.time]);
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64 / trace.operations.len().max(1) as f64
}

fn run(trace: &Trace, name: PolicyName, capacity: Option<ByteSize>) -> Placed {
    with_policy(trace, name, capacity, Place(trace)).unwrap_or_else(|| offline(trace, capacity))
}

/// Puts the large blocks' range, which the model keeps apart, after the small ones'.
fn join_ranges(placements: &mut [Placement]) {
    let is_large = |placed: &Placement| placed.offset.bytes() >= pytorch::LARGE_BASE;
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
    let mut placements: Vec<Placement> = Vec::with_capacity(trace.allocations());
    for (step, &operation) in trace.operations.iter().enumerate() {
        match operation {
            Operation::Allocate { number, size } => placements.push(Placement {
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
            let id = placed.number.to_string();
            let (start, end) = (Step(placed.start as u64), Step(placed.end as u64));
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
fn end_of(placements: &[Placement]) -> ByteSize {
    placements.iter().map(|placed| placed.offset + placed.granted).max().unwrap_or_default()
}

/// External and internal fragmentation at a step.
fn fragmentation(placements: &[Placement], step: usize, arena: ByteSize) -> (f64, f64) {
    let mut live: Vec<&Placement> =
        placements.iter().filter(|placed| placed.start <= step && step < placed.end).collect();
    live.sort_by_key(|placed| placed.offset);
    let (mut free, mut largest, mut end) = (0, 0, 0);
    let mut gap = |from: u64, to: u64| {
        let gap = to.saturating_sub(from);
        free += gap;
        largest = largest.max(gap);
    };
    for placed in &live {
        gap(end, placed.offset.bytes());
        end = end.max((placed.offset + placed.granted).bytes());
    }
    gap(end, arena.bytes());
    let granted: ByteSize = live.iter().map(|placed| placed.granted).sum();
    let requested: ByteSize = live.iter().map(|placed| placed.requested).sum();
    let external = if free == 0 { 0.0 } else { 1.0 - largest as f64 / free as f64 };
    let internal = if granted.is_zero() { 0.0 } else { 1.0 - requested.ratio_of(granted) };
    (external, internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trace(operations: &[(u8, u64, usize)]) -> Trace {
        let (mut trace, mut live, mut next) = (Trace::new("t"), Vec::new(), 0);
        for &(kind, size, pick) in operations {
            if kind < 3 || live.is_empty() {
                trace.allocate(&next.to_string(), size, "").unwrap();
                live.push(next);
                next += 1;
            } else {
                let id: u32 = live.swap_remove(pick % live.len());
                trace.free(&id.to_string()).unwrap();
            }
        }
        trace
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// No policy places two live allocations over each other, and none needs less than what is live.
        #[test]
        fn every_policy_keeps_live_allocations_apart(
            operations in prop::collection::vec((0u8..5, prop_oneof![1u64..5000, 1u64..40_000_000], any::<usize>()), 1..80),
            limited: bool,
        ) {
            let trace = trace(&operations);
            let arena = |name| replay(&trace, name, None).peak_arena_bytes;
            prop_assert!(arena(PolicyName::Offline) <= arena(PolicyName::Default));
            let capacity = limited.then(|| ByteSize::new(trace.peak_live().bytes() * 3 / 4).max(ByteSize::mib(1)));
            for name in PolicyName::ALL {
                let placed = run(&trace, name, capacity);
                for (i, a) in placed.placements.iter().enumerate() {
                    prop_assert!(a.granted >= a.requested);
                    for b in &placed.placements[i + 1..] {
                        let together = a.start < b.end && b.start < a.end;
                        let apart = a.offset + a.granted <= b.offset || b.offset + b.granted <= a.offset;
                        prop_assert!(!together || apart, "{name}: {a:?} {b:?}");
                    }
                }
                let report = replay(&trace, name, capacity);
                prop_assert_eq!(placed.placements.len() as u64 + report.failures, trace.allocations() as u64);
                prop_assert!(limited || report.failures == 0, "{}", name);
                if report.failures == 0 {
                    prop_assert!(report.peak_arena_bytes >= trace.peak_live());
                    prop_assert!(report.peak_committed_bytes >= trace.peak_live());
                }
            }
        }
    }

    /// Buffers that grow by a quarter and are copied scatter free memory as little else does. What is free in pieces is
    /// free all the same: 1.05 of what is live is enough, where one range of addresses needs 1.4.
    #[test]
    fn growing_buffers_need_little_more_than_is_live() {
        let (mut trace, mut next, mut random) = (Trace::new("t"), 0u32, 7u64);
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut allocate = |trace: &mut Trace, size: u64| {
            next += 1;
            trace.allocate(&next.to_string(), size, "").unwrap();
            (next, size)
        };
        let mut buffers: Vec<(u32, u64)> = (0..12).map(|_| allocate(&mut trace, 1 << 20)).collect();
        for _ in 0..3000 {
            let at = draw(buffers.len() as u64) as usize;
            let (old, size) = buffers[at];
            let size = if size > 60 << 20 { (1 << 20) + draw(1 << 20) } else { size + size / 4 };
            buffers[at] = allocate(&mut trace, size);
            trace.free(&old.to_string()).unwrap();
        }
        let capacity = ByteSize::new(trace.peak_live().bytes() / 100 * 105);
        let failures = |policy| run(&trace, policy, Some(capacity)).failures;
        assert_eq!(failures(PolicyName::Default), 0);
        assert!(failures(PolicyName::BestFit) > 0, "the trace is one that scatters");
    }
}
