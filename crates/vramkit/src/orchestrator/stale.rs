//! Whether a binding still holds. A lease is given with a binding and ended by whoever takes the memory away; every use of
//! the binding asks it first. Ending is for ever: what is bound again has a lease of its own.

use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::Serialize;

/// What ended a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StaleReason {
    /// Somebody released the model, or the orchestrator is gone.
    Released,
    /// A policy released it to make room.
    Evicted,
    /// Its arena was planned again and moved; its weights are where they were.
    Compacted,
    /// It, or a model that shares its arena, makes do with less: the arena was planned again. Its weights are where they
    /// were.
    Degraded,
}

impl StaleReason {
    /// Whether the model is still bound, only elsewhere.
    pub fn is_still_bound(self) -> bool {
        matches!(self, Self::Compacted | Self::Degraded)
    }

    fn way_out(self) -> &'static str {
        if self.is_still_bound() {
            "what its tensors held is gone and its weights are as they were; ask the orchestrator for its new `binding`"
        } else {
            "what it held is gone; bind it again"
        }
    }
}

impl fmt::Display for StaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Released => "released",
            Self::Evicted => "evicted",
            Self::Compacted => "compacted",
            Self::Degraded => "degraded",
        })
    }
}

/// A binding was used after it had ended. Nothing was read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this binding of model `{model}` is stale: it was {why}; {}", why.way_out())]
pub struct StaleBinding {
    /// The model.
    pub model: Arc<str>,
    /// What ended the binding.
    pub why: StaleReason,
}

/// Shared by a binding's copies and the table's entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Lease(Arc<OnceLock<StaleReason>>);

impl Lease {
    /// Ends it; the first reason stays.
    pub(super) fn end(&self, why: StaleReason) {
        let _ = self.0.set(why);
    }

    pub(super) fn ended(&self) -> Option<StaleReason> {
        self.0.get().copied()
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
