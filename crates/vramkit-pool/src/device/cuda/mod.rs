//! A CUDA card as a device, by its driver, which is loaded at run time.
//!
//! ```text
//! reserve ──► cuMemAddressReserve      commit ──► a page from the cache, or cuMemCreate ──► cuMemMap, cuMemSetAccess
//!                                    decommit ──► cuMemUnmap ──► the cache, or cuMemRelease
//! ```
//!
//! A page is a granule: the driver undoes mappings whole only, and creating one takes a hundred times as long as
//! mapping it, hence the cache. Where the card or driver has no virtual memory management, reserving allocates
//! (`cuMemAlloc`), and committing is book-keeping. Every access is checked against the book first, because an
//! access out of bounds would lose the context for the whole process.
#![allow(unsafe_code)]

#[macro_use]
mod functions;

mod card;
mod device;
mod driver;
mod nvml;
mod stream;
mod visible;

pub use device::{CudaDevice, StreamPoolMemory};
pub use driver::CudaError;
pub use nvml::{NvmlCard, NvmlError, NvmlMemory, NvmlProcess};
pub use stream::CudaStream;
