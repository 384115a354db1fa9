//! How a pool behaves, as its maker chooses.

use std::time::Duration;

use vramkit_units::ByteSize;

use super::classes::SizeClasses;

/// How a pool behaves.
///
/// ```
/// use vramkit_pool::device::SimulatedDevice;
/// use vramkit_pool::pool::{DeviceMemoryPool, PoolConfig, Request, SizeClasses};
/// # use std::sync::Arc;
/// # use vramkit_pool::ByteSize;
///
/// let config = PoolConfig { classes: SizeClasses::Stepped, ..PoolConfig::default() };
/// let device = Arc::new(SimulatedDevice::new(ByteSize::gib(1)));
/// let pool = DeviceMemoryPool::with_config(device, ByteSize::gib(1), config)?;
/// let block = pool.allocate(Request::new(ByteSize::new(1_500_000)))?;
/// assert_eq!(block.granted(), ByteSize::mib(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// To which sizes requests are rounded up.
    pub classes: SizeClasses,
    /// Whether every grant notes the time, for leak reports: a reading of the system's coarse clock, about a
    /// twentieth of a grant's cost.
    pub ages: bool,
    /// Bytes of addresses, where the device has virtual memory; `None` for many times the capacity. Where it has not,
    /// addresses are memory, and a pool has those of its capacity.
    pub addresses: Option<ByteSize>,
    /// How long one request waits for streams whose memory would be enough for it. Then it is refused, and the error says
    /// what is still busy: without an end, a program that waits for what it has yet to start would hang without a word.
    pub patience: Duration,
    /// How much may be moved for one request that fails for fragmentation alone.
    pub compact_budget: CompactBudget,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            classes: SizeClasses::Exact,
            ages: true,
            addresses: None,
            patience: Duration::from_secs(60),
            compact_budget: CompactBudget::default(),
        }
    }
}

/// How much compacting may do.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::SimulatedDevice, pool::{DeviceMemoryPool, Request}};
/// # let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// # let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
/// use vramkit_pool::pool::CompactBudget;
/// let fragments: Vec<_> =
///     (0..16).map(|_| pool.allocate_movable(Request::new(ByteSize::mib(4)))).collect::<Result<_, _>>()?;
/// let kept: Vec<_> = fragments.into_iter().step_by(2).collect();
/// let report = pool.compact_within(CompactBudget::UNLIMITED)?;
/// assert_eq!(pool.stats().largest_free_bytes, ByteSize::mib(32));
/// # drop((kept, report));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactBudget {
    /// Most copies that the device is asked for.
    pub copies: u64,
    /// Most bytes moved.
    pub bytes: ByteSize,
}

impl CompactBudget {
    /// No limit.
    pub const UNLIMITED: Self = Self { copies: u64::MAX, bytes: ByteSize::MAX };
}

impl Default for CompactBudget {
    /// What a request may do for itself: 256 copies and 1 GiB, some milliseconds on a card.
    fn default() -> Self {
        Self { copies: 256, bytes: ByteSize::gib(1) }
    }
}
