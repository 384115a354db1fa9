//! Names of the files that a model is split into: `model-00001-of-00002.safetensors`.

use std::collections::HashSet;

/// Most files of one model that are believed.
const MOST: u64 = 10_000;

/// A file's place among those of its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard<'a> {
    start: &'a str,
    number: &'a str,
    total: &'a str,
    end: &'a str,
}

impl<'a> Shard<'a> {
    /// What a file's name says; `None` where it is not that of one of several.
    pub(super) fn of(name: &'a str) -> Option<Self> {
        let (front, back) = name.split_once("-of-")?;
        let (start, number) = front.rsplit_once('-')?;
        let (total, _) = back.split_once('.')?;
        let shard = Self { start, number, total, end: &back[total.len()..] };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let counted = is_number(number) && is_number(total) && (1..=MOST).contains(&shard.count()?);
        counted.then_some(shard)
    }

    fn count(self) -> Option<u64> {
        self.total.parse().ok()
    }

    /// The names of all files of the model, in order.
    pub(super) fn all(self) -> impl Iterator<Item = String> {
        let Self { start, number, total, end } = self;
        let (width, count) = (number.len(), self.count().unwrap_or(0));
        (1..=count).map(move |at| format!("{start}-{at:0width$}-of-{total}{end}"))
    }
}

/// The first file that should be among these, as the names of the others say.
pub(super) fn missing<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let there: HashSet<&str> = names.clone().collect();
    let mut looked_at = HashSet::new();
    names
        .filter_map(Shard::of)
        .filter(|shard| looked_at.insert((shard.start, shard.total, shard.end)))
        .find_map(|shard| shard.all().find(|name| !there.contains(name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_missing() {
        let missing = |names: &[&str]| missing(names.iter().copied());
        assert_eq!(missing(&["model.safetensors", "consolidated.00.safetensors"]), None);
        let two = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        assert_eq!(missing(&two), None);
        assert_eq!(missing(&two[..1]).as_deref(), Some(two[1]));
        assert_eq!(missing(&two[1..]).as_deref(), Some(two[0]));
        // DeepSeek's numbers are of different lengths.
        let name = missing(&["model-00001-of-000163.safetensors"]);
        assert_eq!(name.as_deref(), Some("model-00002-of-000163.safetensors"));
    }

    #[test]
    fn other_names_are_no_shards() {
        for name in [
            "a-of-b.safetensors",
            "model-1-of-.safetensors",
            "state-of-the-art.safetensors",
            "x-1-of-0.s",
            "",
        ] {
            assert_eq!(Shard::of(name), None, "{name}");
        }
        assert_eq!(Shard::of("m-00001-of-99999999999999999999.safetensors"), None);
    }
}
