//! A trace against a policy, step by step: to hold one implementation against another.

use crate::policy::Room;
use crate::run::Watch;
use crate::setup::{Setup, Watched, with_policy};
use crate::trace::Trace;

/// What a policy holds after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepReport {
    /// Bytes held from the device; 0 for policies that hold all below the highest end of anything placed.
    pub committed: u64,
    /// Whether the step asked for memory and was refused.
    pub refused: bool,
}

struct Steps(Vec<StepReport>);

impl Watch for Steps {
    fn refused(&mut self, _step: usize, _number: u32, _size: u64, _room: impl FnOnce() -> Room) -> bool {
        self.0.push(StepReport { committed: 0, refused: true });
        true
    }

    fn stepped(&mut self, step: usize, committed: impl FnOnce() -> Option<u64>) {
        let committed = committed().unwrap_or(0);
        match self.0.get_mut(step) {
            Some(refused) => refused.committed = committed,
            None => self.0.push(StepReport { committed, refused: false }),
        }
    }
}

/// What a policy holds after each step of a trace; nothing for the plan, which takes no steps.
///
/// ```
/// use vramkit_replay::{PolicyName, Setup, Trace, steps};
///
/// let mut trace = Trace::new("by hand");
/// trace.allocate("a", 1 << 20, "")?;
/// trace.free("a")?;
/// let steps = steps(&trace, &Setup::plain(PolicyName::Pytorch));
/// assert_eq!((steps[0].committed, steps[1].committed), (2 << 20, 2 << 20));
/// # Ok::<(), vramkit_replay::TraceError>(())
/// ```
pub fn steps(trace: &Trace, setup: &Setup) -> Vec<StepReport> {
    let mut steps = Steps(Vec::with_capacity(trace.operations.len()));
    with_policy(trace, setup, Watched { trace, watch: &mut steps });
    steps.0
}
