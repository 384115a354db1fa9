//! Attention and the other arithmetic that is no product with weights.
//!
//! In: plain slices that the caller was granted (queries, blocks of the KV cache, scratch). Out: numbers in slices of the
//! caller's. Never: an allocation per call, a thread, or a result that depends on what is computed beside it: a query's
//! bits are the same alone and in a tile, in one piece and in chunks, at every [`Level`] of vector instructions.
//!
//! ```
//! use vramkit_llm::attention::{Attend, CacheKind, CacheLayout, Level, RowsMut, attend, scratch_len, write_token};
//!
//! // One layer, one head of 8 numbers, one token: whoever looks at it sees its value.
//! let layout = CacheLayout::new(1, 1, 8, 8, CacheKind::F32)?;
//! let mut block = vec![0; layout.block_bytes().bytes() as usize];
//! write_token(Level::best(), &layout, &mut block, 0, &[1.0; 8], &[3.0; 8])?;
//! let blocks: &[&[u8]] = &[&block];
//! let query = Attend {
//!     layout: &layout,
//!     blocks: &blocks,
//!     layer: 0,
//!     head: 0,
//!     queries: &[0.5; 8],
//!     stride: 8,
//!     group: 1,
//!     tokens: 1,
//!     position: 0,
//!     window: None,
//!     scale: 1.0,
//!     soft_cap: None,
//! };
//! let (mut scratch, mut out) = (vec![0.0; scratch_len(&layout, 1, 1)?], [0.0; 8]);
//! attend(Level::best(), &query, &mut scratch, &mut RowsMut::new(&mut out, 1, 8, 8)?)?;
//! assert_eq!(out, [3.0; 8]);
//! # Ok::<(), vramkit_llm::attention::AttentionError>(())
//! ```

mod attend;
mod cache_kind;
mod chunk;
mod convert;
mod error;
mod layout;
mod level;
mod math;
pub mod ops;
mod query;
mod range;
mod rope;
mod rows;
mod score;
mod scratch;
mod soften;
mod store;
mod weigh;

pub use attend::{attend, attend_chunk, chunks, combine, partial_len, scratch_len};
pub use cache_kind::CacheKind;
pub use error::AttentionError;
pub use layout::{BLOCK, CacheLayout};
pub use level::Level;
pub use query::{Attend, Blocks};
pub use range::CHUNK;
pub use rope::{Rope, RopeScaling, RopeStyle};
pub use rows::RowsMut;
pub use store::write_token;
