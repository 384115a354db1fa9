//! What places allocations: vramkit's pool in its presets, and the peers it is measured against.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::best_fit::BestFit;
use crate::operation::Operation;
use crate::trace::Trace;
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
    /// PyTorch's caching allocator, with the settings of the recorded program and those that are asked for.
    Pytorch,
    /// The same with expandable segments.
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

/// A request as policies see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) size: u64,
    /// Whose work it is for; what is freed there can be had there at once.
    pub(crate) stream: u64,
    /// Which private pool it is from; 0 is none.
    pub(crate) pool: u32,
}

/// A block that a policy has granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted<H> {
    pub(crate) handle: H,
    /// Which range of addresses it is in.
    pub(crate) range: u32,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// What there is for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Bytes that nobody has.
    pub(crate) free: u64,
    /// Most that could be had in one piece.
    pub(crate) largest: u64,
}

/// Something that places allocations one at a time.
pub(crate) trait Policy {
    type Handle: Copy;

    /// `None`: out of memory.
    fn allocate(&mut self, ask: Ask) -> Option<Granted<Self::Handle>>;

    fn free(&mut self, handle: Self::Handle);

    /// The program is done with it, another stream is not: it is freed later.
    fn wait(&mut self, _handle: Self::Handle) {}

    /// Gives everything that idles back to the device.
    fn trim(&mut self) {}

    /// A private pool is no longer needed: what idles in it goes back.
    fn end_pool(&mut self, _pool: u32) {}

    /// Most bytes held from the device so far; `None` for a policy that holds all below the highest end of anything
    /// placed.
    fn peak_committed(&self) -> Option<u64> {
        None
    }

    /// Bytes held from the device.
    fn committed(&self) -> Option<u64> {
        None
    }

    /// What there is for a request that was refused.
    fn room(&self, ask: Ask) -> Room;
}

/// vramkit's pool on the simulated device; none where there is less than a granule.
pub(crate) struct Pool {
    pool: Option<DeviceMemoryPool>,
    classes: SizeClasses,
}

/// Up to so much a pool places in its smallest units.
const SMALLEST_UNITS: u64 = 1 << 39;
/// The unit in which a pool takes memory from the device.
const GRANULE: u64 = 2 << 20;

impl Pool {
    /// Of a capacity, in whole granules, of which a device has no parts; of as much as is ample where there is none, or more than that.
    pub(crate) fn new(classes: SizeClasses, capacity: Option<ByteSize>, trace: &Trace) -> Self {
        let granted = granted_at_most(trace, |size| Self::granted(classes, size));
        // So many times what is granted that no order of requests fills it (Robson, 1977: about the logarithm of the sizes' ratio), as
        // far as a pool places it in its smallest units; then ever less, where the simulated device has no addresses for it.
        let times = |times| granted.saturating_mul(times).saturating_add(1 << 30);
        let sizes = [times(8).max(times(64).min(SMALLEST_UNITS)), times(8), times(4), times(2), times(1)];
        let sizes = sizes
            .map(|ample| capacity.map_or(ample, |capacity| capacity.bytes().min(ample)) / GRANULE * GRANULE);
        let pool = sizes.into_iter().filter(|&size| size > 0).find_map(|size| {
            let (size, config) = (ByteSize::new(size), PoolConfig { classes, ..PoolConfig::default() });
            DeviceMemoryPool::with_config(Arc::new(SimulatedDevice::new(size)), size, config).ok()
        });
        Self { pool, classes }
    }

    /// What a request of this size takes.
    #[inline]
    fn granted(classes: SizeClasses, size: u64) -> u64 {
        classes.round(size).unwrap_or(size).next_multiple_of(Request::ALIGNMENT)
    }
}

/// Most bytes live at once, where a request takes so many.
fn granted_at_most(trace: &Trace, granted: impl Fn(u64) -> u64) -> u64 {
    let (mut live, mut most) = (0_u64, 0);
    let mut sizes = vec![0; trace.allocations()];
    for &operation in &trace.operations {
        match operation {
            Operation::Allocate { number, size } => {
                sizes[number as usize] = granted(size);
                live = live.saturating_add(sizes[number as usize]);
                most = most.max(live);
            }
            Operation::Attempt { size, .. } => most = most.max(live.saturating_add(granted(size))),
            Operation::Free { number } => live = live.saturating_sub(sizes[number as usize]),
        }
    }
    most
}

impl Policy for Pool {
    type Handle = AllocationId;

    #[inline]
    fn allocate(&mut self, ask: Ask) -> Option<Granted<AllocationId>> {
        let pool = self.pool.as_ref()?;
        let (handle, range) = pool.allocate_id(Request::new(ByteSize::new(ask.size))).ok()?;
        let size = Self::granted(self.classes, ask.size);
        Some(Granted { handle, range: 0, offset: range.base - pool.range().base, size })
    }

    #[inline]
    fn free(&mut self, handle: AllocationId) {
        if let Some(pool) = &self.pool {
            pool.release(handle).expect("a trace frees what is live");
        }
    }

    fn trim(&mut self) {
        if let Some(pool) = &self.pool {
            pool.trim().expect("the simulated device gives back what it gave");
        }
    }

    fn peak_committed(&self) -> Option<u64> {
        Some(self.pool.as_ref().map_or(0, |pool| pool.stats().peak_committed_bytes.bytes()))
    }

    fn committed(&self) -> Option<u64> {
        Some(self.pool.as_ref().map_or(0, |pool| pool.committed().bytes()))
    }

    fn room(&self, _ask: Ask) -> Room {
        let Some(pool) = &self.pool else { return Room { free: 0, largest: 0 } };
        let free = pool.available().bytes();
        // The largest request that would be granted, in units.
        let (mut low, mut high) = (0, free / Request::ALIGNMENT + 1);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let request = Request::new(ByteSize::new(middle * Request::ALIGNMENT));
            if pool.would_grant(&request, &[]) { low = middle } else { high = middle }
        }
        Room { free, largest: low * Request::ALIGNMENT }
    }
}

impl Policy for BestFit {
    type Handle = (u64, u64);

    fn allocate(&mut self, ask: Ask) -> Option<Granted<(u64, u64)>> {
        self.take_smallest(ask.size).map(granted)
    }

    fn free(&mut self, block: (u64, u64)) {
        self.give_back(block);
    }

    fn room(&self, _ask: Ask) -> Room {
        Room { free: self.free(), largest: self.largest() }
    }
}

fn granted((offset, size): (u64, u64)) -> Granted<(u64, u64)> {
    Granted { handle: (offset, size), range: 0, offset, size }
}

/// The lowest free block that fits, by a walk over the addresses.
pub(crate) struct FirstFit(pub(crate) BestFit);

impl Policy for FirstFit {
    type Handle = (u64, u64);

    fn allocate(&mut self, ask: Ask) -> Option<Granted<(u64, u64)>> {
        self.0.take_lowest(ask.size).map(granted)
    }

    fn free(&mut self, block: (u64, u64)) {
        self.0.give_back(block);
    }

    fn room(&self, ask: Ask) -> Room {
        self.0.room(ask)
    }
}
