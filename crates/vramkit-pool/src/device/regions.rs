//! Which granules of one reservation are committed: the book that accesses are checked against. Ranges come in,
//! verdicts go out; no memory is touched here.

use std::ops::Range;

use super::{AddressRange, DeviceError};
use vramkit_units::ByteSize;

/// One reservation's granules.
#[derive(Debug)]
pub(super) struct Region {
    device: String,
    range: AddressRange,
    granularity: u64,
    /// One bit a granule.
    committed: Vec<u64>,
    bytes: ByteSize,
}

impl Region {
    /// A reservation, on granule boundaries, nothing of which is committed.
    pub(super) fn new(device: &str, range: AddressRange, granularity: ByteSize) -> Self {
        let granules = range.size.bytes() / granularity.bytes();
        Self {
            device: device.to_owned(),
            range,
            granularity: granularity.bytes(),
            committed: vec![0; granules.div_ceil(64) as usize],
            bytes: ByteSize::ZERO,
        }
    }

    /// Bytes committed.
    pub(super) fn committed(&self) -> ByteSize {
        self.bytes
    }

    /// Checks that `range` may be committed (`to` true) or decommitted: on granule boundaries, inside the
    /// reservation, no granule already in that state.
    pub(super) fn check_change(&self, range: AddressRange, to: bool) -> Result<(), DeviceError> {
        let operation = if to { "commit" } else { "decommit" };
        let on_boundary = |bytes: u64| bytes.is_multiple_of(self.granularity);
        if !on_boundary(range.base) || !on_boundary(range.size.bytes()) {
            return Err(self.invalid(operation, range, "not on granule boundaries"));
        }
        if self.locate(operation, range)?.any(|granule| self.is_committed(granule) == to) {
            let reason = if to { "part of it is committed already" } else { "part of it is not committed" };
            return Err(self.invalid(operation, range, reason));
        }
        Ok(())
    }

    /// Notes a change that [`check_change`](Self::check_change) has allowed.
    pub(super) fn change(&mut self, range: AddressRange, to: bool) {
        let first = (range.base - self.range.base) / self.granularity;
        for granule in first..first + range.size.bytes() / self.granularity {
            let bit = 1 << (granule % 64);
            let word = &mut self.committed[(granule / 64) as usize];
            *word = if to { *word | bit } else { *word & !bit };
        }
        if to {
            self.bytes += range.size;
        } else {
            self.bytes -= range.size;
        }
    }

    /// Checks that every byte of `range` is committed.
    pub(super) fn check_access(
        &self,
        operation: &'static str,
        range: AddressRange,
    ) -> Result<(), DeviceError> {
        if self.locate(operation, range)?.all(|granule| self.is_committed(granule)) {
            Ok(())
        } else {
            Err(self.invalid(operation, range, "part of it is not committed"))
        }
    }

    /// Checks that every byte of `from`, and of as many from `to` on, is committed, and that the two do not overlap.
    pub(super) fn check_copy(&self, from: AddressRange, to: AddressRange) -> Result<(), DeviceError> {
        self.check_access("copy", from)?;
        self.check_access("copy", to)?;
        if from.base < to.end() && to.base < from.end() {
            return Err(self.invalid("copy", from, "it overlaps its target"));
        }
        Ok(())
    }

    /// The granules that `range` touches.
    fn locate(&self, operation: &'static str, range: AddressRange) -> Result<Range<u64>, DeviceError> {
        let outside = || self.invalid(operation, range, "not inside one reservation");
        let first = range.base.checked_sub(self.range.base).ok_or_else(outside)?;
        let end = first.checked_add(range.size.bytes()).ok_or_else(outside)?;
        if end > self.range.size.bytes() {
            return Err(outside());
        }
        let granules = first / self.granularity..end.div_ceil(self.granularity);
        Ok(if range.size.is_zero() { 0..0 } else { granules })
    }

    fn is_committed(&self, granule: u64) -> bool {
        self.committed[(granule / 64) as usize] & (1 << (granule % 64)) != 0
    }

    fn invalid(&self, operation: &'static str, range: AddressRange, reason: &'static str) -> DeviceError {
        DeviceError::InvalidRange { device: self.device.clone(), operation, range, reason }
    }
}
