//! Strips: pieces that may be a block, although what happens at their moments is not theirs alone.
//!
//! A strip begins with some pieces of one moment and goes on through time: what takes the place of what ends is chosen so that as
//! many bytes begin, until all that is left ends at once. How often that happens by chance is the product of what is expected at
//! each moment, so that many moments, each of which says little, say much together.

use super::chance::Chance;
use super::network::Network;

/// Most pieces of a strip, and most that are chosen at one moment.
const LONGEST: usize = 16;
const MOST: usize = 3;

/// Moments at which more pieces begin and end say too little.
const WIDEST: usize = 256;

/// Pieces that may be a block from one node to another.
pub(super) struct Strip {
    /// How many of them are expected by chance.
    pub(super) chance: f64,
    pub(super) pieces: Vec<u32>,
    pub(super) from: u32,
    pub(super) to: u32,
}

/// Looks for strips.
pub(super) struct Strips<'a> {
    pub(super) network: &'a Network,
    pub(super) chance: &'a Chance,
    pub(super) limit: f64,
    pub(super) found: Vec<Strip>,
    from: u32,
    pieces: Vec<u32>,
    looks: u32,
}

impl<'a> Strips<'a> {
    pub(super) fn new(network: &'a Network, chance: &'a Chance, limit: f64) -> Self {
        Self { network, chance, limit, found: Vec::new(), from: 0, pieces: Vec::new(), looks: 0 }
    }

    /// Strips from a node that are sure enough, found in so many looks at pieces.
    pub(super) fn from(&mut self, node: u32, looks: u32) {
        (self.from, self.looks) = (node, looks);
        let node = &self.network.nodes[node as usize];
        if node.width() <= WIDEST {
            self.begin(&node.beginning, 0);
        }
    }

    /// Chooses what a strip begins with.
    fn begin(&mut self, beginning: &[u32], first: usize) {
        for at in first..beginning.len() {
            if self.pieces.len() >= MOST || self.looks == 0 {
                return;
            }
            self.looks -= 1;
            self.pieces.push(beginning[at]);
            let ways = choose(beginning.len(), self.pieces.len());
            self.go_on(&self.pieces.clone(), ways);
            self.begin(beginning, at + 1);
            self.pieces.pop();
        }
    }

    /// Goes on from the pieces at the front of a strip.
    fn go_on(&mut self, front: &[u32], chance: f64) {
        let to = |piece: &u32| self.network.pieces[*piece as usize].to;
        let rank = |node: u32| self.network.nodes[node as usize].rank;
        let Some(next) = front.iter().map(to).min_by_key(|&node| (rank(node), node)) else { return };
        if front.iter().all(|piece| to(piece) == next) {
            let chance = front[1..]
                .iter()
                .fold(chance, |chance, piece| chance * self.chance.ends_at(self.network, *piece));
            if self.pieces.len() > 2 && chance < self.limit {
                let mut pieces = self.pieces.clone();
                pieces.sort_unstable();
                self.found.push(Strip { chance, pieces, from: self.from, to: next });
            }
            return;
        }
        let node = &self.network.nodes[next as usize];
        if !node.is_full || node.width() > WIDEST {
            return;
        }
        let (ending, rest): (Vec<u32>, Vec<u32>) = front.iter().partition(|piece| to(piece) == next);
        let size = ending.iter().map(|&piece| self.network.pieces[piece as usize].size).sum();
        let mut beginning = node.beginning.clone();
        beginning.sort_unstable_by_key(|&piece| (self.network.pieces[piece as usize].size, piece));
        let ways = choose(node.ending.len(), ending.len());
        let (before, all) = (rest.len(), beginning.len());
        let mut own = rest;
        self.fill(&beginning, all, size, &mut own, before, (chance, ways));
    }

    /// Chooses what fills so many bytes of the front, which had `before` pieces, the largest first, among the first `end` of what begins.
    fn fill(
        &mut self,
        beginning: &[u32],
        end: usize,
        bytes: u64,
        own: &mut Vec<u32>,
        before: usize,
        (chance, ways): (f64, f64),
    ) {
        if bytes == 0 {
            let chosen = own.len() - before;
            let largest = self.network.pieces[own[before] as usize].size;
            let ways = ways * choose(beginning.len(), chosen);
            let chance = chance * (ways - 1.0).max(0.01) * self.chance.of_size(largest);
            if chance < 1.0 {
                let front = own.clone();
                self.go_on(&front, chance);
            }
            return;
        }
        if own.len() - before >= MOST || self.pieces.len() >= LONGEST {
            return;
        }
        let fits =
            beginning[..end].partition_point(|&piece| self.network.pieces[piece as usize].size <= bytes);
        for at in (0..fits).rev() {
            let piece = &self.network.pieces[beginning[at] as usize];
            let room = (MOST + before - own.len()) as u64;
            if piece.size.saturating_mul(room) < bytes || self.looks == 0 {
                return;
            }
            self.looks -= 1;
            own.push(beginning[at]);
            self.pieces.push(beginning[at]);
            self.fill(beginning, at, bytes - piece.size, own, before, (chance, ways));
            self.pieces.pop();
            own.pop();
        }
    }
}

/// In how many ways some of all can be chosen.
fn choose(all: usize, some: usize) -> f64 {
    (0..some).map(|i| (all - i) as f64 / (i + 1) as f64).product()
}
