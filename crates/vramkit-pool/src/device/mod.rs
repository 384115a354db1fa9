//! Where memory comes from.
//!
//! In: address ranges to reserve, granules to commit and decommit, bytes to move. Out: addresses, errors with
//! numbers, and [readings](Reading) that say where they come from. A device never decides who gets memory and
//! keeps no allocations: that is the [pool](crate::pool)'s job.
//!
//! The primitive is virtual memory: *reserve* takes addresses and no memory, *commit* puts physical granules
//! behind part of them, *decommit* takes the granules away again. Each device checks every access against
//! what is committed, so an access out of bounds is an error and never a fault.
//!
//! ```text
//! RawMemory ──► Checked ──► Backing ──► Reservation     owned by a pool: commit, decommit, bytes
//! (raw calls)   (checks)      └── is a Device          for readers: what it is, how much it has
//! ```
//!
//! ```
//! use vramkit_pool::ByteSize;
//! use vramkit_pool::device::{Backing, Device, SimulatedDevice};
//!
//! let card = SimulatedDevice::new(ByteSize::gib(80));
//! let memory = card.reserve(ByteSize::gib(200))?; // addresses are cheap
//! let first = memory.range().part(0, card.info().granularity).expect("inside");
//! memory.commit(first)?;
//! memory.fill(first, 0x2a2a_2a2a)?;
//! drop(memory); // gives back what is committed
//! assert_eq!(card.memory().committed_bytes.value, Some(ByteSize::ZERO));
//! # Ok::<(), vramkit_pool::device::DeviceError>(())
//! ```

mod backing;
mod checked;
mod cuda;
mod error;
mod host;
mod info;
mod manual;
mod range;
mod reading;
mod regions;
mod simulated;
mod stream;
mod system;

pub use backing::{Backing, HostMemory, Reservation, find_mismatch};
pub(crate) use backing::{asker, find_mismatch_by};
pub use checked::{Allowed, Checked, RawMemory};
pub use cuda::{
    CudaDevice, CudaError, CudaStream, NvmlCard, NvmlError, NvmlMemory, NvmlProcess, StreamPoolMemory,
};
pub use error::DeviceError;
pub use host::HostDevice;
pub use info::{Device, DeviceInfo, DeviceKind, DeviceMemory};
pub use manual::ManualStream;
pub use range::AddressRange;
pub use reading::{Origin, Reading, nvml_size};
pub use simulated::{Fault, SimulatedDevice, SimulatedDeviceBuilder};
pub use stream::{Stream, StreamEvent, StreamId};
