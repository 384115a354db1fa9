//! Why a capacity cannot be met: an irreducible set of tensors that alone cannot.
//!
//! A tensor that is pinned above the capacity is such a set of its own. Where more bytes are live at one step than there are, the largest of them that together are too many are such a
//! set: without any one of them the rest would fit. Where every step fits and search has proven that all steps
//! together do not, tensors are left out, in ever smaller groups, for as long as the rest is still refuted
//! (deletion filtering: Chinneck and Dravnieks, "Locating minimal infeasible constraint sets in linear programs",
//! 1991).

use super::exact::{self, Answer};
use super::problem::Problem;
use super::search::Goal;

/// Nodes for each question whether the rest is refuted.
const NODES: u64 = 20_000;

/// Tensors that alone do not fit a capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Core {
    /// The buffers.
    pub(super) buffers: Vec<u32>,
    /// No arena of theirs is smaller.
    pub(super) needs: u64,
    /// Whether all others together fit without any one of them, as far as was shown.
    pub(super) irreducible: bool,
}

/// The buffer that is pinned highest, if it ends above the capacity.
pub(super) fn pinned_above(problem: &Problem, capacity: u64) -> Option<Core> {
    let ends =
        (0..).zip(&problem.buffers).filter_map(|(i, buffer)| Some((buffer.pin()? + buffer.bytes(), i)));
    let (needs, highest) = ends.max()?;
    (needs > capacity).then(|| Core { buffers: vec![highest], needs, irreducible: true })
}

/// The buffers live at the fullest rank that cannot be there together, if there are such.
pub(super) fn at_one_rank(problem: &Problem, capacity: u64) -> Option<Core> {
    let loads = problem.loads();
    let (rank, load) = (0..).zip(&loads).max_by_key(|&(rank, load)| (load, std::cmp::Reverse(rank)))?;
    if load.bytes() <= capacity {
        return None;
    }
    let is_live = |&i: &u32| problem.runs(i as usize).any(|(start, end)| start <= rank && rank < end);
    let mut live: Vec<u32> = (0..problem.buffers.len() as u32).filter(is_live).collect();
    let size = |i: &u32| problem.buffers[*i as usize].bytes();
    live.sort_by_key(|i| (std::cmp::Reverse(size(i)), *i));
    // The largest until they are too many: without any one of them, none larger than the last, they are not.
    let mut needs = 0;
    let enough = live.iter().take_while(|i| {
        let more = needs <= capacity;
        needs += if more { size(i) } else { 0 };
        more
    });
    let buffers: Vec<u32> = enough.copied().collect();
    Some(Core { buffers, needs, irreducible: true })
}

/// Of buffers that search has refuted, as few as can be found that are refuted still.
pub(super) fn refuted(problem: &Problem, part: &[u32], capacity: u64, goal: &Goal<'_>) -> Core {
    let mut kept: Vec<u32> = part.to_vec();
    let mut group = part.len().div_ceil(2);
    loop {
        let mut first = 0;
        // In the last round every answer but "it fits without" leaves open whether all are needed.
        let mut irreducible = group == 1;
        while first < kept.len() {
            let end = (first + group).min(kept.len());
            let rest: Vec<u32> = kept[..first].iter().chain(&kept[end..]).copied().collect();
            match exact::decide(&problem.restrict(&rest), capacity, NODES, goal) {
                Answer::Refuted => kept = rest,
                answer => {
                    irreducible &= matches!(answer, Answer::Found(_));
                    first = end;
                }
            }
        }
        if group == 1 || goal.is_over() {
            kept.sort_unstable();
            return Core { buffers: kept, needs: capacity + 1, irreducible };
        }
        group = group.div_ceil(2);
    }
}
