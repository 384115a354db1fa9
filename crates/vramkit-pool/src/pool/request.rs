//! What is asked of a pool: a size, aligned how, for whom.

use super::blocks::Kind;
use super::ids::{OwnerId, TagId};
use vramkit_units::ByteSize;

/// How much memory, aligned how, for whom.
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
    /// The alignment of every allocation that does not ask for more, in bytes.
    pub const ALIGNMENT: u64 = 1 << super::core::UNIT_SHIFT;

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
