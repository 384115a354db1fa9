//! Why memory is freed on purpose.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why memory is cleaned up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CleanupReason {
    /// Somebody asked.
    Asked,
    /// A snapshot found the memory fuller than the threshold.
    Threshold,
    /// The soft limit was passed.
    SoftLimit,
    /// The hard limit was passed.
    HardLimit,
}

impl fmt::Display for CleanupReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Asked => "asked for",
            Self::Threshold => "fuller than the threshold",
            Self::SoftLimit => "soft limit passed",
            Self::HardLimit => "hard limit passed",
        })
    }
}
