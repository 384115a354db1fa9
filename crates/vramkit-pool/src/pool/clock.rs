//! The clock that ages of allocations are told by: the system's coarse one, in 32 bits.

use std::time::Duration;

use vramkit_units::age_class;

/// A reading: seconds, and in the low 7 bits 2^-7ths of 2^30 nanoseconds. A few milliseconds of
/// resolution at a quarter of the cost, because a grant reads it; wraps after a year.
#[inline(always)]
pub(super) fn now() -> u32 {
    #[cfg(target_os = "linux")]
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    #[cfg(not(target_os = "linux"))]
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u32) << 7 | (time.tv_nsec as u32) >> 23
}

/// The time from one reading of the coarse clock to a later one.
pub(super) fn between(earlier: u32, later: u32) -> Duration {
    let nanoseconds = |time: u32| u64::from(time >> 7) * 1_000_000_000 + (u64::from(time & 127) << 23);
    let year = nanoseconds(!127) + 1_000_000_000;
    let (earlier, later) = (nanoseconds(earlier), nanoseconds(later));
    Duration::from_nanos(if later >= earlier { later - earlier } else { later + year - earlier })
}

/// The [class](age_class) of the age that something born at one reading has at a later one.
#[inline(always)]
pub(super) fn class_between(born: u32, now: u32) -> usize {
    // A difference of readings is one of seconds and parts, down to whole seconds and over the wrap.
    let seconds = now.wrapping_sub(born) >> 7;
    // The clocks of two processors may differ by a reading: nothing is half a year old.
    age_class(Duration::from_secs(if seconds < 1 << 24 { u64::from(seconds) } else { 0 }))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn ages_are_exact_to_a_reading_and_survive_the_wrap() {
        let reading = |seconds: u32, parts: u32| seconds << 7 | parts;
        assert_eq!(between(reading(5, 0), reading(7, 0)), Duration::from_secs(2));
        assert_eq!(
            between(reading(5, 119), reading(6, 0)),
            Duration::from_nanos(1_000_000_000 - (119 << 23))
        );
        let last = (1 << 25) - 1;
        assert_eq!(between(reading(last, 0), reading(1, 0)), Duration::from_secs(2));
        for (parts, class) in [(0, 2), (120, 1)] {
            assert_eq!(class_between(reading(5, parts), reading(7, 0)), class, "{parts}");
        }
        assert_eq!(class_between(reading(last, 0), reading(1, 0)), 2);
        assert_eq!(class_between(reading(7, 0), reading(6, 119)), 0, "from another processor's clock");
        let earlier = now();
        assert!(between(earlier, now()) < Duration::from_secs(5));
    }
}
