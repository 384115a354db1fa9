//! The stage of a step in which its tokens look at one another: tiles of queries, side by side on threads.
//!
//! In: queries in the arena, keys and values in the sequences' blocks. Out: what was attended, in the arena. Which tiles there are is
//! [`Batch`]'s; how one is computed is `attention`'s.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::attention::{
    Attend, AttentionError, Blocks, RowsMut, attend, attend_chunk, chunks, combine, partial_len,
};
use crate::cache::Group;
use crate::model::arena::{Parts, Scratch};
use crate::model::batch::{Batch, Tile};
use crate::model::failure::Failure;
use crate::model::forward::Step;
use crate::model::step::Activation;
use crate::model::tensors::LayerTensors;

/// A sequence's blocks of one group, as attention reads them.
struct Seen<'a> {
    blocks: &'a [Option<std::sync::Arc<crate::cache::Block>>],
}

impl Blocks for Seen<'_> {
    fn bytes(&self, block: usize, at: Range<usize>) -> Option<&[u8]> {
        let block = self.blocks.get(block)?.as_ref()?;
        // SAFETY: blocks are written in another stage of a layer than they are read in (`keep` is over before `attend`
        // begins), and only by the step that runs.
        Some(unsafe { block.bytes(at.start, at.len()) })
    }
}

impl Step<'_> {
    /// Attention of every sequence: tiles of queries, and for single tokens chunks of keys where few sequences run.
    pub(super) fn attend(
        &self,
        layer: &LayerTensors,
        (group, place): (usize, usize),
        batch: &Batch<'_>,
    ) -> Result<(), AttentionError> {
        let hyper = self.hyper;
        let sharing = hyper.heads / hyper.kv_heads;
        let [query, ..] = self.places(layer);
        // SAFETY: queries are only read from here on.
        let queries = &*unsafe { self.arena.floats(query.of, batch.tokens * query.stride) };
        let stride = hyper.heads * hyper.value;
        // SAFETY: both begin in this stage.
        let (out, memory) = unsafe {
            (
                self.arena.floats(Activation::Attended, batch.tokens * stride),
                self.arena.floats(Activation::Partials, self.memory.floats(hyper, self.threads.count())),
            )
        };
        let out = Parts::new(out);
        let (scratch, parts) = memory.split_at_mut(self.memory.scratch * self.threads.count());
        let scratch = Scratch::new(scratch, self.memory.scratch, self.threads.count());
        let Group { layout, window } = &self.groups[group];
        let seen: Vec<Seen<'_>> =
            batch.parts.iter().map(|part| Seen { blocks: &part.blocks.groups[group] }).collect();
        let of = |tile: &Tile| Attend {
            layout,
            blocks: &seen[tile.part],
            layer: place,
            head: tile.head,
            queries: &queries[tile.row * query.stride + query.offset + tile.head * sharing * hyper.key..],
            stride: query.stride,
            group: sharing,
            tokens: tile.tokens,
            position: tile.position,
            window: *window,
            scale: hyper.attention_scale,
            soft_cap: None,
        };
        let rows = |tile: &Tile| {
            let start = tile.row * stride + tile.head * sharing * hyper.value;
            let width = sharing * hyper.value;
            let address = out.address(start, (tile.tokens - 1) * stride + width);
            // SAFETY: the rows lie in `out`, and each tile's columns of its rows are its own.
            unsafe { RowsMut::from_raw(address, tile.tokens, width, stride) }
        };
        let failure = Failure::default();
        if batch.is_split {
            return self.attend_split(batch, parts, &scratch, &of, &rows);
        }
        self.threads.run(batch.tiles.len(), &|at| {
            let tile = &batch.tiles[at];
            failure.check(scratch.with(|scratch| attend(self.level, &of(tile), scratch, &mut rows(tile))));
        });
        failure.into_result()
    }

    /// The same for single tokens, chunk by chunk.
    fn attend_split<'b>(
        &self,
        batch: &'b Batch<'_>,
        parts: &mut [f32],
        scratch: &Scratch<'_>,
        of: &(dyn Fn(&'b Tile) -> Attend<'b> + Sync),
        rows: &(dyn Fn(&'b Tile) -> RowsMut<'b> + Sync),
    ) -> Result<(), AttentionError> {
        let each = partial_len(&self.groups[0].layout, 1, self.hyper.heads / self.hyper.kv_heads)?;
        let mut tasks = Vec::new();
        let mut ranges = Vec::new();
        let mut end = 0;
        for (at, tile) in batch.tiles.iter().enumerate() {
            let chunks = chunks(&of(tile))?;
            ranges.push((end, chunks.len() * each));
            for chunk in chunks {
                tasks.push((at, chunk, end));
                end += each;
            }
        }
        let parts = Parts::new(&mut parts[..end]);
        let failure = Failure::default();
        self.threads.run(tasks.len(), &|task| {
            let (at, chunk, start) = tasks[task];
            // SAFETY: each chunk's part is one task's.
            let part = unsafe { parts.part(start, each) };
            let attend = of(&batch.tiles[at]);
            failure.check(scratch.with(|scratch| attend_chunk(self.level, &attend, chunk, scratch, part)));
        });
        for (tile, (start, len)) in batch.tiles.iter().zip(ranges) {
            // SAFETY: the tasks are over.
            let parts = unsafe { parts.part(start, len) };
            failure.check(combine(self.level, &of(tile), parts, &mut rows(tile)));
        }
        failure.into_result()
    }
}
