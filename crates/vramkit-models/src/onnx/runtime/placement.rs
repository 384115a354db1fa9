//! Where buffers are put in the block, one after the other as they are taken: into the smallest gap that is
//! large enough, of equal ones the first; else behind the last live buffer, and the block grows. Sizes are
//! rounded up to 256 bytes. What is free between the last live buffer and the block's end is a gap like any
//! other.

use std::collections::{BTreeMap, BTreeSet};

use crate::onnx::lifetimes::Activation;

/// What happens to an activation's buffer during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Take(usize),
    Free(usize),
}

/// The block while buffers come and go.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// As large as it had to be so far, in bytes.
    pub(super) size: u64,
    /// For each activation, where its buffer is or was.
    pub(super) offsets: Vec<Option<u64>>,
    /// Gaps by where they begin, with their lengths; no two touch.
    gaps: BTreeMap<u64, u64>,
    /// The same by length.
    by_length: BTreeSet<(u64, u64)>,
}

/// Multiple of which all sizes are, in bytes.
const UNIT: u64 = 256;

/// Puts buffers into a block as they are taken.
pub(super) fn place(events: &[Event], activations: &[Activation]) -> Result<Block, String> {
    let mut block = Block { offsets: vec![None; activations.len()], ..Block::default() };
    for event in events {
        let (Event::Take(i) | Event::Free(i)) = *event;
        let Some(activation) = activations.get(i) else { continue };
        let too_large = || format!("`{}`: the plan has more than 2^64 bytes", activation.id);
        let size = activation.bytes.checked_next_multiple_of(UNIT).ok_or_else(too_large)?;
        match event {
            Event::Take(_) => block.offsets[i] = Some(block.take(size).ok_or_else(too_large)?),
            Event::Free(_) => block.offsets[i].into_iter().for_each(|offset| block.free(offset, size)),
        }
    }
    Ok(block)
}

impl Block {
    /// Where so many bytes find room; `None` if the block would be too large.
    fn take(&mut self, size: u64) -> Option<u64> {
        if size == 0 {
            return Some(0);
        }
        if let Some(&(length, offset)) = self.by_length.range((size, 0)..).next() {
            self.close(offset, length);
            self.open(offset + size, length - size);
            return Some(offset);
        }
        let last = self.gaps.last_key_value().map(|(&offset, &length)| (offset, length));
        let offset = match last.filter(|(offset, length)| offset + length == self.size) {
            Some((offset, length)) => {
                self.close(offset, length);
                offset
            }
            None => self.size,
        };
        self.size = offset.checked_add(size)?;
        Some(offset)
    }

    /// Gives room back; what is free on either side joins it.
    fn free(&mut self, offset: u64, size: u64) {
        let (mut from, mut until) = (offset, offset + size);
        let before = self.gaps.range(..offset).next_back().map(|(&offset, &length)| (offset, length));
        if let Some((start, length)) = before.filter(|(start, length)| start + length == from) {
            self.close(start, length);
            from = start;
        }
        if let Some(&length) = self.gaps.get(&until) {
            self.close(until, length);
            until += length;
        }
        self.open(from, until - from);
    }

    fn open(&mut self, offset: u64, length: u64) {
        if length > 0 {
            self.gaps.insert(offset, length);
            self.by_length.insert((length, offset));
        }
    }

    fn close(&mut self, offset: u64, length: u64) {
        self.gaps.remove(&offset);
        self.by_length.remove(&(length, offset));
    }
}
