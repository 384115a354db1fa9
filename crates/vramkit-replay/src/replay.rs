//! A trace against a policy: once to see where everything goes, then again and again to see how long it takes.

use std::time::{Duration, Instant};

use vramkit_units::ByteSize;

use crate::least::{least_capacity, may_search};
use crate::offline;
use crate::placements::{Ends, GRANULE};
use crate::policy::{Policy, PolicyName, Room};
use crate::report::{FirstFailure, PolicyReport};
use crate::run::{Watch, pass};
use crate::setup::{Act, Setup, Watched, with_policy};
use crate::trace::Trace;

/// Times are medians over runs that take this long together, at least so many.
const TIME_FOR_RUNS: Duration = Duration::from_millis(60);
const RUNS: usize = 3;
/// A first run that takes longer is the measure itself.
const LONG_RUN: Duration = Duration::from_millis(300);

/// One pass of a trace through a policy, or its plan.
struct Passed<'a> {
    seen: Seen<'a>,
    /// Most bytes held from the device.
    committed: ByteSize,
    /// The plan, where the policy is one.
    plan: Option<offline::Plan>,
    time: Duration,
}

impl<'a> Passed<'a> {
    fn of(trace: &'a Trace, setup: &Setup) -> Self {
        let mut seen = Seen::new(trace);
        let begun = Instant::now();
        let passed = with_policy(trace, setup, Watched { trace, watch: &mut seen });
        let plan = if passed.is_none() { Some(offline::plan_within(trace, setup.capacity)) } else { None };
        let time = begun.elapsed();
        if let Some(plan) = &plan {
            seen.plan(plan, setup.capacity);
        }
        let arena = ByteSize::new(seen.ends.arena());
        let committed = match passed.and_then(|(_, committed)| committed) {
            Some(bytes) => ByteSize::new(bytes),
            // Whole granules, and never more than there is.
            None => {
                let held = arena.checked_align_up(GRANULE).unwrap_or(arena);
                setup.capacity.map_or(held, |capacity| held.min(capacity))
            }
        };
        Self { seen, committed, plan, time }
    }
}

/// What a policy holds of the device at most for a trace, and how many requests it refuses: what one pass tells.
///
/// ```
/// use vramkit_replay::{PolicyName, Setup, Trace, peak_and_failures};
///
/// let mut trace = Trace::new("by hand");
/// trace.allocate("a", 1 << 20, "")?;
/// let (peak, failures) = peak_and_failures(&trace, &Setup::plain(PolicyName::Pytorch));
/// assert_eq!((peak.bytes(), failures), (2 << 20, 0));
/// # Ok::<(), vramkit_replay::TraceError>(())
/// ```
pub fn peak_and_failures(trace: &Trace, setup: &Setup) -> (ByteSize, u64) {
    let passed = Passed::of(trace, setup);
    (passed.committed, passed.seen.failures)
}

/// Replays a trace against a policy. The least capacity is looked for where that takes seconds at most, or where it is asked for.
pub fn replay(trace: &Trace, setup: &Setup, least: bool) -> PolicyReport {
    let Passed { seen, committed, plan, time } = Passed::of(trace, setup);
    let least_capacity_bytes = match &plan {
        // What holds everything is the answer itself.
        Some(plan) if plan.refused.is_empty() => Some(plan.least_capacity()),
        _ if least || may_search(trace) => least_capacity(trace, setup),
        _ => None,
    };
    let time = if time > LONG_RUN { time } else { time_again(trace, setup).unwrap_or(time) };
    let (external, internal) = seen.fragmentation();
    let is_pytorch = matches!(setup.policy, PolicyName::Pytorch | PolicyName::PytorchExpandable);
    PolicyReport {
        policy: setup.policy,
        settings: if is_pytorch { setup.settings.to_string() } else { String::new() },
        peak_arena_bytes: ByteSize::new(seen.ends.arena()),
        peak_committed_bytes: committed,
        external_fragmentation_ratio: external,
        internal_fragmentation_ratio: internal,
        failures: seen.failures,
        first_failure: seen.first,
        least_capacity_bytes,
        nanoseconds_per_operation: time.as_nanos() as f64 / trace.operations.len().max(1) as f64,
    }
}

/// Replays again and again against one policy, so that the memory that a first run takes from the device is there.
struct Times<'a>(&'a Trace);

impl Act for Times<'_> {
    type Outcome = Duration;

    fn act(self, mut policy: impl Policy) -> Duration {
        let (mut times, begin) = (Vec::new(), Instant::now());
        while times.len() <= RUNS || (begin.elapsed() < TIME_FOR_RUNS && times.len() < 1000) {
            let start = Instant::now();
            pass(self.0, &mut policy, &mut ());
            times.push(start.elapsed());
        }
        times.remove(0);
        times.sort_unstable();
        times[times.len() / 2]
    }
}

fn time_again(trace: &Trace, setup: &Setup) -> Option<Duration> {
    with_policy(trace, setup, Times(trace))
}

/// Where something lies that is live.
#[derive(Clone, Copy, Default)]
struct Live {
    range: u32,
    offset: u64,
    size: u64,
    requested: u64,
}

/// What the report is made from.
struct Seen<'a> {
    trace: &'a Trace,
    ends: Ends,
    failures: u64,
    first: Option<FirstFailure>,
    /// By number; without a size what is not live.
    live: Vec<Live>,
    live_bytes: u64,
    at_peak: Vec<Live>,
}

impl<'a> Seen<'a> {
    fn new(trace: &'a Trace) -> Self {
        Self {
            trace,
            ends: Ends::default(),
            failures: 0,
            first: None,
            live: vec![Live::default(); trace.allocations()],
            live_bytes: 0,
            at_peak: Vec::new(),
        }
    }

    /// The same of a plan.
    fn plan(&mut self, plan: &offline::Plan, capacity: Option<ByteSize>) {
        let offline::Plan { placed: there, refused } = plan;
        let live_at = |step: usize| {
            let live = there.iter().filter(move |placed| placed.start <= step && step < placed.end);
            live.map(|placed| Live {
                range: 0,
                offset: placed.offset.bytes(),
                size: placed.granted.bytes(),
                requested: placed.requested.bytes(),
            })
        };
        there.iter().for_each(|placed| self.ends.add(0, (placed.offset + placed.granted).bytes()));
        self.at_peak = live_at(self.trace.peak_at()).collect();
        self.failures = refused.len() as u64;
        let first = refused.iter().min_by_key(|placed| placed.start);
        self.first = first.zip(capacity).map(|(placed, capacity)| {
            let (free, largest) =
                holes(live_at(placed.start).map(|live| (live.offset, live.size)), capacity.bytes());
            let live = live_at(placed.start).map(|live| live.requested).sum();
            self.failure(placed.start, placed.number, placed.requested.bytes(), live, Room { free, largest })
        });
    }

    fn failure(&self, step: usize, number: u32, size: u64, live: u64, room: Room) -> FirstFailure {
        let [requested_bytes, live_bytes] = [size, live].map(ByteSize::new);
        FirstFailure::new(self.trace, step, number, requested_bytes, live_bytes, room)
    }

    /// External and internal fragmentation when most is live.
    fn fragmentation(&self) -> (f64, f64) {
        let bases = self.ends.bases();
        let placed = self.at_peak.iter().map(|live| (bases[live.range as usize] + live.offset, live.size));
        let (free, largest) = holes(placed, self.ends.arena());
        let granted: u64 = self.at_peak.iter().map(|live| live.size).sum();
        let requested: u64 = self.at_peak.iter().map(|live| live.requested).sum();
        let external = if free == 0 { 0.0 } else { 1.0 - largest as f64 / free as f64 };
        let internal = if granted == 0 { 0.0 } else { 1.0 - requested as f64 / granted as f64 };
        (external, internal)
    }
}

/// What is free below an end, and the largest piece of it.
fn holes(placed: impl Iterator<Item = (u64, u64)>, most: u64) -> (u64, u64) {
    let mut placed: Vec<(u64, u64)> = placed.collect();
    placed.sort_unstable();
    let (mut free, mut largest, mut end) = (0, 0, 0);
    for (offset, size) in placed.into_iter().chain([(most, 0)]) {
        let gap = offset.saturating_sub(end);
        free += gap;
        largest = largest.max(gap);
        end = end.max(offset + size);
    }
    (free, largest)
}

impl Watch for Seen<'_> {
    #[inline]
    fn granted(&mut self, _step: usize, number: u32, requested: u64, range: u32, offset: u64, size: u64) {
        self.ends.add(range, offset + size);
        self.live[number as usize] = Live { range, offset, size, requested };
        self.live_bytes += requested;
    }

    #[inline]
    fn freed(&mut self, _step: usize, number: u32) {
        let live = std::mem::take(&mut self.live[number as usize]);
        self.live_bytes -= live.requested;
    }

    fn refused(&mut self, step: usize, number: u32, size: u64, room: impl FnOnce() -> Room) -> bool {
        self.failures += 1;
        if self.first.is_none() {
            self.first = Some(self.failure(step, number, size, self.live_bytes, room()));
        }
        true
    }

    #[inline]
    fn stepped(&mut self, step: usize, _committed: impl FnOnce() -> Option<u64>) {
        if step == self.trace.peak_at() {
            self.at_peak = self.live.iter().filter(|live| live.size > 0).copied().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::place;
    use proptest::prelude::*;

    fn trace(operations: &[(u8, u64, usize)]) -> Trace {
        let (mut trace, mut live, mut next) = (Trace::new("t"), Vec::new(), 0);
        for &(kind, size, pick) in operations {
            if kind == 5 {
                trace.attempt(size, "").unwrap();
            } else if kind < 3 || live.is_empty() {
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
            operations in prop::collection::vec((0u8..6, prop_oneof![1u64..5000, 1u64..40_000_000], any::<usize>()), 1..80),
            limited: bool,
        ) {
            let trace = trace(&operations);
            let arena = |name| replay(&trace, &Setup::plain(name), false).peak_arena_bytes;
            prop_assert!(arena(PolicyName::Offline) <= arena(PolicyName::Default));
            let capacity = limited.then(|| ByteSize::new(trace.peak_live().bytes() * 3 / 4).max(ByteSize::mib(1)));
            for &name in PolicyName::ALL {
                let setup = Setup::plain(name).with_capacity(capacity);
                let placements = place(&trace, &setup);
                for (i, a) in placements.iter().enumerate() {
                    prop_assert!(a.granted >= a.requested);
                    for b in &placements[i + 1..] {
                        let together = a.start < b.end && b.start < a.end;
                        let apart = a.offset + a.granted <= b.offset || b.offset + b.granted <= a.offset;
                        prop_assert!(!together || apart, "{name}: {a:?} {b:?}");
                    }
                }
                let report = replay(&trace, &setup, false);
                prop_assert_eq!(placements.len() as u64 + report.failures, trace.allocations() as u64);
                prop_assert!(limited || report.failures == 0, "{}", name);
                prop_assert_eq!(report.failures > 0, report.first_failure.is_some());
                if let Some(first) = &report.first_failure {
                    prop_assert!(first.largest_free_bytes <= first.free_bytes);
                    prop_assert!(first.free_bytes <= capacity.unwrap().checked_align_up(GRANULE).unwrap());
                }
                if report.failures == 0 {
                    prop_assert!(report.peak_arena_bytes >= trace.peak_live());
                    prop_assert!(report.peak_committed_bytes >= trace.peak_live());
                }
                let least = report.least_capacity_bytes.expect("so short a trace is searched");
                let failures = |capacity| replay(&trace, &setup.with_capacity(Some(capacity)), false).failures;
                prop_assert_eq!(failures(least), 0, "{} {}", name, least);
                if least > ByteSize::mib(2) {
                    prop_assert!(failures(least - ByteSize::mib(2)) > 0, "{} {}", name, least);
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
        let failures =
            |policy| replay(&trace, &Setup::plain(policy).with_capacity(Some(capacity)), false).failures;
        assert_eq!(failures(PolicyName::Default), 0);
        assert!(failures(PolicyName::BestFit) > 0, "the trace is one that scatters");
    }
}
