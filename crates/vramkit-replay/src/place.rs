//! Where any policy puts every allocation of a trace.

use crate::offline::plan_within;
use crate::placements::{PlacedAllocation, online};
use crate::setup::Setup;
use crate::trace::Trace;

/// Where a policy places each allocation of a trace; what is refused is left out.
pub fn place(trace: &Trace, setup: &Setup) -> Vec<PlacedAllocation> {
    online(trace, setup).unwrap_or_else(|| plan_within(trace, setup.capacity).placed)
}
