//! Why a pool did not grant a request, with the numbers that a person needs to act.

use std::fmt;

use serde::Serialize;

use super::request::{AllocationId, Purpose};
use crate::device::DeviceError;
use crate::units::ByteSize;

/// What one owner holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OwnerUse {
    /// The model.
    pub model: String,
    /// What for.
    pub purpose: Purpose,
    /// Bytes granted to it now.
    pub granted_bytes: ByteSize,
    /// Most bytes ever granted to it.
    pub peak_bytes: ByteSize,
    /// Allocations that it holds now.
    pub allocations: u64,
    /// The higher, the later it should be asked to make room.
    pub priority: u8,
    /// Most that it may hold; `None` when there is no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_bytes: Option<ByteSize>,
}

/// A request that a pool could not grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// The device's name, such as `host`.
    pub device: String,
    /// Bytes asked for.
    pub requested: ByteSize,
    /// Alignment asked for, in bytes.
    pub alignment: u64,
    /// The largest block that could have been granted.
    pub largest_free: ByteSize,
    /// All bytes not granted to anyone.
    pub free: ByteSize,
    /// The pool's capacity.
    pub capacity: ByteSize,
    /// Who holds the most, most first.
    pub owners: Vec<OwnerUse>,
    /// Set when the device, not the pool's capacity, was the limit.
    pub device_error: Option<DeviceError>,
}

impl OutOfMemory {
    /// What would help, in words.
    fn hint(&self) -> String {
        if let Some(error) = &self.device_error {
            return format!("{error}; free memory of other programs or trim other pools");
        }
        if self.requested > self.capacity {
            return format!("ask for at most {} or create a larger pool", self.capacity);
        }
        if self.free >= self.requested {
            return format!(
                "the free memory is in pieces; release or compact, or ask for at most {}",
                self.largest_free
            );
        }
        match self.owners.first() {
            Some(owner) => format!(
                "release {} more; {} ({}) holds the most, {}",
                self.requested - self.free,
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
pub struct OverBudget {
    /// The model.
    pub model: String,
    /// What for; `None` when the budget is that of the whole model.
    pub purpose: Option<Purpose>,
    /// Bytes asked for.
    pub requested: ByteSize,
    /// Bytes held already, rounded as granted.
    pub held: ByteSize,
    /// Most that may be held.
    pub budget: ByteSize,
}

/// Why a pool did not do what it was asked. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// The device refused for a reason other than lack of memory.
    #[error(transparent)]
    Device(Box<DeviceError>),
}

impl From<DeviceError> for PoolError {
    fn from(error: DeviceError) -> Self {
        Self::Device(Box::new(error))
    }
}
