//! One pass of a trace through a policy: what is granted, what is refused, and what somebody wants to know on the way.

use crate::operation::{Mark, Operation};
use crate::policy::{Ask, Granted, Policy, Room};
use crate::trace::Trace;

/// What looks on. What is not asked for costs nothing.
pub(crate) trait Watch {
    /// A request was granted.
    fn granted(
        &mut self,
        _step: usize,
        _number: u32,
        _requested: u64,
        _range: u32,
        _offset: u64,
        _size: u64,
    ) {
    }

    /// What was granted is given back, in this step or, for an attempt, at its end.
    fn freed(&mut self, _step: usize, _number: u32) {}

    /// A request was refused; false ends the pass.
    fn refused(&mut self, _step: usize, _number: u32, _size: u64, _room: impl FnOnce() -> Room) -> bool {
        true
    }

    /// A step is over; bytes held from the device, where the policy knows.
    fn stepped(&mut self, _step: usize, _committed: impl FnOnce() -> Option<u64>) {}
}

/// Nobody looks on.
impl Watch for () {}

/// Passes a trace through a policy; false where the watch ended it. What is granted at the end is given back, so that the policy can be
/// used again.
pub(crate) fn pass(trace: &Trace, policy: &mut impl Policy, watch: &mut impl Watch) -> bool {
    let mut handles = vec![None; trace.allocations()];
    let mut marks = trace.marks.iter().peekable();
    let mut whole = true;
    for (step, &operation) in trace.operations.iter().enumerate() {
        while let Some((_, mark)) = marks.next_if(|(at, _)| *at <= step) {
            match *mark {
                Mark::Pending { number } => {
                    handles[number as usize].into_iter().for_each(|handle| policy.wait(handle))
                }
                Mark::Trim => policy.trim(),
                Mark::EndPool { pool } => policy.end_pool(pool),
            }
        }
        match operation {
            Operation::Allocate { number, size } | Operation::Attempt { number, size } => {
                let origin = trace.origin(number);
                let ask = Ask { size, stream: origin.stream, pool: origin.pool };
                match policy.allocate(ask) {
                    Some(Granted { handle, range, offset, size: granted }) => {
                        watch.granted(step, number, size, range, offset, granted);
                        handles[number as usize] = Some(handle);
                    }
                    None if watch.refused(step, number, size, || policy.room(ask)) => {}
                    None => {
                        whole = false;
                        break;
                    }
                }
            }
            Operation::Free { number } => {
                if let Some(handle) = handles[number as usize].take() {
                    watch.freed(step, number);
                    policy.free(handle);
                }
            }
        }
        watch.stepped(step, || policy.committed());
        if let Operation::Attempt { number, .. } = operation
            && let Some(handle) = handles[number as usize].take()
        {
            watch.freed(step + 1, number);
            policy.free(handle);
        }
    }
    handles.into_iter().flatten().for_each(|handle| policy.free(handle));
    whole
}
