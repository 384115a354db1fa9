//! The largest lengths and batches that are looked at, and the fewest exceedances that are counted.

/// The longest prompt and the longest output, tokens.
pub const MAX_TOKENS: u32 = 1 << 24;

/// The most sequences of a batch. Where that many are within a risk, so is any number that is ever there at once.
pub const MAX_SEATS: u32 = 1 << 20;

/// Exceedances that a simulation must have met for its count to stand.
pub(crate) const ENOUGH: f64 = 50.0;
