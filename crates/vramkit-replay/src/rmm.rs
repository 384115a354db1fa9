//! The logs of RMM's logging adaptor: `Thread,Time,Action,Pointer,Size,Stream`, a row each.
//!
//! Logs are written by several threads and begin when somebody thinks of it: what is freed and was never allocated was there before the
//! log, and comes first in the trace. A pointer that is allocated again while it is live was freed in a row that is not there, or comes
//! late: another thread writes it behind the one that has got the same pointer.

use std::io::Read;

use hashbrown::{HashMap, HashSet};

use crate::fault::ReadFault;
use crate::odd::Odd;
use crate::trace::{Key, Origin, Trace};
use crate::values::Budget;

/// How far ahead a late row is looked for.
const LATE: usize = 1000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Allocate,
    Free,
    Fail,
}

#[derive(Clone, Copy)]
struct Row {
    action: Action,
    pointer: u64,
    size: u64,
    stream: u64,
    /// Microseconds of the day, or whatever else counts up.
    time: Option<u64>,
}

/// Where the columns are.
struct Columns {
    action: usize,
    pointer: usize,
    size: usize,
    stream: Option<usize>,
    time: Option<usize>,
}

impl Columns {
    /// Of a header, which a logging library may have put something in front of.
    fn of(header: &csv::StringRecord) -> Result<Self, String> {
        let column = |name: &str| {
            header.iter().position(|cell| {
                let cell = cell.trim();
                cell.eq_ignore_ascii_case(name)
                    || cell.rsplit(' ').next().is_some_and(|word| word.eq_ignore_ascii_case(name))
            })
        };
        let needed =
            |name: &str| column(name).ok_or_else(|| format!("there is no column `{name}`: not an RMM log"));
        Ok(Self {
            action: needed("Action")?,
            pointer: needed("Pointer")?,
            size: needed("Size")?,
            stream: column("Stream"),
            time: column("Time"),
        })
    }

    fn row(&self, record: &csv::StringRecord) -> Result<Row, String> {
        let cell = |at: usize| record.get(at).map(str::trim).ok_or("the row is too short");
        let action = match cell(self.action)? {
            "allocate" => Action::Allocate,
            "free" | "deallocate" => Action::Free,
            "allocate failure" => Action::Fail,
            other => return Err(format!("`{other}` is not an action of RMM's")),
        };
        let text = cell(self.size)?;
        let size = text.parse().map_err(|_| format!("`{text}` is not a size in bytes"))?;
        let text = cell(self.pointer)?;
        let pointer = number(text);
        let pointer = if action == Action::Fail {
            0
        } else {
            pointer.ok_or_else(|| format!("`{text}` is not a pointer"))?
        };
        let stream = self.stream.and_then(|at| number(record.get(at)?.trim())).unwrap_or(0);
        match (action, pointer, size) {
            (Action::Allocate | Action::Free, 0, _) => Err("a null pointer".to_owned()),
            (_, _, 0) => Err("0 bytes".to_owned()),
            _ => {
                let time = self.time.and_then(|at| time(record.get(at)?.trim()));
                Ok(Row { action, pointer, size, stream, time })
            }
        }
    }
}

/// A number as programs print pointers, with or without `0x`; 0 of `(nil)`. All are read as hexadecimal: they only tell one from another,
/// and decimal ones do that as well so.
fn number(text: &str) -> Option<u64> {
    match text {
        "(nil)" | "nullptr" => Some(0),
        text => {
            let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
            u64::from_str_radix(digits, 16).ok()
        }
    }
}

/// A time as `15:47:02.841961`, or a plain number.
fn time(text: &str) -> Option<u64> {
    let mut seconds = 0.0;
    for part in text.split(':') {
        seconds = 60.0 * seconds + part.parse::<f64>().ok().filter(|&part| part >= 0.0)?;
    }
    Some((1e6 * seconds).round() as u64)
}

/// Puts rows in the order of their times, where all have one; how many came late. Rows of one time stay as they are.
fn sort(rows: &mut [Row]) -> usize {
    const DAY: u64 = 86_400_000_000;
    if rows.iter().any(|row| row.time.is_none()) {
        return 0;
    }
    let (mut days, mut last, mut late) = (0, 0, 0);
    for row in &mut *rows {
        let mut time = row.time.unwrap_or(0) + days;
        if time + DAY / 2 < last {
            // Past midnight.
            (days, time) = (days + DAY, time + DAY);
        }
        late += usize::from(time < last);
        (row.time, last) = (Some(time), last.max(time));
    }
    if late > 0 {
        rows.sort_by_key(|row| row.time);
    }
    late
}

/// Reads a log into a trace.
pub(crate) fn read(from: impl Read, trace: &mut Trace, budget: &Budget) -> Result<(), ReadFault> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).quoting(false).from_reader(from);
    let fault = |error: csv::Error| ReadFault::at("the table", error.to_string());
    let columns =
        Columns::of(reader.headers().map_err(fault)?).map_err(|reason| ReadFault::line(1, reason))?;
    let (mut odd, mut headers, mut rows) = (Odd::default(), 0, Vec::<Row>::new());
    let mut record = csv::StringRecord::new();
    loop {
        // A row and the operation that it becomes.
        budget.check(rows.len() as u64 * (size_of::<Row>() + 20) as u64)?;
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) if Columns::of(&record).is_ok() => headers += 1,
            Ok(true) => match columns.row(&record) {
                Ok(row) => rows.push(row),
                Err(reason) => odd.add(format_args!("line {line}"), reason),
            },
            Err(error) if error.is_io_error() => return Err(fault(error)),
            Err(_) => odd.add(format_args!("line {line}"), "not text"),
        }
    }
    if rows.is_empty()
        && let Some(first) = odd.first()
    {
        return Err(ReadFault::at("the whole file", format!("no row can be used, the first: {first}")));
    }
    let late = sort(&mut rows);
    replay_rows(&rows, trace, &mut odd);
    if late > 0 {
        trace.notes.push(format!("rows that came late, put in the order of their times: {late}"));
    }
    trace.notes.extend(odd.note(["row", "rows"]));
    if headers > 0 {
        trace.notes.push(format!("headers again, passed over: {headers}"));
    }
    Ok(())
}

/// What a row comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Allocate,
    /// What has the pointer was freed, though no row says so yet.
    AllocateAgain,
    Free,
    /// A free of something that no row has allocated.
    FreeUnknown,
    /// A free that comes late: its allocation is gone.
    Late,
    Fail,
}

/// What each row comes to, in order.
fn events(rows: &[Row]) -> impl Iterator<Item = (&Row, Event)> {
    let (mut live, mut late) = (HashMap::new(), HashSet::new());
    rows.iter().enumerate().map(move |(at, row)| {
        let event = match row.action {
            Action::Fail => Event::Fail,
            Action::Allocate => match live.insert(row.pointer, row.size) {
                None => Event::Allocate,
                Some(size) => {
                    if comes_late(&rows[at + 1..], row, size) {
                        late.insert(row.pointer);
                    }
                    Event::AllocateAgain
                }
            },
            Action::Free if late.remove(&row.pointer) => Event::Late,
            Action::Free if live.remove(&row.pointer).is_some() => Event::Free,
            Action::Free => Event::FreeUnknown,
        };
        (row, event)
    })
}

fn replay_rows(rows: &[Row], trace: &mut Trace, odd: &mut Odd) {
    let origin = |row: &Row| Origin { stream: row.stream, ..Origin::default() };
    // A second free of one pointer is no second allocation before the log.
    let mut before = HashSet::new();
    for (row, _) in events(rows).filter(|(_, event)| *event == Event::FreeUnknown) {
        if before.insert(row.pointer)
            && let Err(error) = trace.allocate_from(Key::Before(row.pointer), row.size, origin(row))
        {
            odd.add(format_args!("what was at {:#x} before the log", row.pointer), error);
        }
    }
    let mut again = 0_u64;
    for (at, (row, event)) in events(rows).enumerate() {
        let key = Key::Number(row.pointer);
        let done = match event {
            Event::Allocate => trace.allocate_from(key, row.size, origin(row)),
            Event::AllocateAgain => {
                again += 1;
                let freed = trace.free_key(&key);
                freed.and_then(|()| trace.allocate_from(key, row.size, origin(row)))
            }
            Event::Free => trace.free_key(&key),
            Event::FreeUnknown => trace.free_key(&Key::Before(row.pointer)),
            Event::Late => Ok(()),
            Event::Fail => trace.attempt_from(row.size, origin(row)),
        };
        if let Err(error) = done {
            odd.add(format_args!("row {}", at + 1), error);
        }
    }
    if !before.is_empty() {
        trace.notes.push(format!("allocations that were there before the log begins: {}", before.len()));
    }
    if again > 0 {
        trace.notes.push(format!(
            "pointers that were given again before they were freed, late or not at all: {again}"
        ));
    }
}

/// Whether the next free of a row's pointer is that of what was there before it: where another free follows without an allocation between
/// them, or where it says so by its size.
fn comes_late(after: &[Row], row: &Row, before: u64) -> bool {
    let mut same =
        after.iter().take(LATE).filter(|next| next.pointer == row.pointer && next.action != Action::Fail);
    match (same.next(), same.next()) {
        (Some(first), second) if first.action == Action::Free => {
            let again = second.is_some_and(|second| second.action == Action::Free);
            again || first.size == before && before != row.size
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Operation;

    fn parse(rows: &str) -> Result<Trace, String> {
        let mut trace = Trace::new("t");
        let text = format!("Thread,Time,Action,Pointer,Size,Stream\n{rows}");
        read(text.as_bytes(), &mut trace, &Budget::default())
            .map(|()| trace)
            .map_err(|fault| format!("{}: {}", fault.place, fault.reason))
    }

    #[test]
    fn a_log_is_read() {
        let trace = parse("1,10:00:00,allocate,0x10,100,0x0\n1,10:00:01,free,0x10,100,0x0\n1,10:00:02,allocate failure,0x0,900,0x7\n").unwrap();
        assert_eq!((trace.operations.len(), trace.peak_live().bytes()), (3, 900));
        assert!(matches!(trace.operations[2], Operation::Attempt { size: 900, .. }));
        assert_eq!(trace.origin(1).stream, 7);
        assert!(trace.notes.is_empty());
    }

    #[test]
    fn an_odd_row_is_lost_alone() {
        let trace = parse("1,1,allocate,(nil),0,0\n1,2,allocate,0x10,100,0\nThread,Time,Action,Pointer,Size,Stream\nx\n1,3,grow,0x1,1,0\n").unwrap();
        assert_eq!(trace.peak_live().bytes(), 100);
        assert_eq!(trace.notes.len(), 2, "{:?}", trace.notes);
        assert!(trace.notes[0].starts_with("3 rows left out, the first: line 2: "), "{:?}", trace.notes);
        assert!(parse("1,1,allocate,(nil),0,0\n").unwrap_err().contains("no row can be used"));
    }

    #[test]
    fn rows_are_in_the_order_of_their_times() {
        let late = parse(
            "1,10:00:02,allocate,0x10,300,0\n1,10:00:01.5,free,0x10,100,0\n1,10:00:01,allocate,0x10,100,0\n",
        )
        .unwrap();
        assert_eq!((late.operations.len(), late.peak_live().bytes(), late.is_live("16")), (3, 300, true));
        assert!(late.notes.iter().any(|note| note.ends_with("their times: 2")), "{:?}", late.notes);
        // Midnight is no disorder, and neither are rows of one time.
        let night = parse(
            "1,23:59:59,allocate,0x10,300,0\n1,00:00:01,free,0x10,300,0\n1,00:00:01,allocate,0x10,5,0\n",
        )
        .unwrap();
        assert_eq!((night.peak_live().bytes(), night.notes.len()), (300, 0));
    }

    #[test]
    fn pointers_are_told_apart_however_they_are_written() {
        let trace =
            parse("1,1,allocate,10,100,0\n1,1,allocate,16,100,0\n1,1,allocate,A,100,0\n1,2,free,0xa,100,0\n")
                .unwrap();
        assert_eq!((trace.peak_live().bytes(), trace.operations.len(), trace.notes.len()), (300, 4, 0));
    }

    #[test]
    fn what_was_there_before_comes_first() {
        let trace = parse("1,1,free,0x99,64,0\n1,2,allocate,0x10,1000,0\n1,3,free,0x99,64,0\n").unwrap();
        assert_eq!((trace.allocations(), trace.peak_live().bytes()), (2, 1000));
        assert!(matches!(trace.operations[0], Operation::Allocate { size: 64, .. }));
        assert!(trace.notes.iter().any(|note| note.contains("1 row left out")), "{:?}", trace.notes);
    }

    #[test]
    fn a_free_that_comes_late_frees_what_it_is_of() {
        // The second allocation gets the pointer of the first, whose free is written behind it.
        let late = parse(
            "1,1,allocate,0x10,100,0\n2,2,allocate,0x10,100,0\n1,2,free,0x10,100,0\n2,3,free,0x10,100,0\n",
        )
        .unwrap();
        assert_eq!((late.operations.len(), late.peak_live().bytes(), late.is_live("16")), (4, 100, false));
        let by_size =
            parse("1,1,allocate,0x10,100,0\n2,2,allocate,0x10,300,0\n1,2,free,0x10,100,0\n").unwrap();
        assert!(by_size.is_live("16"));
        let lost = parse("1,1,allocate,0x10,100,0\n2,2,allocate,0x10,100,0\n1,2,free,0x10,100,0\n").unwrap();
        assert!(!lost.is_live("16"));
    }
}
