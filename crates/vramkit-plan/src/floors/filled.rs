//! What is decided so far: how high each section is filled, and which items are placed.

use super::ground::Ground;

/// The floor of a section whose tensors are all placed.
pub(super) const DONE: u64 = u64::MAX / 4;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Filled {
    /// By section: below it all is decided.
    pub(super) floor: Vec<u64>,
    /// By section: the lowest obstacle above the floor.
    pub(super) next: Vec<u32>,
    /// By section: bytes below the floor that are left empty.
    pub(super) empty: Vec<u64>,
    /// A bit for each item that is placed.
    pub(super) placed: Vec<u64>,
    /// Stands for the set of what is placed.
    pub(super) set: u64,
}

impl Clone for Filled {
    fn clone(&self) -> Self {
        let mut own = Self::default();
        own.clone_from(self);
        own
    }

    fn clone_from(&mut self, other: &Self) {
        let Self { floor, next, empty, placed, set } = other;
        self.floor.clone_from(floor);
        self.next.clone_from(next);
        self.empty.clone_from(empty);
        self.placed.clone_from(placed);
        self.set = *set;
    }
}

impl Filled {
    /// Nothing.
    pub(super) fn new(ground: &Ground) -> Self {
        let count = ground.sections();
        let placed = vec![0; ground.items.len() / 64 + 1];
        Self { floor: vec![0; count], next: vec![0; count], empty: vec![0; count], placed, set: 0 }
    }

    pub(super) fn is_placed(&self, item: u32) -> bool {
        self.placed[item as usize / 64] >> (item % 64) & 1 == 1
    }

    /// Whether an item fits below the obstacles above the floor that all its sections have.
    pub(super) fn fits(&self, ground: &Ground, item: u32, floor: u64) -> bool {
        if ground.is_open() {
            return true;
        }
        let item = &ground.items[item as usize];
        let top = floor.next_multiple_of(item.alignment) + item.size;
        let mut sections = item.first as usize..item.end as usize;
        sections.all(|s| ground.obstacle(s, self.next[s]).is_none_or(|(low, _)| top <= low))
    }
}
