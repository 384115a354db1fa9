//! The largest lengths that are looked at.

/// The longest prompt and the longest output, tokens.
pub const MAX_TOKENS: u32 = 1 << 24;
