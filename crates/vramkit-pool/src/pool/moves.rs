//! Which movable blocks must stay where they are, and which one is being moved.
//!
//! Whoever uses a block's address, or is about to release it, holds it; a held block is not moved, and who would hold one
//! that is being moved waits for that to end. The one who moves waits for nobody. No lock here is held while anything
//! else is done, but the book's may be held by the caller who begins a move.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::sync::lock_std;

/// See the [module](self). Blocks by their place in the table.
#[derive(Debug, Default)]
pub(super) struct Moves {
    state: Mutex<State>,
    ended: Condvar,
    /// Taken for a whole compaction: one at a time.
    compacting: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// How often each is held.
    held: HashMap<u32, u32>,
    /// The one that is being moved, and the one moved before it, from which the next is looked for.
    moving: Vec<u32>,
}

impl Moves {
    /// Keeps a block where it is until [`let_go`](Self::let_go).
    pub(super) fn pin(&self, index: u32) {
        let state = lock_std(&self.state);
        let waited = self.ended.wait_while(state, |state| state.moving.contains(&index));
        *waited.unwrap_or_else(PoisonError::into_inner).held.entry(index).or_default() += 1;
    }

    /// Undoes one [`pin`](Self::pin).
    pub(super) fn let_go(&self, index: u32) {
        let mut state = lock_std(&self.state);
        if let Some(count) = state.held.get_mut(&index) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(&index);
            }
        }
    }

    /// Keeps a block where it is until the guard is dropped.
    pub(super) fn hold(&self, index: u32) -> Hold<'_> {
        self.pin(index);
        Hold { moves: self, index }
    }

    pub(super) fn is_held(&self, index: u32) -> bool {
        lock_std(&self.state).held.contains_key(&index)
    }

    /// Begins to move a block, unless it is held. The move ends when the guard is dropped.
    pub(super) fn begin(&self, index: u32) -> Option<Move<'_>> {
        let mut state = lock_std(&self.state);
        if state.held.contains_key(&index) {
            return None;
        }
        state.moving.push(index);
        Some(Move { moves: self, index })
    }

    /// Waits until nobody else compacts.
    pub(super) fn compacting(&self) -> MutexGuard<'_, ()> {
        lock_std(&self.compacting)
    }
}

/// A block that stays where it is.
pub(super) struct Hold<'a> {
    moves: &'a Moves,
    index: u32,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.moves.let_go(self.index);
    }
}

/// A move under way.
pub(super) struct Move<'a> {
    moves: &'a Moves,
    pub(super) index: u32,
}

impl Drop for Move<'_> {
    fn drop(&mut self) {
        lock_std(&self.moves.state).moving.retain(|&index| index != self.index);
        self.moves.ended.notify_all();
    }
}
