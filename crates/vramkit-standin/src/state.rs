//! What the cards have: memory that is reserved, created, mapped and accessible, contexts, streams and events.

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_int;
use std::os::fd::OwnedFd;

use crate::code::{Code, INVALID_CONTEXT, INVALID_DEVICE, INVALID_VALUE, OUT_OF_MEMORY};

pub const GRANULARITY: u64 = 2 << 20;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Location {
    pub kind: c_int,
    pub id: c_int,
}

pub(crate) struct Page {
    pub(crate) card: c_int,
    pub(crate) size: u64,
    /// Where its content is in the file.
    pub(crate) at: u64,
    pub(crate) mappings: u32,
    /// Released by the program; the memory goes with the last mapping.
    pub(crate) released: bool,
}

pub(crate) struct Mapping {
    pub(crate) size: u64,
    pub(crate) handle: u64,
    pub(crate) accessible: bool,
}

pub struct State {
    pub cards: c_int,
    pub bytes: u64,
    pub(crate) plain: bool,
    /// Of each card: whether it is a part of one, and its identity.
    pub(crate) uuids: Vec<(bool, u128)>,
    pub(crate) file: OwnedFd,
    pub(crate) file_end: u64,
    pub(crate) reservations: BTreeMap<u64, u64>,
    pub(crate) pages: HashMap<u64, Page>,
    pub(crate) mappings: BTreeMap<u64, Mapping>,
    /// Of `cuMemAlloc`: the card and the size.
    pub(crate) allocations: BTreeMap<u64, (c_int, u64)>,
    pub(crate) streams: Vec<usize>,
    /// Whether an event is done.
    pub(crate) events: HashMap<usize, bool>,
    /// Handles of streams and events that are no more: given to the next ones at once, as drivers do.
    pub(crate) old_streams: Vec<usize>,
    pub(crate) old_events: Vec<usize>,
    pub(crate) next: u64,
    pub(crate) others: u64,
    pub(crate) held: bool,
    pub(crate) lost: bool,
}

thread_local! {
    static CONTEXTS: std::cell::RefCell<Vec<usize>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl State {
    /// Cards with so much memory each, and nothing on them.
    pub fn new(cards: c_int, bytes: u64, plain: bool) -> Result<Self, Code> {
        let file = rustix::fs::memfd_create("stand-in", rustix::fs::MemfdFlags::CLOEXEC);
        Ok(Self {
            cards,
            bytes,
            plain,
            uuids: Vec::new(),
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
            others: 0,
            held: false,
            lost: false,
        })
    }

    pub fn card(&self, ordinal: c_int) -> Result<c_int, Code> {
        if (0..self.cards).contains(&ordinal) { Ok(ordinal) } else { Err(INVALID_DEVICE) }
    }

    /// A card's identity: the one that it was given, or its ordinal. Of a part, `whole` asks for its card's.
    pub fn uuid(&self, card: c_int, whole: bool) -> [u8; 16] {
        let ordinal = u128::from(card.unsigned_abs());
        let (is_part, number) = self.uuids.get(card as usize).copied().unwrap_or((false, ordinal + 1));
        let number = if is_part && whole { !number } else { number };
        number.to_be_bytes()
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
    pub fn taken(&self, card: c_int) -> u64 {
        let pages: u64 = self.pages.values().filter(|page| page.card == card).map(|page| page.size).sum();
        pages + self.allocations.values().filter(|(on, _)| *on == card).map(|(_, size)| size).sum::<u64>()
    }

    pub fn free(&self, card: c_int) -> u64 {
        self.bytes.saturating_sub(self.taken(card)).saturating_sub(self.others)
    }
}
