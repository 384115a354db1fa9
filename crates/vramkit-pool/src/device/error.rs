//! Why a device did not do what it was asked, with the numbers.

use vramkit_units::ByteSize;

use super::range::AddressRange;

/// Why a device did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
