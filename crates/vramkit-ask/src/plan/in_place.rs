//! Operators that work in place hold less at one time, but what they join is harder to place: whichever is smaller is the
//! answer.
//!
//! In: a demand whose operators work in place, and how it is planned. Out: the better plan, of that demand or of the one whose
//! operators do not, and what both came to.

use std::time::Duration;

use vramkit::ByteSize;
use vramkit::plan::report::InPlaceReport;
use vramkit::plan::{AllocationPlan, PooledPlan};
use vramkit_models::Demand;

/// A plan, as far as two of the same models can be compared.
pub(super) trait Comparable {
    fn arena(&self) -> ByteSize;

    /// Bytes that are not where they prefer to be, which counts before arenas do.
    fn displaced(&self) -> ByteSize {
        ByteSize::ZERO
    }

    /// No arena is smaller.
    fn bound(&self) -> ByteSize;

    /// Takes back what is claimed beyond a bound: another way to plan the same may come as low as that.
    fn lower_bound_to(&mut self, bound: ByteSize);
}

impl Comparable for AllocationPlan {
    fn arena(&self) -> ByteSize {
        self.arena_size
    }

    fn bound(&self) -> ByteSize {
        self.proven_bound
    }

    fn lower_bound_to(&mut self, bound: ByteSize) {
        if bound < self.proven_bound {
            self.proven_bound = bound;
            self.proven_optimal = self.arena_size <= bound;
            // It was a reason for this way alone.
            self.conflict = None;
        }
    }
}

impl Comparable for PooledPlan {
    fn arena(&self) -> ByteSize {
        self.pools.iter().map(|(_, plan)| plan.arena_size).sum()
    }

    fn displaced(&self) -> ByteSize {
        self.displaced
    }

    fn bound(&self) -> ByteSize {
        self.lower_bound
    }

    fn lower_bound_to(&mut self, bound: ByteSize) {
        if bound < self.lower_bound {
            self.lower_bound = bound;
            // What the pools' own bounds prove is for this way alone.
            for (_, plan) in &mut self.pools {
                plan.proven_bound = ByteSize::ZERO;
                plan.proven_optimal = false;
            }
        }
    }
}

/// Plans a demand, and the same without operators that work in place where it has any. `plan` is told how long it may search,
/// `left` says how much of the time is left.
///
/// The plan without them is searched for first and for as long as if nobody had asked for the other, so the answer is never
/// larger than it; only where the other's first answer shows that it cannot win is that left out.
pub(super) fn better<P: Comparable, E>(
    with: Demand,
    plan: impl Fn(&Demand, Duration) -> Result<P, E>,
    left: impl Fn() -> Duration,
) -> (Demand, Result<(P, Option<InPlaceReport>), E>) {
    let Some(without) = with.without_in_place() else {
        let plan = plan(&with, left()).map(|plan| (plan, None));
        return (with, plan);
    };
    let first = plan(&without, Duration::ZERO);
    let cannot_win = match (&first, plan(&with, Duration::ZERO)) {
        (Ok(first), Ok(other)) => other.displaced().is_zero() && other.arena() <= first.bound(),
        _ => false,
    };
    let own = if cannot_win { first } else { plan(&without, left()) };
    let other = plan(&with, left());
    let (with_bytes, without_bytes) = (other.as_ref().ok().map(P::arena), own.as_ref().ok().map(P::arena));
    let report = |is_used: bool| Some(InPlaceReport { is_used, with_bytes, without_bytes });
    match (other, own) {
        (Ok(mut other), Ok(mut own)) => {
            let bound = other.bound().min(own.bound());
            if (other.displaced(), other.arena()) <= (own.displaced(), own.arena()) {
                other.lower_bound_to(bound);
                (with, Ok((other, report(true))))
            } else {
                own.lower_bound_to(bound);
                (without, Ok((own, report(false))))
            }
        }
        (Err(_), Ok(own)) => (without, Ok((own, report(false)))),
        (other, Err(_)) => (with, other.map(|other| (other, report(true)))),
    }
}
