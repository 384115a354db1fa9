//! The KV cache: blocks of a few tokens, granted by the pool as sequences grow and given back as they end.
//!
//! In: how many tokens a sequence is to have room for, and which. Out: its blocks, group by group; what layers with a window no
//! longer look at goes back while the sequence goes on. Layers that look equally far back are a group, and a block holds all of a
//! group's layers, so that a token costs exactly its bytes rounded up to blocks. Never here: arithmetic, or which sequence has to
//! make way. Why blocks and not one growing range a sequence: `docs/decisions/019-kv-blocks.md`.

mod block;
mod prefixes;

use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::pool::{DeviceMemoryPool, Holder, OwnerId, PoolError, Purpose, Request, TagId};

pub(crate) use block::{Block, BlockError};
use prefixes::{Node, Prefixes};

use crate::attention::{BLOCK, CacheLayout};

/// Layers that look equally far back.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub layout: CacheLayout,
    /// Tokens that its layers look back, the present one counted; `None` for all.
    pub window: Option<usize>,
}

impl Group {
    /// Bytes of a block, as the pool grants them.
    pub fn granted(&self) -> u64 {
        self.layout.block_bytes().bytes().next_multiple_of(Request::ALIGNMENT)
    }

    /// The most blocks that a sequence of so many tokens holds at once, when up to `step` tokens are computed in one step.
    pub fn most_blocks(&self, tokens: usize, step: usize) -> usize {
        let all = tokens.div_ceil(BLOCK);
        match self.window {
            // The window behind the first of a step's tokens, cut at blocks on both sides.
            Some(window) => all.min(window.saturating_add(step).div_ceil(BLOCK) + 1),
            None => all,
        }
    }
}

/// A model's KV cache in a pool.
#[derive(Debug)]
pub(crate) struct KvCache {
    pool: Arc<DeviceMemoryPool>,
    owner: OwnerId,
    holder: Holder,
    pub groups: Vec<Group>,
    prefixes: Prefixes,
}

/// What a sequence holds.
#[derive(Debug, Default)]
pub(crate) struct SequenceBlocks {
    /// By group, then by place in the sequence; `None` once no layer of the group looks there any more.
    pub groups: Vec<Vec<Option<Arc<Block>>>>,
    /// The last of its full blocks that is known to [`Prefixes`], and how many those are.
    node: Node,
    known: usize,
    /// Blocks before this place are another sequence's too.
    pub shared: usize,
}

impl KvCache {
    /// For a model of this name; nothing is granted yet.
    pub fn new(pool: &Arc<DeviceMemoryPool>, model: &str, groups: Vec<Group>) -> Result<Self, PoolError> {
        let owner = pool.borrow_owner(model, Purpose::Kv)?;
        Ok(Self {
            pool: pool.clone(),
            owner,
            holder: Holder::from(model),
            groups,
            prefixes: Prefixes::default(),
        })
    }

    /// The most that the model's sequences may hold together.
    pub fn set_budget(&self, budget: Option<ByteSize>) -> Result<(), PoolError> {
        self.pool.set_budget(self.owner, budget)
    }

    /// Nothing, for a sequence that begins.
    pub fn begin(&self) -> SequenceBlocks {
        SequenceBlocks { groups: vec![Vec::new(); self.groups.len()], ..SequenceBlocks::default() }
    }

    /// Takes over what other sequences have computed of the same tokens; returns how many of them. At least the last token is
    /// left, so that there is something to compute.
    pub fn adopt(&self, blocks: &mut SequenceBlocks, tokens: &[u32]) -> usize {
        let mut found = Vec::new();
        let mut node = Node::default();
        for chunk in tokens[..tokens.len().saturating_sub(1)].as_chunks::<BLOCK>().0 {
            let Some((next, memory)) = self.prefixes.find(node, chunk) else { break };
            found.push((next, memory));
            node = next;
        }
        // As far as every group has what it looks at from there on.
        let reaches = |count: usize, (at, group): (usize, &Group)| {
            let first = group.window.map_or(0, |window| (count * BLOCK + 1).saturating_sub(window) / BLOCK);
            (first..count).all(|place| found[place].1[at].is_some())
        };
        let most = (1..=found.len())
            .rev()
            .find(|&count| self.groups.iter().enumerate().all(|group| reaches(count, group)));
        let Some(count) = most else { return 0 };
        for (node, memory) in found.into_iter().take(count) {
            blocks.node = node;
            for (group, block) in blocks.groups.iter_mut().zip(memory) {
                group.push(block);
            }
        }
        (blocks.known, blocks.shared) = (count, count);
        count * BLOCK
    }

    /// Makes room for tokens up to `tokens` of which those from `from` on are about to be computed, and gives back what
    /// nothing looks at any more. On an error the sequence has what it had, less that.
    pub fn grow(
        &self,
        blocks: &mut SequenceBlocks,
        from: usize,
        tokens: usize,
        tag: TagId,
    ) -> Result<(), BlockError> {
        for (group, held) in self.groups.iter().zip(&mut blocks.groups) {
            if let Some(window) = group.window {
                let first = (from + 1).saturating_sub(window) / BLOCK;
                let gone = first.min(held.len());
                held[..gone].iter_mut().for_each(|block| *block = None);
            }
        }
        for (group, held) in self.groups.iter().zip(&mut blocks.groups) {
            let size = group.layout.block_bytes();
            while held.len() < tokens.div_ceil(BLOCK) {
                let memory = self.pool.allocate(Request::new(size).owner(self.owner).tag(tag))?;
                held.push(Some(Arc::new(Block::new(memory)?)));
            }
        }
        Ok(())
    }

    /// Lets others share the blocks that are full, now that the first `computed` of these tokens are computed.
    pub fn publish(&mut self, blocks: &mut SequenceBlocks, tokens: &[u32], computed: usize) {
        let full = tokens[..computed].as_chunks::<BLOCK>().0;
        for (place, chunk) in full.iter().enumerate().skip(blocks.known) {
            let memory: Vec<_> = blocks.groups.iter().map(|group| group[place].clone()).collect();
            blocks.node = self.prefixes.add(blocks.node, chunk, &memory);
            blocks.known = place + 1;
        }
    }

    /// Bytes granted for a sequence of so many tokens that shares nothing, at most.
    pub fn most_bytes(&self, tokens: usize, step: usize) -> u64 {
        self.groups.iter().map(|group| group.most_blocks(tokens, step) as u64 * group.granted()).sum()
    }

    /// Bytes that the keys and values of one more token take in all groups, rounding left out.
    pub fn bytes_per_token(&self) -> u64 {
        self.groups.iter().map(|group| group.layout.bytes_per_token().bytes()).sum()
    }

    /// Bytes of the keys and values of a sequence's tokens, rounding left out: in groups with a window those in it.
    pub fn bytes_of(&self, tokens: usize) -> u64 {
        let each = |group: &Group| {
            let kept = group.window.map_or(tokens, |window| window.min(tokens));
            kept as u64 * group.layout.bytes_per_token().bytes()
        };
        self.groups.iter().map(each).sum()
    }

    /// Bytes that the pool has granted to the model's sequences: now, and at most so far.
    pub fn granted(&self) -> (ByteSize, ByteSize) {
        let owners = self.pool.owners();
        let mine = owners.iter().find(|owner| owner.purpose == Purpose::Kv && owner.model == self.holder);
        mine.map_or((ByteSize::ZERO, ByteSize::ZERO), |mine| (mine.granted_bytes, mine.peak_bytes))
    }
}

impl Drop for KvCache {
    fn drop(&mut self) {
        self.pool.return_owner(self.owner);
    }
}
