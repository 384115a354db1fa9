//! A device on this program's heap whose commits fail when they are told to, or do something before.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use vramkit::ByteSize;
use vramkit::device::{
    Allowed, Checked, DeviceError, DeviceInfo, DeviceKind, DeviceMemory, HostMemory, Origin, RawMemory,
    Reading,
};
use vramkit::orchestrator::MemoryOrchestrator;
use vramkit::pool::DeviceMemoryPool;

const GRANULE: u64 = 16 << 10;

/// The commits of a device that was told which of them fail.
///
/// ```
/// use vramkit::ByteSize;
/// use vramkit::pool::Request;
///
/// // A pool tries again before it gives up, so all from the second on fail.
/// let (orchestrator, faults) = vramkit_testing::faulty(ByteSize::mib(1), 1..usize::MAX, |_| ());
/// let allocate = || orchestrator.pool().allocate(Request::new(ByteSize::new(20_000)));
/// let first = allocate()?;
/// assert!(allocate().is_err() && faults.commits() > 1);
/// # drop(first);
/// # Ok::<(), vramkit::pool::PoolError>(())
/// ```
pub struct Faults {
    commits: AtomicUsize,
    before: Box<dyn Fn(usize) + Send + Sync>,
    failing: Range<usize>,
}

impl Faults {
    /// How many there were.
    pub fn commits(&self) -> usize {
        self.commits.load(SeqCst)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} fail", self.failing, self.commits())
    }
}

#[derive(Debug)]
struct Heap(Arc<Faults>);

/// An orchestrator over so much memory of this program's heap, in granules of 16 KiB, of which these commits fail, counted from 0;
/// `before` is called with each commit's number before it.
///
/// # Panics
/// When the heap has no addresses for it.
pub fn faulty(
    capacity: ByteSize,
    failing: Range<usize>,
    before: impl Fn(usize) + Send + Sync + 'static,
) -> (Arc<MemoryOrchestrator>, Arc<Faults>) {
    let faults = Arc::new(Faults { commits: AtomicUsize::new(0), before: Box::new(before), failing });
    let device = Arc::new(Checked::new(Heap(faults.clone())));
    let pool = DeviceMemoryPool::new(device, capacity).expect("the heap has addresses");
    (Arc::new(MemoryOrchestrator::new(Arc::new(pool))), faults)
}

fn layout(size: ByteSize) -> Layout {
    Layout::from_size_align(size.bytes() as usize, GRANULE as usize).expect("a size that a test asks for")
}

impl RawMemory for Heap {
    fn info(&self) -> DeviceInfo {
        DeviceInfo::new("faulty", "the heap", DeviceKind::Other("faulty".to_owned()), ByteSize::new(GRANULE))
    }

    fn memory(&self, committed: ByteSize) -> DeviceMemory {
        let known = |bytes| Reading::known(bytes, Origin::Configured);
        DeviceMemory {
            total_bytes: known(ByteSize::gib(1)),
            free_bytes: known(ByteSize::gib(1).saturating_sub(committed)),
            committed_bytes: known(committed),
        }
    }

    fn reserve(&self, size: ByteSize) -> Result<u64, DeviceError> {
        // SAFETY: the book asks for granules, so the size is not 0.
        let start = unsafe { alloc_zeroed(layout(size)) };
        if start.is_null() {
            let (device, reason) = ("faulty".to_owned(), "the heap has none".to_owned());
            return Err(DeviceError::AddressSpace { device, requested: size, reason });
        }
        Ok(start as u64)
    }

    fn release(&self, reservation: Allowed<'_>) -> Result<(), DeviceError> {
        // SAFETY: a whole reservation, which came from `reserve` with this layout, and nobody reaches any more.
        unsafe { dealloc(reservation.base() as *mut u8, layout(reservation.size())) };
        Ok(())
    }

    fn commit(&self, granules: Allowed<'_>, committed: ByteSize) -> Result<(), DeviceError> {
        let number = self.0.commits.fetch_add(1, SeqCst);
        (self.0.before)(number);
        if !self.0.failing.contains(&number) {
            return Ok(());
        }
        let (device, requested) = ("faulty".to_owned(), granules.size());
        Err(DeviceError::OutOfMemory { device, requested, available: ByteSize::ZERO, total: committed })
    }

    fn decommit(&self, _: Allowed<'_>) -> Result<(), DeviceError> {
        Ok(())
    }

    fn write(&self, to: Allowed<'_>, bytes: &[u8]) -> Result<(), DeviceError> {
        // SAFETY: the range lies in a reservation and is committed, and its owner alone writes to it.
        unsafe { slice::from_raw_parts_mut(to.base() as *mut u8, bytes.len()) }.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, from: Allowed<'_>, into: &mut [u8]) -> Result<(), DeviceError> {
        // SAFETY: as above.
        into.copy_from_slice(unsafe { slice::from_raw_parts(from.base() as *const u8, into.len()) });
        Ok(())
    }

    fn host(&self, reservation: Allowed<'_>) -> Option<HostMemory> {
        let base = NonNull::new(reservation.base() as *mut u8)?;
        // SAFETY: one allocation of zeroed memory, which stays until the reservation is dropped, and is reached by the
        // reservation's methods alone.
        Some(unsafe { HostMemory::promise(base) })
    }
}
