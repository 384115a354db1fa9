//! Which tensors of a plan share addresses, how many bytes, and why they may: the pairs that share most.
//!
//! A plan comes in, pairs come out, those of most bytes first. There can be O(n²) of them, so how many are listed is bounded, and so is
//! the work: what was not looked at is said by the count of all pairs beside.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::allocation::AllocationPlan;
use super::lifetime::TensorLifetime;
use vramkit_units::ByteSize;

/// Pairs that are compared at most: of 4,000 tensors all.
const MOST_COMPARED: usize = 8_000_000;

/// Two tensors of a plan that have addresses in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedPair<'a> {
    /// The one that starts first.
    pub first: &'a TensorLifetime,
    /// The other.
    pub second: &'a TensorLifetime,
    /// Bytes of addresses that both have.
    pub bytes: ByteSize,
}

impl SharedPair<'_> {
    /// Why sharing is safe, in words.
    pub fn reason(&self) -> String {
        let (a, b) = (self.first, self.second);
        if a.alias_group.is_some() && a.alias_group == b.alias_group && a.model == b.model {
            let group = a.alias_group.as_deref().unwrap_or_default();
            return format!("`{}` and `{}` are one place in alias group `{group}`", a.id, b.id);
        }
        if a.end <= b.start {
            return format!("`{}` ends at {}, `{}` starts at {}", a.id, a.end, b.id, b.start);
        }
        format!("`{}` lives in gaps of `{}`, or the other way round", b.id, a.id)
    }
}

/// Bytes that two tensors share, and which they are. Reversed: a heap gives its largest first, and the least is to go.
type Least = Reverse<(u64, Reverse<(usize, usize)>)>;

impl AllocationPlan {
    /// The `most` pairs of tensors that have most addresses in common, those first. Beyond some thousand tensors not all are
    /// compared: [`shared_pairs`](Self::shared_pairs) counts all.
    pub fn largest_shared(&self, most: usize) -> Vec<SharedPair<'_>> {
        let mut placed: Vec<(u64, u64, usize)> = self
            .tensors
            .iter()
            .zip(&self.offsets)
            .enumerate()
            .filter(|(_, (tensor, _))| tensor.takes_room())
            .map(|(i, (tensor, offset))| (tensor.size.bytes(), offset.bytes(), i))
            .collect();
        // The largest first: what is left shares no more than it has.
        placed.sort_by_key(|&(size, offset, i)| (Reverse(size), offset, i));
        let mut heap: BinaryHeap<Least> = BinaryHeap::new();
        let mut compared = 0;
        'all: for (at, &(size, offset, i)) in placed.iter().enumerate() {
            for &(other, place, j) in &placed[at + 1..] {
                let least = heap.peek().map_or(0, |Reverse((bytes, _))| *bytes);
                if heap.len() == most && other <= least {
                    break;
                }
                compared += 1;
                if compared > MOST_COMPARED || most == 0 {
                    break 'all;
                }
                let bytes = (offset + size).min(place + other).saturating_sub(offset.max(place));
                if bytes > 0 {
                    heap.push(Reverse((bytes, Reverse((i.min(j), i.max(j))))));
                    if heap.len() > most {
                        heap.pop();
                    }
                }
            }
        }
        // Of reversed entries, ascending is the most bytes first.
        let pairs = heap.into_sorted_vec().into_iter().map(|Reverse((bytes, Reverse((i, j))))| {
            let (a, b) = (&self.tensors[i], &self.tensors[j]);
            let (first, second) = if b.start < a.start { (b, a) } else { (a, b) };
            SharedPair { first, second, bytes: ByteSize::new(bytes) }
        });
        pairs.collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{MemoryPlanner, Model, Schedule, TensorLifetime};
    use proptest::prelude::*;
    use vramkit_units::{ByteSize, Step};

    fn plan(tensors: Vec<TensorLifetime>) -> crate::AllocationPlan {
        let model = Model { name: "m".into(), weights: ByteSize::ZERO, start: Step(0), tensors };
        MemoryPlanner::new().plan(&[model], Schedule::Fixed).unwrap()
    }

    #[test]
    fn pairs_say_how_much_they_share_and_why() {
        let tensor =
            |id: &str, start: u64, end: u64, mb| TensorLifetime::new("m", id, start, end, ByteSize::mb(mb));
        let plan = plan(vec![tensor("a", 0, 2, 8), tensor("b", 2, 4, 4), tensor("c", 4, 5, 8)]);
        let pairs = plan.largest_shared(10);
        assert_eq!(pairs.len() as u64, plan.shared_pairs());
        assert_eq!((&*pairs[0].first.id, &*pairs[0].second.id, pairs[0].bytes), ("a", "c", ByteSize::mb(8)));
        assert_eq!(pairs[0].reason(), "`a` ends at step 2, `c` starts at step 4");
        assert_eq!(plan.largest_shared(1).len(), 1);
        assert!(plan.largest_shared(0).is_empty());
    }

    proptest! {
        /// What is listed is what looking at every pair gives, and every pair may share.
        #[test]
        fn the_largest_are_listed(
            lives in prop::collection::vec((0u64..20, 1u64..8, 1u64..5000), 0..40),
            most in 0usize..30,
        ) {
            let tensors = lives.iter().enumerate().map(|(i, &(start, steps, size))| {
                TensorLifetime::new("m", &i.to_string(), start, start + steps, ByteSize::new(size))
            });
            let plan = plan(tensors.collect());
            let mut all = Vec::new();
            for i in 0..plan.tensors.len() {
                for j in i + 1..plan.tensors.len() {
                    let range = |k: usize| (plan.offsets[k].bytes(), plan.offsets[k].bytes() + plan.tensors[k].size.bytes());
                    let (a, b) = (range(i), range(j));
                    let bytes = a.1.min(b.1).saturating_sub(a.0.max(b.0));
                    if bytes > 0 {
                        all.push(bytes);
                    }
                }
            }
            all.sort_unstable_by(|a, b| b.cmp(a));
            prop_assert_eq!(all.len() as u64, plan.shared_pairs());
            all.truncate(most);
            let listed = plan.largest_shared(most);
            prop_assert_eq!(listed.iter().map(|pair| pair.bytes.bytes()).collect::<Vec<_>>(), all);
            prop_assert!(listed.iter().all(|pair| !pair.first.overlaps(pair.second)));
        }
    }
}
