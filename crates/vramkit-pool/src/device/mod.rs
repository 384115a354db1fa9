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

mod backing;
mod checked;
mod cuda;
mod host;
mod manual;
mod regions;
mod simulated;
mod stream;
mod system;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use backing::{Backing, HostMemory, Reservation, find_mismatch};
pub(crate) use backing::{asker, find_mismatch_by};
pub use checked::{Allowed, Checked, RawMemory};
pub use cuda::{CudaDevice, CudaError, CudaStream, StreamPoolMemory};
pub use host::HostDevice;
pub use manual::ManualStream;
pub use simulated::{Fault, SimulatedDevice, SimulatedDeviceBuilder};
pub use stream::{Stream, StreamEvent, StreamId};

use vramkit_units::ByteSize;

/// A half-open range of device addresses, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    /// The first address.
    pub base: u64,
    /// How many bytes follow it.
    pub size: ByteSize,
}

impl AddressRange {
    /// The range of `size` bytes from `base`.
    pub const fn new(base: u64, size: ByteSize) -> Self {
        Self { base, size }
    }

    /// One past the last address, saturating at 2^64 - 1.
    pub const fn end(self) -> u64 {
        self.base.saturating_add(self.size.bytes())
    }

    /// The part of `size` bytes that starts `offset` bytes into this range; `None` when it does not lie inside.
    pub fn part(self, offset: u64, size: ByteSize) -> Option<Self> {
        let end = offset.checked_add(size.bytes())?;
        (end <= self.size.bytes()).then(|| Self::new(self.base + offset, size))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}, {:#x})", self.base, self.end())
    }
}

/// What kind of memory a device has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// This machine's main memory.
    Host,
    /// A card of NVIDIA's.
    Cuda,
    /// Book-keeping only.
    Simulated,
    /// A device that others have [written](RawMemory): its own name for the kind, such as `rocm`.
    #[serde(untagged)]
    Other(String),
}

/// Where a number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The operating system of this machine.
    System,
    /// The card's driver.
    Driver,
    /// A limit that the user set.
    Configured,
    /// The simulation's own book-keeping.
    Simulation,
    /// A pool's own counts.
    Pool,
    /// NVIDIA's management library.
    Nvml,
    /// The kernel's files of a card.
    Sysfs,
    /// The control group that this process is in.
    Cgroup,
    /// The sum over processes.
    Processes,
}

/// A number that may be missing, with its origin; a missing one says why and is never shown as zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reading<T> {
    /// The number; `None` when the source does not give it.
    pub value: Option<T>,
    /// Who was asked.
    pub source: Origin,
    /// Why there is no number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

impl<T> Reading<T> {
    /// A number that `source` gave.
    pub fn known(value: T, source: Origin) -> Self {
        Self { value: Some(value), source, unavailable: None }
    }

    /// No number, because of `reason`.
    pub fn unavailable(source: Origin, reason: impl Into<String>) -> Self {
        Self { value: None, source, unavailable: Some(reason.into()) }
    }

    /// The same reading in another form.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Reading<U> {
        Reading { value: self.value.map(form), source: self.source, unavailable: self.unavailable }
    }
}

impl<T: fmt::Display> fmt::Display for Reading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => value.fmt(f),
            None => f.pad("not available"),
        }
    }
}

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceInfo {
    /// How the command line names it: `host`, `sim`, `cuda:0`.
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// The kind of memory.
    pub kind: DeviceKind,
    /// The unit of committing, in bytes.
    #[serde(rename = "granularity_bytes")]
    pub granularity: ByteSize,
    /// Whether the device shares its memory with the host's processor.
    pub unified: Reading<bool>,
    /// Processors that compute at once (streaming multiprocessors, cores).
    pub multiprocessors: Reading<u32>,
    /// Second-level cache, in bytes.
    pub l2_cache_bytes: Reading<ByteSize>,
    /// Width of the memory bus, in bits.
    pub bus_width_bits: Reading<u32>,
    /// Compute capability, as `major.minor`.
    pub compute_capability: Reading<String>,
}

impl DeviceInfo {
    /// A device of which no more is known.
    pub fn new(id: &str, name: &str, kind: DeviceKind, granularity: ByteSize) -> Self {
        const WHY: &str = "this device does not say";
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            kind,
            granularity,
            unified: Reading::unavailable(Origin::Driver, WHY),
            multiprocessors: Reading::unavailable(Origin::Driver, WHY),
            l2_cache_bytes: Reading::unavailable(Origin::Driver, WHY),
            bus_width_bits: Reading::unavailable(Origin::Driver, WHY),
            compute_capability: Reading::unavailable(Origin::Driver, WHY),
        }
    }
}

/// How much memory a device has, read once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceMemory {
    /// All of it, as far as this program may use it.
    pub total_bytes: Reading<ByteSize>,
    /// What could be committed now, given every other process.
    pub free_bytes: Reading<ByteSize>,
    /// What this program has committed through this device.
    pub committed_bytes: Reading<ByteSize>,
}

/// Why a device did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Committing failed for lack of memory.
    #[error("{device} has no memory for {requested} more: {available} available of {total}")]
    OutOfMemory {
        /// The device asked.
        device: String,
        /// Bytes that were to be committed.
        requested: ByteSize,
        /// Bytes that could have been committed.
        available: ByteSize,
        /// The device's capacity.
        total: ByteSize,
    },
    /// No address range of that size is to be had.
    #[error("{device} cannot reserve {requested} of addresses: {reason}")]
    AddressSpace {
        /// The device asked.
        device: String,
        /// Size of the range.
        requested: ByteSize,
        /// What the system said.
        reason: String,
    },
    /// The range is not part of a reservation, or not on granule boundaries where it must be.
    #[error("{device}: {operation} of {range}: {reason}")]
    InvalidRange {
        /// The device asked.
        device: String,
        /// What was to be done.
        operation: &'static str,
        /// Where.
        range: AddressRange,
        /// What is wrong with the range.
        reason: &'static str,
    },
    /// The driver or system refused for another reason.
    #[error("{device}: {operation} failed: {reason}")]
    Driver {
        /// The device asked.
        device: String,
        /// What was to be done.
        operation: &'static str,
        /// What the driver said.
        reason: String,
    },
    /// The device went away; everything on it is gone.
    #[error("{device} is lost: its memory is gone; restart the program to use it again")]
    Lost {
        /// The device asked.
        device: String,
    },
}

/// A place that memory comes from, as readers see it: nothing here changes anything. Memory is taken by
/// [`Backing`]. Every method may be called from any thread.
pub trait Device: Send + Sync + fmt::Debug {
    /// What the device is.
    fn info(&self) -> DeviceInfo;

    /// How much memory it has now.
    fn memory(&self) -> DeviceMemory;
}
