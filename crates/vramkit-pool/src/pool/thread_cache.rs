//! Blocks that a thread has released and will soon ask for again, kept apart from the book.
//!
//! Once the book's lock has passed from thread to thread often enough, a release of a block that is not too large leaves it
//! here, still taken as far as the book knows; a request of the same size by the same owner takes it without the
//! book's lock. Threads are spread over thread caches, so that a thread cache's lock is as good as free. What a thread cache keeps is
//! bounded, counts as free, and goes back to the book when the book has no block for a request, on a trim and
//! whenever the whole picture is asked for. A pool that one thread uses never gets here, so it wastes nothing.

use super::blocks::{Label, Table};
use super::clock;
use super::ids::OwnerId;
use super::released::{Ages, Released};
use crate::spin_park::SpinParkLock;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// ThreadCaches of a pool; threads beyond share.
const CACHES: usize = if cfg!(loom) { 2 } else { 16 };
/// Sets of a thread cache, of this many blocks each at most. A size has its set.
const SETS: usize = if cfg!(loom) { 1 } else { 128 };
const WAYS: usize = if cfg!(loom) { 2 } else { 32 };
/// A thread cache keeps at most this part of the pool's capacity, and no block larger than this part of that.
const PART: u32 = if cfg!(loom) { 2 } else { 1024 };
const BLOCK_PART: u32 = if cfg!(loom) { 1 } else { 16 };
/// How often the book's lock has passed from thread to thread before blocks are kept.
pub(super) const MEETINGS: u64 = if cfg!(loom) { 2 } else { 256 };

/// What the book counts as taken, and is not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Units of the blocks that are kept.
    pub(super) units: u64,
    /// Bytes of them that had not been asked for. A kept block's next user asks for a little more or less than its
    /// last one, whose number is the book's.
    pub(super) slack: i64,
    /// Grants that the book has not seen.
    pub(super) granted: u64,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    size: u32,
    index: u32,
}

/// The blocks that some threads keep.
#[derive(Debug)]
struct ThreadCache {
    /// The last one kept comes last.
    sets: [Vec<Kept>; SETS],
    tally: Tally,
    /// How long what has been kept had lived.
    released: Released,
}

/// A thread cache, on cache lines of its own.
#[repr(align(128))]
struct Slot {
    cache: SpinParkLock<ThreadCache>,
    /// Copies of the tally's units and slack (as two's complement), for readers without the lock.
    units: AtomicU64,
    slack: AtomicU64,
}

impl Slot {
    fn new() -> Self {
        let cache = ThreadCache {
            sets: std::array::from_fn(|_| Vec::new()),
            tally: Tally::default(),
            released: Released::default(),
        };
        Self { cache: SpinParkLock::new(cache), units: AtomicU64::new(0), slack: AtomicU64::new(0) }
    }

    #[inline]
    fn publish(&self, tally: Tally) {
        self.units.store(tally.units, Ordering::Release);
        self.slack.store(tally.slack as u64, Ordering::Relaxed);
    }
}

/// All thread caches of a pool, apart from what changes with every grant of the book.
#[repr(align(128))]
pub(super) struct ThreadCaches {
    /// Made when they come into use.
    slots: std::sync::OnceLock<Box<[Slot]>>,
    /// 0 until the thread caches are in use; changes once, under the book's lock.
    active: AtomicU64,
    /// Most units that a thread cache keeps.
    most: u64,
    /// Blocks up to this many units are kept; 0 for a pool too small for it.
    limit: u32,
    /// By an owner's number, the generation of the id that is served, or [`BARRED`]. Made when there is something to say:
    /// until then the first generation of each is. Changed under the book's lock.
    served: std::sync::OnceLock<Box<[AtomicU32]>>,
}

/// No id of an owner is served: it has been forgotten, or holds more than it may.
const BARRED: u32 = u32::MAX;

impl ThreadCaches {
    /// For a pool of `capacity` units.
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            slots: std::sync::OnceLock::new(),
            active: AtomicU64::new(0),
            most: u64::from(capacity / PART),
            limit: capacity / PART / BLOCK_PART,
            served: std::sync::OnceLock::new(),
        }
    }

    /// Whether a block of this size may be kept, once thread caches are in use.
    #[inline]
    pub(super) fn may_keep(&self, size: u32) -> bool {
        size <= self.limit
    }

    /// Whether thread caches are in use. An answer under the book's lock stays true as long as that is held.
    #[inline]
    pub(super) fn are_active(&self) -> bool {
        self.active.load(Ordering::Acquire) != 0
    }

    /// Brings thread caches into use. Under the book's lock.
    pub(super) fn activate(&self) {
        if self.limit > 0 {
            self.slots.get_or_init(|| (0..CACHES).map(|_| Slot::new()).collect());
            self.active.store(1, Ordering::Release);
        }
    }

    /// Serves no request of an owner from now on. Under the book's lock; what is kept for it stays until a recall.
    pub(super) fn bar(&self, number: u16) {
        self.set_served(number, BARRED);
    }

    /// Serves requests by an owner's id of this generation. Under the book's lock.
    pub(super) fn serve(&self, number: u16, generation: u16) {
        self.set_served(number, u32::from(generation));
    }

    fn set_served(&self, number: u16, value: u32) {
        let served = self.served.get_or_init(|| (0..=u16::MAX).map(|_| AtomicU32::new(0)).collect());
        served[usize::from(number)].store(value, Ordering::Release);
    }

    #[inline]
    fn serves(&self, owner: OwnerId) -> bool {
        let generation = match self.served.get() {
            Some(served) => served[usize::from(owner.number)].load(Ordering::Acquire),
            None => 0,
        };
        generation == u32::from(owner.generation)
    }

    fn all(&self) -> &[Slot] {
        if self.are_active() { self.slots.get().map_or(&[], |slots| slots) } else { &[] }
    }

    #[inline]
    fn own(&self) -> Option<&Slot> {
        Some(&self.slots.get()?[thread_number() % CACHES])
    }

    /// Takes a block of exactly `size` units that an owner released. The block is still to be made live with this
    /// label.
    #[inline]
    pub(super) fn take(&self, table: Table<'_>, size: u32, owner: OwnerId, label: Label) -> Option<u32> {
        let slot = self.own()?;
        let mut guard = slot.cache.lock();
        if !self.serves(owner) {
            return None;
        }
        let cache = &mut *guard;
        let kept = &mut cache.sets[set_of(size)];
        let found = kept
            .iter()
            .rposition(|kept| kept.size == size && table.at(kept.index).label().owner == label.owner)?;
        let index = kept.remove(found).index;
        cache.tally.units -= u64::from(size);
        cache.tally.slack -= i64::from(label.slack);
        cache.tally.granted += 1;
        slot.publish(cache.tally);
        Some(index)
    }

    /// Keeps a block that its holder has ended the life of, and counts so many bytes that have ended now. Returns one for which there
    /// is no place: this one, which is then not counted, or one of another size or owner that has been kept for longer.
    #[inline]
    pub(super) fn keep(&self, table: Table<'_>, index: u32, (granted, now): (u64, u32)) -> Option<u32> {
        let Some(slot) = self.own() else {
            return Some(index);
        };
        let block = table.at(index);
        let (size, label) = (block.size(), block.label());
        let mut guard = slot.cache.lock();
        let cache = &mut *guard;
        let kept = &mut cache.sets[set_of(size)];
        let mut left_over = None;
        if kept.len() == WAYS {
            let oldest = kept[0];
            let oldest_label = table.at(oldest.index).label();
            if oldest.size == size && oldest_label.owner == label.owner {
                return Some(index);
            }
            left_over = Some(oldest.index);
            kept.remove(0);
            cache.tally.units -= u64::from(oldest.size);
            cache.tally.slack -= i64::from(oldest_label.slack);
        } else if cache.tally.units + u64::from(size) > self.most {
            return Some(index);
        }
        kept.push(Kept { size, index });
        // An owner's generation is the book's to know.
        cache.released.count((label.owner, 0), label.tag, clock::class_between(label.born, now), granted);
        cache.tally.units += u64::from(size);
        cache.tally.slack += i64::from(label.slack);
        slot.publish(cache.tally);
        left_over
    }

    /// Takes everything out. Under the book's lock, so that nobody sees a block that is nowhere.
    pub(super) fn drain(&self, mut taken: impl FnMut(u32)) -> Tally {
        let mut sum = Tally::default();
        for slot in self.all() {
            let mut guard = slot.cache.lock();
            let ThreadCache { sets, tally, .. } = &mut *guard;
            sets.iter_mut().flat_map(|kept| kept.drain(..)).for_each(|kept| taken(kept.index));
            let Tally { units, slack, granted } = std::mem::take(tally);
            slot.publish(*tally);
            sum.units += units;
            sum.slack += slack;
            sum.granted += granted;
        }
        sum
    }

    /// Takes out what has been counted of releases: owner, tag, bytes. Under the book's lock, where it goes.
    pub(super) fn drain_released(&self, mut taken: impl FnMut(u16, u16, Ages)) {
        for slot in self.all() {
            slot.cache.lock().released.drain().for_each(|(owner, tag, ages)| taken(owner, tag, ages));
        }
    }

    /// Units kept in all thread caches.
    #[inline]
    pub(super) fn units(&self) -> u64 {
        self.all().iter().map(|slot| slot.units.load(Ordering::Acquire)).sum()
    }

    /// Units kept in the calling thread's cache, and their slack.
    #[inline]
    pub(super) fn own_tally(&self) -> (u64, i64) {
        match self.own() {
            Some(slot) => (slot.units.load(Ordering::Relaxed), slot.slack.load(Ordering::Relaxed) as i64),
            None => (0, 0),
        }
    }
}

/// Multiplication spreads sizes that are multiples of powers of two.
fn set_of(size: u32) -> usize {
    (size.wrapping_mul(0x9e37_79b1) >> 16) as usize % SETS
}

/// Something that tells the calling thread from the others that exist, and is not 0.
#[cfg(not(loom))]
#[inline(always)]
pub(super) fn thread() -> usize {
    thread_local! {
        static MARK: u8 = const { 0 };
    }
    MARK.with(|mark| std::ptr::from_ref(mark) as usize)
}

#[cfg(loom)]
pub(super) fn thread() -> usize {
    thread_number() + 1
}

/// A small number for the calling thread, ever the same.
#[cfg(not(loom))]
fn thread_number() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

/// Under the model checker: the same in every run.
#[cfg(loom)]
fn thread_number() -> usize {
    usize::from(format!("{:?}", loom::thread::current().id()) != "ThreadId(0)")
}
