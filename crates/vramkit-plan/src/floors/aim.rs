//! What a search is after, in what ground.

use super::ground::Ground;
use super::rule::Rule;

/// What a search is after.
#[derive(Clone, Copy)]
pub(super) struct Aim<'a> {
    pub(super) ground: &'a Ground,
    pub(super) rule: Rule,
    /// The height that is wanted.
    pub(super) wanted: u64,
    /// What each section has been in the way before: valleys with heavy ones come first.
    pub(super) weight: &'a [f32],
}

impl Aim<'_> {
    /// What a section costs that is as high as its load and some empty bytes.
    #[inline]
    pub(super) fn cost(&self, section: usize, empty: u64) -> f64 {
        self.rule.weigh((self.ground.load[section] + empty) as f64 / self.wanted as f64)
    }
}
