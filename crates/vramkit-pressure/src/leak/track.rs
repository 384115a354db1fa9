//! A tag's past at five scales of time: blocks of 40 s, 80 s, … 640 s, thirty of each, with the least that lived in each block
//! at several ages, and what had passed those ages and been released beyond them at its end.
//!
//! All lanes of all tags change blocks together, so those of several tags can be summed block by block.

use std::collections::VecDeque;
use std::time::Duration;

use super::ages::{Older, Totals};
use super::floors::FLOORS;

/// The block of the first lane; it doubles from lane to lane.
const BLOCK: Duration = Duration::from_secs(40);
/// 20, 40, 80, 160 and 320 minutes.
pub(super) const LANES: usize = 5;
/// Ages that a lane looks at: in the first one 128 s and its doubles up to 4096 s; from lane to lane twice as much.
pub(super) const LANE_AGES: usize = 6;
/// Blocks kept: thirty floors, and one more, from whose end the flows of those thirty are counted.
pub(super) const KEPT: usize = FLOORS + 1;
/// Blocks without a look that are bridged.
const BRIDGED: u128 = 6;

/// The place of a lane's age among all of them.
pub(super) fn place(lane: usize, age: usize) -> usize {
    1 + lane + age
}

/// A lane's block in seconds.
pub(super) fn block_seconds(lane: usize) -> f64 {
    (BLOCK * (1 << lane)).as_secs_f64()
}

/// The number of the block that a time is in.
pub(super) fn number(lane: usize, now: Duration) -> u128 {
    now.as_nanos() / (BLOCK * (1 << lane)).as_nanos()
}

/// A block: the least that lived in it, and counts at its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    pub(super) all: f64,
    pub(super) old: [f64; LANE_AGES],
    pub(super) passed: [f64; LANE_AGES],
    pub(super) released: [f64; LANE_AGES],
}

impl Block {
    fn of(lane: usize, totals: &Totals) -> Self {
        let at = |of: &Older| std::array::from_fn(|age| of[place(lane, age)]);
        Self {
            all: totals.live[0],
            old: at(&totals.live),
            passed: at(&totals.passed),
            released: at(&totals.released),
        }
    }

    fn update(&mut self, now: Self) {
        self.all = self.all.min(now.all);
        self.old.iter_mut().zip(now.old).for_each(|(least, old)| *least = least.min(old));
        (self.passed, self.released) = (now.passed, now.released);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.all += other.all;
        for age in 0..LANE_AGES {
            self.old[age] += other.old[age];
            self.passed[age] += other.passed[age];
            self.released[age] += other.released[age];
        }
    }
}

/// Blocks of one scale, the oldest first.
#[derive(Clone, Debug, Default)]
struct Lane {
    blocks: VecDeque<Block>,
    open: Option<(u128, Block)>,
}

/// What is known of a tag, or of several together.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    pub(super) totals: Totals,
    lanes: [Lane; LANES],
}

impl Track {
    pub(super) fn new(totals: Totals) -> Self {
        Self { totals, lanes: Default::default() }
    }

    /// Takes the totals in, as they are now.
    pub(super) fn advance(&mut self, now: Duration) {
        if self.lanes[0].blocks.len() == KEPT {
            self.totals.learn();
        }
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            let (number, block) = (number(i, now), Block::of(i, &self.totals));
            match &mut lane.open {
                Some((open, last)) if number <= *open => last.update(block),
                Some((open, _)) if number - *open > BRIDGED => {
                    lane.blocks.clear();
                    lane.open = Some((number, block));
                }
                Some((open, last)) => {
                    for _ in *open..number {
                        if lane.blocks.len() == KEPT {
                            lane.blocks.pop_front();
                        }
                        lane.blocks.push_back(*last);
                    }
                    lane.open = Some((number, block));
                }
                None => lane.open = Some((number, block)),
            }
        }
    }

    /// The blocks of a lane, when there are enough to judge.
    pub(super) fn window(&self, lane: usize) -> Option<Vec<Block>> {
        let blocks = &self.lanes[lane].blocks;
        (blocks.len() == KEPT).then(|| blocks.iter().copied().collect())
    }

    /// By how much the bytes of one of a lane's ages have grown over its blocks; 0 when they have become less.
    pub(super) fn grown(&self, lane: usize, age: usize) -> f64 {
        let blocks = &self.lanes[lane].blocks;
        let more = |block: &Block| block.passed[age] - block.released[age];
        let before = blocks.front().filter(|_| blocks.len() == KEPT).map_or(0.0, more);
        blocks.back().map_or(0.0, |last| (more(last) - before).max(0.0))
    }

    /// Adds a lane's blocks to some that end with the same one. Where there is none yet, there was nothing.
    pub(super) fn add_to(&self, lane: usize, sum: &mut [Block]) {
        sum.iter_mut()
            .rev()
            .zip(self.lanes[lane].blocks.iter().rev())
            .for_each(|(sum, block)| sum.add(block));
    }

    /// Takes another's past and present over.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.totals.add(&other.totals);
        for (own, other) in self.lanes.iter_mut().zip(&other.lanes) {
            while own.blocks.len() < other.blocks.len() {
                own.blocks.push_front(Block::default());
            }
            own.blocks
                .iter_mut()
                .rev()
                .zip(other.blocks.iter().rev())
                .for_each(|(own, other)| own.add(other));
            match (&mut own.open, &other.open) {
                (Some((_, own)), Some((_, other))) => own.add(other),
                (open, other) => *open = *other,
            }
        }
    }
}
