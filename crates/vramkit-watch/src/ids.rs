//! Ids of devices (`cuda:10`, `cuda:0/mig:1`): their order, and one that is free; and what a card is called that has no name.

use std::collections::BTreeSet;

/// What the name begins with of a card whose model is not known.
pub(crate) const NAMELESS: &str = "a card";

/// Whether a card's name says no model.
pub(crate) fn is_nameless(name: &str) -> bool {
    [NAMELESS, "AMD card at ", "NVIDIA card at "].iter().any(|start| name.starts_with(start))
}

/// The id, or where another device has it, the first number of its kind that none has.
pub(crate) fn free(id: &str, taken: &BTreeSet<String>) -> String {
    if !taken.contains(id) {
        return id.to_owned();
    }
    let kind = id.trim_end_matches(|c: char| c.is_ascii_digit());
    (0..=taken.len())
        .map(|number| format!("{kind}{number}"))
        .find(|id| !taken.contains(id))
        .unwrap_or_default()
}

/// Numbers in an id by their size: `cuda:10` after `cuda:9`, a card's parts after it.
pub(crate) fn natural(id: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = id;
    while !rest.is_empty() {
        let words = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(words);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        parts.push((0, text.to_owned()));
        parts.push((after[..digits].parse().unwrap_or(u64::MAX), String::new()));
        rest = &after[digits..];
    }
    parts
}
