//! What came of handling pressure, as values and in words.

use std::sync::Arc;

use crate::pressure::{PressureLevel, PressurePolicy};
use crate::units::ByteSize;

/// What a policy did, or in a dry run would have done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// There was no pressure.
    NoPressure,
    /// The rung's cooldown has not passed.
    CoolingDown,
    /// It was written down.
    Logged,
    /// New bindings are refused until the level falls.
    Rejecting,
    /// These bindings were released.
    Evicted(Vec<Arc<str>>),
    /// No idle binding would free anything.
    NothingToEvict,
    /// The arenas of these models were planned again, and the pool trimmed.
    Compacted(Vec<Arc<str>>),
    /// No arena would shrink.
    NothingToCompact,
    /// These models make do with less.
    Degraded(Vec<Arc<str>>),
    /// No idle model can make do with less.
    NothingToDegrade,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |verb: &str, models: &[Arc<str>]| format!("{verb} {}", models.join(", "));
        f.write_str(&match self {
            Self::NoPressure => "no pressure".to_owned(),
            Self::CoolingDown => "cooling down".to_owned(),
            Self::Logged => "logged".to_owned(),
            Self::Rejecting => "new bindings are refused".to_owned(),
            Self::Evicted(models) => list("evicted", models),
            Self::NothingToEvict => "nothing to evict".to_owned(),
            Self::Compacted(models) => list("compacted", models),
            Self::NothingToCompact => "nothing to compact".to_owned(),
            Self::Degraded(models) => list("degraded", models),
            Self::NothingToDegrade => "nothing to degrade".to_owned(),
        })
    }
}

/// What came of handling pressure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyOutcome {
    /// The policy whose turn it was; `None` when there was nothing to do.
    pub policy: Option<PressurePolicy>,
    /// The level that it was handled at.
    pub level: PressureLevel,
    /// Bytes that were wanted.
    pub wanted: ByteSize,
    /// Bytes of the pool that were freed, or in a dry run would have been.
    pub freed: ByteSize,
    /// What was done.
    pub action: Action,
}

impl PolicyOutcome {
    /// No policy acted.
    pub(super) fn nothing(level: PressureLevel, action: Action) -> Self {
        Self { policy: None, level, wanted: ByteSize::ZERO, freed: ByteSize::ZERO, action }
    }
}
