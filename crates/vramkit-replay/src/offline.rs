//! One plan for a whole trace, the best one at hand: each allocation lives from its step to its free's. The floor of what any policy can
//! reach.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use vramkit_plan::{MemoryPlanner, Model, Schedule, TensorLifetime};
use vramkit_units::{ByteSize, Step};

use crate::operation::Operation;
use crate::placements::{PlacedAllocation, online};
use crate::policy::PolicyName;
use crate::setup::Setup;
use crate::trace::Trace;

/// How long the plan of a whole trace is searched for, unless it is proven the best before.
const TIME_TO_PLAN: Duration = Duration::from_secs(1);
/// The unit of a capacity: a large page.
pub(crate) const UNIT: u64 = 2 << 20;
/// Where the plan puts anything.
const ALIGNMENT: u64 = 256;

/// Everything that is asked for, with the steps in which it is live.
fn lifetimes(trace: &Trace) -> Vec<PlacedAllocation> {
    let mut placements: Vec<PlacedAllocation> = Vec::with_capacity(trace.allocations());
    for (step, &operation) in trace.operations.iter().enumerate() {
        match operation {
            Operation::Allocate { number, size } | Operation::Attempt { number, size } => {
                let is_attempt = matches!(operation, Operation::Attempt { .. });
                placements.push(PlacedAllocation {
                    number,
                    offset: ByteSize::ZERO,
                    granted: ByteSize::new(size.next_multiple_of(ALIGNMENT)),
                    requested: ByteSize::new(size),
                    start: step,
                    end: if is_attempt { step + 1 } else { trace.operations.len() },
                });
            }
            Operation::Free { number } => placements[number as usize].end = step,
        }
    }
    placements
}

/// Where everything goes, and what is refused.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) placed: Vec<PlacedAllocation>,
    pub(crate) refused: Vec<PlacedAllocation>,
}

/// The plan for a capacity. What no plan could hold, with what is live already, is refused first; then what lies beyond the capacity in the
/// plan of the rest.
pub(crate) fn plan_within(trace: &Trace, capacity: Option<ByteSize>) -> Plan {
    let all = lifetimes(trace);
    let Some(capacity) = capacity else { return Plan { placed: plan(trace, all), refused: Vec::new() } };
    let (mut live, mut ends) = (0, BinaryHeap::new());
    let (held, mut refused): (Vec<_>, Vec<_>) = all.into_iter().partition(|placed| {
        while let Some(&Reverse((end, bytes))) = ends.peek()
            && end <= placed.start
        {
            ends.pop();
            live -= bytes;
        }
        let bytes = placed.granted.bytes();
        let fits = live + bytes <= capacity.bytes();
        if fits {
            live += bytes;
            ends.push(Reverse((placed.end, bytes)));
        }
        fits
    });
    let fits = |placed: &PlacedAllocation| placed.offset + placed.granted <= capacity;
    let (placed, beyond): (Vec<_>, Vec<_>) = plan(trace, held).into_iter().partition(fits);
    refused.extend(beyond);
    Plan { placed, refused }
}

impl Plan {
    /// The capacity that it needs, in large pages.
    pub(crate) fn least_capacity(&self) -> ByteSize {
        let end = end_of(&self.placed).max(ByteSize::new(1));
        end.checked_align_up(UNIT).unwrap_or(end)
    }
}

fn plan(trace: &Trace, mut placements: Vec<PlacedAllocation>) -> Vec<PlacedAllocation> {
    let lifetimes: Vec<TensorLifetime> = placements
        .iter()
        .map(|placed| {
            let (id, start, end) = (placed.number.to_string(), placed.start as u64, placed.end as u64);
            TensorLifetime {
                alignment: ALIGNMENT,
                ..TensorLifetime::new("trace", &id, start, end, placed.granted)
            }
        })
        .collect();
    let model = Model { name: "trace".into(), weights: ByteSize::ZERO, start: Step(0), tensors: lifetimes };
    let plan = MemoryPlanner::thorough(TIME_TO_PLAN).plan(&[model], Schedule::Fixed);
    let plan = plan.expect("the steps of a trace are lifetimes");
    for (placed, &offset) in placements.iter_mut().zip(&plan.offsets) {
        placed.offset = offset;
    }
    // Where a policy that sees one allocation at a time has put them is a plan too: on long random traces the planner
    // may end higher.
    for name in [PolicyName::Default, PolicyName::BestFit] {
        if let Some(online) = online(trace, &Setup::plain(name))
            && online.len() == placements.len()
            && end_of(&online) < end_of(&placements)
        {
            placements = online;
        }
    }
    placements
}

/// The highest end of anything placed.
fn end_of(placements: &[PlacedAllocation]) -> ByteSize {
    placements.iter().map(|placed| placed.offset + placed.granted).max().unwrap_or_default()
}
