//! Which fraction of a device is judged? Bytes as a driver counts them come in, with what those who hold them say of the
//! inside, where somebody says something; the fraction for a [gauge](crate::PressureGauge) comes out.
//!
//! A driver counts what is *reserved*. A server that takes nine tenths of a card when it starts, and grants them to requests
//! itself, looks full from outside from its first minute to its last, and is not about to run out. What is reserved and not
//! *allocated* is room for its owner: where that is known, it is headroom. Where nothing is known, memory that is full and has
//! not risen for [ten minutes](FLAT_SECONDS) is taken for reserved: there is little left for others, which is a level of its
//! own (high), but nothing runs out, which is another (critical). As soon as it rises, or next to nothing is left, it is judged as it is;
//! and what has risen after all is taken for reserved only after twice the time, so that what rises slowly stays critical.
//! Where those who say something hold less than half of it, the rest is judged so as well.
//! Where next to nothing is left, room inside a reservation is its owner's alone: the level is high at least.

use std::time::Duration;

use vramkit_units::ByteSize;

use crate::ladder::Ladder;
use crate::level::PressureLevel;

/// For how long memory may not have risen to be taken for reserved.
const FLAT_SECONDS: u64 = 600;
/// How often that time doubles: up to a day.
const MOST_BROKEN: u32 = 7;
/// From this fraction on memory is full, whoever has it: nobody's next request is granted.
pub(crate) const FULL: f64 = 0.985;
/// Below this one it is no longer.
const NOT_FULL: f64 = 0.975;
/// By which part of all there is it may rise meanwhile: what a driver and its libraries take and give back.
const BAND: f64 = 1.0 / 400.0;

/// How much of a device is taken, from outside and from inside.
///
/// ```
/// use vramkit_pressure::DeviceUse;
/// use vramkit_units::ByteSize;
///
/// let server = DeviceUse {
///     total: ByteSize::gib(80),
///     used: ByteSize::gib(74),
///     kept: ByteSize::ZERO,
///     reserved: Some(ByteSize::gib(72)),
///     allocated: Some(ByteSize::gib(20)),
/// };
/// assert_eq!(server.taken(), ByteSize::gib(22));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceUse {
    /// All of it.
    pub total: ByteSize,
    /// What every process together holds, as the driver counts it.
    pub used: ByteSize,
    /// What the driver keeps for itself, where it counts that apart: nobody can have it.
    pub kept: ByteSize,
    /// Of what is used, what pools and frameworks are known to hold from the device; `None` when none of them says so.
    pub reserved: Option<ByteSize>,
    /// Of that, what they have granted.
    pub allocated: Option<ByteSize>,
}

impl DeviceUse {
    /// What processes can have at most.
    pub fn most(&self) -> ByteSize {
        let most = self.total.saturating_sub(self.kept);
        // A driver that counts its part as used as well keeps nothing beside it.
        if self.used <= most { most } else { self.total }
    }

    /// What is used and not known to be room for somebody.
    pub fn taken(&self) -> ByteSize {
        self.used.saturating_sub(self.room().unwrap_or(ByteSize::ZERO))
    }

    /// What is reserved and not allocated, where that is known. What is more than the device has given is not of this device.
    fn room(&self) -> Option<ByteSize> {
        // Both are read at about the same time.
        let slack = ByteSize::new((self.total.bytes() as f64 * BAND) as u64);
        let reserved = self.reserved.filter(|reserved| *reserved <= self.used.saturating_add(slack))?;
        Some(reserved.saturating_sub(self.allocated?))
    }
}

/// What a fraction is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FractionBasis {
    /// Bytes that are used; nobody says more.
    Used,
    /// Bytes that are used without those that somebody has reserved for itself and not allocated.
    Allocated,
    /// Bytes that are used and have not risen for so long that they are taken for a reservation. The fraction is no more than
    /// leaves the critical level.
    Reserved,
}

/// Judges one device, reading after reading.
///
/// ```
/// use std::time::Duration;
/// use vramkit_pressure::{DeviceUse, FractionBasis, Headroom, Ladder, PressureGauge, PressureLevel};
/// use vramkit_units::ByteSize;
///
/// let (ladder, mut gauge, mut headroom) = (Ladder::watch(), PressureGauge::new(), Headroom::default());
/// // A server that has taken 95 % and says nothing of what it does with them.
/// let server = DeviceUse { total: ByteSize::gib(80), used: ByteSize::gib(76), kept: ByteSize::ZERO, reserved: None, allocated: None };
/// for second in 0..900 {
///     let now = Duration::from_secs(second);
///     let (fraction, _) = headroom.fraction(&ladder, &server, now).expect("it has a size");
///     gauge.read(&ladder, fraction, now);
///     assert_eq!(gauge.level(), if second < 629 { PressureLevel::Critical } else { PressureLevel::High });
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Headroom {
    /// The least that was used since it last rose, and when that was.
    flat: Option<(Duration, ByteSize)>,
    /// How often what was taken for reserved has risen since it was last below the critical level.
    broken: u32,
    /// Whether it was, at the last reading.
    reserved: bool,
    full: bool,
}

impl Headroom {
    /// The fraction to judge by, 0..1, read at `now` of a clock that does not go back; `None` for a device without a size.
    pub fn fraction<P>(
        &mut self,
        ladder: &Ladder<P>,
        usage: &DeviceUse,
        now: Duration,
    ) -> Option<(f64, FractionBasis)> {
        if usage.total.is_zero() {
            return None;
        }
        let fraction = usage.taken().ratio_of(usage.total);
        let is_flat = self.is_flat(usage, now);
        let used = usage.used.ratio_of(usage.most());
        self.full = used >= if self.full { NOT_FULL } else { FULL };
        // With little of a device the driver may keep so much that it is full before it looks critical.
        let fraction = if self.full && usage.room().is_none() { fraction.max(used) } else { fraction };
        let critical = ladder.rung(PressureLevel::Critical).map(|rung| rung.exit.unwrap_or(rung.enter));
        // A pool that holds little of what is used says nothing of the rest.
        let is_told = usage.reserved.is_some_and(|reserved| reserved >= usage.used.saturating_sub(reserved));
        if is_told && usage.room().is_some() {
            let least = critical.filter(|_| self.full).map_or(0.0, f64::next_down);
            return Some((fraction.max(least), FractionBasis::Allocated));
        }
        if critical.is_none_or(|exit| fraction < exit) {
            self.broken = 0;
        }
        let reserved = critical.filter(|&exit| is_flat && !self.full && fraction >= exit);
        self.reserved = reserved.is_some();
        match reserved {
            Some(exit) => Some((exit.next_down(), FractionBasis::Reserved)),
            None => Some((fraction, FractionBasis::Used)),
        }
    }

    fn is_flat(&mut self, usage: &DeviceUse, now: Duration) -> bool {
        let (since, least) = self.flat.unwrap_or((now, usage.used));
        let rise = usage.used.saturating_sub(least).ratio_of(usage.total);
        let enough = |broken: u32| Duration::from_secs(FLAT_SECONDS << broken.min(MOST_BROKEN));
        if rise > BAND && self.reserved {
            self.broken += 1;
        }
        // What is given back is no reason to look again.
        let flat = if rise > BAND { (now, usage.used) } else { (since, least.min(usage.used)) };
        self.flat = Some(flat);
        now.saturating_sub(flat.0) >= enough(self.broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gauge::PressureGauge;

    #[test]
    fn what_the_driver_keeps_is_nobodys_to_have() {
        let (ladder, mut headroom) = (Ladder::watch(), Headroom::default());
        let mut fraction = |used, kept| {
            let (total, used, kept) = (ByteSize::gib(16), ByteSize::gib(used), ByteSize::gib(kept));
            let card = DeviceUse { total, used, kept, reserved: None, allocated: None };
            headroom.fraction(&ladder, &card, Duration::from_secs(3600)).map(|(fraction, _)| fraction)
        };
        assert_eq!(fraction(12, 2), Some(0.75), "of all there is");
        assert_eq!(fraction(14, 2), Some(1.0), "nothing is free");
        assert_eq!(fraction(15, 2), Some(0.9375), "it is counted as used");
    }

    #[test]
    fn a_small_pool_says_nothing_of_what_others_have_reserved() {
        let level = |reserved: u64| {
            let (ladder, mut gauge, mut headroom) =
                (Ladder::watch(), PressureGauge::new(), Headroom::default());
            let all = Some(ByteSize::gib(reserved));
            let card = DeviceUse {
                total: ByteSize::gib(80),
                used: ByteSize::gib(76),
                kept: ByteSize::ZERO,
                reserved: all,
                allocated: all,
            };
            for second in 0..900 {
                let now = Duration::from_secs(second);
                let (fraction, _) = headroom.fraction(&ladder, &card, now).expect("it has a size");
                gauge.read(&ladder, fraction, now);
            }
            gauge.level()
        };
        assert_eq!(level(1), PressureLevel::High, "a server's reservation beside it");
        assert_eq!(level(74), PressureLevel::Critical, "all of it is granted");
    }

    fn used(percent: f64) -> DeviceUse {
        let total = ByteSize::gib(100);
        let used = ByteSize::new((total.bytes() as f64 * percent / 100.0) as u64);
        DeviceUse { total, used, kept: ByteSize::ZERO, reserved: None, allocated: None }
    }

    #[test]
    fn room_inside_a_reservation_is_headroom_where_it_is_known() {
        let (ladder, mut headroom) = (Ladder::watch(), Headroom::default());
        let mut fraction = |usage| headroom.fraction(&ladder, &usage, Duration::ZERO);
        let inside = |allocated| DeviceUse {
            reserved: Some(ByteSize::gib(90)),
            allocated: Some(ByteSize::gib(allocated)),
            ..used(95.0)
        };
        assert_eq!(fraction(inside(10)), Some((0.15, FractionBasis::Allocated)));
        assert_eq!(fraction(inside(90)), Some((0.95, FractionBasis::Allocated)));
        assert_eq!(
            fraction(inside(500)),
            Some((0.95, FractionBasis::Allocated)),
            "numbers of another process"
        );
        let hostile =
            DeviceUse { reserved: Some(ByteSize::MAX), allocated: Some(ByteSize::ZERO), ..used(95.0) };
        assert_eq!(fraction(hostile), Some((0.95, FractionBasis::Used)), "no device has given so much");
        let full = |allocated| DeviceUse { reserved: Some(ByteSize::gib(98)), ..inside(allocated) };
        let (at_full, basis) = fraction(DeviceUse { used: ByteSize::gib(99), ..full(1) }).unwrap();
        assert_eq!(basis, FractionBasis::Allocated);
        let high = ladder.rung(PressureLevel::High).unwrap().enter;
        assert!((high..0.90).contains(&at_full), "{at_full}: nobody else is granted anything");
        assert_eq!(fraction(DeviceUse { reserved: None, ..inside(10) }), Some((0.95, FractionBasis::Used)));
        assert_eq!(fraction(DeviceUse { total: ByteSize::ZERO, ..used(0.0) }), None);
    }

    #[test]
    fn a_server_that_begins_after_an_idle_time_is_taken_for_reserved_after_ten_minutes() {
        let (ladder, mut headroom, mut gauge) = (Ladder::watch(), Headroom::default(), PressureGauge::new());
        let mut high = None;
        for second in 0..7200 {
            let now = Duration::from_secs(second);
            let percent = if second < 3600 { 10.0 } else { 95.0 };
            gauge.read(&ladder, headroom.fraction(&ladder, &used(percent), now).unwrap().0, now);
            if second > 3600 && gauge.level() == PressureLevel::High {
                high = high.or(Some(second));
            }
        }
        assert_eq!(high, Some(3600 + FLAT_SECONDS + 29));
    }

    #[test]
    fn what_rises_slowly_does_not_go_to_and_fro() {
        let (ladder, total) = (Ladder::watch(), ByteSize::gib(80));
        // Percent a minute, from 92 % on, a reading every five seconds.
        for rate in [0.002, 0.005, 0.01, 0.02, 0.05, 0.2] {
            let (mut headroom, mut gauge) = (Headroom::default(), PressureGauge::new());
            let readings = (6.0 / rate * 12.0) as u64;
            for reading in 0..readings {
                let now = Duration::from_secs(5 * reading);
                let percent = 92.0 + rate * now.as_secs_f64() / 60.0;
                let used = ByteSize::new((total.bytes() as f64 * percent / 100.0) as u64);
                let usage = DeviceUse { total, used, kept: ByteSize::ZERO, reserved: None, allocated: None };
                gauge.read(&ladder, headroom.fraction(&ladder, &usage, now).unwrap().0, now);
            }
            assert!(gauge.changes() <= 10, "{} changes at {rate} % a minute", gauge.changes());
            let critical = gauge.readings()[PressureLevel::Critical as usize];
            assert!(rate < 0.005 || critical * 10 > readings * 8, "{critical} of {readings} at {rate}");
        }
    }

    #[test]
    fn what_does_not_rise_is_not_critical_for_ever_and_what_rises_is_at_once() {
        let (ladder, mut headroom, mut gauge) = (Ladder::watch(), Headroom::default(), PressureGauge::new());
        let mut level = |second: u64, percent: f64| {
            let now = Duration::from_secs(second);
            let (fraction, _) = headroom.fraction(&ladder, &used(percent), now).unwrap();
            gauge.read(&ladder, fraction, now);
            gauge.level()
        };
        let mut run = |seconds: std::ops::Range<u64>, percent: fn(u64) -> f64| {
            seconds.map(|second| level(second, percent(second))).collect::<Vec<_>>()
        };
        let tail = |levels: &[PressureLevel]| *levels.last().unwrap();
        // Flat to a tenth of a percent.
        assert_eq!(tail(&run(0..700, |second| 95.0 + 0.1 * (second % 2) as f64)), PressureLevel::High);
        // It gives some back, and is flat there.
        assert_eq!(tail(&run(700..710, |_| 93.0)), PressureLevel::High);
        assert_eq!(run(710..711, |_| 94.0), [PressureLevel::Critical]);
        // A rise of a percent a minute is never flat.
        let rising = run(711..1000, |second| 94.0 + (second - 711) as f64 / 60.0);
        assert!(rising.iter().all(|level| *level == PressureLevel::Critical));
    }
}
