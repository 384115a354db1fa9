//! Takes blocks apart where the network does not go on, and joins what they were made of otherwise.
//!
//! One wrong pair is enough that nothing around it fits, and all that it is part of is left over. So around a moment that is left
//! some blocks are opened, how sure their parts are is changed a little at random, and they are joined anew (ruin and recreate:
//! Schrimpf, Schneider, Stamm-Wilbrandt and Dueck, 2000). What comes to more pieces is taken back.

use super::reduce::{GUESSES, Reducer};
use vramkit_units::SplitMix64;

/// Tries without fewer pieces after which it ends.
const STALE: usize = 400;

/// How many levels of blocks are opened at most, and how many blocks.
const LEVELS: usize = 3;
const OPENED: usize = 200;

/// Looks for strips from one moment on.
const LOOKS: u32 = 1000;

impl Reducer<'_> {
    /// See the [module](self): until one piece is left, it is stopped, or nothing has helped for long.
    pub(super) fn mend(&mut self, stop: &dyn Fn() -> bool) {
        let mut random = SplitMix64::new(self.goal.seed);
        let mut stale = 0;
        while self.left > 1 && stale < STALE && !stop() {
            let before = self.left;
            self.try_otherwise(&mut random);
            stale = if self.left < before { 0 } else { stale + 1 };
        }
        self.noise = None;
    }

    /// One try, taken back where it leaves more pieces.
    fn try_otherwise(&mut self, random: &mut SplitMix64) {
        let (before, length) = (self.left, self.network.pieces.len());
        let whole: Vec<u32> = self.network.whole().collect();
        let some = &self.network.pieces[whole[random.below(whole.len())] as usize];
        let node = if random.below(2) == 0 { some.from } else { some.to };
        let (mut opened, touched) = self.open_around(node, random);
        self.noise = Some(SplitMix64::new(random.bits()));
        self.first_fresh = length as u32;
        self.refused_fresh.clear();
        self.pairs.clear();
        self.work.extend(&touched);
        let limit = GUESSES[GUESSES.len() - 1];
        self.settle(limit);
        loop {
            let starts = self.starts(&touched);
            let beginning = starts.iter().flat_map(|&node| &self.network.nodes[node as usize].beginning);
            let beginning: Vec<u32> = beginning.copied().collect();
            if !self.pack_parts(&beginning) && !self.strips(&starts, limit, LOOKS) {
                break;
            }
        }
        self.pairs.clear();
        if self.left > before {
            while self.network.pieces.len() > length {
                self.network.undo();
            }
            while let Some(block) = opened.pop() {
                self.network.close(block);
            }
            self.left = before;
        }
    }

    /// Some nodes, and those where that begins which ends there.
    fn starts(&self, nodes: &[u32]) -> Vec<u32> {
        let ending = nodes.iter().flat_map(|&node| &self.network.nodes[node as usize].ending);
        let mut starts: Vec<u32> = ending.map(|&piece| self.network.pieces[piece as usize].from).collect();
        starts.extend(nodes);
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// Opens blocks that end and begin at a node, and some of those in them. Returns them, the outer ones first, and all nodes at
    /// which something has changed.
    fn open_around(&mut self, node: u32, random: &mut SplitMix64) -> (Vec<u32>, Vec<u32>) {
        let mut opened = Vec::new();
        let mut touched = vec![node];
        let around = self.network.nodes[node as usize].all();
        let mut rest: Vec<(u32, usize)> =
            around.map(|(piece, _)| (piece, 1 + random.below(LEVELS))).collect();
        while let Some((piece, levels)) = rest.pop() {
            let own = &self.network.pieces[piece as usize];
            touched.extend([own.from, own.to]);
            if levels == 0 || own.parts.is_empty() || opened.len() >= OPENED {
                continue;
            }
            for &(part, _) in &own.parts {
                rest.push((part, if random.below(3) == 0 { 0 } else { levels - 1 }));
            }
            self.left += own.parts.len() - 1;
            self.network.open(piece);
            opened.push(piece);
        }
        touched.sort_unstable();
        touched.dedup();
        (opened, touched)
    }
}
