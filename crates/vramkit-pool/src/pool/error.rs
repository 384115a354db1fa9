//! Why a pool did not grant a request, with the numbers that a person needs to act.

use std::fmt;

use serde::Serialize;

use super::ids::{AllocationId, UnknownOwner};
use super::stats::{CompactReport, OwnerUse};
use crate::device::{AddressRange, DeviceError};
use vramkit_units::ByteSize;
use vramkit_units::{Holder, Purpose};

/// A request that a pool could not grant: who holds the memory, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OutOfMemory {
    /// The device's name, such as `host`.
    pub device: String,
    /// Bytes asked for.
    #[serde(rename = "requested_bytes")]
    pub requested: ByteSize,
    /// Those bytes in the pool's size class.
    #[serde(rename = "rounded_bytes")]
    pub rounded: ByteSize,
    /// Alignment asked for, in bytes.
    #[serde(rename = "alignment_bytes")]
    pub alignment: u64,
    /// The largest block that could have been granted.
    #[serde(rename = "largest_free_bytes")]
    pub largest_free: ByteSize,
    /// The most that could have been asked for at this alignment instead.
    #[serde(rename = "most_bytes")]
    pub most: ByteSize,
    /// All bytes not granted to anyone.
    #[serde(rename = "free_bytes")]
    pub free: ByteSize,
    /// The pool's capacity.
    #[serde(rename = "capacity_bytes")]
    pub capacity: ByteSize,
    /// What streams may still use, and was waited for if it would have been enough.
    #[serde(rename = "pending_bytes")]
    pub pending: ByteSize,
    /// What trimming would give back to the device, at most.
    #[serde(rename = "trim_frees_bytes")]
    pub trim_frees: ByteSize,
    /// The largest free block if everything movable were moved together.
    #[serde(rename = "largest_after_compacting_bytes")]
    pub largest_after_compacting: ByteSize,
    /// What was moved for the request, and was not enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compacted: Option<CompactReport>,
    /// Who would have to give up everything for the request to have its bytes free, the lowest priority first; empty
    /// when none need to, or all would not be enough.
    pub evict: Vec<OwnerUse>,
    /// Who holds the most, most first.
    pub owners: Vec<OwnerUse>,
    /// Set when the device, not the pool's capacity, was the limit.
    #[serde(serialize_with = "in_words", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub device_error: Option<DeviceError>,
}

fn in_words<S: serde::Serializer>(error: &Option<DeviceError>, serializer: S) -> Result<S::Ok, S::Error> {
    error.as_ref().map(ToString::to_string).serialize(serializer)
}

impl OutOfMemory {
    /// Everything that is known, in several lines, for a log: the numbers, who holds the memory, what would help.
    pub fn report(&self) -> String {
        use fmt::Write as _;
        let mut text = format!("{self}\n");
        let held = |owner: &OwnerUse| {
            let budget = owner.budget_bytes.map_or(String::new(), |budget| format!(", budget {budget}"));
            let (bytes, count) = (owner.granted_bytes, owner.allocations);
            let name = format!("{} ({})", owner.model, owner.purpose);
            format!(
                "  {name}: {bytes} in {count}, at most {}, priority {}{budget}\n",
                owner.peak_bytes, owner.priority
            )
        };
        if !self.owners.is_empty() {
            text += "who holds it:\n";
            self.owners.iter().for_each(|owner| text += &held(owner));
        }
        text += "what would help:\n";
        let _ = writeln!(text, "  trimming gives {} back to the device", self.trim_frees);
        let _ = writeln!(
            text,
            "  compacting makes the largest free block {}{}",
            self.largest_after_compacting,
            if self.largest_after_compacting >= self.rounded { ", which is enough" } else { "" }
        );
        if let Some(done) = &self.compacted {
            let rest = match (done.unfinished, done.pinned) {
                (true, _) => "; more would have passed its budget: compact in passes",
                (false, true) => "; some of it is pinned",
                (false, false) => "",
            };
            let _ = writeln!(text, "  moved for this request: {}{rest}", done.moved_bytes);
        }
        if !self.evict.is_empty() {
            text += "  evicting all of these makes enough free:\n";
            self.evict.iter().for_each(|owner| text += &format!("  {}", held(owner)));
        } else if self.free < self.rounded {
            text += "  evicting everybody would not be enough\n";
        }
        text
    }

    /// What would help, in words.
    fn hint(&self) -> String {
        if let Some(error) = &self.device_error {
            return format!("{error}; free memory of other programs or trim other pools");
        }
        if self.requested > self.capacity {
            return format!("ask for at most {} or create a larger pool", self.most);
        }
        if !self.pending.is_zero() && self.free + self.pending >= self.rounded {
            return format!(
                "streams that are not done still use {}; wait for them, or release {} more",
                self.pending,
                self.rounded.saturating_sub(self.free)
            );
        }
        // Also where no release would make room for the class.
        if self.rounded > self.requested
            && (self.largest_free >= self.requested || self.rounded > self.capacity)
        {
            return format!(
                "its size class rounds it up to {}; ask for at most {}, or choose other classes",
                self.rounded, self.most
            );
        }
        if self.free >= self.requested {
            if self.largest_free >= self.rounded && self.alignment > 1 {
                let alignment = ByteSize::new(self.alignment);
                return format!("none of it is aligned to {alignment}; ask for a lesser alignment");
            }
            return format!(
                "the free memory is in pieces; release or compact, or ask for at most {}",
                self.most
            );
        }
        match self.owners.first() {
            Some(owner) => format!(
                "release {} more; {} ({}) holds the most, {}",
                self.rounded.saturating_sub(self.free),
                owner.model,
                owner.purpose,
                owner.granted_bytes
            ),
            None => "create a larger pool".to_owned(),
        }
    }
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "needs {}, largest free block {} of {} free, capacity {} on {}: {}",
            self.requested,
            self.largest_free,
            self.free,
            self.capacity,
            self.device,
            self.hint()
        )
    }
}

/// A request that its owner's budget does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "needs {requested} for {model}{}, which holds {held} of its budget of {budget}: release {}, or raise the budget",
    .purpose.map_or(String::new(), |purpose| format!(" ({purpose})")),
    (*held + *requested).saturating_sub(*budget)
)]
#[non_exhaustive]
pub struct OverBudget {
    /// For whom.
    pub model: Holder,
    /// What for; `None` when the budget is that of the whole model.
    pub purpose: Option<Purpose>,
    /// Bytes asked for.
    pub requested: ByteSize,
    /// Bytes held already, rounded as granted.
    pub held: ByteSize,
    /// Most that may be held.
    pub budget: ByteSize,
}

/// An access that does not lie inside what was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{range} ({} bytes) is not inside the allocation at {allocation}, of which {} bytes were requested", range.size.bytes(), allocation.size.bytes())]
#[non_exhaustive]
pub struct OutOfBounds {
    /// What was to be reached.
    pub range: AddressRange,
    /// Where the memory is that was granted.
    pub allocation: AddressRange,
}

/// Why a pool did not do what it was asked. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// No free block holds the request, reclaiming included.
    #[error("out of memory: {0}")]
    OutOfMemory(Box<OutOfMemory>),
    /// A request for nothing, which has no address.
    #[error("an allocation of 0 bytes has no address; ask for at least 1")]
    ZeroSize,
    /// The alignment is not a power of two.
    #[error("alignment {0} is not a power of two")]
    Alignment(u64),
    /// The owner would hold more than it may.
    #[error(transparent)]
    OverBudget(Box<OverBudget>),
    /// The id was released before, or is of another pool.
    #[error("allocation {0} is not live in this pool: released twice, or of another pool")]
    UnknownAllocation(AllocationId),
    /// An access past the end of an allocation.
    #[error(transparent)]
    OutOfBounds(Box<OutOfBounds>),
    /// There are more owners than a pool can tell apart; [forgetting](super::DeviceMemoryPool::forget_owner) some makes
    /// room.
    #[error(
        "65,534 owners are registered, and there is no number for another one: forget owners that hold nothing"
    )]
    TooManyOwners,
    /// There are more tags than a pool can tell apart.
    #[error("65,534 tags are registered, and there is no number for another one: use fewer names")]
    TooManyTags,
    /// The owner was forgotten, or is another pool's.
    #[error("the owner is not registered in this pool: it was forgotten, or is of another pool")]
    UnknownOwner,
    /// An owner that still holds memory cannot be forgotten.
    #[error("{model} ({purpose}) still holds {held}: release it before the owner is forgotten")]
    OwnerHolds {
        /// For whom.
        model: Holder,
        /// What for.
        purpose: Purpose,
        /// What it holds, memory that streams still use included.
        held: ByteSize,
    },
    /// Movable memory that is pinned can be neither changed by its handle nor released on a stream.
    #[error("allocation {0} is pinned: drop its pins first")]
    Pinned(AllocationId),
    /// More was asked of memory that grows in place than it has addresses for.
    #[error("{requested} is more than the {reserved} reserved for it: reserve more when it is made")]
    BeyondReserve {
        /// Bytes asked for.
        requested: ByteSize,
        /// Bytes reserved.
        reserved: ByteSize,
    },
    /// The pool's addresses, not its memory, are used up.
    #[error(
        "no {requested} of addresses in one piece are left of the pool's {addresses}: reserve less for each, or make the \
         pool with more addresses"
    )]
    NoAddresses {
        /// Bytes of addresses asked for.
        requested: ByteSize,
        /// All that the pool has.
        addresses: ByteSize,
    },
    /// A recorder asked the pool for memory that it was to record.
    #[error("a recorder of this pool asked it for memory: it would be called again, without end")]
    Reentrant,
    /// The device refused for a reason other than lack of memory.
    #[error(transparent)]
    Device(Box<DeviceError>),
}

impl From<UnknownOwner> for PoolError {
    fn from(unknown: UnknownOwner) -> Self {
        match unknown {
            UnknownOwner::TooMany => Self::TooManyOwners,
            UnknownOwner::Forgotten => Self::UnknownOwner,
        }
    }
}

impl From<DeviceError> for PoolError {
    fn from(error: DeviceError) -> Self {
        Self::Device(Box::new(error))
    }
}
