//! Blocks where something is empty at most moments: pieces are joined in the pairs that leave least empty, as long as no more bytes
//! than a height come to be live at any moment.
//!
//! Two pieces make a block in a row, the second in the place of the first and the block as high as the higher of them, or in a
//! stack, the block as long as both together. What is empty in a block counts as live. So a pair that does not belong together
//! mostly betrays itself: with it more is live than there is room for. What remains is a few large blocks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::load::Load;
use super::network::Network;
use crate::search::Goal;
use vramkit_units::SplitMix64;

/// Most of a block that a pair may leave empty.
const EMPTY: f64 = 0.3;

/// How much surer a row is where nothing else ends or begins.
const ALONE: f64 = 0.1;

/// Pairs in a row that are listed at one moment: of more, few are right.
const WIDEST: usize = 400;

/// Moments at which something begins and nothing ends that are looked at after one where something only ends, and all moments
/// that are passed on the way.
const NEXT: usize = 32;
const FARTHEST: usize = 256;

/// How many times as much a pair may be taken to leave empty, or as little, as a power of two.
const NOISE: f64 = 1.0;

/// See the [module](self).
pub(super) struct Joiner {
    pub(super) network: Network,
    load: Load,
    /// By the part of the block that is empty: the pair, and whether it is a stack.
    pairs: BinaryHeap<Reverse<(u64, bool, u32, u32)>>,
    noise: Option<SplitMix64>,
}

/// A block that two pieces would make.
struct Pair {
    from: u32,
    to: u32,
    size: u64,
    /// Where the second lies in it.
    above: u64,
}

impl Joiner {
    /// Of a network in which every node is a moment of its own, and the bytes live after each. With noise, what a pair leaves
    /// empty is changed a little at random.
    pub(super) fn new(network: Network, load: Load, noise: Option<SplitMix64>) -> Self {
        Self { network, load, pairs: BinaryHeap::new(), noise }
    }

    /// Joins for as long as there is a pair under which at most `height` bytes are live. Returns how many pieces are left, and how
    /// many bytes are live at most then.
    pub(super) fn run(&mut self, height: u64, goal: &Goal<'_>) -> (usize, u64) {
        let mut left = self.network.whole().count();
        (0..self.network.nodes.len() as u32).for_each(|node| self.propose(node));
        while let Some(Reverse((_, is_stack, a, b))) = self.pairs.pop() {
            if goal.is_over() {
                break;
            }
            let is_whole = |piece: u32| self.network.is_whole[piece as usize];
            if !is_whole(a) || !is_whole(b) {
                continue;
            }
            let Pair { from, to, size, above } = self.pair(is_stack, a, b);
            if !self.fits((from, to, size), [a, b], height) {
                continue;
            }
            let nodes = [a, b].map(|piece| {
                let piece = &self.network.pieces[piece as usize];
                [piece.from, piece.to]
            });
            self.network.join(from, to, size, vec![(a, 0), (b, above)]);
            left -= 1;
            let mut touched = nodes.concat();
            touched.sort_unstable();
            touched.dedup();
            touched.into_iter().for_each(|node| self.propose(node));
        }
        (left, self.load.peak())
    }

    fn pair(&self, is_stack: bool, a: u32, b: u32) -> Pair {
        let (a, b) = (&self.network.pieces[a as usize], &self.network.pieces[b as usize]);
        if is_stack {
            Pair { from: a.from.min(b.from), to: a.to.max(b.to), size: a.size + b.size, above: a.size }
        } else {
            Pair { from: a.from, to: b.to, size: a.size.max(b.size), above: 0 }
        }
    }

    /// Counts what a block leaves empty as live, if no more than a height comes to be.
    fn fits(&mut self, (from, to, size): (u32, u32, u64), parts: [u32; 2], height: u64) -> bool {
        let ends = parts.map(|piece| {
            let piece = &self.network.pieces[piece as usize];
            (piece.from, piece.to, piece.size)
        });
        let mut moments = vec![from, to];
        moments.extend(ends.iter().flat_map(|&(from, to, _)| [from, to]));
        moments.sort_unstable();
        moments.dedup();
        let empty = |at: u32| {
            let full = ends.iter().filter(|&&(from, to, _)| (from..to).contains(&at)).map(|end| end.2);
            size - full.sum::<u64>()
        };
        let stretches: Vec<(u32, u32, u64)> =
            moments.windows(2).map(|two| (two[0], two[1], empty(two[0]))).filter(|one| one.2 > 0).collect();
        if stretches.iter().any(|&(from, to, bytes)| self.load.most(from, to) + bytes > height) {
            return false;
        }
        stretches.into_iter().for_each(|(from, to, bytes)| self.load.add(from, to, bytes));
        true
    }

    /// Lists pairs that have to do with a node.
    fn propose(&mut self, node: u32) {
        let own = &self.network.nodes[node as usize];
        let (mut ending, mut beginning) = (own.ending.clone(), own.beginning.clone());
        let piece = |piece: u32| &self.network.pieces[piece as usize];
        beginning.sort_unstable_by_key(|&number| (piece(number).to, number));
        ending.sort_unstable_by_key(|&number| (piece(number).from, number));
        let alone = if own.width() == 2 { ALONE } else { 1.0 };
        if ending.len() * beginning.len() <= WIDEST {
            for &before in &ending {
                beginning.iter().for_each(|&after| self.list(false, before, after, alone));
            }
        }
        for two in beginning.windows(2).chain(ending.windows(2)) {
            self.list(true, two[0], two[1], 1.0);
        }
        let nodes = &self.network.nodes;
        let far = |number: &usize| number.abs_diff(node as usize) <= FARTHEST;
        if beginning.is_empty() && !ending.is_empty() {
            let later = (node as usize + 1..nodes.len()).take_while(far);
            let starts = later.filter(|&at| nodes[at].ending.is_empty() && !nodes[at].beginning.is_empty());
            let starts: Vec<u32> = starts.take(NEXT).flat_map(|at| nodes[at].beginning.clone()).collect();
            for before in ending {
                starts.iter().for_each(|&after| self.list(false, before, after, 1.0));
            }
        } else if ending.is_empty() && !beginning.is_empty() {
            let earlier = (0..node as usize).rev().take_while(far);
            let ends = earlier.filter(|&at| nodes[at].beginning.is_empty() && !nodes[at].ending.is_empty());
            let ends: Vec<u32> = ends.take(NEXT).flat_map(|at| nodes[at].ending.clone()).collect();
            for before in ends {
                beginning.iter().for_each(|&after| self.list(false, before, after, 1.0));
            }
        }
    }

    /// Lists a pair, unless it leaves too much empty.
    fn list(&mut self, is_stack: bool, a: u32, b: u32, factor: f64) {
        let Pair { from, to, size, .. } = self.pair(is_stack, a, b);
        let area = |from: u32, to: u32, size: u64| f64::from(to - from) * size as f64;
        let of = |piece: u32| {
            let piece = &self.network.pieces[piece as usize];
            area(piece.from, piece.to, piece.size)
        };
        let all = area(from, to, size);
        let empty = ((all - of(a) - of(b)) / all).max(0.0);
        if empty > EMPTY {
            return;
        }
        let noise = self.noise.as_mut().map_or(0.0, |noise| NOISE * (2.0 * noise.unit() - 1.0));
        self.pairs.push(Reverse(((empty * factor * noise.exp2()).to_bits(), is_stack, a, b)));
    }
}
