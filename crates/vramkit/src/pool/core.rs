//! What a pool's handles share: the way of a request from the book to memory, and back.
//!
//! See the pool's first lines for the order of steps and locks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::book::Book;
use super::granules::Granules;
use super::request::{AllocationId, Request};
use super::segregated::UNIT;
use super::{Leak, LeakReport, OutOfMemory, PoolError, ReclaimRequest, Reclaimer, TrimReport};
use crate::device::{AddressRange, Device, DeviceError};
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::units::ByteSize;

/// How many owners an out-of-memory error names.
const OWNERS_IN_ERRORS: usize = 5;

/// What handles and the pool share.
pub(crate) struct Inner {
    pub(super) device: Arc<dyn Device>,
    pub(super) range: AddressRange,
    pub(super) capacity: ByteSize,
    pub(super) granules: Granules,
    pub(super) book: Mutex<Book>,
    /// A copy of the book's count, for readers without the lock.
    pub(super) used: AtomicU64,
    /// Requests that neither a block nor reclaiming could serve.
    pub(super) failures: AtomicU64,
    pub(super) reclaimers: Mutex<Vec<(u64, Reclaimer)>>,
    /// When the pool was made, on the coarse clock.
    pub(super) start: u32,
}

/// A grant before memory is behind it.
pub(super) struct Placed {
    pub(super) id: AllocationId,
    pub(super) offset: u64,
    pub(super) granted: u64,
}

impl Inner {
    /// Takes addresses for `capacity` bytes, a multiple of [`UNIT`].
    pub(super) fn new(device: Arc<dyn Device>, capacity: ByteSize) -> Result<Self, PoolError> {
        let range = device.reserve(capacity)?;
        Ok(Self {
            granules: Granules::new(range, device.info().granularity),
            device,
            range,
            capacity,
            book: Mutex::new(Book::new(capacity)),
            used: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            reclaimers: Mutex::new(Vec::new()),
            start: coarse_clock(),
        })
    }

    #[inline]
    pub(super) fn allocate(&self, request: Request) -> Result<Placed, PoolError> {
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
    pub(super) fn allocate_reclaiming(&self, request: Request) -> Result<Placed, PoolError> {
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
    #[inline(always)]
    pub(super) fn place(&self, request: Request) -> Option<Placed> {
        let granted = request.size.checked_align_up(UNIT)?.bytes();
        let born = self.now();
        let mut book = lock(&self.book);
        let label = book.label(request, born);
        let (id, offset) = book.fit.allocate(granted, request.alignment.max(UNIT), label)?;
        book.grant(offset, granted, label);
        self.used.store(book.used, Ordering::Release);
        Some(Placed { id: AllocationId(id), offset, granted })
    }

    /// Puts memory behind a block. When the device has none (the inner error) or fails otherwise, the block is
    /// given back.
    #[cold]
    pub(super) fn commit(&self, placed: &Placed) -> Result<Result<(), DeviceError>, PoolError> {
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
    pub(super) fn reclaim(&self, request: Request) {
        if let Err(error) = self.trim() {
            tracing::warn!(%error, "trimming for a request failed");
        }
        let callbacks: Vec<Reclaimer> =
            lock(&self.reclaimers).iter().map(|(_, callback)| callback.clone()).collect();
        let free = ByteSize::new(self.capacity.bytes() - self.used.load(Ordering::Acquire));
        for callback in callbacks {
            callback(&ReclaimRequest { requested: request.size, free });
        }
    }

    pub(super) fn out_of_memory(&self, request: Request, device_error: Option<DeviceError>) -> PoolError {
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

    pub(super) fn release(&self, id: AllocationId) -> Result<(), PoolError> {
        let mut book = lock(&self.book);
        let freed = book.fit.free(id.0).ok_or(PoolError::UnknownAllocation(id))?;
        book.take_back(freed);
        self.used.store(book.used, Ordering::Release);
        Ok(())
    }

    pub(super) fn granted(&self, id: AllocationId) -> ByteSize {
        let found = lock(&self.book).fit.get(id.0);
        found.map_or(ByteSize::ZERO, |(_, granted, _)| ByteSize::new(granted))
    }

    pub(super) fn trim(&self) -> Result<TrimReport, DeviceError> {
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
        Ok(TrimReport { freed_bytes, device_calls, elapsed: start.elapsed() })
    }

    pub(super) fn live(&self) -> LeakReport {
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
        LeakReport { leaks: leaks.collect() }
    }

    /// The pool's clock, for ages.
    pub(super) fn now(&self) -> u32 {
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
