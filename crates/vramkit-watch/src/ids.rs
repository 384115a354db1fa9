//! Ids of devices (`cuda:10`, `cuda:0/mig:1`): their order, and one that is free; and what a card is called that has no name.

use std::cmp::Ordering;
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

/// The order of two ids: numbers in them by their size (`cuda:10` after `cuda:9`), a card's parts after it.
pub(crate) fn natural(one: &str, other: &str) -> Ordering {
    parts(one).cmp(parts(other))
}

/// Words and the numbers behind them, in turns.
fn parts(id: &str) -> impl Iterator<Item = (&str, u64)> {
    let mut rest = id;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (text, after) = rest.split_at(rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len()));
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        rest = &after[digits..];
        Some((text, after[..digits].parse().unwrap_or(u64::MAX)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_by_their_size_and_parts_behind_their_card() {
        let order =
            ["amd:0", "cuda:1", "cuda:1/mig:0", "cuda:1/mig:2", "cuda:1/mig:10", "cuda:2", "cuda:10", "host"];
        assert!(order.is_sorted_by(|one, other| natural(one, other).is_lt()), "each before the next");
    }
}
