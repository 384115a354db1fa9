//! This machine's own memory as a device: anonymous mappings whose granules are really taken and really given
//! back, so that the resident size that the system reports follows what is committed.
//!
//! Reserving maps addresses without access; committing allows access and faults every page in; decommitting
//! drops the pages and the access.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

use super::{
    AddressRange, Allowed, Backing, Checked, Device, DeviceError, DeviceInfo, DeviceKind, DeviceMemory,
    HostMemory, Origin, RawMemory, Reading, Reservation, system,
};
use vramkit_units::ByteSize;

use system::SystemMemory;

const ID: &str = "host";

/// The embedded default device: memory of this machine, up to a capacity.
///
/// ```
/// use vramkit_pool::ByteSize;
/// use vramkit_pool::device::{Backing, Device, HostDevice};
///
/// let device = HostDevice::new(ByteSize::mib(64));
/// let memory = device.reserve(ByteSize::mib(16))?; // addresses, and no memory yet
/// let granule = memory.range().part(0, HostDevice::GRANULARITY).expect("inside");
/// memory.commit(granule)?;
/// memory.write(granule.base, b"real memory of this machine")?;
/// assert_eq!(device.memory().committed_bytes.value, Some(HostDevice::GRANULARITY));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HostDevice(Checked<Mappings>);

/// The system calls. Private, so that every range that they get is one of ours, allowed by our book.
#[derive(Debug)]
struct Mappings {
    capacity: ByteSize,
}

impl HostDevice {
    /// The unit of committing: a large page of common processors, and what CUDA uses too.
    pub const GRANULARITY: ByteSize = ByteSize::mib(2);

    /// A device that may commit up to `capacity` (more than the machine has is refused by the system, later). One of
    /// [`ByteSize::MAX`] is all of the machine's memory: what is on any other is on it, too.
    pub fn new(capacity: ByteSize) -> Self {
        Self(Checked::new(Mappings { capacity }))
    }

    /// A device that may commit what the system says is available now; 1 GiB where it says nothing.
    pub fn with_available_memory() -> Self {
        Self::new(system::memory().available.unwrap_or(ByteSize::gib(1)))
    }
}

impl Device for HostDevice {
    fn info(&self) -> DeviceInfo {
        self.0.info()
    }

    fn memory(&self) -> DeviceMemory {
        self.0.memory()
    }

    fn instance(&self) -> u64 {
        if self.0.raw().capacity == ByteSize::MAX { 0 } else { self.0.instance() }
    }
}

impl Backing for HostDevice {
    fn reserve(&self, size: ByteSize) -> Result<Box<dyn Reservation>, DeviceError> {
        self.0.reserve(size)
    }

    fn has_virtual_memory(&self) -> bool {
        true
    }
}

impl Mappings {
    /// What the capacity leaves, and no more than the system has available.
    fn available(&self, committed: ByteSize, system: SystemMemory) -> ByteSize {
        let left = self.capacity.saturating_sub(committed);
        system.available.map_or(left, |available| available.min(left))
    }
}

/// A system call's error in the device's words.
fn refused(operation: &'static str, errno: Errno) -> DeviceError {
    DeviceError::Driver { device: ID.to_owned(), operation, reason: errno.to_string() }
}

/// The guard around a reservation: a page on each side that is never accessible, so that the kernel cannot
/// join a committed granule with a neighbour's mapping.
fn guard() -> u64 {
    rustix::param::page_size() as u64
}

impl RawMemory for Mappings {
    fn info(&self) -> DeviceInfo {
        let system = |what: &str| format!("main memory has no {what}");
        DeviceInfo {
            id: ID.to_owned(),
            name: format!("main memory ({}, {})", std::env::consts::OS, std::env::consts::ARCH),
            uuid: None,
            kind: DeviceKind::Host,
            granularity: HostDevice::GRANULARITY,
            unified: Reading::known(true, Origin::System),
            multiprocessors: match std::thread::available_parallelism() {
                Ok(cores) => Reading::known(cores.get() as u32, Origin::System),
                Err(error) => Reading::unavailable(Origin::System, error.to_string()),
            },
            l2_cache_bytes: Reading::unavailable(Origin::System, "not read on the host"),
            bus_width_bits: Reading::unavailable(Origin::System, "not read on the host"),
            compute_capability: Reading::unavailable(Origin::System, system("compute capability")),
        }
    }

    fn memory(&self, committed: ByteSize) -> DeviceMemory {
        let system = system::memory();
        let total = match system.total {
            Some(machine) if machine <= self.capacity => Reading::known(machine, Origin::System),
            _ => Reading::known(self.capacity, Origin::Configured),
        };
        let free = match system.available {
            Some(_) => Reading::known(self.available(committed, system), Origin::System),
            None => Reading::known(self.available(committed, system), Origin::Configured),
        };
        DeviceMemory {
            total_bytes: total,
            free_bytes: free,
            committed_bytes: Reading::known(committed, Origin::System),
        }
    }

    fn reserve(&self, size: ByteSize) -> Result<u64, DeviceError> {
        let unable =
            |reason: String| DeviceError::AddressSpace { device: ID.to_owned(), requested: size, reason };
        let granule = HostDevice::GRANULARITY.bytes();
        // A granule more than asked leaves room to start on a granule boundary, a guard page on each side.
        let span = size.bytes().checked_add(granule + 2 * guard());
        let span = span.and_then(|span| usize::try_from(span).ok());
        let span = span.ok_or_else(|| unable("the size passes the address space".to_owned()))?;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches no existing object.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                span,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(|errno| unable(errno.to_string()))? as u64;
        let base = (start + guard()).next_multiple_of(granule);
        let range = AddressRange::new(base, size);
        let (head, tail) = (base - guard() - start, start + span as u64 - range.end() - guard());
        for (at, length) in [(start, head), (range.end() + guard(), tail)] {
            if length > 0 {
                // SAFETY: both ends of the mapping made above, outside the guards, which nobody else knows of.
                unsafe { rustix::mm::munmap(at as *mut c_void, length as usize) }
                    .map_err(|errno| refused("trimming a reservation", errno))?;
            }
        }
        #[cfg(target_os = "linux")]
        // SAFETY: advice on our own mapping that changes no content. It makes committing a granule one fault;
        // where the kernel does not know it, committing is merely slower.
        let _ =
            unsafe { rustix::mm::madvise(base as *mut c_void, size.bytes() as usize, Advice::LinuxHugepage) };
        Ok(base)
    }

    fn release(&self, reservation: Allowed<'_>) -> Result<(), DeviceError> {
        let (start, length) = (reservation.base() - guard(), reservation.size().bytes() + 2 * guard());
        // SAFETY: a reservation, so a mapping of ours with its guards; it is being dropped, so nobody accesses it.
        unsafe { rustix::mm::munmap(start as *mut c_void, length as usize) }
            .map_err(|errno| refused("releasing a reservation", errno))
    }

    fn commit(&self, granules: Allowed<'_>, committed: ByteSize) -> Result<(), DeviceError> {
        let out_of_memory = |available| DeviceError::OutOfMemory {
            device: ID.to_owned(),
            requested: granules.size(),
            available,
            total: self.capacity,
        };
        // Asked before the pages are touched: under overcommit the kernel would rather end a process than refuse.
        let available = self.available(committed, system::memory());
        if granules.size() > available {
            return Err(out_of_memory(available));
        }
        let Err(errno) = allow_and_populate(granules) else { return Ok(()) };
        drop_and_forbid(granules).map_err(|errno| refused("undoing a commit", errno))?;
        Err(match errno {
            Errno::NOMEM | Errno::FAULT | Errno::AGAIN => {
                out_of_memory(self.available(committed, system::memory()))
            }
            errno => refused("committing", errno),
        })
    }

    fn decommit(&self, granules: Allowed<'_>) -> Result<(), DeviceError> {
        drop_and_forbid(granules).map_err(|errno| refused("decommitting", errno))
    }

    fn fill(&self, range: Allowed<'_>, pattern: u32) -> Result<(), DeviceError> {
        let byte = |at: u64| pattern.to_le_bytes()[(at % 4) as usize];
        let word = u64::from(pattern) << 32 | u64::from(pattern);
        for_each_cell(range, |cell| match cell {
            Cell::Byte(at, cell) => cell.store(byte(at), Relaxed),
            // A word starts at a multiple of 8, hence of 4, and holds the pattern twice.
            Cell::Word(_, cell) => cell.store(word.to_le(), Relaxed),
        });
        Ok(())
    }

    fn write(&self, to: Allowed<'_>, bytes: &[u8]) -> Result<(), DeviceError> {
        let base = to.base();
        for_each_cell(to, |cell| match cell {
            Cell::Byte(at, cell) => cell.store(bytes[(at - base) as usize], Relaxed),
            Cell::Word(at, cell) => {
                let at = (at - base) as usize;
                let word: [u8; 8] = bytes[at..at + 8].try_into().expect("eight bytes");
                cell.store(u64::from_ne_bytes(word), Relaxed);
            }
        });
        Ok(())
    }

    fn read(&self, from: Allowed<'_>, into: &mut [u8]) -> Result<(), DeviceError> {
        let base = from.base();
        for_each_cell(from, |cell| match cell {
            Cell::Byte(at, cell) => into[(at - base) as usize] = cell.load(Relaxed),
            Cell::Word(at, cell) => {
                let at = (at - base) as usize;
                into[at..at + 8].copy_from_slice(&cell.load(Relaxed).to_ne_bytes());
            }
        });
        Ok(())
    }

    fn host(&self, reservation: Allowed<'_>) -> Option<HostMemory> {
        let base = ptr::NonNull::new(reservation.base() as *mut u8)?;
        // SAFETY: a reservation is one mapping of ours. What is committed allows access and holds zeros at first, or what
        // was written since; it is left alone until it is decommitted or released, which only the reservation does.
        Some(unsafe { HostMemory::promise(base) })
    }

    fn resident(&self, reservation: Allowed<'_>, _committed: ByteSize) -> Reading<ByteSize> {
        match system::resident_between(reservation.base(), reservation.end()) {
            Some(bytes) => Reading::known(bytes, Origin::System),
            None => Reading::unavailable(Origin::System, "this system does not list a process's mappings"),
        }
    }
}

/// Allows access to a range and faults all of its pages in.
fn allow_and_populate(granules: Allowed<'_>) -> Result<(), Errno> {
    let (start, length) = (granules.base() as *mut c_void, granules.size().bytes() as usize);
    // SAFETY: the book has allowed it: the range lies in a reservation of ours and is not committed, so there is
    // nothing in it that a change of rights could harm.
    unsafe { rustix::mm::mprotect(start, length, MprotectFlags::READ | MprotectFlags::WRITE)? };
    #[cfg(target_os = "linux")]
    // SAFETY: as above, and the range is now accessible; populating changes no content.
    match unsafe { rustix::mm::madvise(start, length, Advice::LinuxPopulateWrite) } {
        Err(Errno::INVAL) => {} // A kernel before 5.14: touched page by page below.
        done => return done,
    }
    for at in (granules.base()..granules.end()).step_by(rustix::param::page_size()) {
        // SAFETY: `at` lies in the range that was just made accessible, and a fresh page holds zeros.
        unsafe { AtomicU8::from_ptr(at as *mut u8) }.store(0, Relaxed);
    }
    Ok(())
}

/// Drops the pages of a range and forbids access to it.
fn drop_and_forbid(granules: Allowed<'_>) -> Result<(), Errno> {
    let (start, length) = (granules.base() as *mut c_void, granules.size().bytes() as usize);
    // SAFETY: the book has allowed it: the range lies in a reservation of ours, no access is under way, and none
    // begins before the book says that it is committed again. `LinuxDontNeed` is
    // the advice that drops anonymous pages at once.
    unsafe {
        #[cfg(target_os = "linux")]
        rustix::mm::madvise(start, length, Advice::LinuxDontNeed)?;
        #[cfg(not(target_os = "linux"))]
        rustix::mm::madvise(start, length, Advice::DontNeed)?;
        rustix::mm::mprotect(start, length, MprotectFlags::empty())
    }
}

/// A piece of memory as large as can be accessed at once, with its address.
enum Cell<'a> {
    Byte(u64, &'a AtomicU8),
    Word(u64, &'a AtomicU64),
}

/// Walks over committed memory.
///
/// Cells are atomic because models run on threads, and a wrong plan may make two of them write to one place:
/// that must show as wrong content, not as undefined behaviour.
fn for_each_cell(range: Allowed<'_>, mut visit: impl FnMut(Cell<'_>)) {
    let (mut at, end) = (range.base(), range.end());
    let head = at.next_multiple_of(8).min(end);
    let body = head + (end - head) / 8 * 8;
    while at < head {
        // SAFETY: committed memory of our own mapping, which stays so for as long as the book allows the call; only
        // ever accessed through atomics.
        visit(Cell::Byte(at, unsafe { AtomicU8::from_ptr(at as *mut u8) }));
        at += 1;
    }
    while at < body {
        // SAFETY: as above, and `at` is a multiple of 8.
        visit(Cell::Word(at, unsafe { AtomicU64::from_ptr(at as *mut u64) }));
        at += 8;
    }
    while at < end {
        // SAFETY: as for the bytes before the first word.
        visit(Cell::Byte(at, unsafe { AtomicU8::from_ptr(at as *mut u8) }));
        at += 1;
    }
}
