//! What a run of a check found, and how it was run.

use crate::report::LengthUse;

/// Whether a check's fault is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    Sound,
    Faulty,
}

/// What a run of a check found.
#[derive(Debug)]
pub(crate) struct Finding {
    pub passed: bool,
    pub measured: f64,
    pub limit: f64,
    pub detail: String,
    /// What was taken on the way.
    pub usage: Vec<LengthUse>,
}

impl Finding {
    /// Without usage.
    pub fn new(passed: bool, measured: f64, limit: f64, detail: String) -> Self {
        Self { passed, measured, limit, detail, usage: Vec::new() }
    }
}
