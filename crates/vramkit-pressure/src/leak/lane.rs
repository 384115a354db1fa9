//! One scale of a series: the minima of used bytes over blocks of equal time, the last 30 of them, and what was there
//! before.
//!
//! A reading goes into the open block; a reading of a later block closes it. Blocks that nobody read are laid on the
//! line between their neighbours, so that slow or uneven sampling does not look like steps; after too many of them
//! there is nothing to compare with, and the lane begins anew.

use std::collections::VecDeque;

use super::floors::{FLOORS, keep};

/// Blocks in a row without a reading that are bridged.
const BRIDGED: u64 = 6;
/// Floors after which half of what is remembered of the past is forgotten: 16 windows.
const EPOCH: usize = 16 * FLOORS;
/// Floors in a row whose minimum counts for the past: teeth shorter than these leave their floor only.
const TOGETHER: usize = 5;

/// What a reading did to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It went into the open block.
    Kept,
    /// It closed a block.
    Closed,
    /// It came after a gap that is not bridged.
    Anew,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    floors: VecDeque<f64>,
    /// The most over the least of each block.
    scatters: VecDeque<f64>,
    /// Which of the floors were read, the newest in the lowest bit.
    read: u32,
    open: Option<Block>,
    /// Blocks without a reading before the open one.
    missing: u64,
    past: Past,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    number: u64,
    least: f64,
    most: f64,
}

/// The highest that has left the window, in this epoch and the one before: a load that repeats within 16 windows is
/// remembered, and a tenant that was there once is forgotten.
#[derive(Clone, Debug)]
struct Past {
    highest: [f64; 2],
    left: usize,
}

impl Default for Past {
    fn default() -> Self {
        Self { highest: [f64::NEG_INFINITY; 2], left: 0 }
    }
}

impl Past {
    fn note(&mut self, floor: f64) {
        if self.left == EPOCH {
            self.highest = [f64::NEG_INFINITY, self.highest[0]];
            self.left = 0;
        }
        self.left += 1;
        self.highest[0] = self.highest[0].max(floor);
    }
}

impl Lane {
    /// Takes bytes in that were read in a block.
    pub(super) fn push(&mut self, number: u64, used: f64) -> Pushed {
        let new = Block { number, least: used, most: used };
        let Some(open) = &mut self.open else {
            self.open = Some(new);
            return Pushed::Kept;
        };
        if number <= open.number {
            (open.least, open.most) = (open.least.min(used), open.most.max(used));
            return Pushed::Kept;
        }
        let closed = std::mem::replace(open, new);
        self.close(closed);
        self.missing = number - closed.number - 1;
        if self.missing <= BRIDGED {
            return Pushed::Closed;
        }
        self.begin_anew();
        Pushed::Anew
    }

    /// Forgets the window; what was there stays in the past.
    fn begin_anew(&mut self) {
        while !self.floors.is_empty() {
            self.leave();
        }
        self.scatters.clear();
        (self.read, self.missing) = (0, 0);
    }

    fn close(&mut self, block: Block) {
        if let Some(&last) = self.floors.back() {
            for at in 1..=self.missing {
                let part = at as f64 / (self.missing + 1) as f64;
                self.keep(last + (block.least - last) * part, block.most - block.least, false);
            }
        }
        self.keep(block.least, block.most - block.least, true);
    }

    fn keep(&mut self, floor: f64, scatter: f64, read: bool) {
        if self.floors.len() == FLOORS {
            self.leave();
        }
        keep(&mut self.floors, floor);
        keep(&mut self.scatters, scatter);
        self.read = self.read << 1 | u32::from(read);
    }

    /// The oldest floor leaves the window.
    fn leave(&mut self) {
        self.past.note(self.floors.iter().take(TOGETHER).copied().fold(f64::INFINITY, f64::min));
        self.floors.pop_front();
    }

    /// The floors, oldest first.
    pub(super) fn floors(&mut self) -> &[f64] {
        self.floors.make_contiguous()
    }

    /// The floors, and by how much the readings of each of their blocks scatter.
    pub(super) fn floors_and_scatters(&mut self) -> (&[f64], &[f64]) {
        (self.floors.make_contiguous(), self.scatters.make_contiguous())
    }

    /// How many of the window's blocks were read.
    pub(super) fn readings(&self) -> u32 {
        (self.read & ((1 << FLOORS) - 1)).count_ones()
    }

    /// The newest floor.
    pub(super) fn newest(&self) -> Option<f64> {
        self.floors.back().copied()
    }

    /// The highest before the window, as far as it is remembered.
    pub(super) fn past(&self) -> f64 {
        self.past.highest[0].max(self.past.highest[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_minima_and_blocks_that_nobody_read_lie_between_their_neighbours() {
        let mut lane = Lane::default();
        assert_eq!(
            [lane.push(0, 5.0), lane.push(0, 3.0), lane.push(1, 4.0)],
            [Pushed::Kept, Pushed::Kept, Pushed::Closed]
        );
        assert_eq!(lane.push(4, 10.0), Pushed::Closed);
        assert_eq!(lane.push(5, 11.0), Pushed::Closed);
        assert_eq!(lane.floors(), [3.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!((lane.floors_and_scatters().1[0], lane.readings()), (2.0, 3));
        // Too many are missing: nothing of before is compared with what comes.
        assert_eq!(lane.push(13, 50.0), Pushed::Anew);
        assert_eq!((lane.floors().len(), lane.readings(), lane.past()), (0, 0, 11.0));
    }

    #[test]
    fn the_past_is_remembered_for_sixteen_windows_and_forgotten_after_twice_that() {
        let mut lane = Lane::default();
        let mut number = 0;
        let mut push = |lane: &mut Lane, used: f64, times: usize| {
            for _ in 0..times {
                lane.push(number, used);
                number += 1;
            }
        };
        push(&mut lane, 9.0, 10);
        push(&mut lane, 1.0, EPOCH);
        assert_eq!(lane.past(), 9.0);
        push(&mut lane, 1.0, EPOCH + FLOORS);
        assert_eq!(lane.past(), 1.0);
    }
}
