//! The levels of pressure: four severities, and a change from one to another. Nothing is judged here; that is the
//! [`gauge`](crate::PressureGauge)'s job.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The severities that every ladder is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PressureLevel {
    /// Below every rung.
    #[default]
    Normal,
    /// Worth knowing.
    Elevated,
    /// Worth acting.
    High,
    /// About to run out.
    Critical,
}

impl PressureLevel {
    /// Every level, lowest first.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Elevated, Self::High, Self::Critical];
}

impl fmt::Display for PressureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Normal => "normal",
            Self::Elevated => "elevated",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// A change of level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelChange {
    /// Before.
    pub from: PressureLevel,
    /// After.
    pub to: PressureLevel,
}
