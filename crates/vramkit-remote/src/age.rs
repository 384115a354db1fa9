//! How old an answer is: what the server says of that, and what its clock and ours do.
//!
//! Clocks of two machines differ, so that a time alone is no proof. A server's own two times are of one clock (`Date` and the
//! reading's); a time that stands still over several answers needs no clock of the server at all.

use std::time::{Duration, Instant, SystemTime};

use hyper::HeaderMap;
use hyper::header::{AGE, DATE, HeaderName};
use vramkit_watch::{Tick, unix_seconds};

/// Seconds between two readings at most, as `vramkit serve` says.
pub(crate) const INTERVAL: HeaderName = HeaderName::from_static("vramkit-interval");
/// As servers that do not say it do by default; none reads less often than the longest.
const USUAL: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// Older than so many intervals, but not younger than this, a reading is not of now.
const INTERVALS: u32 = 3;
const LEAST: Duration = Duration::from_secs(10);
/// Clocks that differ by less are not spoken of.
const CLOCKS: f64 = 60.0;

/// What an answer says of its own age.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Said {
    /// By `Age`.
    age: Option<Duration>,
    /// By `Date`, in seconds since 1970.
    date: Option<f64>,
    interval: Option<Duration>,
}

impl Said {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        // A number too large for a time is a long one.
        let seconds = |text: &str| {
            let number = text.trim().parse().ok().filter(|number: &f64| *number >= 0.0)?;
            Some(Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX))
        };
        Self {
            age: text(AGE).and_then(seconds),
            date: text(DATE).and_then(date),
            interval: text(INTERVAL).and_then(seconds),
        }
    }

    /// How old the reading was when it was sent, as far as the answer says: by the clock of dates, which somebody may have set, where it
    /// says nothing else.
    fn age(&self, tick: &Tick) -> Duration {
        let by_clock = self.date.zip(unix_seconds(&tick.time)).map(|(date, read)| date - read);
        let by_clock = by_clock.and_then(|age| Duration::try_from_secs_f64(age).ok());
        self.age.or(by_clock).unwrap_or_default()
    }

    fn limit(&self) -> Duration {
        let interval = self.interval.unwrap_or(USUAL).min(LONGEST);
        interval.saturating_mul(INTERVALS).max(LEAST)
    }
}

/// The reading that was answered last: when it was first seen, and how old it was then.
#[derive(Debug)]
pub(crate) struct Seen {
    time: String,
    first: Instant,
    age: Duration,
}

/// A reading that is not of now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Old {
    /// When it was made, by this machine's clock.
    pub(crate) since: SystemTime,
    pub(crate) reason: String,
}

impl Seen {
    /// Another answer: the same reading again, or the next one. Whether it is old.
    pub(crate) fn follow(
        seen: &mut Option<Self>,
        tick: &Tick,
        said: &Said,
        (now, wall): (Instant, SystemTime),
    ) -> Option<Old> {
        let before = seen.take().filter(|before| before.time == tick.time);
        let age = said.age(tick);
        let mut next = before.unwrap_or_else(|| Self { time: tick.time.clone(), first: now, age });
        let stands = now.saturating_duration_since(next.first);
        // What an answer says later may be more.
        next.age = next.age.max(age.saturating_sub(stands));
        let old = next.age.saturating_add(stands);
        *seen = Some(next);
        (old > said.limit()).then(|| Old {
            since: wall.checked_sub(old).unwrap_or(SystemTime::UNIX_EPOCH),
            reason: format!("answers with a reading that is {} s old, of {}", old.as_secs(), tick.time),
        })
    }
}

/// A word about a clock that is far from this one's.
pub(crate) fn clocks_differ(tick: &Tick, wall: SystemTime) -> Option<String> {
    let now = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let Some(read) = unix_seconds(&tick.time) else {
        return Some("its reading says no time that can be read: how old it is, is not known".to_owned());
    };
    let (by, what) = if now > read {
        (now - read, "behind this machine's clock: the reading is old, or clocks differ")
    } else {
        (read - now, "ahead of this machine's clock")
    };
    (by > CLOCKS).then(|| format!("its reading is of {}, {by:.0} s {what}", tick.time))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, in seconds since 1970.
fn date(text: &str) -> Option<f64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split_once(", ")?.1.strip_suffix(" GMT")?.split(' ');
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    unix_seconds(&format!("{year}-{month:02}-{day}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "1994-11-06T08:49:30.000Z";

    fn tick(time: &str) -> Tick {
        Tick::new(time.to_owned())
    }

    fn said(headers: &[(&str, &str)]) -> Said {
        let named = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap()));
        Said::of(&named.collect())
    }

    fn follow(seen: &mut Option<Seen>, time: &str, said: &Said, second: u64) -> Option<u64> {
        let start = *START.get_or_init(Instant::now);
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let old = Seen::follow(seen, &tick(time), said, (start + Duration::from_secs(second), wall))?;
        assert!(old.reason.contains(time), "{old:?}");
        Some(wall.duration_since(old.since).unwrap().as_secs())
    }

    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();

    #[test]
    fn an_answer_that_says_that_it_is_old_is_believed() {
        for (headers, age) in [
            (&[][..], None),
            (&[("age", "7200")], Some(7200)),
            (&[("age", "10")], None),
            (&[("age", "11")], Some(11)),
            (&[("age", "-5")], None),
            (&[("age", "soon")], None),
            (&[("date", "Sun, 06 Nov 1994 08:49:37 GMT")], None),
            (&[("date", "Sun, 06 Nov 1994 09:49:30 GMT")], Some(3600)),
            (&[("date", "Sun, 06 Nov 1994 07:49:30 GMT")], None),
            (&[("date", "yesterday")], None),
            (&[("age", "20"), ("date", "Sun, 06 Nov 1994 08:49:45 GMT")], Some(20)),
            // Its clock was set back, and its date stands still until that is past.
            (&[("age", "0"), ("date", "Sun, 06 Nov 1994 09:49:30 GMT")], None),
            (&[("age", "100"), ("vramkit-interval", "60")], None),
            (&[("age", "181"), ("vramkit-interval", "60")], Some(181)),
            (&[("age", "20000"), ("vramkit-interval", "1e300")], Some(20_000)),
        ] {
            assert_eq!(follow(&mut None, TIME, &said(headers), 0), age, "{headers:?}");
        }
        assert!(follow(&mut None, TIME, &said(&[("age", "1e300")]), 0).is_some_and(|age| age > 0));
    }

    #[test]
    fn a_time_that_stands_still_is_old_whatever_is_said() {
        let (mut seen, nothing) = (None, Said::default());
        assert_eq!(follow(&mut seen, TIME, &nothing, 0), None);
        assert_eq!(follow(&mut seen, TIME, &nothing, 10), None);
        assert_eq!(follow(&mut seen, TIME, &nothing, 11), Some(11));
        assert_eq!(follow(&mut seen, TIME, &said(&[("age", "500")]), 12), Some(500));
        assert_eq!(follow(&mut seen, "1994-11-06T08:49:31.000Z", &nothing, 13), None, "it goes on");
        // One that reads once in a minute.
        let slow = said(&[("vramkit-interval", "60")]);
        let mut seen = None;
        assert_eq!(
            [0, 60, 180, 181].map(|second| follow(&mut seen, TIME, &slow, second)),
            [None, None, None, Some(181)]
        );
    }

    #[test]
    fn clocks_far_apart_are_spoken_of() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let words = |time: &str| clocks_differ(&tick(time), wall).unwrap_or_default();
        assert_eq!(words(TIME), "");
        assert!(words("1994-11-06T08:48:00Z").contains("90 s behind"));
        assert!(words("2999-01-01T00:00:00Z").contains("ahead of"));
        assert!(words("now").contains("no time that can be read"));
    }
}
