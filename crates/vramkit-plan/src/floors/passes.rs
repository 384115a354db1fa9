//! Whole placements from nothing: lines of passes, each with a rule and weights of its own.

use super::aim::Aim;
use super::beam::beam;
use super::ground::Ground;
use super::layout::{Layout, Places};
use super::profile::Scratch;
use super::rule::{RULES, Rule};

/// A rule with what it has learned.
pub(super) struct Line {
    rule: Rule,
    /// One for each section: how often it was too high.
    weight: Vec<f32>,
    scratch: Scratch,
    /// The arena of its best pass.
    best: u64,
}

impl Line {
    /// One for each rule.
    pub(super) fn all(sections: usize) -> Vec<Self> {
        let line = |&rule: &Rule| Self {
            rule,
            weight: vec![1.0; sections],
            scratch: Scratch::default(),
            best: u64::MAX,
        };
        RULES.iter().map(line).collect()
    }

    /// Lower for a better line.
    pub(super) fn height(&self) -> u64 {
        self.best
    }

    /// Places everything, following one profile; `None` when it is stopped. Sections that end far above `wanted` gain weight.
    pub(super) fn pass<'a>(
        &mut self,
        places: &'a Places,
        ground: &Ground,
        fixed: &[u64],
        wanted: u64,
        stop: &dyn Fn() -> bool,
    ) -> Option<Layout<'a>> {
        let aim = Aim { ground, rule: self.rule, wanted, weight: &self.weight };
        let found = beam(&aim, 1, f64::INFINITY, &mut self.scratch, stop)?;
        let mut offsets = fixed.to_vec();
        for (item, offset) in ground.items.iter().zip(found) {
            offsets[item.number as usize] = offset;
        }
        let layout = Layout::new(places, offsets);
        let arena = layout.arena();
        self.best = self.best.min(arena);
        // Half of what is too much: what sticks out least is left alone.
        let high = wanted + arena.saturating_sub(wanted) / 2;
        for (weight, &top) in self.weight.iter_mut().zip(&layout.tops) {
            *weight += f32::from(u8::from(top > high));
        }
        Some(layout)
    }
}
