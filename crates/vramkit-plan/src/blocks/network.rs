//! Moments as nodes and tensors as pieces between them, from the moment when one begins to the one when it ends.

use crate::problem::{Buffer, Problem};
use vramkit_units::ByteSize;

/// A tensor, or several that are one block.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) size: u64,
    /// What it is made of, and how high over its own start each part lies; nothing for a tensor.
    pub(super) parts: Vec<(u32, u64)>,
}

/// A moment, or a part of what happens then.
#[derive(Clone, Default)]
pub(super) struct Node {
    pub(super) rank: u32,
    /// Whether nothing is empty before and after, so that as many bytes begin as end.
    pub(super) is_full: bool,
    pub(super) ending: Vec<u32>,
    pub(super) beginning: Vec<u32>,
}

impl Node {
    /// How many pieces end and begin.
    pub(super) fn width(&self) -> usize {
        self.ending.len() + self.beginning.len()
    }

    /// Each piece, with whether it ends.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, bool)> + '_ {
        let ending = self.ending.iter().map(|&piece| (piece, true));
        ending.chain(self.beginning.iter().map(|&piece| (piece, false)))
    }
}

/// See the [module](self).
#[derive(Clone)]
pub(super) struct Network {
    pub(super) nodes: Vec<Node>,
    /// The problem's buffers first.
    pub(super) pieces: Vec<Piece>,
    /// Whether each piece is part of no other.
    pub(super) is_whole: Vec<bool>,
}

impl Network {
    /// Of a problem without gaps and pins.
    pub(super) fn new(problem: &Problem) -> Self {
        let (loads, most) = (problem.loads(), problem.max_load());
        let is_full = |rank: usize| rank > 0 && rank < loads.len() && loads[rank - 1..=rank] == [most; 2];
        let node = |rank| Node { rank: rank as u32, is_full: is_full(rank), ..Node::default() };
        let nodes = (0..=loads.len()).map(node).collect();
        let mut network = Self { nodes, pieces: Vec::new(), is_whole: Vec::new() };
        for buffer in &problem.buffers {
            let Buffer { start, end, .. } = *buffer;
            network.add(Piece { from: start, to: end, size: buffer.bytes(), parts: Vec::new() });
        }
        network
    }

    /// Whether at half of all moments and more nothing is empty.
    pub(super) fn is_mostly_full(&self) -> bool {
        2 * self.nodes.iter().filter(|node| node.is_full).count() >= self.nodes.len() - 2
    }

    fn add(&mut self, piece: Piece) {
        let number = self.pieces.len() as u32;
        self.pieces.push(piece);
        self.is_whole.push(false);
        self.put_in(number);
    }

    /// The pieces that are part of no other.
    pub(super) fn whole(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.pieces.len() as u32).filter(|&piece| self.is_whole[piece as usize])
    }

    /// Makes one block of some pieces, from node to node, given how high each lies in it.
    pub(super) fn join(&mut self, from: u32, to: u32, size: u64, parts: Vec<(u32, u64)>) {
        for &(part, _) in &parts {
            self.take_out(part);
        }
        self.add(Piece { from, to, size, parts });
    }

    /// Takes a block apart again; its parts begin and end where it does by now.
    pub(super) fn open(&mut self, block: u32) {
        let Piece { from, to, .. } = self.pieces[block as usize];
        self.take_out(block);
        let rank = |nodes: &[Node], node: u32| nodes[node as usize].rank;
        for (part, _) in self.pieces[block as usize].parts.clone() {
            let own = &mut self.pieces[part as usize];
            if rank(&self.nodes, own.from) == rank(&self.nodes, from) {
                own.from = from;
            }
            if rank(&self.nodes, own.to) == rank(&self.nodes, to) {
                own.to = to;
            }
            self.put_in(part);
        }
    }

    /// Makes a block whole again that was taken apart.
    pub(super) fn close(&mut self, block: u32) {
        for (part, _) in self.pieces[block as usize].parts.clone() {
            self.take_out(part);
        }
        self.put_in(block);
    }

    /// Takes the last block apart for good.
    pub(super) fn undo(&mut self) {
        let last = self.pieces.len() as u32 - 1;
        self.open(last);
        self.pieces.pop();
        self.is_whole.pop();
    }

    fn put_in(&mut self, piece: u32) {
        let Piece { from, to, .. } = self.pieces[piece as usize];
        self.nodes[from as usize].beginning.push(piece);
        self.nodes[to as usize].ending.push(piece);
        self.is_whole[piece as usize] = true;
    }

    fn take_out(&mut self, piece: u32) {
        let Piece { from, to, .. } = self.pieces[piece as usize];
        self.nodes[from as usize].beginning.retain(|&other| other != piece);
        self.nodes[to as usize].ending.retain(|&other| other != piece);
        self.is_whole[piece as usize] = false;
    }

    /// Makes a node of its own of some of what ends and begins in a node. Returns it.
    pub(super) fn split(&mut self, node: u32, group: &[u32]) -> u32 {
        let new = self.nodes.len() as u32;
        let old = &mut self.nodes[node as usize];
        let mut own = Node { rank: old.rank, is_full: old.is_full, ..Node::default() };
        own.ending = old.ending.extract_if(.., |piece| group.contains(piece)).collect();
        own.beginning = old.beginning.extract_if(.., |piece| group.contains(piece)).collect();
        own.ending.iter().for_each(|&piece| self.pieces[piece as usize].to = new);
        own.beginning.iter().for_each(|&piece| self.pieces[piece as usize].from = new);
        self.nodes.push(own);
        new
    }

    /// Some pieces as buffers.
    pub(super) fn problem(&self, pieces: &[u32], alignment: u64) -> Problem {
        let rank = |node: u32| self.nodes[node as usize].rank;
        let mut starts: Vec<u32> =
            pieces.iter().map(|&piece| rank(self.pieces[piece as usize].from)).collect();
        starts.sort_unstable();
        starts.dedup();
        let dense = |node: u32| starts.partition_point(|&start| start < rank(node)) as u32;
        let buffers = pieces.iter().map(|&piece| {
            let Piece { from, to, size, .. } = self.pieces[piece as usize];
            let size = ByteSize::new(size);
            Buffer { start: dense(from), end: dense(to), size, alignment, pinned: None }
        });
        Problem { buffers: buffers.collect(), gaps: Vec::new(), ranks: starts.len() as u32 }
    }

    /// The offset of each of so many buffers, given those of pieces.
    pub(super) fn unfold(&self, pieces: impl Iterator<Item = (u32, u64)>, buffers: usize) -> Vec<u64> {
        let mut offsets = vec![0; buffers];
        let mut rest: Vec<(u32, u64)> = pieces.collect();
        while let Some((piece, at)) = rest.pop() {
            if let Some(offset) = offsets.get_mut(piece as usize) {
                *offset = at;
            }
            let parts = &self.pieces[piece as usize].parts;
            rest.extend(parts.iter().map(|&(part, low)| (part, at + low)));
        }
        offsets
    }
}
