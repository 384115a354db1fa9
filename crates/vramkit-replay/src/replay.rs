//! A trace against policies: once to see where everything goes, then again and again to see how long it takes.

use std::time::{Duration, Instant};

use vramkit_units::ByteSize;

use crate::place::{Act, GRANULE, Placed, PlacedAllocation, end_of, run, with_policy};
use crate::policy::{Policy, PolicyName};
use crate::report::PolicyReport;
use crate::trace::{Operation, Trace};

/// Times are medians over runs that take this long together, at least so many.
const TIME_FOR_RUNS: Duration = Duration::from_millis(60);
const RUNS: usize = 3;

/// Replays a trace against a policy. `capacity`: what there is; ample when `None`.
pub fn replay(trace: &Trace, name: PolicyName, capacity: Option<ByteSize>) -> PolicyReport {
    let first = run(trace, name, capacity);
    let arena = end_of(&first.placements);
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

/// External and internal fragmentation at a step.
fn fragmentation(placements: &[PlacedAllocation], step: usize, arena: ByteSize) -> (f64, f64) {
    let mut live: Vec<&PlacedAllocation> =
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
            for &name in PolicyName::ALL {
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
