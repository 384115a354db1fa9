//! Memory: addresses are reserved, pages created, mapped into them and made accessible; plain allocations beside them.

use rustix::mm::{MapFlags, ProtFlags};

use crate::code::{
    ALREADY_MAPPED, Code, ILLEGAL_ADDRESS, INVALID_VALUE, NOT_MAPPED, NOT_SUPPORTED, OUT_OF_MEMORY,
};
use crate::state::{GRANULARITY, Location, Mapping, Page, State};

impl State {
    /// Takes addresses that nothing is behind.
    fn addresses(size: u64, protection: ProtFlags) -> Result<u64, Code> {
        let span = usize::try_from(size + GRANULARITY).map_err(|_| INVALID_VALUE)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address of the kernel's choice. What is taken beyond alignment stays taken.
        let start = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), span, protection, flags) };
        start.map(|start| (start as u64).next_multiple_of(GRANULARITY)).map_err(|_| OUT_OF_MEMORY)
    }

    pub fn reserve(&mut self, size: u64) -> Result<u64, Code> {
        if self.plain {
            return Err(NOT_SUPPORTED);
        }
        if size == 0 || !size.is_multiple_of(GRANULARITY) || size > 1 << 46 {
            return Err(INVALID_VALUE);
        }
        let base = Self::addresses(size, ProtFlags::empty())?;
        self.reservations.insert(base, size);
        Ok(base)
    }

    pub fn unreserve(&mut self, address: u64, size: u64) -> Result<(), Code> {
        if self.reservations.get(&address) != Some(&size) {
            return Err(INVALID_VALUE);
        }
        if self.mappings.range(address..address + size).next().is_some() {
            return Err(INVALID_VALUE);
        }
        self.reservations.remove(&address);
        // SAFETY: a reservation of ours, in which nothing is mapped.
        unsafe { rustix::mm::munmap(address as *mut _, size as usize) }.map_err(|_| INVALID_VALUE)
    }

    pub fn create(&mut self, size: u64, location: Location) -> Result<u64, Code> {
        let card = self.card(location.id)?;
        if location.kind != 1 || size == 0 || !size.is_multiple_of(GRANULARITY) {
            return Err(INVALID_VALUE);
        }
        if size > self.free(card) {
            return Err(OUT_OF_MEMORY);
        }
        self.next += 1;
        let at = self.file_end;
        self.file_end += size;
        rustix::fs::ftruncate(&self.file, self.file_end).map_err(|_| OUT_OF_MEMORY)?;
        self.pages.insert(self.next, Page { card, size, at, mappings: 0, released: false });
        Ok(self.next)
    }

    pub fn release(&mut self, handle: u64) -> Result<(), Code> {
        let page = self.pages.get_mut(&handle).filter(|page| !page.released).ok_or(INVALID_VALUE)?;
        page.released = true;
        self.forget_if_unused(handle);
        Ok(())
    }

    fn forget_if_unused(&mut self, handle: u64) {
        if let Some(page) = self.pages.get(&handle).filter(|page| page.released && page.mappings == 0) {
            use rustix::fs::FallocateFlags as Flags;
            let _ =
                rustix::fs::fallocate(&self.file, Flags::PUNCH_HOLE | Flags::KEEP_SIZE, page.at, page.size);
            self.pages.remove(&handle);
        }
    }

    pub fn map(&mut self, address: u64, size: u64, handle: u64) -> Result<(), Code> {
        let (base, reserved) = self.reservations.range(..=address).next_back().ok_or(INVALID_VALUE)?;
        if address + size > base + reserved || !address.is_multiple_of(GRANULARITY) {
            return Err(INVALID_VALUE);
        }
        let before = self.mappings.range(..address + size).next_back();
        if before.is_some_and(|(at, mapping)| at + mapping.size > address) {
            return Err(ALREADY_MAPPED);
        }
        let page = self.pages.get_mut(&handle).filter(|page| !page.released && page.size == size);
        let page = page.ok_or(INVALID_VALUE)?;
        // SAFETY: over addresses of our own reservation, behind which nothing is.
        unsafe {
            rustix::mm::mmap(
                address as *mut _,
                size as usize,
                ProtFlags::empty(),
                MapFlags::SHARED | MapFlags::FIXED,
                &self.file,
                page.at,
            )
        }
        .map_err(|_| OUT_OF_MEMORY)?;
        page.mappings += 1;
        self.mappings.insert(address, Mapping { size, handle, accessible: false });
        Ok(())
    }

    /// The mappings that a range consists of; an error when it cuts one or has a hole.
    fn whole(&self, address: u64, size: u64) -> Result<Vec<u64>, Code> {
        let (mut at, mut found) = (address, Vec::new());
        while at < address + size {
            let mapping = self.mappings.get(&at).ok_or(NOT_MAPPED)?;
            found.push(at);
            at += mapping.size;
        }
        if at == address + size && size > 0 { Ok(found) } else { Err(INVALID_VALUE) }
    }

    pub fn unmap(&mut self, address: u64, size: u64) -> Result<(), Code> {
        for at in self.whole(address, size)? {
            let Some(mapping) = self.mappings.remove(&at) else { continue };
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
            // SAFETY: a mapping of ours becomes addresses with nothing behind them again.
            unsafe {
                rustix::mm::mmap_anonymous(at as *mut _, mapping.size as usize, ProtFlags::empty(), flags)
            }
            .map_err(|_| INVALID_VALUE)?;
            if let Some(page) = self.pages.get_mut(&mapping.handle) {
                page.mappings -= 1;
            }
            self.forget_if_unused(mapping.handle);
        }
        Ok(())
    }

    pub fn set_access(&mut self, address: u64, size: u64) -> Result<(), Code> {
        for at in self.whole(address, size)? {
            let Some(mapping) = self.mappings.get_mut(&at) else { continue };
            let protection = rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::WRITE;
            // SAFETY: a mapping of ours.
            unsafe { rustix::mm::mprotect(at as *mut _, mapping.size as usize, protection) }
                .map_err(|_| INVALID_VALUE)?;
            mapping.accessible = true;
        }
        Ok(())
    }

    pub fn allocate(&mut self, size: u64) -> Result<u64, Code> {
        let card = self.current()?;
        if size == 0 {
            return Err(INVALID_VALUE);
        }
        if size > self.free(card) {
            return Err(OUT_OF_MEMORY);
        }
        // Off the granularity, as a driver's may be.
        let base = Self::addresses(size + GRANULARITY, ProtFlags::READ | ProtFlags::WRITE)? + 512;
        self.allocations.insert(base, (card, size));
        Ok(base)
    }

    pub fn free_allocation(&mut self, address: u64) -> Result<(), Code> {
        let (_, size) = self.allocations.remove(&address).ok_or(INVALID_VALUE)?;
        // SAFETY: an allocation of ours, with what was taken before it for alignment.
        unsafe { rustix::mm::munmap((address - 512) as *mut _, size as usize + 512) }
            .map_err(|_| INVALID_VALUE)
    }

    /// Whether every byte may be read and written; if not, the context is lost.
    pub fn check_access(&mut self, address: u64, size: u64) -> Result<(), Code> {
        self.current()?;
        let end = address.checked_add(size).ok_or(INVALID_VALUE)?;
        if let Some((base, (_, allocated))) = self.allocations.range(..=address).next_back()
            && end <= base + allocated
        {
            return Ok(());
        }
        let mut at = address;
        while at < end {
            let found = self.mappings.range(..=at).next_back();
            match found.filter(|(base, mapping)| mapping.accessible && at < *base + mapping.size) {
                Some((base, mapping)) => at = base + mapping.size,
                None => {
                    self.lost = true;
                    return Err(ILLEGAL_ADDRESS);
                }
            }
        }
        Ok(())
    }
}
