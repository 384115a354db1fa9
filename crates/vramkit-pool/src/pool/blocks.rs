//! The table of blocks: what a place of the pool's range is now, live, free or kept in a thread's cache.
//!
//! A block is eight 32-bit words, two blocks to a cache line. Sizes and offsets are in the pool's units. The
//! table grows by chunks that never move, so that an id leads to its block without the book's lock. Who may
//! touch what:
//!
//! * offset, size, neighbours and the place in a bin change under the book's lock only, and the first two not
//!   while the block is live, unless it is movable;
//! * the label (owner, tag, slack, age) is written by whoever holds the block alone: the thread that has just
//!   got it from the book or from a thread cache;
//! * `state` [hands it over](super::seqlock): it is published last when a block becomes live, and retired first, by an
//!   exchange, when it stops being live. Of two releases of one id, one wins.

#[cfg(not(loom))]
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::num::NonZeroU32;
use std::sync::atomic::Ordering::Relaxed;

// Handed over by `state` and the locks, never used to hand over: the model checker sees them in the tests of that alone
// (`--cfg words`), since it would take years to branch on them everywhere.
#[cfg(all(loom, words))]
use crate::sync::AtomicU32 as Word;
#[cfg(not(all(loom, words)))]
use std::sync::atomic::AtomicU32 as Word;

use super::seqlock::SeqLock;
use crate::sync::OnceLock;

/// No block.
pub(super) const NONE: u32 = u32::MAX;

/// The first chunk has a block for every so many bytes of the pool, within limits, rounded to a power of two.
const BYTES_FOR_A_BLOCK: u64 = 8 << 20;
const FIRST: std::ops::RangeInclusive<u64> = if cfg!(loom) { 4..=4 } else { 256..=8192 };

/// What the system puts memory behind at once.
const PAGE: usize = 4096;

/// The low bits of a state; the others count the uses of the place. A live one's lowest bit is set.
const KIND_BITS: u32 = 3;
const KIND: u32 = (1 << KIND_BITS) - 1;
const FREE: u32 = 0;
const LIVE: u32 = 1;
/// Held by a thread cache, by a stream or by whoever is at work on it.
const KEPT: u32 = 2;
/// Live, and may be moved.
const MOVABLE: u32 = 3;
/// Live, and grows in place.
const GROWING: u32 = 5;
/// Live, and held by a handle, whose id nobody else has. A plain id never says so, so that none, however it was come by
/// (from another pool, or from this place so long ago that the uses have wrapped), releases a handle's memory.
const HANDLE: u32 = 7;

/// A live block, as its holder knows it: its place in the table, and its state, which no later use of the place
/// has (until 2^29 of them have passed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BlockId {
    pub(super) index: u32,
    pub(super) stamp: NonZeroU32,
}

impl BlockId {
    pub(super) fn is_movable(self) -> bool {
        self.stamp.get() & KIND == MOVABLE
    }

    pub(super) fn is_growing(self) -> bool {
        self.stamp.get() & KIND == GROWING
    }

    /// Of the kinds that most are: it stays where it is, as large as it is.
    #[inline(always)]
    pub(super) fn stays(self) -> bool {
        const _: () = assert!(LIVE >> 1 == 0 && HANDLE >> 1 == 3 && MOVABLE >> 1 == 1 && GROWING >> 1 == 2);
        (self.stamp.get() >> 1 ^ self.stamp.get() >> 2) & 1 == 0
    }

    /// Of the one kind whose ids people may use, to release the block and to reach into it.
    #[inline(always)]
    pub(super) fn is_plain(self) -> bool {
        self.stamp.get() & KIND == LIVE
    }

    /// Which use of its place it is.
    pub(super) fn use_of_place(self) -> u32 {
        self.stamp.get() >> KIND_BITS
    }
}

/// Who holds a live block, and what it may be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// Somebody with its id.
    Plain = LIVE,
    /// A handle alone, as all that follow.
    Handle = HANDLE,
    Movable = MOVABLE,
    Growing = GROWING,
}

/// What a live block is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    /// The owner's number.
    pub(super) owner: u16,
    pub(super) tag: u16,
    /// Bytes granted that were not asked for; of memory that grows in place, units reserved beyond what is asked for.
    pub(super) slack: u32,
    /// On the pool's clock.
    pub(super) born: u32,
}

/// A live block as somebody saw it who held no lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    stamp: u32,
    pub(super) label: Label,
    pub(super) offset: u32,
    pub(super) size: u32,
}

impl Seen {
    pub(super) fn is_growing(&self) -> bool {
        self.stamp & KIND == GROWING
    }
}

/// One place of the table. Aligned to its size, so that no block lies across two cache lines.
#[derive(Debug, Default)]
#[cfg_attr(not(loom), repr(align(32)))]
pub(super) struct Block {
    pub(super) offset: Word,
    pub(super) size: Word,
    /// Neighbours by address.
    pub(super) below: Word,
    pub(super) above: Word,
    /// Free: the place in its bin. Otherwise: owner and tag, 16 bits each.
    link: Word,
    slack: Word,
    born: Word,
    state: SeqLock,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Block>() == 32 && align_of::<Block>() == 32, "two blocks to a cache line");

impl Block {
    pub(super) fn offset(&self) -> u32 {
        self.offset.load(Relaxed)
    }

    pub(super) fn size(&self) -> u32 {
        self.size.load(Relaxed)
    }

    pub(super) fn below(&self) -> u32 {
        self.below.load(Relaxed)
    }

    pub(super) fn above(&self) -> u32 {
        self.above.load(Relaxed)
    }

    /// One past its last unit.
    pub(super) fn end(&self) -> u32 {
        self.offset() + self.size()
    }

    /// Free: its place in its bin.
    pub(super) fn place(&self) -> u32 {
        self.link.load(Relaxed)
    }

    pub(super) fn set_place(&self, place: u32) {
        self.link.store(place, Relaxed);
    }

    pub(super) fn label(&self) -> Label {
        let link = self.link.load(Relaxed);
        Label {
            owner: (link >> 16) as u16,
            tag: link as u16,
            slack: self.slack.load(Relaxed),
            born: self.born.load(Relaxed),
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.state.get() & KIND == FREE
    }

    pub(super) fn is_live(&self) -> bool {
        self.state.seen() & 1 == 1
    }

    pub(super) fn is_movable(&self) -> bool {
        self.state.seen() & KIND == MOVABLE
    }

    /// What a live block is for, its offset and its size, all of one use of it; without the book's lock.
    pub(super) fn look(&self) -> Option<Seen> {
        self.state.read(|state| self.words(state))?
    }

    /// As [`look`](Self::look), when this is the live block that `stamp` was given for.
    #[inline]
    pub(super) fn look_at(&self, stamp: NonZeroU32) -> Option<Seen> {
        self.look().filter(|seen| seen.stamp == stamp.get())
    }

    fn words(&self, stamp: u32) -> Option<Seen> {
        let (label, offset, size) = (self.label(), self.offset(), self.size());
        (stamp & 1 == 1).then_some(Seen { stamp, label, offset, size })
    }

    /// Whether this is the live block that `stamp` was given for.
    #[inline]
    pub(super) fn is(&self, stamp: NonZeroU32) -> bool {
        self.state.seen() == stamp.get() && stamp.get() & 1 == 1
    }

    /// Makes a handle's block one of a plain id. The caller is the handle.
    pub(super) fn set_plain(&self, stamp: NonZeroU32) -> NonZeroU32 {
        let plain = stamp.get() & !KIND | LIVE;
        self.state.publish(plain);
        NonZeroU32::new(plain).unwrap_or(NonZeroU32::MIN)
    }

    /// Makes a block that the caller alone holds live.
    #[inline(always)]
    pub(super) fn set_live(&self, kind: Kind, label: Label) -> NonZeroU32 {
        self.link.store(u32::from(label.owner) << 16 | u32::from(label.tag), Relaxed);
        self.slack.store(label.slack, Relaxed);
        self.born.store(label.born, Relaxed);
        let live = self.state.get() & !KIND | kind as u32;
        self.state.publish(live);
        NonZeroU32::new(live).unwrap_or(NonZeroU32::MIN)
    }

    /// Of a live block that grows in place, what it has reserved beyond what is asked for, in units. Under the book's
    /// lock.
    pub(super) fn set_slack(&self, slack: u32) {
        self.slack.store(slack, Relaxed);
    }

    /// Notes for whom a held block was, in its stead.
    pub(super) fn set_owner(&self, label: Label) {
        self.link.store(u32::from(label.owner) << 16 | u32::from(label.tag), Relaxed);
    }

    /// Of a block that a stream may still use, where it stands among those; in the place of its age. Under the book's
    /// lock.
    pub(super) fn entry(&self) -> u32 {
        self.born.load(Relaxed)
    }

    pub(super) fn set_entry(&self, entry: u32) {
        self.born.store(entry, Relaxed);
    }

    /// Ends a live block's life; from now on the caller alone holds it. False when the id is not live, or another
    /// release of it came first.
    #[inline]
    pub(super) fn keep(&self, stamp: NonZeroU32) -> bool {
        let live = stamp.get();
        let kept = (live & !KIND).wrapping_add(KIND + 1) | KEPT;
        live & 1 == 1 && self.state.retire_from(live, kept)
    }

    /// Lets the caller alone hold a block that was free, or none. Under the book's lock.
    pub(super) fn set_held(&self) {
        self.state.retire(self.state.get() & !KIND | KEPT);
    }

    /// Makes a block that the caller alone holds free. Under the book's lock.
    #[inline]
    pub(super) fn set_free(&self) {
        let state = self.state.get();
        // A kept block's uses were counted when it was kept.
        let next = if state & 1 == 1 { (state & !KIND).wrapping_add(KIND + 1) } else { state & !KIND };
        self.state.retire(next);
    }
}

/// Every block of a pool. The first chunk has most that are ever in use; a look past it takes longer. Four chunks
/// of one size follow each other before it doubles.
#[derive(Debug)]
pub(super) struct Blocks {
    first: Box<[Block]>,
    rest: Box<[OnceLock<Box<[Block]>>]>,
}

impl Blocks {
    /// For a pool of `capacity` bytes.
    pub(super) fn new(capacity: u64) -> Self {
        let first = (capacity / BYTES_FOR_A_BLOCK).clamp(*FIRST.start(), *FIRST.end()).next_power_of_two();
        let chunks = 4 * (32 - first.ilog2());
        Self { first: chunk(first as usize), rest: (1..chunks).map(|_| OnceLock::new()).collect() }
    }

    /// Bytes that the table takes when places below `used` have ever been in use. What lies above in its last chunk
    /// has never been touched, so the system has put no memory behind it.
    pub(super) fn bytes(&self, used: u32) -> usize {
        let touched = (used as usize * size_of::<Block>()).next_multiple_of(PAGE);
        let all = self.rest.iter().filter_map(OnceLock::get).map(|chunk| chunk.len()).sum::<usize>()
            + self.first.len();
        touched.min(all * size_of::<Block>()) + self.rest.len() * size_of::<OnceLock<Box<[Block]>>>()
    }

    /// The table, to look at blocks.
    #[inline(always)]
    pub(super) fn table(&self) -> Table<'_> {
        Table { first: &self.first, blocks: self }
    }

    #[cold]
    fn further(&self, index: u32) -> Option<&Block> {
        let (number, place, _) = locate(index, self.first.len());
        self.rest.get(number - 1)?.get()?.get(place)
    }
}

/// A table of blocks by value: where its first chunk is stays in registers for all looks of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    first: &'a [Block],
    blocks: &'a Blocks,
}

impl<'a> Table<'a> {
    /// The block at a place; `None` for a place that the table has never had.
    #[inline(always)]
    pub(super) fn get(self, index: u32) -> Option<&'a Block> {
        match self.first.get(index as usize) {
            Some(block) => Some(block),
            None => self.blocks.further(index),
        }
    }

    /// The block at a place that the caller knows to be in use.
    #[inline(always)]
    pub(super) fn at(self, index: u32) -> &'a Block {
        self.get(index).expect("the book names places of its own table")
    }

    /// Makes room for a place. Under the book's lock.
    pub(super) fn grow_to(self, index: u32) {
        let (number, _, size) = locate(index, self.first.len());
        if number > 0 {
            self.blocks.rest[number - 1].get_or_init(|| chunk(size));
        }
    }
}

/// Unused blocks, all zero, in memory that is not touched before they are.
#[cfg(not(loom))]
#[allow(unsafe_code)]
fn chunk(size: usize) -> Box<[Block]> {
    let layout = Layout::array::<Block>(size).expect("a chunk is smaller than memory");
    assert!(layout.size() > 0);
    // SAFETY: the layout's size is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: the memory comes from the global allocator with the layout of a slice of `size` blocks, nobody else has
    // it, and zero bytes are a valid block: it consists of `AtomicU32`, which has `u32`'s representation.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(memory.cast(), size)) }
}

#[cfg(loom)]
fn chunk(size: usize) -> Box<[Block]> {
    (0..size).map(|_| Block::default()).collect()
}

/// Which chunk a place is in, where in it, and how many blocks the chunk has.
fn locate(index: u32, first: usize) -> (usize, usize, usize) {
    let shifted = u64::from(index) + 4 * first as u64;
    let doubling = shifted.ilog2() - 2;
    let number = (shifted >> doubling) as usize - 4 + 4 * (doubling - first.ilog2()) as usize;
    (number, (shifted & ((1 << doubling) - 1)) as usize, 1 << doubling)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn places_fill_one_chunk_after_another() {
        let first = 256;
        let (mut number, mut place, mut size) = (0, 0, first);
        for index in 0..40 * first as u32 {
            if place == size {
                (number, place) = (number + 1, 0);
                size = locate(index, first).2;
            }
            assert_eq!(locate(index, first), (number, place, size));
            place += 1;
        }
        assert!(size > 4 * first && size <= 10 * first, "a chunk adds about a quarter");
        assert!(locate(NONE, first).0 < 4 * (32 - first.ilog2() as usize));
    }

    #[test]
    fn the_table_grows_and_places_stay() {
        let blocks = Blocks::new(0);
        let table = blocks.table();
        for index in 0..5000 {
            table.grow_to(index);
            table.at(index).set_place(index);
        }
        assert!((0..5000).all(|index| table.at(index).place() == index));
        assert!(table.get(NONE).is_none() && table.get(1 << 20).is_none());
    }

    #[test]
    fn one_of_two_releases_wins_and_no_later_use_has_the_stamp() {
        let blocks = Blocks::new(0);
        let table = blocks.table();
        let block = table.at(7);
        let label = Label { owner: 3, tag: 9, slack: 5, born: 1 };
        let stamp = block.set_live(Kind::Plain, label);
        assert_eq!((block.label().owner, block.label().tag), (3, 9));
        assert!(block.is(stamp) && block.keep(stamp) && !block.keep(stamp));
        let second = block.set_live(Kind::Plain, label);
        assert!(!block.is(stamp) && block.is(second));
        block.set_free();
        assert!(block.is_free() && !block.keep(second));
        let handle = block.set_live(Kind::Handle, label);
        let plain = NonZeroU32::new(handle.get() & !KIND | LIVE).unwrap();
        assert!(
            !block.is(plain) && !block.keep(plain) && block.is(handle),
            "a handle's block has no plain id"
        );
        assert_eq!(block.set_plain(handle), plain);
        assert!(block.is(plain) && !block.is(handle) && block.keep(plain));
    }
}
