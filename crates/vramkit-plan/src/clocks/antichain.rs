//! The heaviest set of lives of which none is before another, which no arena is smaller than.
//!
//! By Dilworth's theorem with weights: the heaviest such set weighs what the fewest chains do that hold every life as often as
//! its weight, and these are the weights' sum less the largest flow from lives to lives after them, each giving and taking
//! its weight at most (Fulkerson, 1956). Flow is pushed along shortest ways (Edmonds and Karp, 1972); the set is read off the smallest cut,
//! and stands for itself: that its members all conflict is checked.

use super::relation::{Bits, Relation, ones, set};

/// Ways along which flow is pushed, for each life: beyond it no set is given.
const WAYS: usize = 64;

/// The set, or `None` where it takes too long or weights cannot be added.
pub(super) fn heaviest(relation: &Relation, weights: &[u64]) -> Option<Bits> {
    let n = weights.len();
    weights.iter().try_fold(0u64, |sum, &weight| sum.checked_add(weight))?;
    let words = n.div_ceil(64);
    // Those after each: later in order, and not in conflict.
    let after: Vec<Bits> = (0..n)
        .map(|i| {
            let mut bits = vec![0; words];
            let later = (i + 1..n).filter(|&j| relation.conflicts[i][j / 64] >> (j % 64) & 1 == 0);
            later.for_each(|j| set(&mut bits, j));
            bits
        })
        .collect();
    let mut flow = Flow { give: weights.to_vec(), take: weights.to_vec(), into: vec![Vec::new(); n] };
    for (i, after) in after.iter().enumerate() {
        for j in ones(after) {
            let amount = flow.give[i].min(flow.take[j]);
            if amount > 0 {
                flow.give[i] -= amount;
                flow.take[j] -= amount;
                flow.into[j].push((i, amount));
            }
        }
    }
    for _ in 0..=WAYS * n {
        let reached = match flow.push(&after) {
            Some(reached) => reached,
            None => continue,
        };
        let mut best = vec![0; words];
        (0..n)
            .filter(|&i| reached.givers[i].is_some() && reached.takers[i].is_none())
            .for_each(|i| set(&mut best, i));
        let whole = ones(&best).all(|i| {
            best.iter().zip(&relation.conflicts[i]).enumerate().all(|(word, (best, conflicts))| {
                let own = if word == i / 64 { 1 << (i % 64) } else { 0 };
                best & !own & !conflicts == 0
            })
        });
        return (whole && ones(&best).next().is_some()).then_some(best);
    }
    None
}

/// What each can still give and take, and what each takes from whom.
struct Flow {
    give: Vec<u64>,
    take: Vec<u64>,
    into: Vec<Vec<(usize, u64)>>,
}

/// Who was reached, and from whom; a giver with something to give from itself.
struct Reached {
    givers: Vec<Option<usize>>,
    takers: Vec<Option<usize>>,
}

impl Flow {
    /// Pushes along one shortest way, or says who can be reached where there is none.
    fn push(&mut self, after: &[Bits]) -> Option<Reached> {
        let n = self.give.len();
        let mut reached = Reached { givers: vec![None; n], takers: vec![None; n] };
        let mut unseen: Bits = vec![u64::MAX; n.div_ceil(64)];
        let mut queue: Vec<usize> = (0..n).filter(|&i| self.give[i] > 0).collect();
        queue.iter().for_each(|&i| reached.givers[i] = Some(i));
        let mut next = 0;
        while let Some(&i) = queue.get(next) {
            next += 1;
            for word in 0..unseen.len() {
                let mut fresh = after[i][word] & unseen[word];
                unseen[word] &= !fresh;
                while fresh != 0 {
                    let j = 64 * word + fresh.trailing_zeros() as usize;
                    fresh &= fresh - 1;
                    reached.takers[j] = Some(i);
                    if self.take[j] > 0 {
                        self.along(&reached, j);
                        return None;
                    }
                    // Whoever gives to it may give elsewhere.
                    for &(giver, _) in &self.into[j] {
                        if reached.givers[giver].is_none() {
                            reached.givers[giver] = Some(j);
                            queue.push(giver);
                        }
                    }
                }
            }
        }
        Some(reached)
    }

    /// Pushes as much as goes along the way that ends at a taker.
    fn along(&mut self, reached: &Reached, last: usize) {
        // Givers and takers in turn, from the end.
        let mut way = Vec::new();
        let mut taker = last;
        while let Some(giver) = reached.takers[taker] {
            way.push((giver, taker));
            if self.give[giver] > 0 {
                break;
            }
            match reached.givers[giver] {
                Some(before) => taker = before,
                None => break,
            }
        }
        let back = |flow: &Self, giver: usize, taker: usize| {
            flow.into[taker].iter().find(|(other, _)| *other == giver).map_or(0, |&(_, amount)| amount)
        };
        let mut amount = self.take[last];
        for pair in way.windows(2) {
            amount = amount.min(back(self, pair[0].0, pair[1].1));
        }
        let Some(&(first, _)) = way.last() else { return };
        amount = amount.min(self.give[first]);
        self.give[first] -= amount;
        self.take[last] -= amount;
        for &(giver, taker) in &way {
            match self.into[taker].iter_mut().find(|(other, _)| *other == giver) {
                Some(into) => into.1 += amount,
                None => self.into[taker].push((giver, amount)),
            }
        }
        for pair in way.windows(2) {
            let (giver, taker) = (pair[0].0, pair[1].1);
            self.into[taker]
                .iter_mut()
                .filter(|(other, _)| *other == giver)
                .for_each(|into| into.1 -= amount);
            self.into[taker].retain(|into| into.1 > 0);
        }
    }
}
