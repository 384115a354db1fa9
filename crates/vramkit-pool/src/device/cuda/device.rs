//! The card as a device: pages behind its addresses, created and kept.

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use super::card::{Card, attribute, card_count};
use super::driver::{AccessDescription, Code, CudaError, Driver, Virtual};
use crate::device::{
    AddressRange, Allowed, Backing, Checked, Device, DeviceError, DeviceInfo, DeviceKind, DeviceMemory,
    Origin, RawMemory, Reading, Reservation,
};
use crate::sync::lock_std;
use vramkit_units::ByteSize;

/// What the driver's default stream-ordered pool of a card holds (`cudaMallocAsync` of any library in the process).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StreamPoolMemory {
    /// Held from the card now.
    pub reserved_bytes: Reading<ByteSize>,
    /// Most ever held.
    pub reserved_high_bytes: Reading<ByteSize>,
    /// Allocated now.
    pub used_bytes: Reading<ByteSize>,
    /// Most ever allocated.
    pub used_high_bytes: Reading<ByteSize>,
}

/// One card.
///
/// ```
/// use vramkit_pool::device::{CudaDevice, Device};
///
/// match CudaDevice::all() {
///     Ok(cards) => cards.iter().for_each(|card| assert!(card.info().id.starts_with("cuda:"))),
///     Err(no_card) => assert!(!no_card.to_string().is_empty()), // says why: no driver, or none that works
/// }
/// ```
#[derive(Debug)]
pub struct CudaDevice(Checked<CardMemory>);

/// A card's memory by the driver's calls. Private to the CUDA path, so that every range that it gets is one of ours,
/// allowed by our book.
#[derive(Debug)]
pub(super) struct CardMemory {
    pub(super) card: Card,
    /// As the command line names it.
    id: String,
    name: String,
    total: ByteSize,
    granularity: ByteSize,
    /// Whether the card has virtual memory management.
    virtual_memory: bool,
    /// Most created pages to keep.
    cached_pages: AtomicUsize,
    state: Mutex<State>,
}

/// What is mapped.
#[derive(Debug, Default)]
struct State {
    /// The page behind each mapped granule, by address.
    pages: BTreeMap<u64, u64>,
    /// Created pages behind nothing.
    cache: Vec<u64>,
    /// Without virtual memory management: the allocation that a reservation lies in.
    allocations: BTreeMap<u64, u64>,
}

impl CudaDevice {
    /// Every card that the driver lists; an error says why there is none.
    pub fn all() -> Result<Vec<Self>, CudaError> {
        let driver = Driver::load(None)?;
        (0..card_count(&driver)?).map(|index| Self::open(driver.clone(), index)).collect()
    }

    /// The card `cuda:index`.
    pub fn new(index: u32) -> Result<Self, CudaError> {
        Self::by(None, index)
    }

    /// As [`new`](Self::new), by the driver library at a path.
    pub fn with_driver(library: &Path, index: u32) -> Result<Self, CudaError> {
        Self::by(Some(library), index)
    }

    fn by(library: Option<&Path>, index: u32) -> Result<Self, CudaError> {
        let driver = Driver::load(library)?;
        let count = card_count(&driver)?;
        if index >= count {
            return Err(CudaError::NoSuchCard { index, count });
        }
        Self::open(driver, index)
    }

    fn open(driver: Arc<Driver>, index: u32) -> Result<Self, CudaError> {
        let (card, name, total) = Card::open(driver, index)?;
        let granularity = card.granularity();
        let virtual_memory = card.attribute(attribute::VIRTUAL_MEMORY).value == Some(1);
        Ok(Self(Checked::new(CardMemory {
            card,
            id: format!("cuda:{index}"),
            name,
            total,
            granularity,
            virtual_memory,
            cached_pages: AtomicUsize::new(32),
            state: Mutex::default(),
        })))
    }

    /// Keeps up to this many created pages for the next commit instead of giving them back to the driver.
    pub fn with_cached_pages(self, pages: usize) -> Self {
        self.raw().cached_pages.store(pages, Relaxed);
        self
    }

    pub(super) fn raw(&self) -> &CardMemory {
        self.0.raw()
    }

    /// Waits until everything that this process has queued on the card, on any stream, is done.
    ///
    /// # Errors
    /// The card is lost.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        self.raw().settle("waiting for the card")
    }

    /// What the driver's default stream-ordered pool holds.
    pub fn stream_pool(&self) -> StreamPoolMemory {
        let card = &self.raw().card;
        let driver = &*card.driver;
        let pool = driver.pools.as_ref().map_err(|symbol| format!("the driver lacks {symbol}"));
        let pool = pool.and_then(|pools| {
            let mut pool = std::ptr::null_mut();
            // SAFETY: the pointer is valid for a write.
            let found = driver.check(unsafe { (pools.default_pool)(&mut pool, card.device) });
            found.map(|()| (pools, pool)).map_err(|code| driver.name(code))
        });
        // CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT and the three after it.
        let reading = |attribute: c_int| {
            let read = pool.as_ref().map_err(Clone::clone).and_then(|&(pools, pool)| {
                let mut value = 0u64;
                // SAFETY: these attributes are of 64 bits; the pool is the driver's own.
                let code = unsafe { (pools.attribute)(pool, attribute, (&raw mut value).cast()) };
                driver.check(code).map(|()| value).map_err(|code| driver.name(code))
            });
            match read {
                Ok(value) => Reading::known(ByteSize::new(value), Origin::Driver),
                Err(reason) => Reading::unavailable(Origin::Driver, reason),
            }
        };
        StreamPoolMemory {
            reserved_bytes: reading(5),
            reserved_high_bytes: reading(6),
            used_bytes: reading(7),
            used_high_bytes: reading(8),
        }
    }
}

impl Device for CudaDevice {
    fn info(&self) -> DeviceInfo {
        self.0.info()
    }

    fn memory(&self) -> DeviceMemory {
        self.0.memory()
    }
}

impl Backing for CudaDevice {
    fn reserve(&self, size: ByteSize) -> Result<Box<dyn Reservation>, DeviceError> {
        self.0.reserve(size)
    }

    fn has_virtual_memory(&self) -> bool {
        self.0.raw().vmm().is_some()
    }
}

impl CardMemory {
    /// Virtual memory management, where the driver and the card have it.
    fn vmm(&self) -> Option<&Virtual> {
        self.card.driver.vmm.as_ref().ok().filter(|_| self.virtual_memory)
    }

    /// Free and all memory of the card, as the driver says.
    fn memory_info(&self) -> Result<(ByteSize, ByteSize), Code> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: both pointers are valid for writes.
        self.card.call(|driver| unsafe { (driver.base.memory_info)(&mut free, &mut total) })?;
        Ok((ByteSize::new(free as u64), ByteSize::new(total as u64)))
    }

    /// A driver's refusal in the device's words.
    pub(super) fn refused(&self, operation: &'static str, code: Code) -> DeviceError {
        if code.is_loss() {
            return DeviceError::Lost { device: self.id.clone() };
        }
        DeviceError::Driver { device: self.id.clone(), operation, reason: self.card.driver.name(code) }
    }

    fn out_of_memory(&self, state: &State, requested: ByteSize) -> DeviceError {
        let (free, total) = self.memory_info().unwrap_or((ByteSize::ZERO, self.total));
        let available = free + self.cached(state);
        DeviceError::OutOfMemory { device: self.id.clone(), requested, available, total }
    }

    /// Bytes of the pages that are kept.
    fn cached(&self, state: &State) -> ByteSize {
        ByteSize::new(state.cache.len() as u64 * self.granularity.bytes())
    }

    /// Undoes the mappings of granules, as far as they exist, and keeps or releases their pages.
    fn unmap(&self, state: &mut State, vmm: &Virtual, range: AddressRange) -> Result<(), Code> {
        let granule = self.granularity.bytes();
        let mapped: Vec<(u64, u64)> =
            state.pages.range(range.base..range.end()).map(|(&at, &page)| (at, page)).collect();
        for (at, page) in mapped {
            // SAFETY: a mapping that this device made, of this size, with no access under way: the book says so.
            self.card.call(|_| unsafe { (vmm.unmap)(at, granule as usize) })?;
            state.pages.remove(&at);
            if state.cache.len() < self.cached_pages.load(Relaxed) {
                state.cache.push(page);
            } else {
                // SAFETY: a page that this device created, and that is behind nothing.
                self.card.call(|_| unsafe { (vmm.release)(page) })?;
            }
        }
        Ok(())
    }

    /// Creates a page, or takes one from the cache.
    fn page(&self, state: &mut State, vmm: &Virtual) -> Result<u64, Code> {
        if let Some(page) = state.cache.pop() {
            return Ok(page);
        }
        let (mut page, size) = (0, self.granularity.bytes() as usize);
        // SAFETY: both pointers are valid; the size is the granularity.
        self.card.call(|_| unsafe { (vmm.create)(&mut page, size, &self.card.properties(), 0) })?;
        Ok(page)
    }

    fn map(&self, state: &mut State, vmm: &Virtual, range: AddressRange) -> Result<(), Code> {
        let granule = self.granularity.bytes();
        for at in (range.base..range.end()).step_by(granule as usize) {
            let page = self.page(state, vmm)?;
            // SAFETY: the address is in a reservation of ours with nothing behind it, as the book says.
            if let Err(code) = self.card.call(|_| unsafe { (vmm.map)(at, granule as usize, 0, page, 0) }) {
                state.cache.push(page);
                return Err(code);
            }
            state.pages.insert(at, page);
        }
        let access = AccessDescription { location: self.card.location(), flags: 3 };
        let size = range.size.bytes() as usize;
        // SAFETY: the range has been mapped above; the description is valid for the call.
        self.card.call(|_| unsafe { (vmm.set_access)(range.base, size, &access, 1) })
    }

    /// Asks the driver to move bytes.
    fn access(&self, operation: &'static str, act: impl FnOnce(&Driver) -> c_int) -> Result<(), DeviceError> {
        self.card.call(act).map_err(|code| self.refused(operation, code))
    }
}

impl RawMemory for CardMemory {
    fn info(&self) -> DeviceInfo {
        let number = |attribute| self.card.attribute(attribute);
        let capability = match (number(attribute::CAPABILITY_MAJOR), number(attribute::CAPABILITY_MINOR)) {
            (Reading { value: Some(major), .. }, Reading { value: Some(minor), .. }) => {
                Reading::known(format!("{major}.{minor}"), Origin::Driver)
            }
            (major, _) => major.map(|major| major.to_string()),
        };
        DeviceInfo {
            id: self.id.clone(),
            name: self.name.clone(),
            uuid: self.card.uuid(),
            kind: DeviceKind::Cuda,
            granularity: self.granularity,
            unified: number(attribute::INTEGRATED).map(|integrated| integrated != 0),
            multiprocessors: number(attribute::MULTIPROCESSORS).map(|n| n as u32),
            l2_cache_bytes: number(attribute::L2_CACHE).map(|bytes| ByteSize::new(bytes as u64)),
            bus_width_bits: number(attribute::BUS_WIDTH).map(|bits| bits as u32),
            compute_capability: capability,
        }
    }

    fn memory(&self, committed: ByteSize) -> DeviceMemory {
        let cached = self.cached(&lock_std(&self.state));
        let (free, total) = match self.memory_info() {
            Ok((free, total)) => {
                (Reading::known(free + cached, Origin::Driver), Reading::known(total, Origin::Driver))
            }
            Err(code) => (
                Reading::unavailable(Origin::Driver, self.card.driver.name(code)),
                Reading::known(self.total, Origin::Driver),
            ),
        };
        DeviceMemory {
            total_bytes: total,
            free_bytes: free,
            committed_bytes: Reading::known(committed, Origin::Driver),
        }
    }

    fn reserve(&self, size: ByteSize) -> Result<u64, DeviceError> {
        let unable =
            |reason: String| DeviceError::AddressSpace { device: self.id.clone(), requested: size, reason };
        let granule = self.granularity.bytes();
        if size.bytes() >= 1 << 47 {
            return Err(unable("the card's addresses have 47 bits".to_owned()));
        }
        if let Some(vmm) = self.vmm() {
            let mut base = 0;
            let size = size.bytes() as usize;
            // SAFETY: the pointer is valid for a write.
            let reserved =
                self.card.call(|_| unsafe { (vmm.reserve)(&mut base, size, granule as usize, 0, 0) });
            return match reserved {
                Ok(()) => Ok(base),
                Err(code) if code.is_loss() => Err(self.refused("reserving", code)),
                Err(code) => Err(unable(self.card.driver.name(code))),
            };
        }
        // A granule more than asked leaves room to start on a granule boundary.
        let (mut start, span) = (0, (size.bytes() + granule) as usize);
        // SAFETY: the pointer is valid for a write.
        let allocated = self.card.call(|driver| unsafe { (driver.base.allocate)(&mut start, span) });
        let mut state = lock_std(&self.state);
        allocated.map_err(|code| match code {
            Code::OUT_OF_MEMORY => self.out_of_memory(&state, size),
            code => self.refused("allocating", code),
        })?;
        let base = start.next_multiple_of(granule);
        state.allocations.insert(base, start);
        Ok(base)
    }

    fn release(&self, reservation: Allowed<'_>) -> Result<(), DeviceError> {
        let range = reservation.range();
        let mut state = lock_std(&self.state);
        let released = if let Some(start) = state.allocations.remove(&range.base) {
            // SAFETY: an allocation of ours, which nobody can reach any more: its reservation is being dropped.
            self.card.call(|driver| unsafe { (driver.base.free)(start) })
        } else if let Some(vmm) = self.vmm() {
            self.unmap(&mut state, vmm, range).and_then(|()| {
                // SAFETY: a reservation of ours, in which nothing is mapped any more.
                self.card.call(|_| unsafe { (vmm.unreserve)(range.base, range.size.bytes() as usize) })
            })
        } else {
            Ok(())
        };
        released.map_err(|code| self.refused("releasing", code))
    }

    fn commit(&self, granules: Allowed<'_>, _committed: ByteSize) -> Result<(), DeviceError> {
        let range = granules.range();
        let mut state = lock_std(&self.state);
        if let Some(vmm) = self.vmm()
            && let Err(code) = self.map(&mut state, vmm, range)
        {
            let undone = self.unmap(&mut state, vmm, range);
            return Err(match undone {
                Err(code) => self.refused("undoing a commit", code),
                Ok(()) if code == Code::OUT_OF_MEMORY => self.out_of_memory(&state, range.size),
                Ok(()) => self.refused("committing", code),
            });
        }
        Ok(())
    }

    fn decommit(&self, granules: Allowed<'_>) -> Result<(), DeviceError> {
        let mut state = lock_std(&self.state);
        let Some(vmm) = self.vmm() else { return Ok(()) };
        self.unmap(&mut state, vmm, granules.range()).map_err(|code| self.refused("decommitting", code))
    }

    fn settle(&self, operation: &'static str) -> Result<(), DeviceError> {
        // SAFETY: no arguments.
        self.access(operation, |driver| unsafe { (driver.base.synchronize)() })
    }

    fn fill(&self, range: Allowed<'_>, pattern: u32) -> Result<(), DeviceError> {
        // Words in the middle; bytes up to the first and from the last word boundary.
        let (base, end) = (range.base(), range.end());
        let first = (base.saturating_add(3) / 4 * 4).min(end);
        let last = (end / 4 * 4).max(first);
        let byte = |at: u64| pattern.to_le_bytes()[(at % 4) as usize];
        self.access("fill", |driver| {
            for at in (base..first).chain(last..end) {
                // SAFETY: every byte of the range is committed.
                let code = unsafe { (driver.base.fill_bytes)(at, byte(at), 1) };
                if code != 0 {
                    return code;
                }
            }
            if last > first {
                // SAFETY: as above; `first` is a multiple of 4.
                return unsafe { (driver.base.fill_words)(first, pattern, ((last - first) / 4) as usize) };
            }
            0
        })
    }

    fn write(&self, to: Allowed<'_>, bytes: &[u8]) -> Result<(), DeviceError> {
        self.access("write", |driver| {
            // SAFETY: every byte of the range is committed, and the slice is as long.
            unsafe { (driver.base.to_device)(to.base(), bytes.as_ptr().cast(), bytes.len()) }
        })
    }

    fn read(&self, from: Allowed<'_>, into: &mut [u8]) -> Result<(), DeviceError> {
        self.access("read", |driver| {
            // SAFETY: every byte of the range is committed, and the slice is as long.
            unsafe { (driver.base.to_host)(into.as_mut_ptr().cast(), from.base(), into.len()) }
        })
    }

    fn copy(&self, from: Allowed<'_>, to: Allowed<'_>) -> Result<(), DeviceError> {
        self.access("copy", |driver| {
            // SAFETY: every byte of both ranges is committed.
            match unsafe { (driver.base.on_device)(to.base(), from.base(), from.size().bytes() as usize) } {
                // A copy on the card goes on after the call; what follows may rely on it.
                // SAFETY: no arguments.
                0 => unsafe { (driver.base.synchronize)() },
                code => code,
            }
        })
    }

    fn resident(&self, _reservation: Allowed<'_>, _committed: ByteSize) -> Reading<ByteSize> {
        Reading::unavailable(Origin::Driver, "the driver does not say what is behind an address range")
    }
}

impl Drop for CardMemory {
    fn drop(&mut self) {
        // Every reservation is gone. A lost device's memory is gone as well: nothing to report, nothing to repeat.
        let mut state = std::mem::take(&mut *lock_std(&self.state));
        if let Some(vmm) = self.vmm() {
            // What releasing a reservation could not unmap.
            self.unmap(&mut state, vmm, AddressRange::new(0, ByteSize::MAX)).ok();
            for page in state.cache {
                // SAFETY: pages that this device created, behind nothing.
                self.card.call(|_| unsafe { (vmm.release)(page) }).ok();
            }
        }
        // SAFETY: balances the retain of `open`.
        unsafe { (self.card.driver.base.context_release)(self.card.device) };
    }
}
