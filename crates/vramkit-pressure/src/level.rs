//! The levels of pressure: four severities, and a change from one to another. Nothing is judged here; that is the
//! [`gauge`](crate::PressureGauge)'s job.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

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

/// Reads a level of a document that another version may have written: one that this version has no word for is not known. For
/// `#[serde(default, deserialize_with = "…")]`.
///
/// # Errors
/// What is no document at all.
pub fn known_level<'de, D: Deserializer<'de>>(document: D) -> Result<Option<PressureLevel>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Word {
        Known(PressureLevel),
        Unknown(IgnoredAny),
    }
    Ok(Option::<Word>::deserialize(document)?.and_then(|word| match word {
        Word::Known(level) => Some(level),
        Word::Unknown(_) => None,
    }))
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
