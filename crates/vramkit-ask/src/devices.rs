//! What is here and how much memory it has: `vramkit.devices/1`.
//!
//! In: nothing, the machine is asked. Out: every device with what its driver says, and the kinds of which there is none with
//! the reason. Takes no memory.

use serde::Serialize;
use vramkit::device::{
    CudaDevice, Device, DeviceInfo, DeviceKind, DeviceMemory, HostDevice, StreamPoolMemory,
};

/// The devices of this machine: `vramkit.devices/1`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DevicesReport {
    /// `vramkit.devices/1`.
    pub schema: &'static str,
    /// The devices.
    pub devices: Vec<DeviceReport>,
    /// Kinds of device of which there is none, and why.
    pub unavailable: Vec<UnavailableReport>,
}

/// A kind of device that is not here.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UnavailableReport {
    /// The kind.
    pub kind: DeviceKind,
    /// Why there is none.
    pub reason: String,
}

/// One device of this machine.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DeviceReport {
    /// What it is.
    #[serde(flatten)]
    pub info: DeviceInfo,
    /// How much memory it has.
    #[serde(flatten)]
    pub memory: DeviceMemory,
    /// What the driver's default stream-ordered pool holds; absent for a device without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_pool: Option<StreamPoolMemory>,
}

/// Looks at what is here.
///
/// A kind of device that is not here is part of the answer, so there is always one.
///
/// ```
/// let report = vramkit_ask::devices();
/// assert_eq!(report.devices[0].info.id, "host");
/// ```
pub fn devices() -> DevicesReport {
    let host = HostDevice::with_available_memory();
    let mut devices = vec![DeviceReport { info: host.info(), memory: host.memory(), stream_pool: None }];
    let mut unavailable = Vec::new();
    match CudaDevice::all() {
        Ok(cards) => devices.extend(cards.iter().map(|card| DeviceReport {
            info: card.info(),
            memory: card.memory(),
            stream_pool: Some(card.stream_pool()),
        })),
        Err(error) => {
            unavailable.push(UnavailableReport { kind: DeviceKind::Cuda, reason: error.to_string() });
        }
    }
    DevicesReport { schema: "vramkit.devices/1", devices, unavailable }
}
