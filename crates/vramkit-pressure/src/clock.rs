//! A clock that does not go back, from one that may.

use std::time::Duration;

/// Readings in a row from before the last that make a clock that was set back; fewer are late ones.
const SET_BACK: u32 = 3;
/// A clock that was set back by more is another's: what it shows has nothing to do with what was before.
const OTHER: Duration = Duration::from_secs(2 * 3600);
/// The gap that is put before it, which nobody bridges.
const GAP: Duration = Duration::from_secs(30 * 86_400);

/// Lets time go on from the last reading when a clock was set back, so that nobody waits for it to come to where it was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    last: Option<Duration>,
    /// What is added to the times that are read.
    ahead: Duration,
    late: u32,
}

impl Clock {
    /// The time of a reading; none of one that is late, which is left out.
    pub(crate) fn read(&mut self, now: Duration) -> Option<Duration> {
        let last = self.last.unwrap_or(Duration::ZERO);
        let mut time = now.saturating_add(self.ahead);
        if time < last {
            self.late += 1;
            if self.late < SET_BACK {
                return None;
            }
            let gap = if last - time > OTHER { GAP } else { Duration::ZERO };
            time = last.saturating_add(gap);
            self.ahead = time - now;
        }
        self.late = 0;
        self.last = Some(time);
        Some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_readings_are_left_out_and_a_clock_that_was_set_back_goes_on() {
        let mut clock = Clock::default();
        let mut read = |second: u64| clock.read(Duration::from_secs(second)).map(|time| time.as_secs());
        assert_eq!(
            [read(100), read(90), read(101), read(90), read(91)],
            [Some(100), None, Some(101), None, None]
        );
        assert_eq!([read(92), read(93), read(95), read(200)], [Some(101), Some(102), Some(104), Some(209)]);
        // A clock that was set back by no more than two hours goes on at once; by more, it is another.
        assert_eq!(
            [read(10_000), read(2800), read(2800), read(2800)],
            [Some(10_009), None, None, Some(10_009)]
        );
        assert_eq!([read(2801), read(82_801)], [Some(10_010), Some(90_010)]);
        let mut clock = Clock::default();
        let mut read = |second: u64| clock.read(Duration::from_secs(second)).map(|time| time.as_secs());
        assert_eq!(read(90_009), Some(90_009));
        assert_eq!(GAP, Duration::from_secs(2_592_000));
        // Another clock.
        assert_eq!([read(5), read(6)], [None, None]);
        let gap = GAP.as_secs();
        assert_eq!([read(7), read(8)], [Some(90_009 + gap), Some(90_010 + gap)]);
        assert_eq!(read(u64::MAX), Some(u64::MAX));
    }
}
