//! The memory that models are to fit in: a size, or what a device has free now.

use vramkit::ByteSize;
use vramkit_fit::Room;

use super::question::FitMemory;
use super::report::FitMemoryReport;
use crate::device::DeviceChoice;
use crate::error::AskError;

/// A memory, with what is to be said of it.
pub(crate) struct Memory {
    pub(crate) room: Room,
    pub(crate) report: FitMemoryReport,
    pub(crate) note: Option<&'static str>,
}

/// Looks how much there is.
pub(crate) fn memory(of: FitMemory) -> Result<Memory, AskError> {
    let choice = match of {
        FitMemory::Size(size) => {
            let room = Room::of(size);
            let report = FitMemoryReport::new(None, &room);
            let note = (size < ByteSize::mib(1)).then_some("a size without a unit is in bytes");
            return Ok(Memory { room, report, note });
        }
        FitMemory::Device(choice) => choice,
    };
    let device = choice.open(None).map_err(|error| AskError::DeviceUnavailable { device: choice, error })?;
    let memory = device.memory();
    let unread = |why: Option<String>| AskError::NoReading {
        device: choice,
        reason: why.unwrap_or_else(|| "its driver does not say".to_owned()),
    };
    let total = memory.total_bytes.value.ok_or_else(|| unread(memory.total_bytes.unavailable))?;
    let free = memory.free_bytes.value.ok_or_else(|| unread(memory.free_bytes.unavailable))?;
    let room = Room { total, free: free.min(total) };
    // A card's driver answers within a context, which is memory too: 527 MiB on an H200.
    let note = matches!(choice, DeviceChoice::Cuda(_)).then_some(
        "the card was asked from a context of this program, which goes with it: some hundred MiB more are free than it said",
    );
    Ok(Memory { room, report: FitMemoryReport::new(Some(choice.to_string()), &room), note })
}
