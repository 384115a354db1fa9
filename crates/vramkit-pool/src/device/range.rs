//! Ranges of device addresses.

use std::fmt;

use vramkit_units::ByteSize;

/// A half-open range of device addresses, in bytes.
///
/// ```
/// use vramkit_pool::ByteSize;
/// use vramkit_pool::device::AddressRange;
///
/// let range = AddressRange::new(0x1000, ByteSize::new(0x100));
/// assert_eq!(range.part(0x80, ByteSize::new(0x80)), Some(AddressRange::new(0x1080, ByteSize::new(0x80))));
/// assert_eq!(range.part(0x80, ByteSize::new(0x81)), None);
/// ```
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
