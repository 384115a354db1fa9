//! What readers may ask of a device: what it is and how much memory it has.

use std::fmt;

use serde::{Deserialize, Serialize};
use vramkit_units::ByteSize;

use super::reading::{Origin, Reading};

/// What kind of memory a device has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeviceKind {
    /// This machine's main memory.
    Host,
    /// A card of NVIDIA's.
    Cuda,
    /// Book-keeping only.
    Simulated,
    /// A device that others have [written](super::RawMemory): its own name for the kind, such as `rocm`.
    #[serde(untagged)]
    Other(String),
}

/// What a device is.
///
/// ```
/// use vramkit_pool::ByteSize;
/// use vramkit_pool::device::{DeviceInfo, DeviceKind};
///
/// let kind = DeviceKind::Other("rocm".to_owned());
/// let info = DeviceInfo::new("rocm:0", "a card of AMD's", kind, ByteSize::mib(2));
/// assert_eq!(info.l2_cache_bytes.to_string(), "not available");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceInfo {
    /// How the command line names it: `host`, `sim`, `cuda:0`.
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// Its identity wherever it is plugged in and whatever numbers it has, where the driver gives one: `GPU-…`, `MIG-…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The kind of memory.
    pub kind: DeviceKind,
    /// The unit of committing, in bytes; 0 where this program takes no memory of it.
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
            uuid: None,
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

/// A place that memory comes from, as readers see it: nothing here changes anything. Memory is taken by
/// [`Backing`](super::Backing). Every method may be called from any thread.
pub trait Device: Send + Sync + fmt::Debug {
    /// What the device is.
    fn info(&self) -> DeviceInfo;

    /// How much memory it has now.
    fn memory(&self) -> DeviceMemory;

    /// Tells apart devices of one id whose memory is not the same: simulated ones, and shares of the host's, each have a number
    /// of their own. 0 where it is all that has the id.
    fn instance(&self) -> u64 {
        0
    }
}
