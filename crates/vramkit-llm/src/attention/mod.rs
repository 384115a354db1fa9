//! Attention and the other arithmetic that is no product with weights.
//!
//! In: plain slices that the caller was granted (queries, blocks of the KV cache, scratch). Out: numbers in slices of the
//! caller's. Never: an allocation per call, a thread, or a result that depends on what is computed beside it: a query's
//! bits are the same alone and in a tile, in one piece and in chunks, at every [`Level`] of vector instructions.

mod attend;
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
pub use error::AttentionError;
pub use layout::{BLOCK, CacheKind, CacheLayout};
pub use level::Level;
pub use query::{Attend, Blocks};
pub use range::CHUNK;
pub use rope::{Rope, RopeScaling, RopeStyle};
pub use rows::RowsMut;
pub use store::write_token;
