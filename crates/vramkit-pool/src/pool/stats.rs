//! A pool's numbers as plain data: [`PoolStats`] at an instant, [`LeakReport`] at its end, [`TrimReport`] of a
//! trim.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use vramkit_units::ByteSize;
use vramkit_units::{Holder, Purpose};

/// A pool at one instant. Every size says its scope: *requested* by the callers, *used* (granted, after
/// rounding), *committed* (held from the device).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PoolStats {
    /// Most that can be granted.
    pub capacity_bytes: ByteSize,
    /// Held from the device.
    pub committed_bytes: ByteSize,
    /// Most ever held from the device.
    pub peak_committed_bytes: ByteSize,
    /// Granted.
    pub used_bytes: ByteSize,
    /// Most ever granted.
    pub peak_used_bytes: ByteSize,
    /// Of the granted bytes: released on streams whose work is not done.
    pub pending_bytes: ByteSize,
    /// Asked for by what is live.
    pub requested_bytes: ByteSize,
    /// Most ever asked for by what was live.
    pub peak_requested_bytes: ByteSize,
    /// The highest end of anything ever granted.
    pub arena_bytes: ByteSize,
    /// Allocations that are live.
    pub live: u64,
    /// Allocations ever granted.
    pub granted: u64,
    /// Grants that needed nothing of the device.
    pub hits: u64,
    /// Grants for which memory was committed.
    pub misses: u64,
    /// Requests refused.
    pub failures: u64,
    /// Requests that wait for streams now.
    #[serde(default)]
    pub waiting: u64,
    /// Allocations moved by compacting, ever.
    #[serde(default)]
    pub moved: u64,
    /// Their bytes.
    #[serde(default)]
    pub moved_bytes: ByteSize,
    /// The largest block that could be granted.
    pub largest_free_bytes: ByteSize,
    /// Memory of the program that the pool's book takes. Of its table, the pages that have ever been used.
    pub book_bytes: ByteSize,
}

impl PoolStats {
    /// Bytes not granted.
    pub fn available_bytes(&self) -> ByteSize {
        // Numbers that were read from elsewhere may say anything.
        self.capacity_bytes.saturating_sub(self.used_bytes)
    }

    /// Granted of all that can be, 0..1.
    pub fn used_ratio(&self) -> f64 {
        if self.capacity_bytes.is_zero() { 0.0 } else { self.used_bytes.ratio_of(self.capacity_bytes) }
    }

    /// Hits of all grants; `None` before the first.
    pub fn hit_ratio(&self) -> Option<f64> {
        (self.granted > 0).then(|| self.hits as f64 / self.granted as f64)
    }

    /// How much of the free memory is not in one piece, 0..1: `1 - largest_free / free`.
    pub fn external_fragmentation_ratio(&self) -> f64 {
        let free = self.available_bytes();
        if free.is_zero() { 0.0 } else { 1.0 - self.largest_free_bytes.ratio_of(free) }
    }

    /// How much of what is granted was not asked for, 0..1: `1 - requested / granted`.
    pub fn internal_fragmentation_ratio(&self) -> f64 {
        if self.used_bytes.is_zero() { 0.0 } else { 1.0 - self.requested_bytes.ratio_of(self.used_bytes) }
    }
}

/// An allocation that nobody released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Leak {
    /// Its tag; empty when it has none.
    pub tag: String,
    /// For whom it was granted.
    pub model: Holder,
    /// What for.
    pub purpose: Purpose,
    /// Bytes asked for.
    pub requested_bytes: ByteSize,
    /// Since it was granted, to about a hundredth of a second; `None` when the pool keeps no ages.
    pub age: Option<Duration>,
}

/// What was live when a pool was dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LeakReport {
    /// By address.
    pub leaks: Vec<Leak>,
}

impl fmt::Display for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: ByteSize = self.leaks.iter().map(|leak| leak.requested_bytes).sum();
        write!(f, "{} live allocations of {total}", self.leaks.len())?;
        for leak in &self.leaks {
            let tag = if leak.tag.is_empty() { "untagged" } else { &leak.tag };
            write!(f, "\n  {tag}: {} of {} ({})", leak.requested_bytes, leak.model, leak.purpose)?;
            if let Some(age) = leak.age {
                write!(f, ", {:.2} s old", age.as_secs_f64())?;
            }
        }
        Ok(())
    }
}

/// What a trim gave back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrimReport {
    /// Bytes decommitted.
    pub freed_bytes: ByteSize,
    /// Calls of the device that it took.
    pub device_calls: u64,
    /// How long it took.
    #[serde(skip)]
    pub elapsed: Duration,
}

/// What one owner holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OwnerUse {
    /// For whom.
    pub model: Holder,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_bytes: Option<ByteSize>,
}

/// What compacting did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CompactReport {
    /// Allocations moved.
    pub moved: u64,
    /// Their bytes.
    pub moved_bytes: ByteSize,
    /// Copies that the device was asked for.
    pub copies: u64,
    /// The largest free block before.
    pub largest_before_bytes: ByteSize,
    /// And after.
    pub largest_after_bytes: ByteSize,
    /// Whether something could not be moved because it was pinned.
    pub pinned: bool,
    /// Whether the budget ended it, or the lack of memory to move into within the pool's capacity; the next pass goes on.
    pub unfinished: bool,
    /// How long it took.
    #[serde(skip)]
    pub elapsed: Duration,
}
