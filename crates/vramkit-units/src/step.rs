//! Time of a plan, which is counted in steps.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An instant of a plan's clock: the index of a step, not a duration in seconds.
///
/// ```
/// use vramkit_units::Step;
///
/// assert_eq!(Step(12).to_string(), "step 12");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Step(pub u64);

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.0)
    }
}

impl From<u64> for Step {
    /// The step of this index.
    fn from(index: u64) -> Self {
        Self(index)
    }
}
