//! What a pool takes memory from: owned ranges of addresses, and memory behind parts of them.
//!
//! In: sizes, ranges, bytes. Out: a [`Reservation`], which its owner alone can commit, decommit and reach into. There
//! is no other way to a device's memory, so nobody but the owner can take it away from under whoever uses it.

#![allow(unsafe_code)]

use std::fmt;
use std::ptr::NonNull;

use super::{AddressRange, Device, DeviceError, Reading};
use vramkit_units::ByteSize;

/// A device that memory can be taken from.
pub trait Backing: Device {
    /// Takes at least `size` bytes of addresses, `size` rounded up to granules, without memory behind them. The range
    /// begins on a granule boundary, and is the caller's until it is dropped.
    fn reserve(&self, size: ByteSize) -> Result<Box<dyn Reservation>, DeviceError>;

    /// Whether addresses without memory behind them cost nothing, so that a pool may take many more than it has memory.
    /// Not so unless a device says it.
    fn has_virtual_memory(&self) -> bool {
        false
    }
}

/// A range of a device's addresses, owned: dropped, it goes back with whatever is committed in it.
///
/// Addresses are numbers: on the host they are pointers, elsewhere they mean something to the device alone. Every
/// access is checked against what is committed in this reservation. Every method may be called from any thread.
pub trait Reservation: Send + Sync + fmt::Debug {
    /// The addresses; the same for as long as the reservation lives.
    fn range(&self) -> AddressRange;

    /// Puts memory behind a range on granule boundaries none of which is committed. On an error nothing has changed.
    fn commit(&self, range: AddressRange) -> Result<(), DeviceError>;

    /// Takes the memory behind a range on granule boundaries away, all of which is committed; its content is lost.
    fn decommit(&self, range: AddressRange) -> Result<(), DeviceError>;

    /// Fills a committed range with a pattern of four bytes: the byte at address `a` becomes byte `a mod 4` of
    /// `pattern`, least significant first.
    fn fill(&self, range: AddressRange, pattern: u32) -> Result<(), DeviceError>;

    /// Copies bytes of this process to a committed range.
    fn write(&self, to: u64, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies a committed range to bytes of this process.
    fn read(&self, from: u64, into: &mut [u8]) -> Result<(), DeviceError>;

    /// Copies a committed range to another one that it does not overlap.
    fn copy(&self, from: AddressRange, to: u64) -> Result<(), DeviceError>;

    /// How much memory the system says is behind the reservation, measured apart from the device's own book-keeping
    /// where that is possible.
    fn resident(&self) -> Reading<ByteSize>;

    /// Where the memory is in this process, when it is plain memory of it. What is promised of a reservation does not
    /// hold for another one that wraps it, so nobody outside of this crate can pass the answer on: a device gives it as
    /// [`RawMemory::host`](super::RawMemory::host).
    #[doc(hidden)]
    fn host(&self, asker: asker::Pool) -> Option<HostMemory> {
        let _ = asker;
        None
    }
}

/// Who may ask where memory is; not to be named outside of this crate.
pub(crate) mod asker {
    /// A pool.
    #[derive(Clone, Copy, Debug)]
    pub struct Pool;
}

/// The promise that a reservation is plain memory of this process.
#[derive(Clone, Copy, Debug)]
pub struct HostMemory {
    pub(crate) base: NonNull<u8>,
}

// SAFETY: the pointer is followed only by what the pool hands out, which is bound to its allocations' owners; what may
// be done through it from which thread is said by `promise`.
unsafe impl Send for HostMemory {}
// SAFETY: as above.
unsafe impl Sync for HostMemory {}

impl HostMemory {
    /// Promises that the memory of the reservation that a device is asked about can be reached through a pointer to its
    /// first byte.
    ///
    /// # Safety
    ///
    /// For as long as the reservation lives:
    ///
    /// * `base` points to where [`range`](Reservation::range) begins, for all of that range, which never changes;
    /// * every part of it that a [`commit`](Reservation::commit) has returned `Ok` for, and no
    ///   [`decommit`](Reservation::decommit) has been asked for since, can be read and written through `base` by any
    ///   thread, and holds initialised bytes;
    /// * nothing reads or writes it but through `base`, and the reservation's methods, each within the range that it was
    ///   called for.
    pub const unsafe fn promise(base: NonNull<u8>) -> Self {
        Self { base }
    }
}

/// Checks that a committed range still holds a [`fill`](Reservation::fill) of `pattern`, looking at every byte, or
/// (`stride`) at 64 bytes at its start, at its end and every `stride` bytes between. Returns the offset of the
/// first byte that differs.
pub fn find_mismatch(
    reservation: &dyn Reservation,
    range: AddressRange,
    pattern: u32,
    stride: Option<ByteSize>,
) -> Result<Option<u64>, DeviceError> {
    find_mismatch_by(range, pattern, stride, |from, into| reservation.read(from, into))
}

/// As [`find_mismatch`], with whatever reads.
pub(crate) fn find_mismatch_by<E>(
    range: AddressRange,
    pattern: u32,
    stride: Option<ByteSize>,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
) -> Result<Option<u64>, E> {
    const WINDOW: u64 = 64;
    let size = range.size.bytes();
    let (window, step) = match stride {
        Some(stride) => (WINDOW, stride.bytes().max(WINDOW)),
        None => (1 << 16, 1 << 16),
    };
    let mut buffer = vec![0; window.min(size) as usize];
    let mut check = |offset: u64| -> Result<Option<u64>, E> {
        let bytes = &mut buffer[..window.min(size - offset) as usize];
        read(range.base + offset, bytes)?;
        let expected = pattern.rotate_right(8 * ((range.base + offset) % 4) as u32).to_le_bytes();
        let wrong = bytes.iter().zip(expected.iter().cycle()).position(|(found, expected)| found != expected);
        Ok(wrong.map(|i| offset + i as u64))
    };
    let mut offset = 0;
    while offset < size {
        if let Some(wrong) = check(offset)? {
            return Ok(Some(wrong));
        }
        offset += step;
    }
    if size > WINDOW { check(size - WINDOW) } else { Ok(None) }
}
