//! What a search prefers: how height is weighed, which valley comes first, and which of equal choices.

use super::ground::Item;

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rule {
    /// Height over the one that is wanted counts to the power of 2 to this: the higher, the more the highest sections decide.
    pub(super) doublings: u32,
    /// How much a valley's depth counts beside how few choices there are in it: 0 for the tightest, 100 for the lowest first.
    pub(super) depth: f32,
    /// Which of equal choices.
    pub(super) first: First,
}

/// Which of the choices that cost the same comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// Longest.
    Long,
    /// Largest.
    Large,
    /// Flush with the walls beside it, then longest.
    FlushLong,
    /// Flush with the walls beside it, then largest.
    FlushLarge,
    /// Flush with the walls beside it, then the most bytes times time.
    FlushArea,
}

/// The rules in the order in which they are tried: what packs most of the families in `docs/planning.md` best comes first.
pub(super) const RULES: [Rule; 8] = [
    Rule { doublings: 6, depth: 0.0, first: First::Long },
    Rule { doublings: 6, depth: 100.0, first: First::FlushLong },
    Rule { doublings: 3, depth: 0.0, first: First::FlushArea },
    Rule { doublings: 6, depth: 0.0, first: First::Large },
    Rule { doublings: 4, depth: 1.0, first: First::FlushLong },
    Rule { doublings: 6, depth: 1.0, first: First::FlushLarge },
    Rule { doublings: 3, depth: 0.0, first: First::Long },
    Rule { doublings: 4, depth: 100.0, first: First::FlushArea },
];

/// What stands beside a tensor where it is put: how far the walls on both sides rise over the floor, at most to the height
/// that is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walls {
    pub(super) before: u64,
    pub(super) after: u64,
    pub(super) wanted: u64,
}

impl Rule {
    /// A height in units of the one that is wanted, as it counts.
    #[inline]
    pub(super) fn weigh(self, height: f64) -> f64 {
        (0..self.doublings).fold(height, |value, _| value * value)
    }

    /// Less for what comes first of choices that cost the same. `rise` is what the floor gains, with what alignment leaves empty.
    pub(super) fn rank(self, item: &Item, rise: u64, walls: Walls, sections: usize) -> f64 {
        let long = f64::from(item.end - item.first) / sections as f64;
        let large = item.size as f64 / walls.wanted as f64;
        // A wall is worth one, and two more where the tensor ends as high as it does.
        let wall = |wall: u64| f64::from(u8::from(wall > 0)) + 2.0 * f64::from(u8::from(wall == rise));
        let flush = wall(walls.before) + wall(walls.after);
        match self.first {
            First::Long => -long,
            First::Large => -large,
            First::FlushLong => -flush - long,
            First::FlushLarge => -flush - large,
            First::FlushArea => -flush - long * large,
        }
    }
}
