//! The pool as its users see it: what is asked of it, handles and numbers out.

use std::fmt;
use std::sync::Arc;

use vramkit_units::{ByteSize, LedgerEntry};

use super::allocation::Allocation;
use super::blocks::Kind;
use super::compact::MovableAllocation;
use super::config::{CompactBudget, PoolConfig};
use super::core::{Inner, Placed};
use super::error::PoolError;
use super::growing::GrowingAllocation;
use super::ids::AllocationId;
use super::reclaim::ReclaimRequest;
use super::record::Recorded;
use super::request::Request;
use super::stats::{CompactReport, LeakReport, OwnerUse, PoolStats, TrimReport};
use crate::device::{AddressRange, Backing, Device, Reading, Stream};
use crate::stall::StallMeter;
use crate::sync::{Ordering, lock};

type LeakSink = Box<dyn Fn(&LeakReport) + Send + Sync>;

/// Memory of one device, granted in pieces. Cheap to share behind an [`Arc`]; handles keep the memory itself
/// alive, so dropping the pool while some are out is safe, and reported.
///
/// ```
/// # use std::sync::Arc;
/// # use vramkit_pool::{ByteSize, device::SimulatedDevice, pool::{DeviceMemoryPool, Request}};
/// # let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
/// # let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
/// let weights = pool.allocate(Request::new(ByteSize::mib(40)))?;
/// let refused = pool.allocate(Request::new(ByteSize::mib(30))).unwrap_err();
/// assert_eq!(refused.to_string().contains("40 MiB"), true); // who holds it, what is free, what would help
/// assert_eq!(pool.used() + pool.available(), pool.capacity());
/// drop(weights);
/// pool.trim()?; // nothing is granted, so nothing is held from the device
/// assert_eq!(pool.committed(), ByteSize::ZERO);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DeviceMemoryPool {
    pub(super) inner: Arc<Inner>,
    on_leak: Option<LeakSink>,
}

impl DeviceMemoryPool {
    /// A pool of `capacity` bytes on a device, rounded up to a multiple of 256. Takes addresses; memory is
    /// committed as it is granted.
    pub fn new(device: Arc<dyn Backing>, capacity: ByteSize) -> Result<Self, PoolError> {
        Self::with_config(device, capacity, PoolConfig::default())
    }

    /// As [`new`](Self::new), configured. Beyond 1 TiB of capacity, 256 bytes is too fine a unit: it doubles with the
    /// capacity.
    pub fn with_config(
        device: Arc<dyn Backing>,
        capacity: ByteSize,
        config: PoolConfig,
    ) -> Result<Self, PoolError> {
        let inner = Arc::new(Inner::new(device, capacity, config)?);
        super::idle::register_idle(&*inner.device as &dyn Device, Arc::downgrade(&inner) as _);
        Ok(Self { inner, on_leak: None })
    }

    /// What to do with the report when the pool is dropped with live allocations, instead of logging it.
    pub fn on_leak(mut self, sink: impl Fn(&LeakReport) + Send + Sync + 'static) -> Self {
        self.on_leak = Some(Box::new(sink));
        self
    }

    /// Calls a function with every allocation and release from now on, outside the pool's locks; `vramkit-replay` has
    /// recorders that write files. A pool records to one place: `false` when it does already. A recorder that asks the pool for memory is
    /// refused it ([`PoolError::Reentrant`]); what it releases is not recorded.
    pub fn record(&self, recorder: impl Fn(&Recorded) + Send + Sync + 'static) -> bool {
        self.inner.recording.start(Arc::new(recorder))
    }

    /// Takes the recorder out; `false` when there is none. Calls that other threads are in come to their end.
    pub fn stop_recording(&self) -> bool {
        self.inner.recording.stop().is_some()
    }

    /// Grants memory, with what is missing behind it committed. When no block fits or the device has none
    /// left, free granules are trimmed, the [reclaimers](Self::add_reclaimer) run, and it is tried once more.
    pub fn allocate(&self, mut request: Request) -> Result<Allocation, PoolError> {
        request.kind = Kind::Handle;
        let placed = self.inner.allocate(&request)?;
        Ok(self.handle(placed, &request))
    }

    #[inline(always)]
    fn handle(&self, placed: Placed, request: &Request) -> Allocation {
        Allocation {
            pool: self.inner.clone(),
            id: Some(placed.id),
            offset: placed.offset,
            requested: request.size,
        }
    }

    /// As [`allocate`](Self::allocate), for engines that carry plain numbers: the id, to be
    /// [released](Self::release) by the caller, and where the memory is on the device.
    #[inline]
    pub fn allocate_id(&self, request: Request) -> Result<(AllocationId, AddressRange), PoolError> {
        let placed = self.inner.allocate(&request)?;
        Ok((placed.id, AddressRange::new(self.inner.range.base + placed.offset, request.size)))
    }

    /// Whether a request would be granted now, if these allocations were released first: by the pool's own book. A device that has
    /// less than the pool's capacity can still refuse, and another thread can be faster.
    pub fn would_grant(&self, request: &Request, without: &[AllocationId]) -> bool {
        self.inner.would_grant(request, without)
    }

    /// Releases what [`Allocation::into_id`] left to plain numbers. An id that is not live is an error and
    /// changes nothing.
    pub fn release(&self, id: AllocationId) -> Result<(), PoolError> {
        // Those of handles are their own, wherever one was seen.
        if !id.0.is_plain() {
            return Err(PoolError::UnknownAllocation(id));
        }
        self.inner.release(id)
    }

    /// Where an allocation is on the device; an error when the id is not live.
    pub fn resolve(&self, id: AllocationId) -> Result<AddressRange, PoolError> {
        self.inner.resolve(id)
    }

    /// As [`allocate_id`](Self::allocate_id), for work that will be queued on a stream: memory that the stream itself
    /// [released](Allocation::release_on) is cut up and joined for it as free memory is, without waiting for the work that
    /// uses it.
    pub fn allocate_on(
        &self,
        request: Request,
        stream: &dyn Stream,
    ) -> Result<(AllocationId, AddressRange), PoolError> {
        let placed = self.inner.allocate_on(&request, stream)?;
        Ok((placed.id, AddressRange::new(self.inner.range.base + placed.offset, request.size)))
    }

    /// As [`allocate_on`](Self::allocate_on), with a handle.
    pub fn allocate_handle_on(&self, request: Request, stream: &dyn Stream) -> Result<Allocation, PoolError> {
        let placed = self.inner.allocate_on(&request, stream)?;
        Ok(self.handle(placed, &request))
    }

    /// Releases memory while work queued on a stream up to now may still use it; see [`Allocation::release_on`].
    pub fn release_on(&self, id: AllocationId, stream: &dyn Stream) -> Result<(), PoolError> {
        if !id.0.is_plain() {
            return Err(PoolError::UnknownAllocation(id));
        }
        self.inner.release_on(id, stream)
    }

    /// Grants memory that the pool may move while it is not pinned. Memory with an alignment of its own, beyond
    /// [`Request::ALIGNMENT`], stays where it is.
    pub fn allocate_movable(&self, request: Request) -> Result<MovableAllocation, PoolError> {
        // Moving keeps to units alone.
        let moves = request.alignment <= 1 << self.inner.shift;
        let kind = if moves { Kind::Movable } else { Kind::Handle };
        let placed = self.inner.allocate(&Request { kind, ..request })?;
        Ok(MovableAllocation::new(self.inner.clone(), placed.id, request.size))
    }

    /// Grants memory that grows in place up to `most` bytes: addresses for all of it, memory for what is asked for, which
    /// may be nothing at first. It begins on a granule and counts for whole ones.
    pub fn reserve(&self, request: Request, most: ByteSize) -> Result<GrowingAllocation, PoolError> {
        self.inner.allocate_growing(request, most)
    }

    /// Moves everything movable that is not pinned down as far as it goes. A request that fails for fragmentation alone
    /// does as much of this as it needs by itself, within [a budget](PoolConfig::compact_budget).
    pub fn compact(&self) -> Result<CompactReport, PoolError> {
        self.compact_within(CompactBudget::UNLIMITED)
    }

    /// As [`compact`](Self::compact), as far as a budget goes; the next pass goes on where this one ended.
    pub fn compact_within(&self, budget: CompactBudget) -> Result<CompactReport, PoolError> {
        self.inner.compact(None, budget)
    }

    /// Gives every granule in which nothing is granted back to the device. Moves nothing.
    pub fn trim(&self) -> Result<TrimReport, PoolError> {
        let report = self.inner.trim()?;
        self.inner.record_trim();
        Ok(report)
    }

    /// Registers a callback that may release memory when a request fails. It runs on the failing thread,
    /// without any lock of the pool; it may call the pool, except for requests of its own that need
    /// reclaiming, which would call it again. Dropping the guard takes the callback out.
    #[must_use = "the callback is taken out when the guard is dropped"]
    pub fn add_reclaimer(
        &self,
        callback: impl Fn(&ReclaimRequest) + Send + Sync + 'static,
    ) -> ReclaimerGuard {
        let mut reclaimers = lock(&self.inner.reclaimers);
        let id = reclaimers.last().map_or(0, |(id, _)| id + 1);
        reclaimers.push((id, Arc::new(callback)));
        ReclaimerGuard { inner: self.inner.clone(), id }
    }

    /// Lets threads keep blocks from now on, as they begin to of themselves once the book's lock has passed between
    /// them often enough.
    pub fn use_thread_caches(&self) {
        let _book = self.inner.book.lock();
        self.inner.thread_caches.activate();
    }

    /// The name before 0.2 of [`use_thread_caches`](Self::use_thread_caches).
    #[deprecated(since = "0.2.0", note = "it is called `use_thread_caches`")]
    pub fn use_fronts(&self) {
        self.use_thread_caches();
    }

    /// The device that the memory is on, to be asked. Its memory is the pool's alone:
    ///
    /// ```compile_fail,E0599
    /// # use std::sync::Arc;
    /// # use vramkit_pool::{ByteSize, device::{Backing, Device, HostDevice, Reservation}, pool::DeviceMemoryPool};
    /// # let pool = DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::mib(2))), ByteSize::mib(2)).unwrap();
    /// pool.device().decommit(pool.range()).unwrap();
    /// ```
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.inner.device
    }

    /// The addresses that allocations lie in.
    pub fn range(&self) -> AddressRange {
        self.inner.range
    }

    /// Most that can be granted.
    pub fn capacity(&self) -> ByteSize {
        self.inner.capacity
    }

    /// Granted now. `used() + available() == capacity()` whenever nothing is granted or released between.
    pub fn used(&self) -> ByteSize {
        ByteSize::new(self.inner.used())
    }

    /// Not granted now.
    pub fn available(&self) -> ByteSize {
        self.capacity() - self.used()
    }

    /// Granted now, as a fraction of the capacity, 0..1.
    pub fn used_fraction(&self) -> f64 {
        self.used().ratio_of(self.capacity())
    }

    /// Held from the device now.
    pub fn committed(&self) -> ByteSize {
        self.inner.granules.committed()
    }

    /// Behind the pool's addresses now, as the system says.
    pub fn resident(&self) -> Reading<ByteSize> {
        self.inner.memory.resident()
    }

    /// All numbers at one instant.
    pub fn stats(&self) -> PoolStats {
        let inner = &self.inner;
        inner.free_finished();
        let (committed, peak_committed) = (inner.granules.committed(), inner.granules.peak());
        let book = inner.recalled();
        PoolStats {
            capacity_bytes: inner.capacity,
            committed_bytes: committed,
            peak_committed_bytes: peak_committed.max(committed),
            used_bytes: ByteSize::new(inner.counts.used()),
            peak_used_bytes: ByteSize::new(inner.counts.peak_used()),
            requested_bytes: ByteSize::new(inner.counts.requested()),
            peak_requested_bytes: ByteSize::new(inner.counts.peak_requested()),
            arena_bytes: ByteSize::new(book.arena),
            pending_bytes: ByteSize::new(inner.pending()),
            live: book.owners.allocations(),
            granted: book.granted,
            hits: book.granted.saturating_sub(book.misses),
            misses: book.misses,
            failures: inner.failures.load(Ordering::Relaxed),
            waiting: inner.waiting.load(Ordering::Relaxed),
            moved: book.compacted.moves,
            moved_bytes: ByteSize::new(book.compacted.bytes),
            largest_free_bytes: ByteSize::new(inner.bytes(inner.grantable_now(&book))),
            book_bytes: ByteSize::new((inner.blocks.bytes(book.fit.places()) + book.fit.bytes()) as u64),
        }
    }

    /// What each owner holds that holds anything, most first.
    pub fn owners(&self) -> Vec<OwnerUse> {
        self.inner.free_finished();
        self.inner.recalled().owners.holding(usize::MAX)
    }

    /// The time that requests have waited for memory: for granules to be committed, for streams, for room to be made. A
    /// program whose threads say that they [work](StallMeter::work) with the pool learns for how much of it none of them went on.
    pub fn stall(&self) -> &StallMeter {
        &self.inner.stall
    }

    /// What is live by owner and tag, with ages, most bytes first. Takes about 10 ns an allocation and holds nobody up.
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.inner.ledger()
    }

    /// What is live, by address.
    pub fn live(&self) -> LeakReport {
        self.inner.live()
    }
}

impl fmt::Debug for DeviceMemoryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceMemoryPool")
            .field("device", &self.inner.device)
            .field("capacity", &self.inner.capacity)
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl Drop for DeviceMemoryPool {
    fn drop(&mut self) {
        let report = self.inner.live();
        if report.leaks.is_empty() {
            return;
        }
        match &self.on_leak {
            Some(sink) => sink(&report),
            None => tracing::warn!(count = report.leaks.len(), "pool dropped with {report}"),
        }
    }
}

/// Keeps a reclaim callback registered.
pub struct ReclaimerGuard {
    inner: Arc<Inner>,
    id: u64,
}

impl Drop for ReclaimerGuard {
    fn drop(&mut self) {
        // The callback itself is dropped after the lock is: what it owns is user code too.
        let taken = {
            let mut reclaimers = lock(&self.inner.reclaimers);
            let at = reclaimers.iter().position(|(id, _)| *id == self.id);
            at.map(|at| reclaimers.remove(at))
        };
        drop(taken);
    }
}
