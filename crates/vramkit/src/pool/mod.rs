//! One contiguous range of a device's memory, granted in pieces.
//!
//! ```text
//! request ──► segregated fit ──► offset ──► granules ──► memory behind it ──► handle
//!             (which block?)                (commit what is missing)
//!                  │ none fits, or the device refuses
//!                  └──► trim, reclaim callbacks ──► once more ──► error with the numbers
//! ```
//!
//! The book is out of band (`segregated`), memory is committed by the granule on demand (`granules`) and
//! given back by [`trim`](DeviceMemoryPool::trim), which moves nothing. Two locks, never both taken by the
//! common case: the book's, held for tens of nanoseconds, and the device's, held while it commits. Neither is
//! held while user code runs.

mod error;
mod granules;
mod request;
mod segregated;
mod stats;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::{OutOfMemory, OwnerUse, PoolError};
pub use request::{Allocation, AllocationId, OwnerId, Purpose, Request, TagId};
pub use stats::{Leak, LeakReport, PoolStats, TrimReport};

use crate::device::{AddressRange, Device, DeviceError, Reading};
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::units::ByteSize;
use granules::Granules;
use segregated::{Freed, Label, SegregatedFit, UNIT};

/// How many owners an out-of-memory error names.
const OWNERS_IN_ERRORS: usize = 5;

/// What a reclaim callback is told.
#[derive(Clone, Copy, Debug)]
pub struct ReclaimRequest {
    /// Bytes that could not be granted.
    pub requested: ByteSize,
    /// Bytes free, in pieces too small.
    pub free: ByteSize,
}

type Reclaimer = Arc<dyn Fn(&ReclaimRequest) + Send + Sync>;
type LeakSink = Box<dyn Fn(&LeakReport) + Send + Sync>;

/// Memory of one device, granted in pieces. Cheap to share behind an [`Arc`]; handles keep the memory itself
/// alive, so dropping the pool while some are out is safe, and reported.
pub struct DeviceMemoryPool {
    inner: Arc<Inner>,
    on_leak: Option<LeakSink>,
}

/// What handles and the pool share.
pub(crate) struct Inner {
    device: Arc<dyn Device>,
    range: AddressRange,
    capacity: ByteSize,
    granules: Granules,
    book: Mutex<Book>,
    /// A copy of the book's count, for readers without the lock.
    used: AtomicU64,
    /// Requests that neither a block nor reclaiming could serve.
    failures: AtomicU64,
    reclaimers: Mutex<Vec<(u64, Reclaimer)>>,
    /// When the pool was made, on the coarse clock.
    start: u32,
}

/// Everything that changes with a grant or a release, under one lock.
struct Book {
    fit: SegregatedFit,
    used: u64,
    peak_used: u64,
    requested: u64,
    peak_requested: u64,
    arena: u64,
    live: u64,
    granted: u64,
    misses: u64,
    owners: Vec<OwnerBook>,
    tags: Vec<Arc<str>>,
    owner_ids: HashMap<(Arc<str>, Purpose), OwnerId>,
    tag_ids: HashMap<Arc<str>, TagId>,
}

/// What the book knows of one owner.
struct OwnerBook {
    model: Arc<str>,
    purpose: Purpose,
    granted: u64,
    peak: u64,
    allocations: u64,
}

/// A grant before memory is behind it.
struct Placed {
    id: AllocationId,
    offset: u64,
    granted: u64,
}

impl DeviceMemoryPool {
    /// A pool of `capacity` bytes on a device, rounded up to a multiple of 256. Takes addresses; memory is
    /// committed as it is granted.
    pub fn new(device: Arc<dyn Device>, capacity: ByteSize) -> Result<Self, PoolError> {
        let capacity = capacity.checked_align_up(UNIT).unwrap_or(capacity);
        let range = device.reserve(capacity)?;
        let nobody: Arc<str> = "".into();
        let book = Book {
            fit: SegregatedFit::new(capacity.bytes()),
            used: 0,
            peak_used: 0,
            requested: 0,
            peak_requested: 0,
            arena: 0,
            live: 0,
            granted: 0,
            misses: 0,
            owners: vec![OwnerBook::new(nobody.clone(), Purpose::Other)],
            tags: vec![nobody.clone()],
            owner_ids: HashMap::from([((nobody.clone(), Purpose::Other), OwnerId::NONE)]),
            tag_ids: HashMap::from([(nobody, TagId::NONE)]),
        };
        let inner = Inner {
            granules: Granules::new(range, device.info().granularity),
            device,
            range,
            capacity,
            book: Mutex::new(book),
            used: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            reclaimers: Mutex::new(Vec::new()),
            start: coarse_clock(),
        };
        Ok(Self {
            inner: Arc::new(inner),
            on_leak: None,
        })
    }

    /// What to do with the report when the pool is dropped with live allocations, instead of logging it.
    pub fn on_leak(mut self, sink: impl Fn(&LeakReport) + Send + Sync + 'static) -> Self {
        self.on_leak = Some(Box::new(sink));
        self
    }

    /// The id for requests on behalf of a model and purpose.
    pub fn owner(&self, model: &str, purpose: Purpose) -> OwnerId {
        let mut book = lock(&self.inner.book);
        let model: Arc<str> = model.into();
        if let Some(&id) = book.owner_ids.get(&(model.clone(), purpose)) {
            return id;
        }
        let id = OwnerId(book.owners.len() as u32);
        book.owners.push(OwnerBook::new(model.clone(), purpose));
        book.owner_ids.insert((model, purpose), id);
        id
    }

    /// The id for requests named so in reports.
    pub fn tag(&self, name: &str) -> TagId {
        let mut book = lock(&self.inner.book);
        if let Some(&id) = book.tag_ids.get(name) {
            return id;
        }
        let (id, name) = (TagId(book.tags.len() as u32), Arc::<str>::from(name));
        book.tags.push(name.clone());
        book.tag_ids.insert(name, id);
        id
    }

    /// Grants memory, with what is missing behind it committed. When no block fits or the device has none
    /// left, free granules are trimmed, the [reclaimers](Self::add_reclaimer) run, and it is tried once more.
    pub fn allocate(&self, request: Request) -> Result<Allocation, PoolError> {
        let placed = self.inner.allocate(request)?;
        Ok(Allocation {
            pool: self.inner.clone(),
            id: Some(placed.id),
            offset: placed.offset,
            requested: request.size,
        })
    }

    /// As [`allocate`](Self::allocate), for engines that carry plain numbers: the id, to be
    /// [released](Self::release) by the caller, and where the memory is on the device.
    pub fn allocate_id(&self, request: Request) -> Result<(AllocationId, AddressRange), PoolError> {
        let placed = self.inner.allocate(request)?;
        Ok((
            placed.id,
            AddressRange::new(self.inner.range.base + placed.offset, request.size),
        ))
    }

    /// Releases what [`Allocation::into_id`] left to plain numbers. An id that is not live is an error and
    /// changes nothing.
    pub fn release(&self, id: AllocationId) -> Result<(), PoolError> {
        self.inner.release(id)
    }

    /// Where an allocation is on the device; an error when the id is not live.
    pub fn resolve(&self, id: AllocationId) -> Result<AddressRange, PoolError> {
        let found = lock(&self.inner.book).fit.get(id.0);
        let (offset, _, label) = found.ok_or(PoolError::UnknownAllocation(id))?;
        Ok(AddressRange::new(
            self.inner.range.base + offset,
            ByteSize::new(label.requested),
        ))
    }

    /// Gives every granule in which nothing is granted back to the device. Moves nothing.
    pub fn trim(&self) -> Result<TrimReport, PoolError> {
        Ok(self.inner.trim()?)
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
        ReclaimerGuard {
            inner: self.inner.clone(),
            id,
        }
    }

    /// The device that the memory is on.
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
        ByteSize::new(self.inner.used.load(Ordering::Acquire))
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
        self.inner.device.resident(self.inner.range)
    }

    /// All numbers at one instant.
    pub fn stats(&self) -> PoolStats {
        let inner = &self.inner;
        let (committed, peak_committed) = (inner.granules.committed(), inner.granules.peak());
        let book = lock(&inner.book);
        PoolStats {
            capacity_bytes: inner.capacity,
            committed_bytes: committed,
            peak_committed_bytes: peak_committed.max(committed),
            used_bytes: ByteSize::new(book.used),
            peak_used_bytes: ByteSize::new(book.peak_used),
            requested_bytes: ByteSize::new(book.requested),
            peak_requested_bytes: ByteSize::new(book.peak_requested),
            arena_bytes: ByteSize::new(book.arena),
            live: book.live,
            granted: book.granted,
            hits: book.granted - book.misses,
            misses: book.misses,
            failures: inner.failures.load(Ordering::Relaxed),
            largest_free_bytes: ByteSize::new(book.fit.largest_free()),
        }
    }

    /// What each owner holds that holds anything, most first.
    pub fn owners(&self) -> Vec<OwnerUse> {
        lock(&self.inner.book).owners(usize::MAX)
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

impl Inner {
    #[inline]
    fn allocate(&self, request: Request) -> Result<Placed, PoolError> {
        if request.size.is_zero() {
            return Err(PoolError::ZeroSize);
        }
        if !request.alignment.is_power_of_two() {
            return Err(PoolError::Alignment(request.alignment));
        }
        if let Some(placed) = self.place(request) {
            if self.granules.has(placed.offset, placed.granted) {
                return Ok(placed);
            }
            if self.commit(&placed)?.is_ok() {
                return Ok(placed);
            }
        }
        self.allocate_reclaiming(request)
    }

    /// The second and last try.
    #[cold]
    fn allocate_reclaiming(&self, request: Request) -> Result<Placed, PoolError> {
        self.reclaim(request);
        let refused = match self.place(request) {
            Some(placed) => match self.commit(&placed)? {
                Ok(()) => return Ok(placed),
                Err(error) => Some(error),
            },
            None => None,
        };
        self.failures.fetch_add(1, Ordering::Relaxed);
        Err(self.out_of_memory(request, refused))
    }

    /// A block, with or without memory behind it; `None` when none fits.
    #[inline]
    fn place(&self, request: Request) -> Option<Placed> {
        let granted = request.size.checked_align_up(UNIT)?.bytes();
        let born = self.now();
        let mut book = lock(&self.book);
        let label = book.label(request, born);
        let (id, offset) = book.fit.allocate(granted, request.alignment.max(UNIT), label)?;
        book.grant(offset, granted, label);
        self.used.store(book.used, Ordering::Release);
        Some(Placed {
            id: AllocationId(id),
            offset,
            granted,
        })
    }

    /// Puts memory behind a block. When the device has none (the inner error) or fails otherwise, the block is
    /// given back.
    #[cold]
    fn commit(&self, placed: &Placed) -> Result<Result<(), DeviceError>, PoolError> {
        let outcome = self.granules.commit(&*self.device, placed.offset, placed.granted);
        let mut book = lock(&self.book);
        match outcome {
            Ok(()) => {
                book.misses += 1;
                return Ok(Ok(()));
            }
            Err(_) => {
                if let Some(freed) = book.fit.free(placed.id.0) {
                    book.take_back(freed);
                    book.granted -= 1;
                }
                self.used.store(book.used, Ordering::Release);
            }
        }
        drop(book);
        match outcome {
            Err(error) if !matches!(error, DeviceError::OutOfMemory { .. }) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                Err(error.into())
            }
            outcome => Ok(outcome),
        }
    }

    /// Makes room: free granules go back to the device, then callbacks may release more.
    fn reclaim(&self, request: Request) {
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "trimming for a request failed");
        }
        let callbacks: Vec<Reclaimer> = lock(&self.reclaimers)
            .iter()
            .map(|(_, callback)| callback.clone())
            .collect();
        let free = ByteSize::new(self.capacity.bytes() - self.used.load(Ordering::Acquire));
        for callback in callbacks {
            callback(&ReclaimRequest {
                requested: request.size,
                free,
            });
        }
    }

    fn out_of_memory(&self, request: Request, device_error: Option<DeviceError>) -> PoolError {
        let book = lock(&self.book);
        PoolError::OutOfMemory(Box::new(OutOfMemory {
            device: self.device.info().id,
            requested: request.size,
            alignment: request.alignment,
            largest_free: ByteSize::new(book.fit.largest_free()),
            free: ByteSize::new(self.capacity.bytes() - book.used),
            capacity: self.capacity,
            owners: book.owners(OWNERS_IN_ERRORS),
            device_error,
        }))
    }

    pub(crate) fn release(&self, id: AllocationId) -> Result<(), PoolError> {
        let mut book = lock(&self.book);
        let freed = book.fit.free(id.0).ok_or(PoolError::UnknownAllocation(id))?;
        book.take_back(freed);
        self.used.store(book.used, Ordering::Release);
        Ok(())
    }

    fn granted(&self, id: AllocationId) -> ByteSize {
        let found = lock(&self.book).fit.get(id.0);
        found.map_or(ByteSize::ZERO, |(_, granted, _)| ByteSize::new(granted))
    }

    fn trim(&self) -> Result<TrimReport, DeviceError> {
        let start = Instant::now();
        let mut trim = self.granules.begin_trim();
        {
            let book = lock(&self.book);
            let end = self.range.size.bytes();
            let mut last_free_from = 0;
            for (offset, size, label) in book.fit.iter() {
                if label.is_some() {
                    last_free_from = offset + size;
                } else if offset + size < self.capacity.bytes() {
                    trim.give_up(offset, size);
                }
            }
            // The free end of the pool takes the rest of its last granule along.
            trim.give_up(last_free_from, end - last_free_from);
        }
        let (freed_bytes, device_calls) = trim.finish(&*self.device)?;
        Ok(TrimReport {
            freed_bytes,
            device_calls,
            elapsed: start.elapsed(),
        })
    }

    fn live(&self) -> LeakReport {
        let now = self.now();
        let book = lock(&self.book);
        let leaks = book.fit.iter().filter_map(|(_, _, label)| {
            let label = label?;
            let owner = &book.owners[label.owner.0 as usize];
            Some(Leak {
                tag: book.tags[label.tag.0 as usize].to_string(),
                model: owner.model.to_string(),
                purpose: owner.purpose,
                requested_bytes: ByteSize::new(label.requested),
                age: Duration::from_millis(u64::from(now.wrapping_sub(label.born)) * CLOCK_MS),
            })
        });
        LeakReport {
            leaks: leaks.collect(),
        }
    }

    /// The pool's clock, for ages.
    fn now(&self) -> u32 {
        coarse_clock().wrapping_sub(self.start)
    }
}

/// A tick of the clock of ages, in milliseconds; 32 bits of it last over a year.
const CLOCK_MS: u64 = 10;

/// The system's coarse clock in ticks of [`CLOCK_MS`]: a few milliseconds of resolution at a quarter of the cost,
/// because a grant reads it.
fn coarse_clock() -> u32 {
    #[cfg(target_os = "linux")]
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    #[cfg(not(target_os = "linux"))]
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Wraps, as the differences that ages are do.
    (time.tv_sec as u32)
        .wrapping_mul(1000 / CLOCK_MS as u32)
        .wrapping_add(time.tv_nsec as u32 / (CLOCK_MS as u32 * 1_000_000))
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.device.release(self.range) {
            tracing::error!(%error, "a pool's range could not be given back");
        }
    }
}

impl Book {
    /// The label of a request; an owner or tag of another pool counts as none.
    fn label(&self, request: Request, born: u32) -> Label {
        let owner = if (request.owner.0 as usize) < self.owners.len() {
            request.owner
        } else {
            OwnerId::NONE
        };
        let tag = if (request.tag.0 as usize) < self.tags.len() {
            request.tag
        } else {
            TagId::NONE
        };
        Label {
            requested: request.size.bytes(),
            owner,
            tag,
            born,
        }
    }

    #[inline]
    fn grant(&mut self, offset: u64, granted: u64, label: Label) {
        self.used += granted;
        self.peak_used = self.peak_used.max(self.used);
        self.requested += label.requested;
        self.peak_requested = self.peak_requested.max(self.requested);
        self.arena = self.arena.max(offset + granted);
        self.live += 1;
        self.granted += 1;
        let owner = &mut self.owners[label.owner.0 as usize];
        owner.granted += granted;
        owner.peak = owner.peak.max(owner.granted);
        owner.allocations += 1;
    }

    fn take_back(&mut self, freed: Freed) {
        self.used -= freed.granted;
        self.requested -= freed.requested;
        self.live -= 1;
        let owner = &mut self.owners[freed.owner.0 as usize];
        owner.granted -= freed.granted;
        owner.allocations -= 1;
    }

    fn owners(&self, most: usize) -> Vec<OwnerUse> {
        let mut holding: Vec<&OwnerBook> = self.owners.iter().filter(|owner| owner.granted > 0).collect();
        holding.sort_by_key(|owner| std::cmp::Reverse(owner.granted));
        let owners = holding.into_iter().take(most).map(|owner| OwnerUse {
            model: if owner.model.is_empty() {
                "nobody in particular".to_owned()
            } else {
                owner.model.to_string()
            },
            purpose: owner.purpose,
            granted_bytes: ByteSize::new(owner.granted),
            peak_bytes: ByteSize::new(owner.peak),
            allocations: owner.allocations,
        });
        owners.collect()
    }
}

impl OwnerBook {
    fn new(model: Arc<str>, purpose: Purpose) -> Self {
        Self {
            model,
            purpose,
            granted: 0,
            peak: 0,
            allocations: 0,
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
