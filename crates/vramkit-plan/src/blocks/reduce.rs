//! Joins pieces of a network to blocks, for as long as there is one that is sure enough.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use super::chance::Chance;
use super::groups;
use super::network::{Network, Piece};
use super::strips::{Strip, Strips};
use crate::exact::{self, Answer};
use crate::search::Goal;
use vramkit_units::SplitMix64;

/// Most pieces of a part that is packed alone.
const MOST: usize = 96;

/// Nodes that exact search may take for a part, for each of its pieces.
const NODES: u64 = 100;

/// Most pieces of a moment that is divided by their sizes: of more too many sets come to nothing by chance.
const WIDEST_BY_SIZE: usize = 14;

/// How many times the sets of pieces of a moment the largest of their sizes must be: sums that are equal by chance are as seldom.
const SELDOM: u64 = 8;

/// Most pieces of moments over which pieces hang together that are taken out of wider ones.
const WIDEST_NEIGHBOURS: usize = 40;

/// How often what is joined at once may be expected by chance, and what is joined where nothing else is left.
const SURE: f64 = 0.01;
pub(super) const GUESSES: [f64; 3] = [0.03, 0.1, 0.3];

/// Pairs in a row that are less sure than this are not listed.
const LEAST_SURE: f64 = 1.0;

/// How many times as sure a pair may be taken to be, or as little, as a power of two.
const NOISE: f64 = 3.0;

/// Looks for strips from one moment on.
const LOOKS: u32 = 20_000;

/// See the [module](self).
pub(super) struct Reducer<'a> {
    pub(super) network: Network,
    alignment: u64,
    pub(super) goal: &'a Goal<'a>,
    /// Nodes where something has changed.
    pub(super) work: Vec<u32>,
    /// How many pieces are part of no other.
    pub(super) left: usize,
    chance: Chance,
    /// Pieces that may be joined, by how often that is expected by chance.
    pub(super) pairs: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// What changes a little at random how sure a pair is, where that is wanted.
    pub(super) noise: Option<SplitMix64>,
    /// Parts that did not fit together, but for those with pieces from a number on, which may come to be others.
    refused: HashSet<Vec<u32>>,
    pub(super) refused_fresh: HashSet<Vec<u32>>,
    pub(super) first_fresh: u32,
    visit: Visit,
}

/// What has been seen on the way through a part: marked with the number of the visit.
#[derive(Default)]
struct Visit {
    number: u32,
    pieces: Vec<u32>,
    nodes: Vec<u32>,
}

impl Visit {
    /// Whether it is seen for the first time.
    fn enter(marks: &mut [u32], number: u32, at: u32) -> bool {
        std::mem::replace(&mut marks[at as usize], number) != number
    }
}

impl<'a> Reducer<'a> {
    pub(super) fn new(network: Network, alignment: u64, goal: &'a Goal<'a>) -> Self {
        Self {
            left: network.pieces.len(),
            chance: Chance::new(&network),
            network,
            alignment,
            goal,
            work: Vec::new(),
            pairs: BinaryHeap::new(),
            noise: None,
            refused: HashSet::new(),
            refused_fresh: HashSet::new(),
            first_fresh: u32::MAX,
            visit: Visit::default(),
        }
    }

    /// The network with as few pieces as there come to be, in at most half of the time.
    pub(super) fn run(mut self) -> Network {
        self.work.extend(0..self.network.nodes.len() as u32);
        self.settle(SURE);
        while !self.goal.is_over() && self.step() {}
        let goal = self.goal.sooner(0.5);
        self.mend(&|| goal.is_over());
        self.network
    }

    /// Joins whatever is the surest by now. Returns whether there was anything.
    fn step(&mut self) -> bool {
        let pieces: Vec<u32> = self.network.whole().collect();
        self.pack_parts(&pieces) || self.cut() || self.divide() || self.all_strips(SURE) || self.guess()
    }

    /// Joins two pieces at a time, the surest first: what begins and ends together, and what takes the place of another; all that
    /// is expected by chance less than `limit` times.
    pub(super) fn settle(&mut self, limit: f64) {
        while let Some(node) = self.work.pop() {
            self.propose(node);
        }
        while let Some(&Reverse((chance, a, b))) = self.pairs.peek()
            && f64::from_bits(chance) <= limit
            && !self.goal.is_over()
        {
            self.pairs.pop();
            if !self.network.is_whole[a as usize] || !self.network.is_whole[b as usize] {
                continue;
            }
            self.left -= 1;
            let (lower, upper) = (&self.network.pieces[a as usize], &self.network.pieces[b as usize]);
            let (from, middle, to, size) = (lower.from, lower.to, upper.to, lower.size);
            if upper.from == middle {
                self.network.join(from, to, size, vec![(a, 0), (b, 0)]);
            } else {
                let (below, size) = (size, size + upper.size);
                self.network.join(from, to, size, vec![(a, 0), (b, below)]);
            }
            if self.left * 10 < self.chance.pieces() * 9 {
                self.chance = Chance::new(&self.network);
            }
            [from, middle, to].into_iter().for_each(|node| self.propose(node));
        }
    }

    /// Lists pairs that have to do with a node.
    fn propose(&mut self, node: u32) {
        let Self { network, chance, pairs, noise, .. } = self;
        let mut noisy = |chance: f64| {
            let noise = noise.as_mut().map_or(0.0, |noise| NOISE * (2.0 * noise.unit() - 1.0));
            chance * noise.exp2()
        };
        let own = &network.nodes[node as usize];
        let piece = |number: u32| &network.pieces[number as usize];
        let mut ending = own.ending.clone();
        let mut beginning = own.beginning.clone();
        if own.is_full {
            let key = |&number: &u32| (piece(number).size, number);
            ending.sort_unstable_by_key(key);
            beginning.sort_unstable_by_key(key);
            for befores in ending.chunk_by(|&a, &b| piece(a).size == piece(b).size) {
                let size = piece(befores[0]).size;
                let likely = chance.in_row(network, node, size);
                // Where many are of one size there would be too many to list, none of them sure.
                if likely > LEAST_SURE {
                    continue;
                }
                let first = beginning.partition_point(|&after| piece(after).size < size);
                let end = beginning.partition_point(|&after| piece(after).size <= size);
                for &before in befores {
                    let ways = beginning[first..end].iter();
                    pairs.extend(ways.map(|&after| Reverse((noisy(likely).to_bits(), before, after))));
                }
            }
        }
        let mut stacks = |other: &dyn Fn(u32) -> u32, all: &mut [u32]| {
            all.sort_unstable_by_key(|&number| (other(number), piece(number).size, number));
            for two in all.windows(2).filter(|two| other(two[0]) == other(two[1])) {
                let (a, b) = (piece(two[0]), piece(two[1]));
                // Twins may as well be in different places.
                if a.size == b.size {
                    continue;
                }
                let chance = noisy(chance.stacked(network, two[0]));
                pairs.push(Reverse((chance.to_bits(), two[0], two[1])));
            }
        };
        stacks(&|number| piece(number).to, &mut beginning);
        stacks(&|number| piece(number).from, &mut ending);
    }

    /// Makes blocks of parts that hang together with all else at two moments only and begin with one of some pieces. Returns whether
    /// there was one.
    pub(super) fn pack_parts(&mut self, pieces: &[u32]) -> bool {
        let before = self.left;
        for &first in pieces {
            if self.goal.is_over() {
                break;
            }
            if self.network.is_whole[first as usize]
                && let Some((part, to)) = self.part(first)
            {
                self.pack(part, self.network.pieces[first as usize].from, to);
                self.settle(SURE);
            }
        }
        self.left < before
    }

    /// What hangs together with a piece between the moment at which it begins and a later one, the part's end: all that happens
    /// in between is full, and its own.
    fn part(&mut self, first: u32) -> Option<(Vec<u32>, u32)> {
        let Self { network, visit, .. } = self;
        visit.number += 1;
        visit.pieces.resize(network.pieces.len(), 0);
        visit.nodes.resize(network.nodes.len(), 0);
        let rank = |node: u32| network.nodes[node as usize].rank;
        let Piece { from, to, .. } = network.pieces[first as usize];
        Visit::enter(&mut visit.pieces, visit.number, first);
        Visit::enter(&mut visit.nodes, visit.number, from);
        Visit::enter(&mut visit.nodes, visit.number, to);
        let mut part = vec![first];
        let mut inner = vec![to];
        // The latest node so far: only where there is a later one it is an inner one too.
        let mut last: Option<u32> = None;
        while let Some(node) = inner.pop() {
            if !network.nodes[node as usize].is_full {
                return None;
            }
            for (piece, _) in network.nodes[node as usize].all() {
                if !Visit::enter(&mut visit.pieces, visit.number, piece) {
                    continue;
                }
                part.push(piece);
                if part.len() > MOST {
                    return None;
                }
                let Piece { from: low, to: high, .. } = network.pieces[piece as usize];
                for node in [low, high] {
                    if !Visit::enter(&mut visit.nodes, visit.number, node) {
                        continue;
                    }
                    if rank(node) <= rank(from) {
                        return None;
                    }
                    if rank(node) > last.map_or(rank(to), rank) {
                        inner.extend(last.replace(node));
                    } else {
                        inner.push(node);
                    }
                }
            }
        }
        part.sort_unstable();
        Some((part, last?))
    }

    /// Makes a block of a part, if it fits together with nothing empty.
    fn pack(&mut self, part: Vec<u32>, from: u32, to: u32) {
        if self.refused.contains(&part) || self.refused_fresh.contains(&part) {
            return;
        }
        let problem = self.network.problem(&part, self.alignment);
        let size = problem.max_load().bytes();
        match exact::decide(&problem, size, NODES * part.len() as u64, self.goal) {
            Answer::Found(offsets) => {
                self.left -= part.len() - 1;
                self.work.extend([from, to]);
                self.network.join(from, to, size, part.into_iter().zip(offsets).collect());
            }
            _ if part.iter().any(|&piece| piece >= self.first_fresh) => _ = self.refused_fresh.insert(part),
            _ => _ = self.refused.insert(part),
        }
    }

    /// Joins what is less sure. Returns whether there was anything.
    fn guess(&mut self) -> bool {
        let before = self.left;
        for limit in GUESSES {
            self.settle(limit);
            if self.left < before || self.all_strips(limit) {
                return true;
            }
        }
        false
    }

    /// Makes blocks of strips from any node on.
    fn all_strips(&mut self, limit: f64) -> bool {
        let all: Vec<u32> = (0..self.network.nodes.len() as u32).collect();
        self.strips(&all, limit, LOOKS)
    }

    /// Makes blocks of strips from some nodes on, the surest first. Returns whether there was one.
    pub(super) fn strips(&mut self, nodes: &[u32], limit: f64, looks: u32) -> bool {
        let mut strips = Strips::new(&self.network, &self.chance, limit);
        let in_time = nodes.iter().take_while(|_| !self.goal.is_over());
        in_time.for_each(|&node| strips.from(node, looks));
        let mut found = strips.found;
        found.sort_by(|a, b| a.chance.total_cmp(&b.chance).then_with(|| a.pieces.cmp(&b.pieces)));
        let before = self.left;
        for Strip { pieces, from, to, .. } in found {
            if pieces.iter().all(|&piece| self.network.is_whole[piece as usize]) {
                self.pack(pieces, from, to);
            }
        }
        self.settle(SURE);
        self.left < before
    }

    /// Takes out of wide moments what hangs together elsewhere, the narrowest ties first. Returns whether there was anything.
    fn cut(&mut self) -> bool {
        let widths = (2..=WIDEST_NEIGHBOURS).step_by(2);
        let mut found = widths.map(|widest| groups::by_neighbours(&self.network, widest));
        let Some(found) = found.find(|found| !found.is_empty()) else { return false };
        for (node, group) in found {
            let new = self.network.split(node, &group);
            self.work.extend([node, new]);
        }
        self.settle(SURE);
        true
    }

    /// Divides moments by the sizes of what happens then, the narrowest first. Returns whether there was one.
    fn divide(&mut self) -> bool {
        let mut is_any = false;
        for widest in (4..=WIDEST_BY_SIZE).step_by(2) {
            for node in 0..self.network.nodes.len() as u32 {
                let own = &self.network.nodes[node as usize];
                let largest = own.all().map(|(piece, _)| self.network.pieces[piece as usize].size).max();
                let units = largest.unwrap_or(0) / self.alignment;
                if !own.is_full || !(4..=widest).contains(&own.width()) || units >> own.width() < SELDOM {
                    continue;
                }
                let Some(groups) = groups::by_size(&self.network, node) else { continue };
                for group in &groups[1..] {
                    let new = self.network.split(node, group);
                    self.work.push(new);
                }
                self.work.push(node);
                is_any = true;
            }
            if is_any {
                break;
            }
        }
        self.settle(SURE);
        is_any
    }
}
