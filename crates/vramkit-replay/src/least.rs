//! With how much memory does a policy get through a trace?

use vramkit_units::ByteSize;

use crate::place::run;
use crate::policy::PolicyName;
use crate::trace::Trace;

/// The unit of the answer: a large page.
const UNIT: u64 = 2 << 20;

/// A capacity with which a policy refuses nothing of a trace, and with 2 MiB less of which it does; `None` where it refuses something
/// however much there is. A policy that gives memory back when it is refused some need not do better with more, so there may be a lesser
/// one still.
///
/// ```
/// use vramkit_replay::{PolicyName, Trace, least_capacity};
///
/// let mut trace = Trace::new("by hand");
/// trace.allocate("a", 3 << 20, "")?;
/// trace.allocate("b", 3 << 20, "")?;
/// assert_eq!(least_capacity(&trace, PolicyName::BestFit), Some(vramkit_units::ByteSize::mib(6)));
/// # Ok::<(), vramkit_replay::TraceError>(())
/// ```
pub fn least_capacity(trace: &Trace, policy: PolicyName) -> Option<ByteSize> {
    let fits = |units: u64| run(trace, policy, Some(ByteSize::new(units * UNIT))).failures == 0;
    let (mut low, mut high) = (0, trace.peak_live().bytes().div_ceil(UNIT).max(1));
    while !fits(high) {
        (low, high) = (high, high.checked_mul(2).filter(|units| *units < u64::MAX / UNIT / 4)?);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { high = middle } else { low = middle }
    }
    Some(ByteSize::new(high * UNIT))
}
