//! What is asked of a pool, and what comes back: a size with its owner and tag in, a handle that gives the
//! memory back when dropped out.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::PoolError;
use super::blocks::{BlockId, Kind};
use super::core::Inner;
use crate::device::{AddressRange, Device, Stream};
use crate::units::ByteSize;

/// What memory is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Parameters of a model.
    Weights,
    /// Keys and values of past tokens.
    Kv,
    /// Tensors that live for part of a run.
    Activation,
    /// Scratch memory of a kernel.
    Workspace,
    /// Anything else.
    #[default]
    Other,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Weights => "weights",
            Self::Kv => "kv",
            Self::Activation => "activation",
            Self::Workspace => "workspace",
            Self::Other => "other",
        })
    }
}

/// For whom memory is held. `null` and a string in data, one word for each on screens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(from = "Option<String>", into = "Option<String>")]
#[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
pub enum Holder {
    /// Nobody in particular.
    #[default]
    Nobody,
    /// A model of this name, which is not empty.
    Model(Arc<str>),
}

impl Holder {
    /// As screens show it: the model's name, or `nobody`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Nobody => "nobody",
            Self::Model(name) => name,
        }
    }

    /// The model's name.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Nobody => None,
            Self::Model(name) => Some(name),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<&str> for Holder {
    fn from(model: &str) -> Self {
        if model.is_empty() { Self::Nobody } else { Self::Model(model.into()) }
    }
}

impl From<Option<String>> for Holder {
    fn from(model: Option<String>) -> Self {
        model.map_or(Self::Nobody, |model| model.as_str().into())
    }
}

impl From<Holder> for Option<String> {
    fn from(holder: Holder) -> Self {
        holder.model().map(str::to_owned)
    }
}

impl PartialEq<&str> for Holder {
    fn eq(&self, other: &&str) -> bool {
        self.model() == Some(*other)
    }
}

/// An owner that a pool has been told of; see [`DeviceMemoryPool::owner`](super::DeviceMemoryPool::owner).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnerId {
    pub(super) number: u16,
    pub(super) generation: u16,
}

impl OwnerId {
    /// Nobody in particular.
    pub const NONE: Self = Self { number: 0, generation: 0 };

    /// There was no number left for the owner: refused wherever it is used.
    pub(super) const TOO_MANY: Self = Self { number: u16::MAX, generation: 0 };
}

/// A tag that a pool has been told of; see [`DeviceMemoryPool::tag`](super::DeviceMemoryPool::tag).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TagId(pub(super) u16);

impl TagId {
    /// No tag.
    pub const NONE: Self = Self(0);

    /// There was no number left for the tag.
    pub(super) const TOO_MANY: Self = Self(u16::MAX);
}

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

/// Names an allocation without keeping it: for engines that carry plain numbers. Once released, an id stays
/// unknown for the next 2^29 uses of its place. The memory of a handle has none: an id is for those who may release
/// at any time, and a handle for those who [view](Allocation::view) the memory meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AllocationId(pub(super) BlockId);

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.index, self.0.use_of_place())
    }
}

/// Memory of a pool, given back when dropped.
pub struct Allocation {
    pub(super) pool: Arc<Inner>,
    /// `None` once the memory is no longer this handle's to release.
    pub(super) id: Option<AllocationId>,
    pub(super) offset: u64,
    pub(super) requested: ByteSize,
}

impl Allocation {
    /// Where it is on the device; as long as was requested.
    pub fn range(&self) -> AddressRange {
        AddressRange::new(self.pool.range.base + self.offset, self.requested)
    }

    /// Where it is in the pool, in bytes from its start.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes asked for.
    pub fn requested(&self) -> ByteSize {
        self.requested
    }

    /// Bytes taken from the pool: what was requested, rounded up.
    pub fn granted(&self) -> ByteSize {
        self.id.map_or(ByteSize::ZERO, |id| self.pool.granted_to(id))
    }

    /// The device that the memory is on.
    pub fn device(&self) -> &dyn Device {
        &*self.pool.device
    }

    /// Releases the memory while work queued on a stream up to now may still use it: the stream itself may get it
    /// again at once, others when that work is done. On an error the memory is still live, without a handle.
    pub fn release_on(mut self, stream: &dyn Stream) -> Result<(), PoolError> {
        let id = self.id.take().expect("a handle has its id until it is consumed");
        self.pool.release_on(id, stream)
    }

    /// Turns the handle into a plain id, to be released by
    /// [`DeviceMemoryPool::release`](super::DeviceMemoryPool::release).
    pub fn into_id(mut self) -> AllocationId {
        let AllocationId(BlockId { index, stamp }) =
            self.id.take().expect("a handle has its id until it is consumed");
        let stamp = self.pool.table().at(index).set_plain(stamp);
        AllocationId(BlockId { index, stamp })
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if let Some(id) = self.id
            && let Err(error) = self.pool.release(id)
        {
            // Only a release of the same id can have come first; the pool is unchanged by the second.
            tracing::error!(%error, "an allocation had been released before its handle was dropped");
        }
    }
}

impl fmt::Debug for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allocation").field("id", &self.id).field("range", &self.range()).finish()
    }
}
