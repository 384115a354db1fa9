//! Lists of another process, of which a part is kept while they are read: the first, the last or the largest elements. What is
//! left out is counted, and never held.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::units::ByteSize;

/// A list of which elements go into something, one after the other.
trait Gathers<T>: Default {
    /// Takes an element in, if it wants one more; false: the rest is counted without a look.
    fn wants(&self) -> bool {
        true
    }
    fn take(&mut self, one: T);
    fn count(&mut self) {}
}

struct ListOf<G, T>(PhantomData<(G, T)>);

impl<'de, T: Deserialize<'de>, G: Gathers<T>> Visitor<'de> for ListOf<G, T> {
    type Value = G;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<G, A::Error> {
        let mut gathered = G::default();
        while gathered.wants() {
            match list.next_element::<T>()? {
                Some(one) => gathered.take(one),
                None => return Ok(gathered),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            gathered.count();
        }
        Ok(gathered)
    }
}

/// The first `N`, and how many more there are.
pub(super) struct First<T, const N: usize> {
    pub(super) kept: Vec<T>,
    pub(super) more: u64,
}

impl<T, const N: usize> Default for First<T, N> {
    fn default() -> Self {
        Self { kept: Vec::new(), more: 0 }
    }
}

impl<T, const N: usize> Gathers<T> for First<T, N> {
    fn wants(&self) -> bool {
        self.kept.len() < N
    }

    fn take(&mut self, one: T) {
        self.kept.push(one);
    }

    fn count(&mut self) {
        self.more += 1;
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for First<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListOf::<Self, T>(PhantomData))
    }
}

/// The last `N`.
pub(super) struct Last<T, const N: usize>(pub(super) VecDeque<T>);

impl<T, const N: usize> Default for Last<T, N> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T, const N: usize> Gathers<T> for Last<T, N> {
    fn take(&mut self, one: T) {
        if self.0.len() == N {
            self.0.pop_front();
        }
        self.0.push_back(one);
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Last<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListOf::<Self, T>(PhantomData))
    }
}

/// Something that holds bytes.
pub(super) trait Holds {
    fn bytes(&self) -> ByteSize;
    /// Becomes the sum of itself and another.
    fn add(&mut self, other: Self);
}

/// The largest `N` in the order in which they came where there are no more, else by size; and how many more there are, and their
/// sum.
pub(super) struct Largest<T, const N: usize> {
    pub(super) kept: Vec<T>,
    pub(super) more: u64,
    pub(super) rest: Option<T>,
}

impl<T: Holds, const N: usize> Largest<T, N> {
    /// Keeps the largest `most` of what is kept.
    pub(super) fn keep(&mut self, most: usize) {
        if self.kept.len() > most {
            self.kept.sort_by_key(|one| Reverse(one.bytes()));
            for one in self.kept.drain(most..) {
                self.more += 1;
                match &mut self.rest {
                    Some(rest) => rest.add(one),
                    rest => *rest = Some(one),
                }
            }
        }
    }
}

impl<T, const N: usize> Default for Largest<T, N> {
    fn default() -> Self {
        Self { kept: Vec::new(), more: 0, rest: None }
    }
}

impl<T: Holds, const N: usize> Gathers<T> for Largest<T, N> {
    fn take(&mut self, one: T) {
        self.kept.push(one);
        // Seldom enough that sorting costs little.
        if self.kept.len() >= 2 * N {
            self.keep(N);
        }
    }
}

impl<'de, T: Holds + Deserialize<'de>, const N: usize> Deserialize<'de> for Largest<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListOf::<Self, T>(PhantomData))
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    impl Holds for u64 {
        fn bytes(&self) -> ByteSize {
            ByteSize::new(*self)
        }

        fn add(&mut self, other: Self) {
            *self += other;
        }
    }

    #[test]
    fn a_part_is_kept_and_the_rest_is_counted() {
        let text = "[5, 1, 9, 7, 3, 8]";
        let first: First<u64, 2> = serde_json::from_str(text).expect("a list");
        assert_eq!((first.kept, first.more), (vec![5, 1], 4));
        let last: Last<u64, 2> = serde_json::from_str(text).expect("a list");
        assert_eq!(last.0, [3, 8]);
        let mut largest: Largest<u64, 2> = serde_json::from_str(text).expect("a list");
        largest.keep(2);
        assert_eq!((largest.kept, largest.more, largest.rest), (vec![9, 8], 4, Some(16)));
        let few: Largest<u64, 4> = serde_json::from_str("[1, 2]").expect("a list");
        assert_eq!((few.kept, few.more), (vec![1, 2], 0), "in their order");
        assert!(serde_json::from_str::<First<u64, 2>>("[1, 2, 3, {]").is_err(), "what is not kept is read");
        assert!(serde_json::from_str::<Largest<u64, 2>>("{}").is_err());
    }
}
