//! A time as text, by a format of C's `strftime`: what templates that tell the model today's date ask for. The time is UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const DAY: u64 = 24 * 60 * 60;

/// Writes a time.
pub(super) fn format(format: &str, time: SystemTime) -> Result<String, String> {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = date(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    // 1 January 1970 was a Thursday.
    let (name, weekday) = (MONTHS[month as usize - 1], DAYS[((days + 4) % 7) as usize]);
    let of_twelve = (hour + 11) % 12 + 1;
    let half = if hour < 12 { "AM" } else { "PM" };
    let mut written = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            written.push(character);
            continue;
        }
        let part = match characters.next() {
            Some('Y') => year.to_string(),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('e') => format!("{day:2}"),
            Some('B') => name.to_owned(),
            Some('b' | 'h') => name[..3].to_owned(),
            Some('A') => weekday.to_owned(),
            Some('a') => weekday[..3].to_owned(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{of_twelve:02}"),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{:02}", second % 60),
            Some('p') => half.to_owned(),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{:02}", second % 60),
            Some('j') => format!("{:03}", days - days_before(year) + 1),
            Some('Z') => "UTC".to_owned(),
            Some('z') => "+0000".to_owned(),
            Some('%') => "%".to_owned(),
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!("`strftime_now` is asked for `%{other}`, which is not known here"));
            }
        };
        written.push_str(&part);
    }
    Ok(written)
}

/// Days from 1970 to the beginning of a year from then on.
fn days_before(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

/// Year, month and day.
fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while days_before(year + 1) <= days {
        year += 1;
    }
    let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let february = if is_leap { 29 } else { 28 };
    let (mut month, mut left) = (1, days - days_before(year));
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64, pattern: &str) -> String {
        format(pattern, UNIX_EPOCH + Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn times_are_those_of_date() {
        // From `date -u -d @N +…`.
        assert_eq!(at(0, "%A %d %B %Y %T %j"), "Thursday 01 January 1970 00:00:00 001");
        assert_eq!(at(951_782_399, "%a %F %I:%M:%S %p"), "Mon 2000-02-28 11:59:59 PM");
        assert_eq!(at(951_868_799, "%d %b %Y %j"), "29 Feb 2000 060");
        assert_eq!(at(951_868_800, "%e %b %y"), " 1 Mar 00");
        assert_eq!(at(1_735_689_599, "%F %H %j %%"), "2024-12-31 23 366 %");
        assert_eq!(at(4_102_444_800, "%F %a"), "2100-01-01 Fri");
        assert_eq!(at(4_107_542_400, "%F"), "2100-03-01");
    }

    #[test]
    fn every_day_has_its_date() {
        let (mut year, mut month, mut day) = (1970, 1, 0);
        for days in 0..200_000 {
            let next = date(days);
            let follows = [(year, month, day + 1), (year, month + 1, 1), (year + 1, 1, 1)].contains(&next);
            assert!(follows, "{next:?} behind {:?}", (year, month, day));
            (year, month, day) = next;
        }
        assert_eq!((year, month, day), (2517, 7, 31));
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert!(format("%Q", UNIX_EPOCH).unwrap_err().contains("`%Q`"));
        assert!(format("%", UNIX_EPOCH).is_err());
    }
}
