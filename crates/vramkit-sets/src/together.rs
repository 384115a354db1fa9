//! Who runs together: *and* and *or* over models.
//!
//! An expression of a few words can stand for billions of combinations, so the largest is found without listing them: where the
//! parts of an *and* share no model, the largest whole is made of the largest parts.

use std::collections::BTreeSet;

/// Combinations that are listed one by one; where parts share models and there are more, there is no answer.
pub(crate) const MOST_LISTED: usize = 4_096;

/// Which models run together.
///
/// ```
/// use vramkit_sets::Together;
///
/// // llama-swap's `(chat | code) & embed`
/// let models = |names: [&str; 2]| names.map(|name| Together::Model(name.to_owned())).to_vec();
/// let [_, embed] = models(["", "embed"]).try_into().unwrap();
/// let set = Together::All(vec![Together::Either(models(["chat", "code"])), embed]);
/// assert_eq!(set.combinations(10).unwrap(), [vec!["chat", "embed"], vec!["code", "embed"]]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Together {
    /// This model.
    Model(String),
    /// All of these together.
    All(Vec<Together>),
    /// One of these.
    Either(Vec<Together>),
}

impl Together {
    /// Every combination, each without repeats and in alphabetical order; `None` when there are more than `most`.
    pub fn combinations(&self, most: usize) -> Option<Vec<Vec<&str>>> {
        Some(self.list(most)?.into_iter().map(|models| models.into_iter().collect()).collect())
    }

    /// Every model in it.
    pub fn support(&self) -> BTreeSet<&str> {
        match self {
            Self::Model(name) => BTreeSet::from([name.as_str()]),
            Self::All(parts) | Self::Either(parts) => parts.iter().flat_map(Self::support).collect(),
        }
    }

    /// How many names are written in it.
    pub(crate) fn names(&self) -> usize {
        match self {
            Self::Model(_) => 1,
            Self::All(parts) | Self::Either(parts) => parts.iter().map(Self::names).sum(),
        }
    }

    /// Every combination.
    pub(crate) fn list(&self, most: usize) -> Option<BTreeSet<BTreeSet<&str>>> {
        let listed = match self {
            Self::Model(name) => BTreeSet::from([BTreeSet::from([name.as_str()])]),
            Self::Either(parts) => {
                let mut listed = BTreeSet::new();
                for part in parts {
                    listed.extend(part.list(most)?);
                    (listed.len() <= most).then_some(())?;
                }
                listed
            }
            Self::All(parts) => {
                let mut listed = BTreeSet::from([BTreeSet::new()]);
                for part in parts {
                    let with = part.list(most)?;
                    (listed.len().saturating_mul(with.len()) <= most).then_some(())?;
                    listed =
                        listed.iter().flat_map(|one| with.iter().map(move |other| one | other)).collect();
                }
                listed
            }
        };
        (listed.len() <= most).then_some(listed)
    }

    /// The combination that takes the most; `None` when parts share models and there are too many to list, or there is none.
    pub(crate) fn largest(&self, of: &impl Fn(&BTreeSet<&str>) -> u64) -> Option<BTreeSet<&str>> {
        match self {
            Self::Model(name) => Some(BTreeSet::from([name.as_str()])),
            // The first of equals, as `max_by_key` would give the last.
            Self::Either(parts) => {
                let each = parts.iter().map(|part| part.largest(of)).collect::<Option<Vec<_>>>()?;
                each.into_iter().rev().max_by_key(of)
            }
            Self::All(parts) => {
                let mut seen = BTreeSet::new();
                if parts.iter().all(|part| part.support().into_iter().all(|name| seen.insert(name))) {
                    let each = parts.iter().map(|part| part.largest(of)).collect::<Option<Vec<_>>>()?;
                    return Some(each.into_iter().flatten().collect());
                }
                self.list(MOST_LISTED)?.into_iter().rev().max_by_key(of)
            }
        }
    }
}
