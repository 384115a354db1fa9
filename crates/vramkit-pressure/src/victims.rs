//! Who goes first when memory is wanted?
//!
//! Candidates come in, each with the bytes that it frees and how it stands; an ordered choice comes out: no more of them
//! than it takes, and none that frees nothing. Who a candidate is (a binding, a sequence, a process) is the caller's: nothing
//! here releases anything, or looks at a clock.

use vramkit_units::ByteSize;

/// How one stands when victims are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Lower goes first.
    pub priority: i32,
    /// Never a victim.
    pub pinned: bool,
    /// What it costs to bring it back, in any unit; among equals in priority the cheapest a byte goes first.
    pub cost: Option<f64>,
}

/// One who holds memory and is at rest, so that it could give it back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate<W> {
    /// Who it is.
    pub who: W,
    /// How it stands.
    pub standing: Standing,
    /// When it was last used, by any counter that rises; the least recently used goes first.
    pub last_use: u64,
    /// What is its own and is freed as soon as it goes; zero while something else keeps it.
    pub frees: ByteSize,
    /// What it holds, its part of what is shared included: its cost is spread over these bytes.
    pub holds: ByteSize,
    /// What it shares with others, as an index into the list of what is shared.
    pub shared: Option<usize>,
}

/// Memory that several hold together. It is freed when the last of them goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedBytes {
    /// What is freed then; zero while something else keeps it.
    pub frees: ByteSize,
    /// How many hold it, those who cannot go included.
    pub holders: usize,
}

/// One who is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Victim<W> {
    /// Who.
    pub who: W,
    /// What is freed when it goes, after those before it.
    pub frees: ByteSize,
}

/// Who goes, in order, until `wanted` bytes are free, or all there are that free anything.
///
/// The order is by priority, cost a byte and last use; among equals, as they came. One that shares memory with somebody who
/// stays (who is pinned or no candidate) frees only its own; whoever would free nothing at all stays.
///
/// # Panics
///
/// When a candidate's `shared` is not an index into `shared`.
///
/// ```
/// use vramkit_pressure::{Candidate, Standing, choose_victims};
/// use vramkit_units::ByteSize;
///
/// let sequence = |who, last_use, mib| {
///     let bytes = ByteSize::mib(mib);
///     Candidate { who, standing: Standing::default(), last_use, frees: bytes, holds: bytes, shared: None }
/// };
/// let victims = choose_victims(ByteSize::mib(5), vec![sequence("new", 9, 4), sequence("old", 3, 4)], &[]);
/// assert_eq!(victims.iter().map(|victim| victim.who).collect::<Vec<_>>(), ["old", "new"]);
/// ```
pub fn choose_victims<W>(
    wanted: ByteSize,
    candidates: Vec<Candidate<W>>,
    shared: &[SharedBytes],
) -> Vec<Victim<W>> {
    let mut candidates = candidates;
    candidates.retain(|candidate| !candidate.standing.pinned);
    let cost_a_byte = |candidate: &Candidate<W>| {
        let cost = candidate.standing.cost.unwrap_or(0.0);
        // A cost that is not a number goes last, whatever its sign.
        if cost.is_nan() { f64::INFINITY } else { cost / candidate.holds.bytes().max(1) as f64 }
    };
    candidates.sort_by(|a, b| {
        let by_priority = a.standing.priority.cmp(&b.standing.priority);
        by_priority.then(cost_a_byte(a).total_cmp(&cost_a_byte(b))).then(a.last_use.cmp(&b.last_use))
    });
    // How many holders stay when every candidate has gone, and then how many are left while they go.
    let mut left: Vec<usize> = shared.iter().map(|shared| shared.holders).collect();
    for index in candidates.iter().filter_map(|candidate| candidate.shared) {
        left[index] = left[index].saturating_sub(1);
    }
    let freeable: Vec<bool> =
        left.iter().zip(shared).map(|(&left, s)| left == 0 && !s.frees.is_zero()).collect();
    let mut left: Vec<usize> = shared.iter().map(|shared| shared.holders).collect();
    let mut freed = ByteSize::ZERO;
    let mut chosen: Vec<(Victim<W>, bool, Option<usize>)> = Vec::new();
    for Candidate { who, frees: own, shared: index, .. } in candidates {
        if freed >= wanted {
            break;
        }
        let together = index.filter(|&index| freeable[index]);
        if own.is_zero() && together.is_none() {
            continue;
        }
        let mut frees = own;
        if let Some(index) = together {
            left[index] = left[index].saturating_sub(1);
            if left[index] == 0 {
                frees = sum(frees, shared[index].frees);
            }
        }
        freed = sum(freed, frees);
        chosen.push((Victim { who, frees }, !own.is_zero(), together));
    }
    // What is wanted was free before the last of them came up: the others of those need not go either.
    let gone = |index: Option<usize>| index.is_some_and(|index| left[index] == 0);
    chosen.retain(|&(_, frees_own, together)| frees_own || gone(together));
    chosen.into_iter().map(|(victim, ..)| victim).collect()
}

fn sum(a: ByteSize, b: ByteSize) -> ByteSize {
    a.checked_add(b).unwrap_or(ByteSize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(who: usize, frees: u64, shared: Option<usize>) -> Candidate<usize> {
        let frees = ByteSize::new(frees);
        Candidate { who, standing: Standing::default(), last_use: who as u64, frees, holds: frees, shared }
    }

    fn who(victims: &[Victim<usize>]) -> Vec<usize> {
        victims.iter().map(|victim| victim.who).collect()
    }

    fn arena(frees: u64, holders: usize) -> SharedBytes {
        SharedBytes { frees: ByteSize::new(frees), holders }
    }

    #[test]
    fn what_is_shared_goes_with_the_last_who_holds_it() {
        let all = || (0..3).map(|who| candidate(who, 0, Some(0))).collect::<Vec<_>>();
        let victims = choose_victims(ByteSize::new(1), all(), &[arena(10, 3)]);
        assert_eq!(who(&victims), [0, 1, 2]);
        assert_eq!(victims.iter().map(|victim| victim.frees.bytes()).collect::<Vec<_>>(), [0, 0, 10]);
        // With a fourth that stays, or another that keeps it, none of them frees anything.
        assert!(choose_victims(ByteSize::new(1), all(), &[arena(10, 4)]).is_empty());
        assert!(choose_victims(ByteSize::new(1), all(), &[arena(0, 3)]).is_empty());
        let mut pinned = all();
        pinned[1].standing.pinned = true;
        assert!(choose_victims(ByteSize::new(1), pinned, &[arena(10, 3)]).is_empty());
    }

    #[test]
    fn who_would_free_nothing_because_enough_is_free_before_the_last_stays() {
        let candidates = vec![candidate(0, 0, Some(0)), candidate(1, 5, None), candidate(2, 0, Some(0))];
        assert_eq!(who(&choose_victims(ByteSize::new(5), candidates, &[arena(10, 2)])), [1]);
    }

    #[test]
    fn the_order_is_priority_then_cost_a_byte_then_last_use() {
        let mut candidates: Vec<_> = (0..4).map(|who| candidate(who, 10, None)).collect();
        candidates[0].standing.priority = 1;
        candidates[1].standing.cost = Some(1.0);
        candidates[2].last_use = 9;
        assert_eq!(who(&choose_victims(ByteSize::MAX, candidates, &[])), [3, 2, 1, 0]);
    }

    #[test]
    fn a_cost_that_is_not_a_number_goes_last_and_nothing_panics() {
        let mut candidates: Vec<_> = (0..50).map(|who| candidate(who, 10, None)).collect();
        (0..25).for_each(|i| candidates[2 * i].standing.cost = Some(f64::NAN));
        assert_eq!(who(&choose_victims(ByteSize::new(1), candidates, &[])), [1]);
    }

    type Drawn = (u64, Option<usize>, i32, bool, u64, Option<u32>);

    fn drawn((i, &(frees, shared, priority, pinned, last_use, cost)): (usize, &Drawn)) -> Candidate<usize> {
        let standing = Standing { priority, pinned, cost: cost.map(f64::from) };
        let frees = ByteSize::new(frees);
        Candidate { who: i, standing, last_use, frees, holds: frees, shared }
    }

    proptest! {
        #[test]
        fn a_choice_is_in_order_without_pinned_ones_enough_and_no_more(
            drawn_candidates in prop::collection::vec(
                (0u64..6, prop::option::of(0usize..3), -2i32..3, any::<bool>(), 0u64..8, prop::option::of(0u32..4)),
                0..12,
            ),
            stay in prop::array::uniform3(0usize..2),
            arenas in prop::array::uniform3(0u64..20),
            wanted in 0u64..60,
        ) {
            let candidates: Vec<_> = drawn_candidates.iter().enumerate().map(drawn).collect();
            let holders = |of: usize| candidates.iter().filter(|c| c.shared == Some(of)).count();
            let shared: Vec<_> = (0..3).map(|i| arena(arenas[i], holders(i) + stay[i])).collect();
            let victims = choose_victims(ByteSize::new(wanted), candidates.clone(), &shared);
            let freed: u64 = victims.iter().map(|victim| victim.frees.bytes()).sum();

            prop_assert!(victims.iter().all(|victim| !candidates[victim.who].standing.pinned));
            let key = |victim: &Victim<usize>| {
                let Candidate { standing, holds, last_use, .. } = candidates[victim.who];
                (standing.priority, standing.cost.unwrap_or(0.0) / holds.bytes().max(1) as f64, last_use)
            };
            prop_assert!(victims.iter().map(key).is_sorted());

            // What could be freed at all.
            let goes = |of: usize| candidates.iter().filter(|c| c.shared == Some(of) && !c.standing.pinned).count();
            let own: u64 = candidates.iter().filter(|c| !c.standing.pinned).map(|c| c.frees.bytes()).sum();
            let together: u64 =
                (0..3).filter(|&i| shared[i].holders > 0 && goes(i) == shared[i].holders).map(|i| arenas[i]).sum();
            prop_assert!(freed >= wanted.min(own + together), "{freed} of {wanted}");

            // It says what it frees.
            let gone = |of: usize| victims.iter().filter(|v| candidates[v.who].shared == Some(of)).count();
            let released: u64 = (0..3).filter(|&i| gone(i) > 0 && gone(i) == shared[i].holders).map(|i| arenas[i]).sum();
            let owned: u64 = victims.iter().map(|v| candidates[v.who].frees.bytes()).sum();
            prop_assert_eq!(freed, owned + released);

            // None too many: without the last, too little would be free; and each frees something.
            if let Some(last) = victims.last().filter(|_| freed >= wanted) {
                prop_assert!(freed - last.frees.bytes() < wanted);
            }
            for victim in &victims {
                let Candidate { frees, shared: index, .. } = candidates[victim.who];
                let with_others = index.is_some_and(|i| gone(i) == shared[i].holders && arenas[i] > 0);
                prop_assert!(!frees.is_zero() || with_others);
            }
        }
    }
}
