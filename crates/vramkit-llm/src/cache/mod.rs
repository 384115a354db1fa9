//! The KV cache: blocks of a few tokens, granted by the pool as sequences grow and given back as they end.
//!
//! In: how many tokens a sequence is to have room for, and which. Out: its blocks, group by group; what layers with a window no
//! longer look at goes back while the sequence goes on. Layers that look equally far back are a group, and a block holds all of a
//! group's layers, so that a token costs exactly its bytes rounded up to blocks. Never here: arithmetic, or which sequence has to
//! make way. Why blocks and not one growing range a sequence: `docs/decisions/019-kv-blocks.md`.

mod block;
mod prefixes;

use std::ops::Range;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::pool::{DeviceMemoryPool, OwnerId, PoolError, Purpose, Request, TagId};

use block::Granted;
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
        Request::granted(self.layout.block_bytes()).bytes()
    }

    /// Blocks that a sequence holds while its tokens `step` are computed: theirs, and those that the first of them looks at.
    fn blocks(&self, step: &Range<usize>) -> usize {
        step.end.div_ceil(BLOCK) - self.first(step.start)
    }

    /// The first block that a token looks at, or a later one.
    fn first(&self, token: usize) -> usize {
        self.window.map_or(0, |window| (token + 1).saturating_sub(window) / BLOCK)
    }
}

/// The most bytes that are granted at once for a sequence of so many tokens that shares nothing.
pub(crate) fn most_bytes(groups: &[Group], tokens: usize, chunks: Chunks) -> u64 {
    let bytes = |step: &Range<usize>| {
        let each = |group: &Group| (group.blocks(step) as u64).saturating_mul(group.granted());
        groups.iter().map(each).fold(0, u64::saturating_add)
    };
    chunks.widest(tokens).iter().map(bytes).max().unwrap_or(0)
}

/// How a sequence is cut into steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunks {
    /// Most tokens of one.
    pub tokens: usize,
    /// Whether each begins at a multiple of its tokens, which are whole blocks; single tokens aside.
    pub begin_with_blocks: bool,
}

impl Chunks {
    /// In steps of so many tokens that so many sequences share: one alone goes on where its last step ended, others take some of
    /// its tokens.
    pub fn of(step_tokens: usize, sequences: usize) -> Self {
        Self { tokens: step_tokens, begin_with_blocks: sequences == 1 && step_tokens.is_multiple_of(BLOCK) }
    }

    /// The steps of a sequence of so many tokens among which is the one that holds most: no other reaches further forward, or as
    /// far and further back.
    fn widest(self, tokens: usize) -> [Range<usize>; 3] {
        if self.begin_with_blocks {
            let whole = tokens - tokens % self.tokens;
            [whole.saturating_sub(self.tokens)..whole, whole..tokens, tokens.saturating_sub(1)..tokens]
        } else {
            // As soon as the last block is needed, so that the step reaches back as far as it can.
            let end = tokens.saturating_sub(1) / BLOCK * BLOCK + tokens.min(1);
            [end.saturating_sub(self.tokens)..end, 0..0, 0..0]
        }
    }
}

/// A model's KV cache in a pool.
#[derive(Debug)]
pub(crate) struct KvCache {
    pool: Arc<DeviceMemoryPool>,
    owner: OwnerId,
    /// Whether the owner has a budget from here.
    is_capped: bool,
    granted: Arc<Granted>,
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
            is_capped: false,
            granted: Arc::default(),
            groups,
            prefixes: Prefixes::default(),
        })
    }

    /// The most that the model's sequences may hold together.
    pub fn set_budget(&mut self, budget: Option<ByteSize>) -> Result<(), PoolError> {
        self.is_capped = true;
        self.pool.set_budget(self.owner, budget)
    }

    /// What the ledger calls blocks.
    pub fn tag(&self, name: &str) -> Result<TagId, PoolError> {
        self.pool.try_tag(name)
    }

    /// Bytes that the model's sequences hold and that the pool has left, together.
    pub fn room(&self) -> u64 {
        self.granted.now().saturating_add(self.pool.available().bytes())
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
            (group.first(count * BLOCK)..count).all(|place| found[place].1[at].is_some())
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
            let gone = group.first(from).min(held.len());
            held[..gone].iter_mut().for_each(|block| *block = None);
        }
        for (group, held) in self.groups.iter().zip(&mut blocks.groups) {
            let size = group.layout.block_bytes();
            while held.len() < tokens.div_ceil(BLOCK) {
                let memory = self.pool.allocate(Request::new(size).owner(self.owner).tag(tag))?;
                held.push(Some(Arc::new(Block::new(memory, &self.granted)?)));
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

    /// As [`most_bytes`], of this model.
    pub fn most_bytes(&self, tokens: usize, chunks: Chunks) -> u64 {
        most_bytes(&self.groups, tokens, chunks)
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
        (ByteSize::new(self.granted.now()), ByteSize::new(self.granted.most()))
    }
}

impl Drop for KvCache {
    /// The next model of this name has a budget of its own.
    fn drop(&mut self) {
        if self.is_capped
            && let Err(error) = self.pool.set_budget(self.owner, None)
        {
            tracing::warn!(%error, "the budget of keys and values could not be lifted");
        }
        self.pool.return_owner(self.owner);
    }
}
