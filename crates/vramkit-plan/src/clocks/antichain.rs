//! The heaviest set of lives of which none is before another, which no arena is smaller than.
//!
//! By Dilworth's theorem with weights: the heaviest such set weighs what the fewest chains do that hold every life as often as
//! its weight, and these are the weights' sum less the largest flow from lives to lives after them, each giving and taking
//! its weight at most (Fulkerson, 1956). Flow is pushed along all shortest ways at once (Dinitz, 1970); the set is read off the smallest
//! cut, and stands for itself: that its members all conflict is checked.

use super::relation::{Bits, Relation, lowest, ones, set};

/// Words of bits, and flows, that are looked at: beyond it no set is given. Some tenths of a second.
const WORK: usize = 400_000_000;

/// No way leads there.
const NEVER: u32 = u32::MAX;

/// The set, or `None` where it takes too long or weights cannot be added.
pub(super) fn heaviest(relation: &Relation, weights: &[u64]) -> Option<Bits> {
    let n = weights.len();
    weights.iter().try_fold(0u64, |sum, &weight| sum.checked_add(weight))?;
    let mut flow = Flow {
        after: &relation.after,
        give: weights.to_vec(),
        take: weights.to_vec(),
        into: vec![Vec::new(); n],
        work: WORK,
    };
    for i in 0..n {
        for j in ones(&relation.after[i]) {
            if flow.give[i] == 0 {
                break;
            }
            let amount = flow.give[i].min(flow.take[j]);
            if amount > 0 {
                flow.give[i] -= amount;
                flow.take[j] -= amount;
                flow.into[j].push((i, amount));
            }
        }
    }
    let levels = loop {
        let levels = flow.levels()?;
        if levels.last == NEVER {
            break levels;
        }
        flow.push(&levels)?;
    };
    let mut best = vec![0; n.div_ceil(64)];
    (0..n).filter(|&i| levels.givers[i] < NEVER && levels.takers[i] == NEVER).for_each(|i| set(&mut best, i));
    let whole = ones(&best).all(|i| {
        best.iter().zip(&relation.conflicts[i]).enumerate().all(|(word, (best, conflicts))| {
            let own = if word == i / 64 { 1 << (i % 64) } else { 0 };
            best & !own & !conflicts == 0
        })
    });
    (whole && ones(&best).next().is_some()).then_some(best)
}

/// What each can still give and take, and what each takes from whom.
struct Flow<'r> {
    after: &'r [Bits],
    give: Vec<u64>,
    take: Vec<u64>,
    into: Vec<Vec<(usize, u64)>>,
    work: usize,
}

/// How many hops lead to each from a giver with something to give; whoever takes has an odd number.
struct Levels {
    givers: Vec<u32>,
    takers: Vec<u32>,
    /// The takers of each number of hops, at half that number.
    of_takers: Vec<Bits>,
    /// The fewest hops to a taker that can take more.
    last: u32,
}

impl Flow<'_> {
    /// Everyone's level, up to the first on which something can be taken; `None` when work is at its end.
    fn levels(&mut self) -> Option<Levels> {
        let n = self.give.len();
        let words = n.div_ceil(64);
        let mut levels =
            Levels { givers: vec![NEVER; n], takers: vec![NEVER; n], of_takers: Vec::new(), last: NEVER };
        let mut unseen: Bits = vec![u64::MAX; words];
        let mut front: Vec<usize> = (0..n).filter(|&i| self.give[i] > 0).collect();
        front.iter().for_each(|&i| levels.givers[i] = 0);
        for level in (1..).step_by(2) {
            let mut takers: Bits = vec![0; words];
            self.work = self.work.checked_sub(words * front.len())?;
            for i in front.drain(..) {
                takers.iter_mut().zip(&self.after[i]).for_each(|(takers, after)| *takers |= after);
            }
            takers.iter_mut().zip(&mut unseen).for_each(|(takers, unseen)| {
                *takers &= *unseen;
                *unseen &= !*takers;
            });
            for j in ones(&takers) {
                levels.takers[j] = level;
                if self.take[j] > 0 {
                    levels.last = level;
                }
                // Whoever gives to it may give elsewhere.
                self.work = self.work.checked_sub(self.into[j].len())?;
                for &(giver, _) in &self.into[j] {
                    if levels.givers[giver] == NEVER {
                        levels.givers[giver] = level + 1;
                        front.push(giver);
                    }
                }
            }
            levels.of_takers.push(takers);
            if front.is_empty() || levels.last < NEVER {
                break;
            }
        }
        Some(levels)
    }

    /// Pushes along ways of one hop a level until there is none; `None` when work is at its end.
    fn push(&mut self, levels: &Levels) -> Option<()> {
        let n = self.give.len();
        // Takers and givers through whom a way may still go.
        let mut open = levels.of_takers.clone();
        let mut is_open = vec![true; n];
        for first in (0..n).filter(|&i| levels.givers[i] == 0) {
            let mut way: Vec<(usize, usize)> = Vec::new();
            let mut giver = first;
            while self.give[first] > 0 {
                self.work = self.work.checked_sub(self.after[giver].len())?;
                let both = self.after[giver].iter().zip(&open[way.len()]).map(|(after, open)| after & open);
                let (before, taker) = match lowest(both) {
                    Some(taker) => (giver, taker),
                    None => {
                        is_open[giver] = false;
                        let Some(back) = way.pop() else { break };
                        back
                    }
                };
                if levels.takers[taker] == levels.last && self.take[taker] > 0 {
                    way.push((before, taker));
                    self.along(&way)?;
                    way.clear();
                    giver = first;
                    continue;
                }
                self.work = self.work.checked_sub(self.into[taker].len())?;
                let onward = |&&(other, _): &&(usize, u64)| {
                    is_open[other]
                        && levels.takers[taker] < levels.last
                        && levels.givers[other] == levels.takers[taker] + 1
                };
                giver = match self.into[taker].iter().find(onward) {
                    Some(&(next, _)) => {
                        way.push((before, taker));
                        next
                    }
                    None => {
                        open[way.len()][taker / 64] &= !(1 << (taker % 64));
                        before
                    }
                };
            }
        }
        Some(())
    }

    /// Pushes as much as goes along a way: who gives to whom, and takes back what it gave to the one before.
    fn along(&mut self, way: &[(usize, usize)]) -> Option<()> {
        let (&(first, _), &(_, last)) = (way.first()?, way.last()?);
        let mut amount = self.give[first].min(self.take[last]);
        for pair in way.windows(2) {
            let back = self.into[pair[0].1].iter().find(|(giver, _)| *giver == pair[1].0);
            amount = amount.min(back.map_or(0, |&(_, amount)| amount));
        }
        self.give[first] -= amount;
        self.take[last] -= amount;
        for &(giver, taker) in way {
            self.work = self.work.checked_sub(self.into[taker].len())?;
            match self.into[taker].iter_mut().find(|(other, _)| *other == giver) {
                Some(into) => into.1 += amount,
                None => self.into[taker].push((giver, amount)),
            }
        }
        for pair in way.windows(2) {
            let into = &mut self.into[pair[0].1];
            into.iter_mut().filter(|(giver, _)| *giver == pair[1].0).for_each(|into| into.1 -= amount);
            into.retain(|into| into.1 > 0);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the fewest chains, their flow pushed along one way at a time.
        #[test]
        fn the_set_weighs_what_the_chains_do(
            rows in prop::collection::vec((0u64..20, 1u64..6, 0u64..20, 1u64..6, 1u64..50), 1..40)
        ) {
            let mut rows = rows;
            rows.sort_by_key(|row| row.0 + row.2);
            let moments: Vec<([u64; 2], [u64; 2])> =
                rows.iter().map(|&(a, da, b, db, _)| ([a, b], [a + da, b + db])).collect();
            let lives: Vec<(&[u64], &[u64])> = moments.iter().map(|(start, end)| (&start[..], &end[..])).collect();
            let weights: Vec<u64> = rows.iter().map(|row| row.4).collect();
            let relation = Relation::new(&lives);
            let set = heaviest(&relation, &weights).unwrap();
            let weight: u64 = ones(&set).map(|i| weights[i]).sum();
            prop_assert_eq!(weight, weights.iter().sum::<u64>() - by_single_ways(&relation, &weights));
        }
    }

    /// The largest flow from lives to lives after them.
    fn by_single_ways(relation: &Relation, weights: &[u64]) -> u64 {
        let n = weights.len();
        let (mut give, mut take) = (weights.to_vec(), weights.to_vec());
        let mut flow = vec![vec![0u64; n]; n];
        let mut all = 0;
        loop {
            // From whom each was reached.
            let (mut givers, mut takers) = (vec![None; n], vec![None; n]);
            let mut stack: Vec<usize> = (0..n).filter(|&i| give[i] > 0).collect();
            stack.iter().for_each(|&i| givers[i] = Some(i));
            while let Some(i) = stack.pop() {
                for j in ones(&relation.after[i]).filter(|&j| takers[j].is_none()).collect::<Vec<_>>() {
                    takers[j] = Some(i);
                    for other in (0..n).filter(|&other| flow[other][j] > 0) {
                        if givers[other].is_none() {
                            givers[other] = Some(j);
                            stack.push(other);
                        }
                    }
                }
            }
            let Some(last) = (0..n).find(|&j| take[j] > 0 && takers[j].is_some()) else { return all };
            // One unit back along the way.
            let mut taker = last;
            take[last] -= 1;
            all += 1;
            while let Some(giver) = takers[taker] {
                flow[giver][taker] += 1;
                if give[giver] > 0 {
                    give[giver] -= 1;
                    break;
                }
                taker = givers[giver].unwrap();
                flow[giver][taker] -= 1;
            }
        }
    }
}
