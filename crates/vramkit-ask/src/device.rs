//! Which device a run takes its memory from, by name: `host`, `sim`, `cuda:0`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::device::{Backing, CudaDevice, CudaError, HostDevice, SimulatedDevice};

/// A simulated device without a capacity is as large as a card that many know.
const SIMULATED_CAPACITY: ByteSize = ByteSize::gib(80);

/// A device, by name.
///
/// ```
/// use vramkit_ask::DeviceChoice;
///
/// assert_eq!("cuda:1".parse(), Ok(DeviceChoice::Cuda(1)));
/// assert_eq!(DeviceChoice::Simulated.to_string(), "sim");
/// assert!("gpu".parse::<DeviceChoice>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceChoice {
    /// `host`: this machine's main memory.
    #[default]
    Host,
    /// `sim`: book-keeping without memory behind it.
    Simulated,
    /// `cuda:N`: one of NVIDIA's cards, counted from 0.
    Cuda(u32),
}

/// A name that is no device's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a device: use host, sim or cuda:N")]
#[non_exhaustive]
pub struct ParseDeviceError(pub String);

impl FromStr for DeviceChoice {
    type Err = ParseDeviceError;

    fn from_str(name: &str) -> Result<Self, ParseDeviceError> {
        match name {
            "host" => Ok(Self::Host),
            "sim" => Ok(Self::Simulated),
            _ => {
                let index = name.strip_prefix("cuda:").and_then(|index| index.parse().ok());
                index.map(Self::Cuda).ok_or_else(|| ParseDeviceError(name.to_owned()))
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.pad("host"),
            Self::Simulated => f.pad("sim"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl DeviceChoice {
    /// Opens it. Where its size is ours to say it has at least `capacity`, in whole granules; without one the host has what
    /// is available and the simulation 80 GiB.
    ///
    /// # Errors
    /// A card, or its driver, is not here.
    pub fn open(self, capacity: Option<ByteSize>) -> Result<Arc<dyn Backing>, CudaError> {
        let granules =
            |size: ByteSize| size.checked_align_up(HostDevice::GRANULARITY.bytes()).unwrap_or(size);
        Ok(match (self, capacity) {
            (Self::Host, Some(capacity)) => Arc::new(HostDevice::new(granules(capacity))),
            (Self::Host, None) => Arc::new(HostDevice::with_available_memory()),
            (Self::Simulated, _) => {
                Arc::new(SimulatedDevice::new(granules(capacity.unwrap_or(SIMULATED_CAPACITY))))
            }
            (Self::Cuda(index), _) => Arc::new(CudaDevice::new(index)?),
        })
    }
}
