//! How old do a tag's bytes become? From one look at a pool's ledger to the next: what lives at each age, what has passed
//! it, and what has been released beyond it.
//!
//! Whatever becomes older than an age either still lives or was released when it was older: so the bytes that pass an age
//! are the change of what is that old and of what has been released at such ages, to the byte, however often one looks.

use vramkit_units::{AGE_CLASSES, ByteSize, LedgerEntry};

/// How many ages are told apart: any, then 128 s and its doubles.
pub(super) const AGES: usize = 11;
/// The class of a ledger that begins at 128 s, less one.
const FIRST: usize = 7;

/// Bytes at least as old as each of the ages.
pub(super) type Older = [f64; AGES];

/// The age of a place in [`Older`].
pub(super) fn seconds(at: usize) -> f64 {
    if at == 0 { 0.0 } else { (1u64 << (FIRST + at - 1)) as f64 }
}

/// One tag in one ledger.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) live: Older,
    pub(super) released: Older,
}

impl Sample {
    pub(super) fn of(entry: &LedgerEntry) -> Self {
        Self { live: older(&entry.by_age_bytes), released: older(&entry.released_by_age_bytes) }
    }

    /// A tag that is in the ledger no more: everything was released at about the age at which it was seen last.
    pub(super) fn gone(&self) -> Self {
        Self { live: [0.0; AGES], released: std::array::from_fn(|at| self.released[at] + self.live[at]) }
    }
}

fn older(classes: &[ByteSize; AGE_CLASSES]) -> Older {
    let from = |class: usize| classes[class..].iter().map(|size| size.bytes() as f64).sum();
    std::array::from_fn(|at| from(if at == 0 { 0 } else { FIRST + at }))
}

/// What lives of a tag, or of several, and what has happened to them since somebody looks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) live: Older,
    /// Bytes that have passed each age.
    pub(super) passed: Older,
    /// Bytes that have been released beyond each age.
    pub(super) released: Older,
    /// The same of releases before anybody looked.
    before: Older,
    /// At which ages it has been plain that nearly everything is released before.
    plain: [bool; AGES],
}

/// It is known that bytes are released before an age when so many bytes have been, of each that lives; it is plain, and stays
/// so however many are left over later, when twice as many have been.
const KNOWN: f64 = 1.0;
const PLAIN: f64 = 2.0;

impl Totals {
    /// Of a tag that is new to whoever looks.
    pub(super) fn new(sample: &Sample) -> Self {
        Self { live: sample.live, before: sample.released, ..Self::default() }
    }

    /// Takes over what has happened to a tag between two looks; what lives is the caller's to say. Counters that have gone
    /// back have begun anew: nothing is known of the time between.
    pub(super) fn note(&mut self, before: &Sample, now: &Sample) {
        if (0..AGES).any(|at| now.released[at] < before.released[at]) {
            return;
        }
        for at in 0..AGES {
            let released = now.released[at] - before.released[at];
            self.released[at] += released;
            self.passed[at] += released + now.live[at] - before.live[at];
        }
    }

    /// Adds another's, what lives included. What is plain of the one is not so of both.
    pub(super) fn add(&mut self, other: &Self) {
        for at in 0..AGES {
            self.live[at] += other.live[at];
            self.passed[at] += other.passed[at];
            self.released[at] += other.released[at];
            self.before[at] += other.before[at];
        }
    }

    /// Notes at which ages it is plain what is known; of a tag that has been looked at for a while.
    pub(super) fn learn(&mut self) {
        for at in 1..AGES {
            self.plain[at] |= self.released_before(at) >= PLAIN * self.live[0].max(1.0);
        }
    }

    /// Whether most of what was ever made was released before an age.
    pub(super) fn is_released_before(&self, at: usize) -> bool {
        self.plain[at] || self.released_before(at) >= KNOWN * self.live[0]
    }

    fn released_before(&self, at: usize) -> f64 {
        self.ever_released(0) - self.ever_released(at)
    }

    /// Bytes ever released beyond an age, as far as the pool's counters tell.
    pub(super) fn ever_released(&self, at: usize) -> f64 {
        self.before[at] + self.released[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_an_age_is_what_was_released_before_it() {
        let sample = |live: f64, released: [f64; 2]| {
            let mut sample = Sample::default();
            sample.live[0] = live;
            (sample.released[0], sample.released[1]) = (released[0], released[1]);
            sample
        };
        // Of 10 that live, 12 were released, 3 of them beyond 128 s: 9 are no 10, and no 20.
        let mut few = Totals::new(&sample(10.0, [12.0, 3.0]));
        assert_eq!((few.ever_released(0), few.released_before(1)), (12.0, 9.0));
        few.learn();
        assert!(!few.is_released_before(1) && few.is_released_before(2));
        assert!(Totals::new(&sample(10.0, [13.0, 3.0])).is_released_before(1));
        // Twice as many stay known, whatever lives later.
        let mut many = Totals::new(&sample(10.0, [23.0, 3.0]));
        many.live[0] = 1000.0;
        assert!(!many.is_released_before(1));
        many.live[0] = 10.0;
        many.learn();
        many.live[0] = 1000.0;
        assert!(many.is_released_before(1));
        let mut not_quite = Totals::new(&sample(10.0, [22.0, 3.0]));
        not_quite.learn();
        not_quite.live[0] = 1000.0;
        assert!(!not_quite.is_released_before(1));
        // Of nothing that lives, one byte is twice as many.
        let mut none = Totals::new(&sample(0.0, [1.0, 0.0]));
        none.learn();
        none.live[0] = 1000.0;
        assert!(!none.is_released_before(1));
        (few.passed[1], many.passed[1], few.released[2], many.released[2]) = (5.0, 7.0, 1.0, 2.0);
        let mut both = few;
        both.add(&many);
        assert_eq!((both.live[0], both.passed[1], both.released[2]), (1010.0, 12.0, 3.0));
        assert_eq!((both.ever_released(0), both.ever_released(1)), (35.0, 6.0));
    }

    #[test]
    fn what_passes_an_age_is_counted_whether_it_lives_or_not() {
        let mib = |n: u64| ByteSize::mib(n);
        let entry = |live: [u64; 2], released: [u64; 2]| {
            let mut entry = LedgerEntry::default();
            (entry.by_age_bytes[7], entry.by_age_bytes[8]) = (mib(live[0]), mib(live[1]));
            (entry.released_by_age_bytes[7], entry.released_by_age_bytes[8]) =
                (mib(released[0]), mib(released[1]));
            Sample::of(&entry)
        };
        let (before, now) = (entry([10, 5], [1, 100]), entry([7, 6], [2, 102]));
        let mut totals = Totals::new(&before);
        totals.note(&before, &now);
        let bytes = |n: u64| mib(n).bytes() as f64;
        // One more lives beyond 128 s, and two of those that were there have been released.
        assert_eq!(
            (totals.passed[1], totals.released[1], totals.ever_released(1)),
            (bytes(3), bytes(2), bytes(102))
        );
        assert_eq!((totals.passed[0], totals.released[0]), (bytes(1), bytes(3)));
        totals.note(&now, &now.gone());
        assert_eq!((totals.passed[1], totals.released[1]), (bytes(3), bytes(8)));
        totals.note(&now, &entry([0, 0], [0, 0]));
        assert_eq!(totals.passed[1], bytes(3), "counters that begin anew say nothing");
        assert_eq!((seconds(0), seconds(1), seconds(10)), (0.0, 128.0, 65536.0));
    }
}
