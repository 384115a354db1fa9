//! Does something of so many bytes go in?
//!
//! What is known of the memory comes in: its capacity and limits, what is free, what others were promised, and the rung of a
//! ladder that refuses. An answer comes out, with what could be had. Nothing is reserved here: whoever asks takes the memory,
//! or notes the promise, under a lock of its own.

use vramkit_units::ByteSize;

use crate::level::PressureLevel;
use crate::limits::Limits;

/// What is known of the memory that something is to go into. What is not known does not stand in the way.
///
/// ```
/// use vramkit_pressure::{Admission, Refusal};
/// use vramkit_units::ByteSize;
///
/// let admission = Admission {
///     capacity: Some(ByteSize::gib(24)),
///     promised: ByteSize::gib(14),
///     free: Some(ByteSize::gib(8)),
///     ..Admission::default()
/// };
/// assert_eq!(admission.check(ByteSize::gib(8)), Ok(()));
/// assert_eq!(admission.check(ByteSize::gib(9)), Err(Refusal::Free { available: ByteSize::gib(8) }));
/// assert_eq!(admission.check(ByteSize::gib(11)), Err(Refusal::Promised { available: ByteSize::gib(10) }));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Admission {
    /// All there is.
    pub capacity: Option<ByteSize>,
    /// Of which the hard limit may be held.
    pub limits: Option<Limits>,
    /// What others were promised, whether they hold it yet or not.
    pub promised: ByteSize,
    /// What could be had now.
    pub free: Option<ByteSize>,
    /// What the one who asks holds already: as much less is asked for of what is free.
    pub own: ByteSize,
    /// The level whose rung refuses whoever is new, and the fraction of the capacity (0..1) from which on it holds.
    pub rejecting: Option<(PressureLevel, f64)>,
}

/// Why something does not go in.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Pressure is at a level that refuses whoever is new.
    #[error("pressure is {level} (from {enter:.2} of the capacity on)")]
    Level {
        /// The level.
        level: PressureLevel,
        /// The fraction of the capacity from which on it holds.
        enter: f64,
    },
    /// The capacity, or the hard limit, leaves too little beside what others were promised.
    #[error("{available} is left beside what others were promised")]
    Promised {
        /// What is left.
        available: ByteSize,
    },
    /// Others hold it.
    #[error("{available} is free")]
    Free {
        /// What could be had, with what the one who asks holds already.
        available: ByteSize,
    },
}

impl Admission {
    /// Whether `needed` bytes go in.
    #[inline]
    pub fn check(&self, needed: ByteSize) -> Result<(), Refusal> {
        if let Some((level, enter)) = self.rejecting {
            return Err(Refusal::Level { level, enter });
        }
        let hard = self.limits.map(|limits| limits.hard());
        let allowed = self.capacity.into_iter().chain(hard).min().unwrap_or(ByteSize::MAX);
        let left = allowed.saturating_sub(self.promised);
        if needed > left {
            return Err(Refusal::Promised { available: left });
        }
        if let Some(free) = self.free
            && needed.saturating_sub(self.own) > free
        {
            let available = free.checked_add(self.own).unwrap_or(ByteSize::MAX);
            return Err(Refusal::Free { available });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: fn(u64) -> ByteSize = ByteSize::mib;

    #[test]
    fn what_is_not_known_does_not_stand_in_the_way() {
        assert_eq!(Admission::default().check(ByteSize::MAX), Ok(()));
    }

    #[test]
    fn a_rung_refuses_before_anything_is_counted() {
        let rejecting = Some((PressureLevel::High, 0.8));
        let refusal = Admission { rejecting, ..Admission::default() }.check(ByteSize::ZERO);
        assert_eq!(refusal, Err(Refusal::Level { level: PressureLevel::High, enter: 0.8 }));
    }

    #[test]
    fn the_lower_of_limit_and_capacity_counts() {
        let limits = Some(Limits::new(MIB(500), MIB(900)).unwrap());
        for (capacity, left) in [(1000, 300), (700, 100)] {
            let admission = Admission {
                capacity: Some(MIB(capacity)),
                limits,
                promised: MIB(600),
                ..Admission::default()
            };
            assert_eq!(admission.check(MIB(left)), Ok(()));
            assert_eq!(admission.check(MIB(301)), Err(Refusal::Promised { available: MIB(left) }));
        }
    }

    #[test]
    fn what_one_holds_oneself_is_not_asked_for_again() {
        let admission = Admission { free: Some(MIB(10)), own: MIB(5), ..Admission::default() };
        assert_eq!(admission.check(MIB(15)), Ok(()));
        assert_eq!(admission.check(MIB(16)), Err(Refusal::Free { available: MIB(15) }));
    }

    proptest! {
        /// What is said to be available goes in by that reason, and a byte more does not.
        #[test]
        fn a_refusal_names_the_most_that_goes_in(
            capacity in 0u64..100, promised in 0u64..100, free in 0u64..100, own in 0u64..100, needed in 0u64..200,
        ) {
            let admission = Admission {
                capacity: Some(ByteSize::new(capacity)),
                promised: ByteSize::new(promised),
                free: Some(ByteSize::new(free)),
                own: ByteSize::new(own),
                ..Admission::default()
            };
            let fits = needed <= capacity.saturating_sub(promised) && needed <= free + own;
            match admission.check(ByteSize::new(needed)) {
                Ok(()) => prop_assert!(fits),
                Err(Refusal::Promised { available } | Refusal::Free { available }) => {
                    prop_assert!(!fits && available < ByteSize::new(needed));
                }
                Err(refusal) => prop_assert!(false, "{refusal}"),
            }
        }
    }
}
