//! Where each policy places an allocation: vramkit's pool in its presets, and the peers it is measured against.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::best_fit::BestFit;
use serde::Serialize;
use vramkit_pool::device::SimulatedDevice;
use vramkit_pool::pool::{AllocationId, DeviceMemoryPool, PoolConfig, Request, SizeClasses};
use vramkit_units::ByteSize;

/// A pool policy that a trace can be replayed against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PolicyName {
    /// vramkit's pool as it comes.
    Default,
    /// vramkit's pool, sizes as requested.
    Exact,
    /// vramkit's pool, stepped sizes.
    Stepped,
    /// vramkit's pool, eight sizes between powers of two.
    Pow2,
    /// The smallest free block that fits, the lowest of those.
    BestFit,
    /// The lowest free block that fits.
    FirstFit,
    /// PyTorch's caching allocator.
    Pytorch,
    /// PyTorch's caching allocator with expandable segments.
    PytorchExpandable,
    /// A plan made with the whole trace known: the floor.
    Offline,
}

impl PolicyName {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Default,
        Self::Exact,
        Self::Stepped,
        Self::Pow2,
        Self::BestFit,
        Self::FirstFit,
        Self::Pytorch,
        Self::PytorchExpandable,
        Self::Offline,
    ];

    /// As the command line names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Exact => "exact",
            Self::Stepped => "stepped",
            Self::Pow2 => "pow2",
            Self::BestFit => "best-fit",
            Self::FirstFit => "first-fit",
            Self::Pytorch => "pytorch",
            Self::PytorchExpandable => "pytorch-expandable",
            Self::Offline => "offline",
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PolicyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<&str> = Self::ALL.iter().map(|policy| policy.as_str()).collect();
        let found = Self::ALL.iter().find(|name| name.as_str() == text);
        found.copied().ok_or_else(|| format!("`{text}` is not a policy: use {} or all", names.join(", ")))
    }
}

/// A block that a policy has granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted<H> {
    pub(crate) handle: H,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// Something that places allocations one at a time.
pub(crate) trait Policy {
    type Handle: Copy;

    /// `None`: out of memory.
    fn allocate(&mut self, size: u64) -> Option<Granted<Self::Handle>>;

    fn free(&mut self, handle: Self::Handle);

    /// Most bytes held from the device so far; `None` for a policy that holds all below the highest end of anything
    /// placed.
    fn peak_committed(&self) -> Option<u64> {
        None
    }
}

/// vramkit's pool on the simulated device.
pub(crate) struct Pool {
    pool: DeviceMemoryPool,
    classes: SizeClasses,
}

impl Pool {
    pub(crate) fn new(classes: SizeClasses, capacity: ByteSize) -> Self {
        // Whole granules, so that the last block is not refused for the rounding of the device.
        let rounded = capacity.checked_align_up(2 << 20).unwrap_or(capacity);
        let device = Arc::new(SimulatedDevice::new(rounded));
        let pool =
            DeviceMemoryPool::with_config(device, capacity, PoolConfig { classes, ..PoolConfig::default() });
        let pool = pool.expect("the simulated device reserves any range that a trace can need");
        Self { pool, classes }
    }
}

impl Policy for Pool {
    type Handle = AllocationId;

    #[inline]
    fn allocate(&mut self, size: u64) -> Option<Granted<AllocationId>> {
        let (handle, range) = self.pool.allocate_id(Request::new(ByteSize::new(size))).ok()?;
        let granted = self.classes.round(size).unwrap_or(size).next_multiple_of(Request::ALIGNMENT);
        Some(Granted { handle, offset: range.base - self.pool.range().base, size: granted })
    }

    #[inline]
    fn free(&mut self, handle: AllocationId) {
        self.pool.release(handle).expect("a trace frees what is live");
    }

    fn peak_committed(&self) -> Option<u64> {
        Some(self.pool.stats().peak_committed_bytes.bytes())
    }
}

impl Policy for BestFit {
    type Handle = (u64, u64);

    fn allocate(&mut self, size: u64) -> Option<Granted<(u64, u64)>> {
        self.take_smallest(size).map(granted)
    }

    fn free(&mut self, block: (u64, u64)) {
        self.give_back(block);
    }
}

fn granted((offset, size): (u64, u64)) -> Granted<(u64, u64)> {
    Granted { handle: (offset, size), offset, size }
}

/// The lowest free block that fits, by a walk over the addresses.
pub(crate) struct FirstFit(pub(crate) BestFit);

impl Policy for FirstFit {
    type Handle = (u64, u64);

    fn allocate(&mut self, size: u64) -> Option<Granted<(u64, u64)>> {
        self.0.take_lowest(size).map(granted)
    }

    fn free(&mut self, block: (u64, u64)) {
        self.0.give_back(block);
    }
}
