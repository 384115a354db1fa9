//! The largest lengths that are looked at, and the fewest exceedances that are counted.

/// The longest prompt and the longest output, tokens.
pub const MAX_TOKENS: u32 = 1 << 24;

/// Exceedances that a simulation must have met for its count to stand.
pub(crate) const ENOUGH: f64 = 50.0;
