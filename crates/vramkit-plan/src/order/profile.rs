//! A chain of jobs as hills and valleys, and chains side by side as one.
//!
//! Up to the lowest point of a chain, what is live after a part of it falls; from there on it rises. On the way up the parts
//! end where the least is live that will be from there on, each behind the highest hill that is still to come; on the
//! way down the same holds read from the end. Whatever else runs at the time, it is never better to stop within a
//! part (J. W. H. Liu, "An application of generalized tree pebbling to sparse matrix factorization", 1987, for the way up;
//! E. Kayaaslan, T. Lambert, L. Marchal, B. Uçar, "Scheduling series-parallel task graphs to minimize peak memory",
//! 2018, for both ways).

use std::ops::Range;

use super::net::Bytes;

/// What a job, or a part of a chain, adds: most during it, and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rise {
    pub(super) hill: Bytes,
    pub(super) delta: Bytes,
}

impl Rise {
    /// Several one after the other.
    pub(super) fn of(rises: impl IntoIterator<Item = Rise>) -> Rise {
        rises.into_iter().fold(Rise { hill: 0, delta: 0 }, |sum, next| Rise {
            hill: sum.hill.max(sum.delta + next.hill),
            delta: sum.delta + next.delta,
        })
    }

    fn reversed(self) -> Rise {
        Rise { hill: self.hill - self.delta, delta: -self.delta }
    }
}

/// The parts of a chain: those down to its lowest point, and those up from there.
pub(super) fn parts(chain: &[Rise]) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let (mut live, mut least, mut lowest) = (0, 0, 0);
    for (at, rise) in chain.iter().enumerate() {
        live += rise.delta;
        if live < least {
            (least, lowest) = (live, at + 1);
        }
    }
    let reversed: Vec<Rise> = chain[..lowest].iter().rev().map(|rise| rise.reversed()).collect();
    let down = rising(&reversed).into_iter().rev().map(|part| lowest - part.end..lowest - part.start);
    let up = rising(&chain[lowest..]).into_iter().map(|part| part.start + lowest..part.end + lowest);
    (down.collect(), up.collect())
}

/// The parts of a chain that is nowhere lower than at its start.
fn rising(chain: &[Rise]) -> Vec<Range<usize>> {
    let n = chain.len();
    let mut after = vec![0; n + 1];
    for (at, rise) in chain.iter().enumerate() {
        after[at + 1] = after[at] + rise.delta;
    }
    // From each place on: where the highest hill is, and where the lowest valley, the last of equals.
    let during = |at: usize| after[at] + chain[at].hill;
    let (mut highest, mut lowest) = (vec![n; n + 1], vec![n; n + 1]);
    for at in (0..n).rev() {
        let next = highest[at + 1];
        highest[at] = if next < n && during(next) >= during(at) { next } else { at };
        lowest[at] = if after[lowest[at + 1]] <= after[at] { lowest[at + 1] } else { at };
    }
    let mut parts = Vec::new();
    let mut from = 0;
    while from < n {
        let to = lowest[highest[from] + 1];
        parts.push(from..to);
        from = to;
    }
    parts
}

/// What the parts of a chain add, on the way down and on the way up.
#[derive(Clone, Debug, Default)]
pub(super) struct Slopes {
    pub(super) down: Vec<Rise>,
    pub(super) up: Vec<Rise>,
}

/// Chains side by side as one: which chain's next part follows.
///
/// Parts that go up follow by how far they come down from their hill, the most first; parts that go down by their hill, the
/// least first.
pub(super) fn merged(chains: &[Slopes]) -> Vec<usize> {
    let each = || chains.iter().enumerate();
    let mut down: Vec<(Bytes, usize)> =
        each().flat_map(|(i, chain)| chain.down.iter().map(move |rise| (rise.hill, i))).collect();
    let mut up: Vec<(Bytes, usize)> =
        each().flat_map(|(i, chain)| chain.up.iter().map(move |rise| (rise.delta - rise.hill, i))).collect();
    // Parts of one chain are in this order already.
    down.sort_by_key(|&(key, _)| key);
    up.sort_by_key(|&(key, _)| key);
    down.into_iter().chain(up).map(|(_, chain)| chain).collect()
}
