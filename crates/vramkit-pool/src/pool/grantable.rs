//! How much could be granted in one piece: now, if some blocks were free, if everything movable were moved.
//!
//! Where addresses are memory, that is the largest free block. Where they cost nothing it is what the granules without
//! anything in them come to, too. The book comes in, under its lock; nothing is changed.

use std::collections::HashSet;

use super::blocks::Block;
use super::book::Book;
use super::core::Inner;
use super::ids::AllocationId;
use super::request::Request;
use super::segregated::whole_granules;

/// What there would be if some blocks were free.
#[derive(Clone, Copy, Default)]
pub(super) struct Room {
    /// The most units in one piece.
    pub(super) largest: u32,
    /// Whether a piece holds what was asked.
    pub(super) fits: bool,
    /// Granules without anything else in them.
    granules: u64,
}

impl Inner {
    /// What there would be if the blocks for which `free` holds were free.
    pub(super) fn room(&self, book: &Book, request: &Request, free: impl Fn(u32, &Block) -> bool) -> Room {
        let granule = self.granule();
        let wanted = self.granted(request.size.bytes()).map(|(_, units)| units).zip(self.alignment(request));
        let mut room = Room::default();
        let mut run: Option<(u32, u32)> = None;
        let mut end = |run: &mut Option<(u32, u32)>| {
            let Some((offset, end)) = run.take() else { return };
            room.largest = room.largest.max(end - offset);
            room.granules += whole_granules(offset, end - offset, granule);
            room.fits |= wanted.is_some_and(|(units, alignment)| {
                let at = u64::from(offset).next_multiple_of(u64::from(alignment));
                at + u64::from(units) <= u64::from(end)
            });
        };
        for (index, block) in book.fit.iter(self.table()) {
            if free(index, block) {
                run = Some((run.map_or(block.offset(), |(from, _)| from), block.end()));
            } else {
                end(&mut run);
            }
        }
        end(&mut run);
        room
    }

    /// Whether a request would be granted now, if allocations that are live were released: by the pool's book, whatever the device has.
    pub(super) fn would_grant(&self, request: &Request, without: &[AllocationId]) -> bool {
        let Some((bytes, units)) = self.granted(request.size.bytes()) else { return false };
        // Mostly there is room, and nothing has to be recalled or looked through to see it.
        let is_plain = request.alignment <= self.bytes(1);
        if is_plain && units <= self.grantable_now(&self.book.lock()) {
            return true;
        }
        self.free_finished();
        let book = self.recalled();
        let places: HashSet<u32> =
            without.iter().filter_map(|id| Some(self.find(*id).ok()?.offset())).collect();
        let (mut given, is_given) = (0, |block: &Block| places.contains(&block.offset()));
        for (_, block) in book.fit.iter(self.table()) {
            given += if is_given(block) { self.bytes(block.size()) } else { 0 };
        }
        let room = self.room(&book, request, |_, block| block.is_free() || is_given(block));
        let free = self.capacity.bytes() - self.counts.used() + given;
        bytes <= free && (room.fits || self.bytes(units) <= self.in_new_addresses(&book, room))
    }

    /// The most units that could be granted in one piece, given what there would be.
    pub(super) fn grantable(&self, book: &Book, room: Room) -> u32 {
        let free = self.capacity.bytes() - self.counts.used();
        (self.bytes(room.largest).max(self.in_new_addresses(book, room)).min(free) >> self.shift) as u32
    }

    /// The most bytes that could be granted at new addresses: all granules without anything in them together.
    pub(super) fn in_new_addresses(&self, book: &Book, room: Room) -> u64 {
        if !self.addresses_are_free {
            return 0;
        }
        let granule = self.bytes(self.granule());
        let memory = self.granules_left(book, room.granules) * granule;
        let (end, free) = (book.fit.end(self.table()), book.fit.free_at_end(self.table()));
        let addresses = (self.range.size.bytes() - self.bytes(end) + self.bytes(free)) / granule * granule;
        // The first granule's worth of what is left may be in pieces.
        memory.min(addresses.saturating_sub(granule))
    }

    /// How many granules may have something new in them within the capacity, when so many of those that the pool has
    /// addresses of have nothing in them.
    pub(super) fn granules_left(&self, book: &Book, empty: u64) -> u64 {
        let granule = self.bytes(self.granule());
        let all = self.bytes(book.fit.end(self.table())) / granule;
        let taken = all.saturating_sub(empty).saturating_sub(book.reserved / granule);
        (self.granules.limit() / granule).saturating_sub(taken)
    }

    /// The most units that could be granted now.
    pub(super) fn grantable_now(&self, book: &Book) -> u32 {
        let granule = self.granule();
        let largest = match self.addresses_are_free {
            false => self.bytes(book.fit.largest_free()),
            true => {
                let empty = book.fit.whole_granules(granule);
                let left = self.granules_left(book, empty);
                let room = left * self.bytes(granule);
                let elsewhere = self.in_new_addresses(book, Room { granules: empty, ..Room::default() });
                // Of a free block with more granules than there is memory for, what is in its first one and in those.
                let of_block =
                    |(offset, size): (u32, u32)| match whole_granules(offset, size, granule) <= left {
                        true => self.bytes(size),
                        false => self.bytes(offset.next_multiple_of(granule) - offset) + room,
                    };
                let large = book.fit.free_at_least(granule).map(of_block).max().unwrap_or(0);
                large.max(elsewhere).max(self.bytes(book.fit.largest_below(granule)))
            }
        };
        (largest.min(self.capacity.bytes() - self.counts.used()) >> self.shift) as u32
    }

    /// As [`grantable`](Self::grantable), if everything movable were moved together.
    pub(super) fn grantable_after_compacting(&self, book: &Book) -> u32 {
        self.grantable(book, self.room_after_compacting(book))
    }

    pub(super) fn room_after_compacting(&self, book: &Book) -> Room {
        let granule = self.granule();
        let (mut room, mut free, mut end) = (Room::default(), 0u32, 0u32);
        let mut stretch = |free: &mut u32, end: u32| {
            room.largest = room.largest.max(*free);
            room.granules += whole_granules(end - *free, *free, granule);
            *free = 0;
        };
        for (index, block) in book.fit.iter(self.table()) {
            if block.is_free() {
                free += block.size();
            } else if !self.may_move(index, block) {
                stretch(&mut free, end);
            }
            end = block.end();
        }
        stretch(&mut free, end);
        room
    }

    /// Units of a granule; a unit where granules are smaller.
    pub(super) fn granule(&self) -> u32 {
        ((self.granules.granularity() >> self.shift) as u32).max(1)
    }
}
