//! Joins pieces of a network to blocks, for as long as there is one that is sure enough.

use std::collections::HashSet;

use super::groups;
use super::network::{Network, Piece};
use crate::exact::{self, Answer};
use crate::search::Goal;

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

/// See the [module](self).
pub(super) struct Reducer<'a> {
    network: Network,
    alignment: u64,
    goal: &'a Goal<'a>,
    /// Nodes where something has changed.
    work: Vec<u32>,
    /// Parts that did not fit together.
    refused: HashSet<Vec<u32>>,
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
        let (refused, visit) = (HashSet::new(), Visit::default());
        Self { network, alignment, goal, work: Vec::new(), refused, visit }
    }

    /// The network with as few pieces as there come to be.
    pub(super) fn run(mut self) -> Network {
        self.work.extend(0..self.network.nodes.len() as u32);
        self.settle();
        while !self.goal.is_over() && (self.pack_parts() || self.cut() || self.divide()) {}
        self.network
    }

    /// Joins what begins and ends together, and what takes the place of the only piece that ends.
    fn settle(&mut self) {
        while let Some(node) = self.work.pop() {
            let pieces = &self.network.pieces;
            let mut beginning = self.network.nodes[node as usize].beginning.clone();
            let key = |piece: u32| (pieces[piece as usize].to, pieces[piece as usize].size);
            beginning.sort_unstable_by_key(|&piece| (key(piece), piece));
            // Twins may as well be in different places.
            let is_sure =
                |run: &&[u32]| run.len() > 1 && run.windows(2).all(|two| key(two[0]) != key(two[1]));
            let runs = beginning.chunk_by(|&a, &b| key(a).0 == key(b).0);
            let runs: Vec<Vec<u32>> = runs.filter(is_sure).map(<[u32]>::to_vec).collect();
            for run in runs {
                let to = self.network.pieces[run[0] as usize].to;
                let mut size = 0;
                let parts = run.into_iter().map(|piece| {
                    size += self.network.pieces[piece as usize].size;
                    (piece, size - self.network.pieces[piece as usize].size)
                });
                let parts = parts.collect();
                self.network.join(node, to, size, parts);
                self.work.push(to);
            }
            let own = &self.network.nodes[node as usize];
            if let (true, &[before], &[after]) = (own.is_full, &own.ending[..], &own.beginning[..]) {
                let Piece { from, size, .. } = self.network.pieces[before as usize];
                let to = self.network.pieces[after as usize].to;
                self.network.join(from, to, size, vec![(before, 0), (after, 0)]);
                self.work.extend([from, to]);
            }
        }
    }

    /// Makes blocks of parts that hang together with all else at two moments only. Returns whether there was one.
    fn pack_parts(&mut self) -> bool {
        let mut is_any = false;
        let mut first = 0;
        while first < self.network.pieces.len() && !self.goal.is_over() {
            if self.network.is_whole[first]
                && let Some((part, to)) = self.part(first as u32)
                && !self.refused.contains(&part)
            {
                if self.pack(&part, self.network.pieces[first].from, to) {
                    self.settle();
                    is_any = true;
                } else {
                    self.refused.insert(part);
                }
            }
            first += 1;
        }
        is_any
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
    fn pack(&mut self, part: &[u32], from: u32, to: u32) -> bool {
        let problem = self.network.problem(part, self.alignment);
        let size = problem.max_load().bytes();
        let answer = exact::decide(&problem, size, NODES * part.len() as u64, self.goal);
        let Answer::Found(offsets) = answer else { return false };
        self.network.join(from, to, size, part.iter().copied().zip(offsets).collect());
        self.work.extend([from, to]);
        true
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
        self.settle();
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
        self.settle();
        is_any
    }
}
