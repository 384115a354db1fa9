//! What is asked of a pool: a size, aligned how, for whom.

use super::blocks::Kind;
use super::ids::{OwnerId, TagId};
use vramkit_units::ByteSize;

/// The smallest unit of a pool, as a power of two: 256 bytes.
pub(super) const UNIT_SHIFT: u32 = 8;

/// How much memory, aligned how, for whom.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::SimulatedDevice, pool::{DeviceMemoryPool, Request}};
/// # let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// # let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
/// use vramkit_pool::pool::Purpose;
/// let request = Request::new(ByteSize::new(1000))
///     .alignment(4096)
///     .owner(pool.owner("llama", Purpose::Workspace))
///     .tag(pool.tag("softmax"));
/// let block = pool.allocate(request)?;
/// assert_eq!(block.offset() % 4096, 0);
/// assert_eq!(block.granted(), ByteSize::new(1024)); // whole units of 256 bytes
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub(super) size: ByteSize,
    pub(super) alignment: u64,
    pub(super) owner: OwnerId,
    pub(super) tag: TagId,
    /// Set by the pool.
    pub(super) kind: Kind,
}

impl Request {
    /// The alignment of every allocation that does not ask for more, in bytes: 256.
    pub const ALIGNMENT: u64 = 1 << UNIT_SHIFT;

    /// What a pool of plain sizes takes for so many bytes: whole units of [`ALIGNMENT`](Self::ALIGNMENT); as many as there can be
    /// of what is beyond 64 bits.
    pub fn granted(size: ByteSize) -> ByteSize {
        size.checked_align_up(Self::ALIGNMENT).unwrap_or(ByteSize::MAX)
    }

    /// `size` bytes at a multiple of [`ALIGNMENT`](Self::ALIGNMENT), for nobody in particular.
    pub const fn new(size: ByteSize) -> Self {
        Self { size, alignment: Self::ALIGNMENT, owner: OwnerId::NONE, tag: TagId::NONE, kind: Kind::Plain }
    }

    /// At a multiple of `alignment` bytes, a power of two; one below [`ALIGNMENT`](Self::ALIGNMENT) has no
    /// effect. Addresses are aligned up to the device's granularity, offsets in the pool beyond it.
    pub const fn alignment(mut self, alignment: u64) -> Self {
        self.alignment = alignment;
        self
    }

    /// Whether any block that is large enough will do.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.alignment == Self::ALIGNMENT && matches!(self.kind, Kind::Plain | Kind::Handle)
    }

    /// On behalf of this owner, an id of the same pool.
    pub const fn owner(mut self, owner: OwnerId) -> Self {
        self.owner = owner;
        self
    }

    /// Named so in reports.
    pub const fn tag(mut self, tag: TagId) -> Self {
        self.tag = tag;
        self
    }
}
