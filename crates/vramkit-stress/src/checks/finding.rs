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
    /// Whether the engine or the pool refused what they must grant, so that nothing was measured.
    pub is_refused: bool,
}

impl Finding {
    /// Without usage.
    pub fn new(passed: bool, measured: f64, limit: f64, detail: String) -> Self {
        Self { passed, measured, limit, detail, usage: Vec::new(), is_refused: false }
    }

    /// Of what must be granted and was not.
    pub fn refused(why: String) -> Self {
        Self { is_refused: true, ..Self::new(false, 0.0, 0.0, why) }
    }
}
