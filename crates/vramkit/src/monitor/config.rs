//! How a monitor behaves.

use std::time::Duration;

use crate::pressure::leak::GenerationConfig;
use crate::pressure::{Ladder, LadderError, Limits};

/// How a monitor behaves; all can be left as it is.
#[derive(Clone, Debug)]
pub struct MonitorConfig {
    /// Limits, when there are any.
    pub limits: Option<Limits>,
    /// For how long less must be held before a limit counts as no longer passed; only then can it be passed anew.
    pub limit_hold: Duration,
    /// Levels.
    pub ladder: Ladder<()>,
    /// A snapshot at this fraction (above 0, at most 1) or above cleans up; `None` for never. Of the bytes that are used, room inside
    /// pools included, because that room is what a cleanup gives back: a program that keeps a pool ready sets `None`.
    pub cleanup_threshold: Option<f64>,
    /// Between two cleanups that nobody asked for.
    pub cleanup_cooldown: Duration,
    /// Whether passing the soft limit cleans up too, on a thread of its own.
    pub cleanup_at_soft_limit: bool,
    /// How generations are compared.
    pub generations: GenerationConfig,
    /// Snapshots kept, each with the 64 largest owners of a pool and the 64 largest models.
    pub history: usize,
}

/// A configuration that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorConfigError {
    /// The ladder's.
    #[error(transparent)]
    Ladder(#[from] LadderError),
    /// No fraction.
    #[error("cleanup_threshold {0} must be within (0, 1]: 0.85 for 85 %, or none for never")]
    CleanupThreshold(f64),
}

impl MonitorConfig {
    pub(super) fn check(&self) -> Result<(), MonitorConfigError> {
        self.ladder.check()?;
        match self.cleanup_threshold {
            // Written so that NaN fails.
            Some(from) if !(from > 0.0 && from <= 1.0) => Err(MonitorConfigError::CleanupThreshold(from)),
            _ => Ok(()),
        }
    }
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            limits: None,
            limit_hold: Duration::from_secs(5),
            ladder: Ladder::watch(),
            cleanup_threshold: Some(0.85),
            cleanup_cooldown: Duration::from_secs(30),
            cleanup_at_soft_limit: false,
            generations: GenerationConfig::default(),
            history: 1000,
        }
    }
}
