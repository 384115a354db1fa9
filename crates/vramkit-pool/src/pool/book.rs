//! A pool's book: blocks, counts and owners, all that changes with a grant or a release, under one lock. It knows no
//! device.

use super::blocks::{Block, Label, Table};
use super::clock;
use super::counts::Counts;
use super::deferred::DeferredFrees;
use super::ids::OwnerId;
use super::owners::{Owners, Tags};
use super::released::Released;
use super::segregated::SegregatedFit;
use super::thread_cache::ThreadCaches;

/// Everything that changes with a grant or a release, under one lock. Blocks that [thread caches](ThreadCaches) keep count as
/// taken until they are [recalled](Book::recall). Bytes, where nothing else is said.
pub(super) struct Book {
    pub(super) fit: SegregatedFit,
    /// The pool's unit, as a power of two.
    shift: u32,
    pub(super) arena: u64,
    /// Addresses that memory which grows in place has beyond what it counts for.
    pub(super) reserved: u64,
    /// Grants ever.
    pub(super) granted: u64,
    pub(super) misses: u64,
    /// Who had the lock last, and how often it has passed from thread to thread.
    pub(super) last_thread: usize,
    pub(super) meetings: u64,
    pub(super) owners: Owners,
    pub(super) tags: Tags,
    /// How long what has been released had lived.
    pub(super) released: Released,
    /// The last time that a grant or a reader of ages has noted. A release's age is counted up to it, so that a release need
    /// not read the clock: who reads ages every few seconds has them as exactly.
    pub(super) noted: u32,
    /// Released on streams, not yet free.
    pub(super) deferred: DeferredFrees,
    /// Numbers of owners that hold more than a budget that was set later, whom no thread cache serves.
    barred: Vec<u16>,
    /// What compacting has done, ever.
    pub(super) compacted: Compacted,
}

/// Moves of memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compacted {
    pub(super) moves: u64,
    pub(super) bytes: u64,
}

impl Book {
    /// Everything free, nobody known but [`OwnerId::NONE`]. `capacity` in units of `1 << shift` bytes.
    pub(super) fn new(table: Table<'_>, capacity: u32, shift: u32) -> Self {
        Self {
            fit: SegregatedFit::new(table, capacity),
            shift,
            arena: 0,
            reserved: 0,
            granted: 0,
            misses: 0,
            last_thread: 0,
            meetings: 0,
            owners: Owners::new(),
            tags: Tags::new(),
            released: Released::default(),
            noted: 0,
            deferred: DeferredFrees::default(),
            barred: Vec::new(),
            compacted: Compacted::default(),
        }
    }

    /// Counts a block that has been made live.
    #[inline(always)]
    pub(super) fn grant(&mut self, counts: &Counts, offset: u64, granted: u64, label: Label) {
        counts.add(granted, label.slack);
        if offset + granted > self.arena {
            self.arena = offset + granted;
        }
        self.granted += 1;
        self.noted = label.born;
        let owner = self.owners.at(label.owner);
        owner.granted += granted;
        if owner.granted > owner.peak {
            owner.peak = owner.granted;
        }
        owner.allocations += 1;
    }

    /// Counts what a live block has grown by, from so many bytes on.
    pub(super) fn charge(&mut self, offset: u64, from: u64, more: u64, owner: u16) {
        self.arena = self.arena.max(offset + from + more);
        self.reserved -= more;
        let owner = self.owners.at(owner);
        owner.granted += more;
        owner.peak = owner.peak.max(owner.granted);
    }

    /// Counts the end of a life of so many bytes.
    #[inline(always)]
    pub(super) fn count_release(&mut self, label: Label, granted: u64) {
        let generation = self.owners.generation(label.owner);
        let age_class = clock::class_between(label.born, self.noted);
        self.released.count((label.owner, generation), label.tag, age_class, granted);
    }

    /// Frees a block that the caller alone holds, and takes it off the counts.
    #[inline(always)]
    pub(super) fn take_back(&mut self, counts: &Counts, table: Table<'_>, index: u32, block: &Block) {
        let (granted, label) = (u64::from(block.size()) << self.shift, block.label());
        self.fit.free(table, index, block);
        counts.subtract(granted, label.slack);
        let owner = self.owners.at(label.owner);
        owner.granted -= granted;
        owner.allocations -= 1;
    }

    /// Frees what the thread caches keep; from then on the counts say what is true.
    pub(super) fn recall(&mut self, counts: &Counts, table: Table<'_>, thread_caches: &ThreadCaches) {
        let mut slack = 0;
        let tally = thread_caches.drain(|index| {
            let block = table.at(index);
            slack += i64::from(block.label().slack);
            self.take_back(counts, table, index, block);
        });
        self.recall_released(thread_caches);
        // What reuses of kept blocks have added or saved.
        counts.change_slack(slack - tally.slack);
        self.granted += tally.granted;
        if !self.barred.is_empty() {
            self.serve_again(thread_caches);
        }
    }

    /// Takes over what the thread caches have counted of releases. Before an owner is forgotten whose blocks they kept.
    pub(super) fn recall_released(&mut self, thread_caches: &ThreadCaches) {
        thread_caches.drain_released(|owner, tag, ages| {
            let generation = self.owners.generation(owner);
            self.released.add((owner, generation), tag, &ages);
        });
    }

    /// Has thread caches serve no owner of these that holds more than it may, until it holds less: they grant what is counted
    /// already, so for everybody else a budget that held before holds after.
    pub(super) fn bar_if_over(&mut self, numbers: &[u16], thread_caches: &ThreadCaches) {
        for &number in numbers {
            if self.owners.is_over(number) && !self.barred.contains(&number) {
                self.barred.push(number);
                thread_caches.bar(number);
            }
        }
        self.serve_again(thread_caches);
    }

    fn serve_again(&mut self, thread_caches: &ThreadCaches) {
        let owners = &self.owners;
        self.barred.retain(|&number| {
            let over = owners.is_over(number);
            if !over {
                thread_caches.serve(number, owners.generation(number));
            }
            over
        });
    }

    /// Frees an owner's number, when it holds nothing; else says what it holds. After a [recall](Self::recall).
    pub(super) fn forget_owner(&mut self, number: u16, thread_caches: &ThreadCaches) -> Result<(), u64> {
        // Memory that grows in place may be of no bytes yet, and is somebody's all the same.
        let owner = self.owners.get(number);
        if owner.granted > 0 || owner.allocations > 0 {
            return Err(owner.granted);
        }
        self.owners.forget(number);
        thread_caches.bar(number);
        Ok(())
    }

    /// Tells thread caches of a number that is a new owner's.
    pub(super) fn introduce(&self, id: OwnerId, thread_caches: &ThreadCaches) {
        if id.generation > 0 && !self.barred.contains(&id.number) {
            thread_caches.serve(id.number, id.generation);
        }
    }
}
