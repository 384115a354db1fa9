//! The stand-in's one card's worth of state: what is reserved, created, mapped and accessible.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, c_int};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::mm::{MapFlags, ProtFlags};

pub type Code = c_int;

pub const INVALID_VALUE: Code = 1;
const OUT_OF_MEMORY: Code = 2;
const NOT_INITIALIZED: Code = 3;
const INVALID_DEVICE: Code = 101;
const INVALID_CONTEXT: Code = 201;
const NOT_SUPPORTED: Code = 801;
const INVALID_HANDLE: Code = 400;
pub const NOT_READY: Code = 600;
const ILLEGAL_ADDRESS: Code = 700;
const ALREADY_MAPPED: Code = 208;
const NOT_MAPPED: Code = 211;

pub const GRANULARITY: u64 = 2 << 20;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Location {
    pub kind: c_int,
    pub id: c_int,
}

struct Page {
    card: c_int,
    size: u64,
    /// Where its content is in the file.
    at: u64,
    mappings: u32,
    /// Released by the program; the memory goes with the last mapping.
    released: bool,
}

struct Mapping {
    size: u64,
    handle: u64,
    accessible: bool,
}

pub struct State {
    pub cards: c_int,
    pub bytes: u64,
    plain: bool,
    file: OwnedFd,
    file_end: u64,
    reservations: BTreeMap<u64, u64>,
    pages: HashMap<u64, Page>,
    mappings: BTreeMap<u64, Mapping>,
    /// Of `cuMemAlloc`: the card and the size.
    allocations: BTreeMap<u64, (c_int, u64)>,
    streams: Vec<usize>,
    /// Whether an event is done.
    events: HashMap<usize, bool>,
    /// Handles of streams and events that are no more: given to the next ones at once, as drivers do.
    old_streams: Vec<usize>,
    old_events: Vec<usize>,
    next: u64,
    others: u64,
    held: bool,
    lost: bool,
}

#[derive(Default)]
struct Global {
    state: Option<State>,
    /// Functions whose n-th call from now fails with a code.
    faults: Vec<(String, u32, Code)>,
    /// What other processes hold of each card.
    others: u64,
    /// Whether work on streams stays undone.
    held: bool,
}

static GLOBAL: Mutex<Option<Global>> = Mutex::new(None);

thread_local! {
    static CONTEXTS: std::cell::RefCell<Vec<usize>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn global<R>(act: impl FnOnce(&mut Global) -> R) -> R {
    let mut guard = GLOBAL.lock().unwrap_or_else(PoisonError::into_inner);
    act(guard.get_or_insert_with(Global::default))
}

/// Runs a driver function: counts the call, and fails when that was asked for.
pub fn with(function: &str, act: impl FnOnce(&mut State) -> Result<(), Code>) -> Result<(), Code> {
    global(|global| {
        let state = global.state.as_mut().ok_or(NOT_INITIALIZED)?;
        for fault in global.faults.iter_mut().filter(|fault| fault.0 == function && fault.1 > 0) {
            fault.1 -= 1;
            if fault.1 == 0 {
                state.lost |= fault.2 >= ILLEGAL_ADDRESS;
                return Err(fault.2);
            }
        }
        if state.lost && !function.starts_with("cuCtx") {
            return Err(ILLEGAL_ADDRESS);
        }
        act(state)
    })
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

pub fn initialise() -> Result<(), Code> {
    global(|global| {
        if global.state.is_some() {
            return Ok(());
        }
        let number = |name: &str, default: u64| setting(name).and_then(|n| n.parse().ok()).unwrap_or(default);
        let cards = number("VRAMKIT_STANDIN_CARDS", 1) as c_int;
        if cards == 0 {
            return Err(100);
        }
        for fault in setting("VRAMKIT_STANDIN_FAULTS").iter().flat_map(|faults| faults.split(',')) {
            let parts = fault.split_once(':').and_then(|(name, rest)| Some((name, rest.split_once('=')?)));
            if let Some((name, (nth, code))) = parts {
                let (nth, code) = (nth.parse().unwrap_or(1), code.parse().unwrap_or(1));
                global.faults.push((name.to_owned(), nth, code));
            }
        }
        let file = rustix::fs::memfd_create("stand-in", rustix::fs::MemfdFlags::CLOEXEC);
        global.state = Some(State {
            cards,
            bytes: number("VRAMKIT_STANDIN_BYTES", 1 << 30),
            plain: setting("VRAMKIT_STANDIN_PLAIN").is_some(),
            file: file.map_err(|_| OUT_OF_MEMORY)?,
            file_end: 0,
            reservations: BTreeMap::new(),
            pages: HashMap::new(),
            mappings: BTreeMap::new(),
            allocations: BTreeMap::new(),
            streams: Vec::new(),
            events: HashMap::new(),
            old_streams: Vec::new(),
            old_events: Vec::new(),
            next: 0x1000,
            others: global.others,
            held: global.held,
            lost: false,
        });
        Ok(())
    })
}

pub fn reset() {
    global(|global| *global = Global::default());
}

pub fn fail(function: String, nth: u32, code: Code) {
    global(|global| global.faults.push((function, nth, code)));
}

pub fn others_hold(bytes: u64) {
    global(|global| {
        global.others = bytes;
        global.state.iter_mut().for_each(|state| state.others = bytes);
    });
}

pub fn hold_streams(held: bool) {
    global(|global| {
        global.held = held;
        if let Some(state) = &mut global.state {
            state.held = held;
            state.events.values_mut().for_each(|done| *done |= !held);
        }
    });
}

pub fn created() -> u64 {
    global(|global| {
        global.state.as_ref().map_or(0, |state| (0..state.cards).map(|card| state.taken(card)).sum())
    })
}

/// The driver's name of a code.
pub fn name(code: Code) -> Option<&'static CStr> {
    Some(match code {
        0 => c"CUDA_SUCCESS",
        INVALID_VALUE => c"CUDA_ERROR_INVALID_VALUE",
        OUT_OF_MEMORY => c"CUDA_ERROR_OUT_OF_MEMORY",
        NOT_INITIALIZED => c"CUDA_ERROR_NOT_INITIALIZED",
        100 => c"CUDA_ERROR_NO_DEVICE",
        INVALID_DEVICE => c"CUDA_ERROR_INVALID_DEVICE",
        INVALID_CONTEXT => c"CUDA_ERROR_INVALID_CONTEXT",
        ALREADY_MAPPED => c"CUDA_ERROR_ALREADY_MAPPED",
        NOT_MAPPED => c"CUDA_ERROR_NOT_MAPPED",
        INVALID_HANDLE => c"CUDA_ERROR_INVALID_HANDLE",
        NOT_READY => c"CUDA_ERROR_NOT_READY",
        ILLEGAL_ADDRESS => c"CUDA_ERROR_ILLEGAL_ADDRESS",
        719 => c"CUDA_ERROR_LAUNCH_FAILED",
        NOT_SUPPORTED => c"CUDA_ERROR_NOT_SUPPORTED",
        _ => return None,
    })
}

impl State {
    pub fn card(&self, ordinal: c_int) -> Result<c_int, Code> {
        if (0..self.cards).contains(&ordinal) { Ok(ordinal) } else { Err(INVALID_DEVICE) }
    }

    pub fn attribute(&self, attribute: c_int) -> Result<c_int, Code> {
        Ok(match attribute {
            16 => 8,       // multiprocessors
            18 => 0,       // integrated
            37 => 256,     // bus width
            38 => 4 << 20, // level-2 cache
            75 => 9,       // compute capability
            76 => 0,
            102 => c_int::from(!self.plain), // virtual memory management
            115 => 1,                        // memory pools
            _ => return Err(INVALID_VALUE),
        })
    }

    pub fn push(&mut self, context: usize) -> Result<(), Code> {
        self.card(context as c_int - 1).map_err(|_| INVALID_CONTEXT)?;
        CONTEXTS.with_borrow_mut(|contexts| contexts.push(context));
        Ok(())
    }

    pub fn pop(&mut self) -> Result<usize, Code> {
        CONTEXTS.with_borrow_mut(Vec::pop).ok_or(INVALID_CONTEXT)
    }

    /// The card of the thread's context.
    pub fn current(&self) -> Result<c_int, Code> {
        let context = CONTEXTS.with_borrow(|contexts| contexts.last().copied());
        context.map(|context| context as c_int - 1).ok_or(INVALID_CONTEXT)
    }

    /// Bytes created on a card.
    fn taken(&self, card: c_int) -> u64 {
        let pages: u64 = self.pages.values().filter(|page| page.card == card).map(|page| page.size).sum();
        pages + self.allocations.values().filter(|(on, _)| *on == card).map(|(_, size)| size).sum::<u64>()
    }

    pub fn free(&self, card: c_int) -> u64 {
        self.bytes.saturating_sub(self.taken(card)).saturating_sub(self.others)
    }

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

    fn new_handle(&mut self) -> usize {
        self.next += 1;
        self.next as usize
    }

    pub fn new_stream(&mut self) -> usize {
        let handle = self.old_streams.pop().unwrap_or_else(|| self.new_handle());
        self.streams.push(handle);
        handle
    }

    pub fn end_stream(&mut self, stream: usize) -> Result<(), Code> {
        let at = self.streams.iter().position(|&known| known == stream).ok_or(INVALID_HANDLE)?;
        self.old_streams.push(self.streams.swap_remove(at));
        Ok(())
    }

    pub fn new_event(&mut self) -> usize {
        let handle = self.old_events.pop().unwrap_or_else(|| self.new_handle());
        self.events.insert(handle, true);
        handle
    }

    pub fn end_event(&mut self, event: usize) -> Result<(), Code> {
        self.events.remove(&event).ok_or(INVALID_HANDLE)?;
        self.old_events.push(event);
        Ok(())
    }

    pub fn record(&mut self, event: usize, stream: usize) -> Result<(), Code> {
        if stream != 0 && !self.streams.contains(&stream) {
            return Err(INVALID_HANDLE);
        }
        let done = !self.held;
        self.events.get_mut(&event).map(|event| *event = done).ok_or(INVALID_HANDLE)
    }

    pub fn query(&self, event: usize) -> Result<(), Code> {
        match self.events.get(&event) {
            Some(true) => Ok(()),
            Some(false) => Err(NOT_READY),
            None => Err(INVALID_HANDLE),
        }
    }
}
