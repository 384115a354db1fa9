//! Which addresses are reserved and which granules of them are committed: the book that every device keeps and
//! checks accesses against. Ranges come in, verdicts go out; no memory is touched here.

use std::collections::BTreeMap;

use super::{AddressRange, DeviceError};
use crate::units::ByteSize;

/// One reservation.
#[derive(Debug)]
struct Region {
    size: ByteSize,
    /// One bit a granule.
    committed: Vec<u64>,
}

/// Every reservation of a device.
#[derive(Debug)]
pub(super) struct Regions {
    device: String,
    granularity: u64,
    regions: BTreeMap<u64, Region>,
    committed: ByteSize,
}

impl Regions {
    pub(super) fn new(device: &str, granularity: ByteSize) -> Self {
        Self {
            device: device.to_owned(),
            granularity: granularity.bytes(),
            regions: BTreeMap::new(),
            committed: ByteSize::ZERO,
        }
    }

    /// Bytes committed in all reservations.
    pub(super) fn committed(&self) -> ByteSize {
        self.committed
    }

    /// Notes a reservation whose base and size are on granule boundaries.
    pub(super) fn insert(&mut self, range: AddressRange) {
        let granules = range.size.bytes() / self.granularity;
        let region = Region { size: range.size, committed: vec![0; granules.div_ceil(64) as usize] };
        self.regions.insert(range.base, region);
    }

    /// Forgets a reservation; returns the bytes that were still committed in it.
    pub(super) fn remove(&mut self, range: AddressRange) -> Result<ByteSize, DeviceError> {
        match self.regions.get(&range.base) {
            Some(region) if region.size == range.size => {}
            _ => return Err(self.invalid("release", range, "this is not a reservation")),
        }
        let region = self.regions.remove(&range.base).expect("found above");
        let granules: u64 = region.committed.iter().map(|word| u64::from(word.count_ones())).sum();
        let bytes = ByteSize::new(granules * self.granularity);
        self.committed -= bytes;
        Ok(bytes)
    }

    /// Checks that `range` may be committed (`to` true) or decommitted: on granule boundaries, inside one
    /// reservation, no granule already in that state.
    pub(super) fn check_change(&self, range: AddressRange, to: bool) -> Result<(), DeviceError> {
        let operation = if to { "commit" } else { "decommit" };
        if !range.base.is_multiple_of(self.granularity)
            || !range.size.bytes().is_multiple_of(self.granularity)
        {
            return Err(self.invalid(operation, range, "not on granule boundaries"));
        }
        let (region, granules) = self.locate(operation, range)?;
        for granule in granules {
            if region.is_committed(granule) == to {
                let reason =
                    if to { "part of it is committed already" } else { "part of it is not committed" };
                return Err(self.invalid(operation, range, reason));
            }
        }
        Ok(())
    }

    /// Notes a change that [`check_change`](Self::check_change) has allowed.
    pub(super) fn change(&mut self, range: AddressRange, to: bool) {
        let granularity = self.granularity;
        let Some((base, region)) = self.regions.range_mut(..=range.base).next_back() else {
            return;
        };
        let first = (range.base - base) / granularity;
        for granule in first..first + range.size.bytes() / granularity {
            let bit = 1 << (granule % 64);
            let word = &mut region.committed[(granule / 64) as usize];
            *word = if to { *word | bit } else { *word & !bit };
        }
        if to {
            self.committed += range.size;
        } else {
            self.committed -= range.size;
        }
    }

    /// Checks that every byte of `range` is committed.
    pub(super) fn check_access(
        &self,
        operation: &'static str,
        range: AddressRange,
    ) -> Result<(), DeviceError> {
        let (region, mut granules) = self.locate(operation, range)?;
        if granules.all(|granule| region.is_committed(granule)) {
            Ok(())
        } else {
            Err(self.invalid(operation, range, "part of it is not committed"))
        }
    }

    /// Checks that every byte of `from`, and of as many from `to` on, is committed, and that the two do not overlap.
    pub(super) fn check_copy(&self, from: AddressRange, to: u64) -> Result<(), DeviceError> {
        let target = AddressRange::new(to, from.size);
        self.check_access("copy", from)?;
        self.check_access("copy", target)?;
        if from.base < target.end() && to < from.end() {
            return Err(self.invalid("copy", from, "it overlaps its target"));
        }
        Ok(())
    }

    /// The reservation around `range` and the granules that it touches.
    fn locate(
        &self,
        operation: &'static str,
        range: AddressRange,
    ) -> Result<(&Region, std::ops::Range<u64>), DeviceError> {
        let outside = || self.invalid(operation, range, "not inside one reservation");
        let end = range.base.checked_add(range.size.bytes()).ok_or_else(outside)?;
        let (base, region) = self.regions.range(..=range.base).next_back().ok_or_else(outside)?;
        if end > base + region.size.bytes() {
            return Err(outside());
        }
        let granules = (range.base - base) / self.granularity..(end - base).div_ceil(self.granularity);
        Ok((region, if range.size.is_zero() { 0..0 } else { granules }))
    }

    fn invalid(&self, operation: &'static str, range: AddressRange, reason: &'static str) -> DeviceError {
        DeviceError::InvalidRange { device: self.device.clone(), operation, range, reason }
    }
}

impl Region {
    fn is_committed(&self, granule: u64) -> bool {
        self.committed[(granule / 64) as usize] & (1 << (granule % 64)) != 0
    }
}
