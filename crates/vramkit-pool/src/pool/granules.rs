//! Which granules of a pool's range have memory behind them.
//!
//! A range that was just granted comes in; the granules of it that lack memory are committed. Free ranges come
//! in; the granules wholly inside them are decommitted. The bits are atomic so that the common case, where
//! everything is committed already, takes no lock: bits are only cleared for granules in which nothing is
//! granted, before anything new can be granted there (see [`super::Inner::trim`]).

use std::ops::Range;

use crate::device::{AddressRange, DeviceError, Reservation};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};
use vramkit_units::ByteSize;

/// The commit state of a pool's range.
#[derive(Debug)]
pub(super) struct Granules {
    range: AddressRange,
    granularity: u64,
    /// Most bytes that may be committed.
    limit: u64,
    /// The granularity as a power of two.
    shift: u32,
    /// One bit a granule. Set after a commit; cleared before a decommit.
    committed: Box<[AtomicU64]>,
    /// Held while the device is asked: one commit or decommit at a time.
    device: Mutex<Counts>,
    /// Bytes committed, for readers without the lock.
    bytes: AtomicU64,
    /// Every byte below this offset has memory behind it: a shorter look than at the bits, and enough for a pool
    /// that has been filled once. Lowered before bits are cleared, raised after they are set.
    solid: AtomicU64,
}

/// Why memory was not put behind a range.
pub(super) enum Refused {
    /// The limit would be passed by so many bytes.
    Full {
        missing: u64,
    },
    Device(DeviceError),
}

/// Takes away what a commit that did not come to its end has committed: also when the device panics.
struct Undo<'a> {
    granules: &'a Granules,
    memory: &'a dyn Reservation,
    runs: &'a [Range<u64>],
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        for run in self.runs {
            if let Err(error) = self.memory.decommit(self.granules.bytes_of(run)) {
                tracing::error!(%error, "memory that a failed commit had committed could not be given back");
            }
        }
    }
}

/// Counted under the lock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Most bytes ever committed.
    pub(super) peak: ByteSize,
}

impl Granules {
    /// For a range of which `most` bytes may be committed at once, rounded up to granules.
    pub(super) fn new(range: AddressRange, granularity: ByteSize, most: ByteSize) -> Self {
        let granules = range.size.bytes() / granularity.bytes();
        Self {
            range,
            granularity: granularity.bytes(),
            limit: most.checked_align_up(granularity.bytes()).unwrap_or(ByteSize::MAX).bytes(),
            shift: granularity.bytes().ilog2(),
            committed: (0..granules.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            device: Mutex::new(Counts::default()),
            bytes: AtomicU64::new(0),
            solid: AtomicU64::new(0),
        }
    }

    /// Bytes committed now.
    pub(super) fn committed(&self) -> ByteSize {
        ByteSize::new(self.bytes.load(Ordering::Relaxed))
    }

    /// Most bytes ever committed.
    pub(super) fn peak(&self) -> ByteSize {
        lock(&self.device).peak
    }

    /// Whether every byte of `[offset, offset + size)`, which is not empty, has memory behind it.
    #[inline]
    pub(super) fn has(&self, offset: u64, size: u64) -> bool {
        if offset + size <= self.solid.load(Ordering::Acquire) {
            return true;
        }
        let Range { start, end } = self.touched(offset, size);
        let (first, last) = (start / 64, (end - 1) / 64);
        (first..=last).all(|word| {
            let from = if word == first { u64::MAX << (start % 64) } else { u64::MAX };
            let to = if word == last { u64::MAX >> (63 - (end - 1) % 64) } else { u64::MAX };
            let mask = from & to;
            self.committed[word as usize].load(Ordering::Acquire) & mask == mask
        })
    }

    /// Puts memory behind every granule that `[offset, offset + size)` touches. On an error nothing has changed:
    /// the bits are set last, so nobody relies on a granule that may have to be given back.
    pub(super) fn commit(&self, memory: &dyn Reservation, offset: u64, size: u64) -> Result<(), Refused> {
        let mut counts = lock(&self.device);
        let missing = runs(self.touched(offset, size).filter(|&granule| !self.is_committed(granule)));
        let granules: u64 = missing.iter().map(|run| run.end - run.start).sum();
        let after = self.committed().bytes().saturating_add(granules * self.granularity);
        if after > self.limit {
            return Err(Refused::Full { missing: after - self.limit });
        }
        let mut done = Undo { granules: self, memory, runs: &[] };
        for (i, run) in missing.iter().enumerate() {
            memory.commit(self.bytes_of(run)).map_err(Refused::Device)?;
            done.runs = &missing[..=i];
        }
        done.runs = &[];
        missing.iter().for_each(|run| self.mark(run, true));
        counts.peak = counts.peak.max(self.committed());
        Ok(())
    }

    /// Bytes of a granule.
    pub(super) fn granularity(&self) -> u64 {
        self.granularity
    }

    /// Most bytes that may be committed.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Stops anyone else from changing what is committed, for a [`Trim`].
    pub(super) fn begin_trim(&self) -> Trim<'_> {
        Trim { granules: self, _counts: lock(&self.device), runs: Vec::new() }
    }

    fn is_committed(&self, granule: u64) -> bool {
        self.committed[(granule / 64) as usize].load(Ordering::Acquire) & (1 << (granule % 64)) != 0
    }

    /// Notes what the device has done, or is about to undo. Called under the lock of `device`.
    fn mark(&self, run: &Range<u64>, committed: bool) {
        let solid = self.solid.load(Ordering::Relaxed);
        if !committed {
            self.solid.store(solid.min(run.start * self.granularity), Ordering::Release);
        }
        for granule in run.clone() {
            let (word, bit) = (&self.committed[(granule / 64) as usize], 1 << (granule % 64));
            if committed {
                word.fetch_or(bit, Ordering::Release);
            } else {
                word.fetch_and(!bit, Ordering::Release);
            }
        }
        let bytes = (run.end - run.start) * self.granularity;
        if committed {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            let granules = self.range.size.bytes() / self.granularity;
            let from = solid / self.granularity;
            let end = (from..granules).find(|&granule| !self.is_committed(granule)).unwrap_or(granules);
            self.solid.store(end * self.granularity, Ordering::Release);
        } else {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// The granules of a range that is not empty.
    fn touched(&self, offset: u64, size: u64) -> Range<u64> {
        offset >> self.shift..((offset + size - 1) >> self.shift) + 1
    }

    fn bytes_of(&self, run: &Range<u64>) -> AddressRange {
        AddressRange::new(
            self.range.base + run.start * self.granularity,
            ByteSize::new((run.end - run.start) * self.granularity),
        )
    }
}

/// A trim under way: first the granules to give up are noted while nothing can be granted, then the device is
/// asked, which may be slow and hinders nobody who stays within what is committed.
pub(super) struct Trim<'a> {
    granules: &'a Granules,
    _counts: MutexGuard<'a, Counts>,
    runs: Vec<Range<u64>>,
}

impl Trim<'_> {
    /// Notes the committed granules wholly inside a free range.
    pub(super) fn give_up(&mut self, offset: u64, size: u64) {
        // The last granule may reach past the pool's end, where nothing is ever granted.
        self.give_up_some(offset, size, u64::MAX);
    }

    /// As [`give_up`](Self::give_up), up to so many bytes, from the upper end. Returns how many.
    pub(super) fn give_up_some(&mut self, offset: u64, size: u64, most: u64) -> u64 {
        let granularity = self.granules.granularity;
        let inside = offset.div_ceil(granularity)..(offset + size) / granularity;
        let committed = inside.rev().filter(|&granule| self.granules.is_committed(granule));
        let mut some: Vec<u64> = committed.take(most.div_ceil(granularity) as usize).collect();
        some.reverse();
        let given = some.len() as u64 * granularity;
        for run in runs(some.into_iter()) {
            self.granules.mark(&run, false);
            self.runs.push(run);
        }
        given
    }

    /// Decommits what was noted. Returns the bytes and the calls that it took. What the device refuses to take
    /// back counts as committed again.
    pub(super) fn finish(self, memory: &dyn Reservation) -> Result<(ByteSize, u64), DeviceError> {
        let mut freed = ByteSize::ZERO;
        for (i, run) in self.runs.iter().enumerate() {
            let range = self.granules.bytes_of(run);
            if let Err(error) = memory.decommit(range) {
                self.runs[i..].iter().for_each(|run| self.granules.mark(run, true));
                return Err(error);
            }
            freed += range.size;
        }
        Ok((freed, self.runs.len() as u64))
    }
}

/// Joins ascending numbers into runs.
fn runs(numbers: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for n in numbers {
        match runs.last_mut() {
            Some(run) if run.end == n => run.end += 1,
            _ => runs.push(n..n + 1),
        }
    }
    runs
}
