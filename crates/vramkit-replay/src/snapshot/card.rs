//! What a snapshot has of one card.

use crate::values::Value;

/// One card's part of a snapshot.
pub(super) struct Card<'a> {
    pub(super) device: i64,
    pub(super) entries: &'a [Value],
    pub(super) segments: Vec<Value>,
}
