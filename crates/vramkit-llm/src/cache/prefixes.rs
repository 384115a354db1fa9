//! Which full blocks are there, by what they hold: so that sequences that begin alike share them.
//!
//! A block is known by the block before it and by its tokens, compared and not hashed alone. Nothing is kept alive here: a block
//! that no sequence has any more is gone.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::block::Block;
use crate::attention::BLOCK;

/// Names a full block among all that there ever were; 0 is the place before a sequence's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Node(u64);

pub(crate) type Tokens = [u32; BLOCK];

struct Known {
    node: Node,
    /// One for each group; that of a group with a window may be gone before the others.
    blocks: Vec<Weak<Block>>,
}

/// Full blocks by what they hold.
#[derive(Default)]
pub(crate) struct Prefixes {
    known: HashMap<(Node, Tokens), Known>,
    last: u64,
    sweep_at: usize,
}

impl Prefixes {
    /// The block that holds these tokens behind that one, and its memory in each group, as far as it is there.
    pub fn find(&self, before: Node, tokens: &Tokens) -> Option<(Node, Vec<Option<Arc<Block>>>)> {
        let known = self.known.get(&(before, *tokens))?;
        Some((known.node, known.blocks.iter().map(Weak::upgrade).collect()))
    }

    /// Makes a block known that has become full. When an equal one is known and there, sequences that come share that one.
    pub fn add(&mut self, before: Node, tokens: &Tokens, blocks: &[Option<Arc<Block>>]) -> Node {
        let fresh =
            || blocks.iter().map(|block| block.as_ref().map_or_else(Weak::new, Arc::downgrade)).collect();
        if let Some(known) = self.known.get_mut(&(before, *tokens)) {
            if known.blocks.iter().any(|block| block.strong_count() == 0) {
                known.blocks = fresh();
            }
            return known.node;
        }
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, known| known.blocks.iter().any(|block| block.strong_count() > 0));
            // Twice what is alive, so that sweeping costs a constant for each block.
            self.sweep_at = 2 * self.known.len() + 64;
        }
        self.last += 1;
        let node = Node(self.last);
        self.known.insert((before, *tokens), Known { node, blocks: fresh() });
        node
    }
}

impl std::fmt::Debug for Prefixes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefixes").field("known", &self.known.len()).finish_non_exhaustive()
    }
}
