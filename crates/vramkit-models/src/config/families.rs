//! Which families are known, and how each is read.
//!
//! In: a `model_type`. Out: its [`Family`] from the table in `families.txt`, or an error with the nearest that are known. Never
//! here: what a reader does.

use serde_json::{Map, Value};

use crate::error::ReadError;

use super::readers::{self, Reader};

/// One line for each family: its name, its reader, its defaults.
const TABLE: &str = include_str!("families.txt");

/// A family of models whose configurations have the same keys.
#[derive(Clone, Copy)]
pub(super) struct Family {
    /// Its `model_type`.
    pub name: &'static str,
    /// What reads its layers.
    pub reader: Reader,
    /// What its code takes where a key is absent: `key=number`, apart by spaces.
    pub defaults: &'static str,
}

fn lines() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (name, rest) = line.split_once(' ')?;
        let (reader, defaults) = rest.split_once(' ').unwrap_or((rest, ""));
        Some((name, reader, defaults))
    })
}

/// The family of this `model_type`.
pub(super) fn named(name: &str) -> Option<Family> {
    let (name, reader, defaults) = lines().find(|&(known, ..)| known == name)?;
    Some(Family { name, reader: readers::named(reader)?, defaults })
}

/// Families with experts under a switch or inside another object, of which no default tells.
const SPARSE_AT_WILL: [&str; 4] = ["aria_text", "dbrx", "gemma4_text", "gemma4_unified_text"];

/// Whether the family's own code, as far as its defaults are known, has no experts: keys of some are then no keys of it.
pub(super) fn is_dense(name: &str) -> bool {
    let has_experts = |defaults: &str| defaults.contains("experts=") || defaults.contains("moe_");
    let known = |&(known, _, defaults): &(&str, &str, &str)| {
        known == name && defaults.contains("vocab_size=") && !has_experts(defaults)
    };
    lines().any(|line| known(&line)) && !SPARSE_AT_WILL.contains(&name)
}

/// Whether the family's code has a default for one of these keys.
pub(super) fn has_default(name: &str, keys: &[&str]) -> bool {
    let of = |entry: &str| entry.split_once('=').is_some_and(|(key, _)| keys.contains(&key));
    lines().any(|(known, _, defaults)| known == name && defaults.split(' ').any(of))
}

/// Families whose publishers name another one's class, and whose keys mean the same.
const OF_ANOTHER_CLASS: [(&str, &str); 1] = [("kimi_k2", "deepseek_v3")];

/// Says that `architectures` name a family other than the one that was read.
pub(super) fn other_named(family: &str, whole: &Map<String, Value>) -> Option<String> {
    let named = whole.get("architectures")?.as_array()?.first()?.as_str()?;
    let plain = |name: &str| {
        let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let lower = letters.to_lowercase();
        lower.strip_suffix("text").map_or(lower.clone(), str::to_owned)
    };
    let class = ["For", "LMHead", "Model"].iter().find_map(|word| named.split_once(word))?.0;
    let class = plain(class);
    let outer = whole.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let is_read = [family, outer].iter().any(|&name| plain(name) == class);
    let (other, ..) = lines().find(|&(known, ..)| plain(known) == class).filter(|_| !is_read)?;
    if OF_ANOTHER_CLASS.contains(&(family, other)) {
        return None;
    }
    Some(format!("its `architectures` name {named}, of the family {other}; it was read as one of {family}"))
}

/// A `model_type` that is not known, with the nearest that are.
pub(super) fn unknown(file: &str, name: &str) -> ReadError {
    let shown: String = name.chars().take(64).collect();
    let lower = shown.to_lowercase();
    let mut known: Vec<_> = lines()
        .map(|(known, ..)| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
        .collect();
    known.sort_unstable();
    let nearest: Vec<_> = known.iter().take(5).map(|(_, name)| *name).collect();
    let count = known.len();
    ReadError::within(
        file,
        format!(
            "the model_type `{shown}` is not known, and no other is taken for it; of the {count} that are known the nearest are {}",
            nearest.join(", ")
        ),
    )
}

/// Every name.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    lines().map(|(name, ..)| name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_line_is_whole() {
        let mut names = BTreeSet::new();
        for (name, reader, defaults) in lines() {
            assert!(names.insert(name), "{name} is there twice");
            assert!(readers::named(reader).is_some(), "{name}: no reader {reader}");
            for entry in defaults.split(' ').filter(|entry| !entry.is_empty()) {
                let number = entry.split_once('=').and_then(|(_, number)| number.parse::<u64>().ok());
                assert!(number.is_some(), "{name}: {entry}");
            }
        }
        assert!(names.len() > 200, "{}", names.len());
    }

    #[test]
    fn the_nearest_are_named() {
        let error = unknown("config.json", "gemma33").to_string();
        assert!(error.contains("`gemma33`") && error.contains("gemma"), "{error}");
        assert!(named("gemma33").is_none());
    }
}
