//! This machine's own memory as a device: anonymous mappings whose granules are really taken and really given
//! back, so that the resident size that the system reports follows what is committed.
//!
//! Reserving maps addresses without access; committing allows access and faults every page in; decommitting
//! drops the pages and the access. This is the one place in the library that may be `unsafe`.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

use super::regions::Regions;
use super::{
    AddressRange, Device, DeviceError, DeviceInfo, DeviceKind, DeviceMemory, Reading, Source, system,
};
use crate::sync::{read, write};
use crate::units::ByteSize;

const ID: &str = "host";

/// The embedded default device: memory of this machine, up to a capacity.
#[derive(Debug)]
pub struct HostDevice {
    capacity: ByteSize,
    /// Read-locked while bytes are accessed, write-locked while access rights change: an access never meets a
    /// granule that is going away.
    regions: RwLock<Regions>,
}

impl HostDevice {
    /// The unit of committing: a large page of common processors, and what CUDA uses too.
    pub const GRANULARITY: ByteSize = ByteSize::mib(2);

    /// A device that may commit up to `capacity` (more than the machine has is refused by the system, later).
    pub fn new(capacity: ByteSize) -> Self {
        Self { capacity, regions: RwLock::new(Regions::new(ID, Self::GRANULARITY)) }
    }

    /// A device that may commit what the system says is available now; 1 GiB where it says nothing.
    pub fn with_available_memory() -> Self {
        Self::new(system::available_memory().unwrap_or(ByteSize::gib(1)))
    }

    /// What the capacity leaves, and no more than the system has available.
    fn available(&self, committed: ByteSize) -> ByteSize {
        let left = self.capacity.saturating_sub(committed);
        system::available_memory().map_or(left, |available| available.min(left))
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

impl Device for HostDevice {
    fn info(&self) -> DeviceInfo {
        let system = |what: &str| format!("main memory has no {what}");
        DeviceInfo {
            id: ID.to_owned(),
            name: format!("main memory ({}, {})", std::env::consts::OS, std::env::consts::ARCH),
            kind: DeviceKind::Host,
            granularity: Self::GRANULARITY,
            unified: Reading::known(true, Source::System),
            multiprocessors: match std::thread::available_parallelism() {
                Ok(cores) => Reading::known(cores.get() as u32, Source::System),
                Err(error) => Reading::unavailable(Source::System, error.to_string()),
            },
            l2_cache_bytes: Reading::unavailable(Source::System, "not read on the host"),
            bus_width_bits: Reading::unavailable(Source::System, "not read on the host"),
            compute_capability: Reading::unavailable(Source::System, system("compute capability")),
        }
    }

    fn memory(&self) -> DeviceMemory {
        let committed = read(&self.regions).committed();
        let total = match system::total_memory() {
            Some(machine) if machine <= self.capacity => Reading::known(machine, Source::System),
            _ => Reading::known(self.capacity, Source::Configured),
        };
        let free = match system::available_memory() {
            Some(_) => Reading::known(self.available(committed), Source::System),
            None => Reading::known(self.available(committed), Source::Configured),
        };
        DeviceMemory {
            total_bytes: total,
            free_bytes: free,
            committed_bytes: Reading::known(committed, Source::System),
        }
    }

    fn reserve(&self, size: ByteSize) -> Result<AddressRange, DeviceError> {
        let unable =
            |reason: String| DeviceError::AddressSpace { device: ID.to_owned(), requested: size, reason };
        let granule = Self::GRANULARITY.bytes();
        let rounded = ByteSize::new(size.bytes().max(1))
            .checked_align_up(granule)
            .ok_or_else(|| unable("the size passes 2^64 bytes".to_owned()))?;
        // A granule more than asked leaves room to start on a granule boundary, a guard page on each side.
        let span = rounded.bytes().checked_add(granule + 2 * guard());
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
        let range = AddressRange::new(base, rounded);
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
        let _ = unsafe {
            rustix::mm::madvise(base as *mut c_void, rounded.bytes() as usize, Advice::LinuxHugepage)
        };
        write(&self.regions).insert(range);
        Ok(range)
    }

    fn release(&self, range: AddressRange) -> Result<(), DeviceError> {
        let mut regions = write(&self.regions);
        regions.remove(range)?;
        let (start, length) = (range.base - guard(), range.size.bytes() + 2 * guard());
        // SAFETY: the book held this range, so it is a mapping of ours with its guards; the write lock is held,
        // so no access is under way, and with the range out of the book none can begin.
        unsafe { rustix::mm::munmap(start as *mut c_void, length as usize) }
            .map_err(|errno| refused("releasing a reservation", errno))
    }

    fn commit(&self, range: AddressRange) -> Result<(), DeviceError> {
        let mut regions = write(&self.regions);
        regions.check_change(range, true)?;
        let out_of_memory = |available| DeviceError::OutOfMemory {
            device: ID.to_owned(),
            requested: range.size,
            available,
            total: self.capacity,
        };
        // Asked before the pages are touched: under overcommit the kernel would rather end a process than refuse.
        let available = self.available(regions.committed());
        if range.size > available {
            return Err(out_of_memory(available));
        }
        match allow_and_populate(range) {
            Ok(()) => {
                regions.change(range, true);
                Ok(())
            }
            Err(errno) => {
                drop_and_forbid(range).map_err(|errno| refused("undoing a commit", errno))?;
                Err(match errno {
                    Errno::NOMEM | Errno::FAULT | Errno::AGAIN => {
                        out_of_memory(self.available(regions.committed()))
                    }
                    errno => refused("committing", errno),
                })
            }
        }
    }

    fn decommit(&self, range: AddressRange) -> Result<(), DeviceError> {
        let mut regions = write(&self.regions);
        regions.check_change(range, false)?;
        drop_and_forbid(range).map_err(|errno| refused("decommitting", errno))?;
        regions.change(range, false);
        Ok(())
    }

    fn fill(&self, range: AddressRange, pattern: u32) -> Result<(), DeviceError> {
        let regions = read(&self.regions);
        regions.check_access("fill", range)?;
        let byte = |at: u64| pattern.to_le_bytes()[(at % 4) as usize];
        let word = u64::from(pattern) << 32 | u64::from(pattern);
        for_each_cell(range, |cell| match cell {
            Cell::Byte(at, cell) => cell.store(byte(at), Relaxed),
            // A word starts at a multiple of 8, hence of 4, and holds the pattern twice.
            Cell::Word(_, cell) => cell.store(word.to_le(), Relaxed),
        });
        Ok(())
    }

    fn write(&self, to: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let range = AddressRange::new(to, ByteSize::new(bytes.len() as u64));
        let regions = read(&self.regions);
        regions.check_access("write", range)?;
        for_each_cell(range, |cell| match cell {
            Cell::Byte(at, cell) => cell.store(bytes[(at - to) as usize], Relaxed),
            Cell::Word(at, cell) => {
                let at = (at - to) as usize;
                let word: [u8; 8] = bytes[at..at + 8].try_into().expect("eight bytes");
                cell.store(u64::from_ne_bytes(word), Relaxed);
            }
        });
        Ok(())
    }

    fn read(&self, from: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        let range = AddressRange::new(from, ByteSize::new(into.len() as u64));
        let regions = read(&self.regions);
        regions.check_access("read", range)?;
        for_each_cell(range, |cell| match cell {
            Cell::Byte(at, cell) => into[(at - from) as usize] = cell.load(Relaxed),
            Cell::Word(at, cell) => {
                let at = (at - from) as usize;
                into[at..at + 8].copy_from_slice(&cell.load(Relaxed).to_ne_bytes());
            }
        });
        Ok(())
    }

    fn copy(&self, from: AddressRange, to: u64) -> Result<(), DeviceError> {
        read(&self.regions).check_copy(from, to)?;
        let mut buffer = vec![0; from.size.bytes().min(1 << 20) as usize];
        let mut done = 0;
        while done < from.size.bytes() {
            let part = (from.size.bytes() - done).min(buffer.len() as u64) as usize;
            self.read(from.base + done, &mut buffer[..part])?;
            self.write(to + done, &buffer[..part])?;
            done += part as u64;
        }
        Ok(())
    }

    fn resident(&self, range: AddressRange) -> Reading<ByteSize> {
        // Not while rights change: the kernel would be read half-way through.
        let _regions = read(&self.regions);
        match system::resident_between(range.base, range.end()) {
            Some(bytes) => Reading::known(bytes, Source::System),
            None => Reading::unavailable(Source::System, "this system does not list a process's mappings"),
        }
    }
}

impl Drop for HostDevice {
    fn drop(&mut self) {
        // Reservations belong to pools, which hold the device; one that is left here was leaked on purpose, and
        // its addresses may still be in use elsewhere.
        let regions = read(&self.regions);
        if !regions.committed().is_zero() {
            tracing::warn!(bytes = regions.committed().bytes(), "host device dropped with memory committed");
        }
    }
}

/// Allows access to a range and faults all of its pages in.
fn allow_and_populate(range: AddressRange) -> Result<(), Errno> {
    let (start, length) = (range.base as *mut c_void, range.size.bytes() as usize);
    // SAFETY: the caller holds the write lock and has checked that the range lies in a reservation of ours and
    // is not committed: there is nothing in it that a change of rights could harm.
    unsafe { rustix::mm::mprotect(start, length, MprotectFlags::READ | MprotectFlags::WRITE)? };
    #[cfg(target_os = "linux")]
    // SAFETY: as above, and the range is now accessible; populating changes no content.
    match unsafe { rustix::mm::madvise(start, length, Advice::LinuxPopulateWrite) } {
        Err(Errno::INVAL) => {} // A kernel before 5.14: touched page by page below.
        done => return done,
    }
    for at in (range.base..range.end()).step_by(rustix::param::page_size()) {
        // SAFETY: `at` lies in the range that was just made accessible, and a fresh page holds zeros.
        unsafe { AtomicU8::from_ptr(at as *mut u8) }.store(0, Relaxed);
    }
    Ok(())
}

/// Drops the pages of a range and forbids access to it.
fn drop_and_forbid(range: AddressRange) -> Result<(), Errno> {
    let (start, length) = (range.base as *mut c_void, range.size.bytes() as usize);
    // SAFETY: the caller holds the write lock and has checked that the range lies in a reservation of ours; no
    // access is under way and none begins before the book says that it is committed again. `LinuxDontNeed` is
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

/// Walks over a range that [`Regions::check_access`] has allowed, the lock on the book still held.
///
/// Cells are atomic because models run on threads, and a wrong plan may make two of them write to one place:
/// that must show as wrong content, not as undefined behaviour.
fn for_each_cell(range: AddressRange, mut visit: impl FnMut(Cell<'_>)) {
    let (mut at, end) = (range.base, range.end());
    let head = at.next_multiple_of(8).min(end);
    let body = head + (end - head) / 8 * 8;
    while at < head {
        // SAFETY: committed memory of our own mapping, kept so by the lock that the caller holds; only ever
        // accessed through atomics.
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
