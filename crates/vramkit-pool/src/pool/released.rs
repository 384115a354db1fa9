//! How long did what is gone live? Bytes released, by owner, tag and [age class](vramkit_units::age_class), ever.
//!
//! Whoever ends a life counts it under the lock that it holds anyway: the book's, or that of its thread's cache, from where
//! a recall brings it into the book. The ledger reads it: what is left over is judged by what has gone.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use vramkit_units::AGE_CLASSES;

/// Bytes by age at release.
pub(super) type Ages = [u64; AGE_CLASSES];

/// Tags that have a line of their own, in all. The releases of what comes later count under [`OTHERS`], a line for each owner.
const MOST: usize = if cfg!(loom) { 2 } else { 4096 };
/// The tag of what has no line of its own; it is also that of requests whose tag could not be named.
const OTHERS: u16 = u16::MAX;

/// Bytes released, by owner and tag.
#[derive(Debug, Default)]
pub(super) struct Released {
    lines: Vec<Line>,
    /// Which line an owner and tag have.
    places: HashMap<u32, usize, BuildHasherDefault<Spread>>,
    /// The line that was counted in last: most releases follow one of their own kind.
    last: usize,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    owner: u16,
    /// Of the owner, whose number may be another's by now.
    generation: u16,
    tag: u16,
    bytes: Ages,
}

impl Line {
    #[inline(always)]
    fn is_of(&self, owner: (u16, u16), tag: u16) -> bool {
        (self.owner, self.generation) == owner && self.tag == tag
    }
}

fn key(owner: u16, tag: u16) -> u32 {
    u32::from(owner) << 16 | u32::from(tag)
}

impl Released {
    /// Counts a release of an owner, by number and generation.
    #[inline(always)]
    pub(super) fn count(&mut self, owner: (u16, u16), tag: u16, class: usize, bytes: u64) {
        match self.lines.get_mut(self.last) {
            Some(line) if line.is_of(owner, tag) => line.bytes[class] += bytes,
            _ => self.line(owner, tag)[class] += bytes,
        }
    }

    /// Counts what was counted elsewhere.
    pub(super) fn add(&mut self, owner: (u16, u16), tag: u16, ages: &Ages) {
        let line = self.line(owner, tag);
        line.iter_mut().zip(ages).for_each(|(sum, bytes)| *sum += bytes);
    }

    /// What has been released of an owner and tag.
    pub(super) fn of(&self, owner: (u16, u16), tag: u16) -> Ages {
        let line = self.places.get(&key(owner.0, tag)).map(|&at| &self.lines[at]);
        line.filter(|line| line.is_of(owner, tag)).map_or([0; AGE_CLASSES], |line| line.bytes)
    }

    /// Takes everything out: owner, tag, and bytes.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u16, u16, Ages)> {
        self.places.clear();
        self.last = 0;
        self.lines.drain(..).map(|line| (line.owner, line.tag, line.bytes))
    }

    #[inline(never)]
    fn line(&mut self, (owner, generation): (u16, u16), tag: u16) -> &mut Ages {
        let fresh = |tag| Line { owner, generation, tag, bytes: [0; AGE_CLASSES] };
        let own = self.places.get(&key(owner, tag)).copied();
        let tag = if own.is_none() && self.lines.len() >= MOST { OTHERS } else { tag };
        self.last = own.unwrap_or_else(|| {
            *self.places.entry(key(owner, tag)).or_insert_with(|| {
                self.lines.push(fresh(tag));
                self.lines.len() - 1
            })
        });
        let line = &mut self.lines[self.last];
        if line.generation != generation {
            *line = fresh(tag);
        }
        &mut line.bytes
    }
}

/// One multiplication spreads a key over both ends of its hash, which is all that a table of a program's own numbers needs.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(u32::from(byte)));
    }

    fn write_u32(&mut self, key: u32) {
        let product = (self.0 ^ u64::from(key)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn lines_are_an_owners_own_and_what_comes_too_late_shares_one() {
        let mut released = Released::default();
        released.count((3, 0), 7, 2, 100);
        released.count((3, 0), 7, 2, 10);
        released.count((3, 0), 8, 5, 1);
        assert_eq!((released.of((3, 0), 7)[2], released.of((3, 0), 8)[5]), (110, 1));
        // Another owner has the number now.
        assert_eq!(released.of((3, 1), 7), [0; AGE_CLASSES]);
        released.count((3, 1), 7, 2, 5);
        assert_eq!(released.of((3, 1), 7)[2], 5);
        for tag in 0..2 * MOST {
            released.count((4, 0), tag as u16, 0, 1);
        }
        let others = released.of((4, 0), OTHERS)[0];
        assert_eq!(others as usize, 2 * MOST - (MOST - 2));
        assert_eq!(released.lines.len(), MOST + 1);
        let drained: u64 = released.drain().map(|(_, _, ages)| ages.iter().sum::<u64>()).sum();
        assert_eq!(drained as usize, 2 * MOST + 5 + 1);
    }
}
