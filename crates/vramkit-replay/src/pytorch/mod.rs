//! PyTorch's caching allocator, as far as it decides how much memory is reserved and what is refused: `CUDACachingAllocator.cpp`.
//!
//! ```text
//! PYTORCH_CUDA_ALLOC_CONF ──► Settings ──► Allocator ──► Caches (free blocks of a pool, by stream and size)
//!                                              │    ──► Blocks (neighbours in a segment)
//!                                              └──────► Device (segments and pages, and how much there is)
//! ```
//!
//! * Sizes are rounded up to 512 bytes, or to a division of a power of two. Those up to 1 MiB come from segments of 2 MiB, larger ones
//!   from segments of 20 MiB, and from 10 MiB on from segments of their own size, rounded up to 2 MiB.
//! * The smallest free block of the pool and the stream that fits is taken, the lowest of those. What is left over is split off when it
//!   has 512 bytes (small) or more than 1 MiB (large). Freed blocks join free neighbours of their segment.
//! * Segments stay. When a new one does not fit into the capacity, cached blocks go: large ones that may not be split first, then all
//!   segments that are wholly free, once what waits for other streams has come back.
//! * With expandable segments each stream of each pool has a range that grows by pages of 2 or 20 MiB, and gives any free page back.

mod allocator;
mod blocks;
mod caches;
mod collect;
mod device;
mod expandable;
mod settings;

pub(crate) use allocator::Allocator;
pub use settings::{AllocatorSettings, SettingsError};
