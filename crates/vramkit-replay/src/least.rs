//! With how much memory does a policy get through a trace?

use vramkit_units::ByteSize;

use crate::offline::{UNIT, plan_within};
use crate::operation::Mark;
use crate::policy::Room;
use crate::run::Watch;
use crate::setup::{Setup, Watched, with_policy};
use crate::trace::Trace;

/// Up to so many operations a search takes seconds at most: some ten passes.
const SHORT: usize = 200_000;

/// Whether a search is short.
pub(crate) fn may_search(trace: &Trace) -> bool {
    trace.operations.len() <= SHORT
}

/// Ends a pass at the first refusal.
struct First;

impl Watch for First {
    fn refused(&mut self, _step: usize, _number: u32, _size: u64, _room: impl FnOnce() -> Room) -> bool {
        false
    }
}

/// A capacity with which a policy refuses nothing of a trace, and with 2 MiB less of which it does; `None` where it refuses something
/// however much there is. The setup's own capacity does not matter. A policy that gives memory back when it is refused some need not do
/// better with more, so there may be a lesser one still.
///
/// ```
/// use vramkit_replay::{PolicyName, Setup, Trace, least_capacity};
///
/// let mut trace = Trace::new("by hand");
/// trace.allocate("a", 3 << 20, "")?;
/// trace.allocate("b", 3 << 20, "")?;
/// assert_eq!(least_capacity(&trace, &Setup::plain(PolicyName::BestFit)), Some(vramkit_units::ByteSize::mib(6)));
/// # Ok::<(), vramkit_replay::TraceError>(())
/// ```
pub fn least_capacity(trace: &Trace, setup: &Setup) -> Option<ByteSize> {
    let passes = |units: u64| {
        let setup = setup.with_capacity(Some(ByteSize::new(units * UNIT)));
        with_policy(trace, &setup, Watched { trace, watch: &mut First }).map(|(whole, _)| whole)
    };
    let units = trace.peak_live().bytes().div_ceil(UNIT).max(1);
    let Some(first) = passes(units) else {
        // The plan's place for everything is one, whatever there is.
        return Some(plan_within(trace, None).least_capacity());
    };
    let passes = |units| passes(units) == Some(true);
    let between = |mut low: u64, mut high: u64| {
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if passes(middle) { high = middle } else { low = middle }
        }
        Some(ByteSize::new(high * UNIT))
    };
    if first {
        // Less than is live will do only for a cache that frees what waits for other streams before its time.
        let waits = trace.marks.iter().any(|(_, mark)| matches!(mark, Mark::Pending { .. }));
        return between(if waits { 0 } else { units - 1 }, units);
    }
    // What it holds when there is no end of it is enough for most.
    let ample = setup.with_capacity(None);
    let committed =
        with_policy(trace, &ample, Watched { trace, watch: &mut () }).and_then(|(_, committed)| committed);
    let (mut low, mut high) = (units, committed.unwrap_or(0).div_ceil(UNIT).max(units + 1));
    while !passes(high) {
        (low, high) = (high, high.checked_mul(2).filter(|units| *units < u64::MAX / UNIT / 4)?);
    }
    between(low, high)
}
