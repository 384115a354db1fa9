//! How a monitor behaves.

use std::time::Duration;

use crate::pressure::leak::GenerationConfig;
use crate::pressure::{Ladder, Limits};

/// How a monitor behaves; all can be left as it is.
#[derive(Clone, Debug)]
pub struct MonitorConfig {
    /// Limits, when there are any.
    pub limits: Option<Limits>,
    /// For how long less must be held before a limit counts as no longer passed; only then can it be passed anew.
    pub limit_hold: Duration,
    /// Levels.
    pub ladder: Ladder<()>,
    /// A snapshot at this fraction or above cleans up; `None` for never.
    pub cleanup_threshold: Option<f64>,
    /// Between two cleanups that nobody asked for.
    pub cleanup_cooldown: Duration,
    /// Whether passing the soft limit cleans up too, on a thread of its own.
    pub cleanup_at_soft_limit: bool,
    /// How generations are compared.
    pub generations: GenerationConfig,
    /// Snapshots kept.
    pub history: usize,
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
