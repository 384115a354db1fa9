//! Blocks: tensors that fit together in one way only become one, and what is left is packed.
//!
//! ```text
//! problem ──► moments and pieces ──► fewer, larger pieces ──► problem ──► searches ──► placement ──► offsets in blocks
//!             (network)              (reduce: join, pack, cut,                         (fewer buffers)
//!                                     divide, strips; mend)
//! ```
//!
//! Where nothing is empty before and after a moment, what begins then takes exactly the places of what ends. A packing in which that
//! is so at most moments is a network of moments and tensors through which bytes flow (Brooks, Smith, Stone and Tutte, "The dissection
//! of rectangles into squares", 1940), and parts of it that hang together with the rest at two moments only are rectangles. So a
//! whole that was cut into thousands of pieces is put together again in about as many steps. Which of several things that happen at
//! one moment belong together is told by their sizes: what would seldom fit by chance is joined first (`chance`, `strips`), and what
//! keeps the rest from fitting is taken apart again (`mend`). Where that is wrong the answer is higher, and others are better.

mod chance;
mod groups;
mod load;
mod loose;
mod mend;
mod network;
mod reduce;
mod search;
mod strips;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub(super) use search::{Blocks, LooseBlocks};
