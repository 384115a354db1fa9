//! Sets that a configuration promises: whether the largest of them fits.
//!
//! In: the sets, and what each model takes. Out: the largest combination of each and whether it fits. Never here: how a manager
//! writes its sets.

use std::collections::{BTreeMap, BTreeSet};

use vramkit_units::ByteSize;

use crate::file::PromisedSet;
use crate::solve::headroom;
use crate::together::MOST_LISTED;

/// Whether a promised set fits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Promise {
    /// What the configuration calls the set.
    pub name: String,
    /// Where it is written.
    pub line: Option<usize>,
    /// The largest combination that it allows.
    pub models: Vec<String>,
    /// What that takes, as far as it is known.
    pub total: ByteSize,
    /// What it leaves of the capacity; negative where it does not fit.
    pub headroom_bytes: i64,
    /// Whether every combination fits; `None` when what is known fits and something is not known.
    pub fits: Option<bool>,
    /// How many combinations it allows; `None` when they are too many to list.
    pub combinations: Option<usize>,
    /// How many of those do not fit, as far as is known.
    pub not_fitting: Option<usize>,
    /// Models of which nothing is known.
    pub unknown: Vec<String>,
}

/// Checks each promised set against a capacity. `sizes` has what each model takes; one that is not in it is not known.
pub fn check_promises(
    promised: &[PromisedSet],
    sizes: &[(String, ByteSize)],
    capacity: ByteSize,
) -> Vec<Promise> {
    let sizes: BTreeMap<&str, u64> = sizes.iter().map(|(name, size)| (name.as_str(), size.bytes())).collect();
    promised.iter().map(|set| check(set, &sizes, capacity.bytes())).collect()
}

fn check(set: &PromisedSet, sizes: &BTreeMap<&str, u64>, capacity: u64) -> Promise {
    let of = |models: &BTreeSet<&str>| -> u64 {
        models.iter().fold(0, |sum, name| sum.saturating_add(sizes.get(name).copied().unwrap_or(0)))
    };
    let support = set.together.support();
    let mut unknown: Vec<String> =
        support.iter().filter(|name| !sizes.contains_key(*name)).map(|name| (*name).to_owned()).collect();
    unknown.sort();
    let listed = set.together.list(MOST_LISTED);
    let largest = set.together.largest(&of);
    let total = largest.as_ref().map_or(0, &of);
    let fits = match &largest {
        _ if total > capacity => Some(false),
        Some(_) if unknown.is_empty() => Some(true),
        _ => None,
    };
    Promise {
        name: set.name.clone(),
        line: set.line,
        models: largest.into_iter().flatten().map(str::to_owned).collect(),
        total: ByteSize::new(total),
        headroom_bytes: headroom(capacity, total),
        fits,
        combinations: listed.as_ref().map(BTreeSet::len),
        not_fitting: listed.map(|listed| listed.iter().filter(|models| of(models) > capacity).count()),
        unknown,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::together::Together;

    fn model(name: &str) -> Together {
        Together::Model(name.to_owned())
    }

    fn promised(together: Together) -> PromisedSet {
        PromisedSet { name: "set".to_owned(), line: Some(3), together }
    }

    fn answer(together: Together, sizes: &[(&str, u64)], capacity: u64) -> Promise {
        let sizes: Vec<_> =
            sizes.iter().map(|(name, size)| ((*name).to_owned(), ByteSize::new(*size))).collect();
        check_promises(&[promised(together)], &sizes, ByteSize::new(capacity)).remove(0)
    }

    #[test]
    fn the_largest_combination_decides() {
        let set = Together::All(vec![Together::Either(vec![model("a"), model("b")]), model("c")]);
        let sizes = [("a", 5), ("b", 7), ("c", 2)];
        let fits = answer(set.clone(), &sizes, 9);
        assert_eq!((fits.fits, fits.total, fits.headroom_bytes), (Some(true), ByteSize::new(9), 0));
        assert_eq!(fits.models, ["b", "c"]);
        let not = answer(set, &sizes, 8);
        assert_eq!((not.fits, not.headroom_bytes), (Some(false), -1));
        assert_eq!((not.combinations, not.not_fitting), (Some(2), Some(1)));
    }

    #[test]
    fn what_is_not_known_is_never_a_yes() {
        let set = Together::All(vec![model("a"), model("secret")]);
        let open = answer(set.clone(), &[("a", 5)], 9);
        assert_eq!((open.fits, open.unknown), (None, vec!["secret".to_owned()]));
        assert_eq!(answer(set, &[("a", 10)], 9).fits, Some(false));
    }

    #[test]
    fn billions_of_combinations_have_a_largest() {
        let names: Vec<Vec<String>> =
            (0..10).map(|i| (0..10).map(|j| format!("m{i}{j}")).collect()).collect();
        let either = |names: &Vec<String>| Together::Either(names.iter().map(|name| model(name)).collect());
        let sizes: Vec<(&str, u64)> =
            names.iter().flatten().zip(1..).map(|(name, size)| (name.as_str(), size)).collect();
        let set = Together::All(names.iter().map(either).collect());
        let answer = answer(set, &sizes, 550);
        assert_eq!((answer.total, answer.fits, answer.combinations), (ByteSize::new(550), Some(true), None));
    }

    fn expression() -> impl Strategy<Value = Together> {
        let leaf = (0..5u8).prop_map(|i| model(&i.to_string()));
        leaf.prop_recursive(3, 12, 3, |inner| {
            let parts = prop::collection::vec(inner, 1..4);
            prop_oneof![parts.clone().prop_map(Together::All), parts.prop_map(Together::Either)]
        })
    }

    proptest! {
        #[test]
        fn the_largest_is_the_largest_of_the_list(set in expression(), sizes in prop::array::uniform5(0..20u64)) {
            let names = ["0", "1", "2", "3", "4"];
            let sizes: Vec<_> = names.into_iter().zip(sizes).collect();
            let of = |models: &Vec<&str>| models.iter().map(|name| sizes[name.parse::<usize>().unwrap()].1).sum::<u64>();
            let most = set.combinations(MOST_LISTED).unwrap().iter().map(of).max().unwrap();
            prop_assert_eq!(answer(set, &sizes, 30).total, ByteSize::new(most));
        }
    }
}
