//! Recordings of a line for each operation: text (`a ID BYTES`, `f ID`), and JSON Lines as vramkit's pools record
//! ([`vramkit_pool::pool::Recorded`]).

use std::io::{self, BufRead, Read as _};

use vramkit_pool::pool::Recorded;

use crate::fault::ReadFault;
use crate::odd::Odd;
use crate::operation::Mark;
use crate::trace::{Key, Origin, Trace};
use crate::values::Budget;

/// Longer lines are none of ours.
const LONGEST: u64 = 1 << 20;

/// Reads lines into a trace; `json` says which kind they are.
pub(crate) fn read(
    from: impl BufRead,
    json: bool,
    trace: &mut Trace,
    budget: &Budget,
) -> Result<(), ReadFault> {
    let mut odd = Odd::default();
    each_line(from, |number, line| {
        let done = if json { recorded(line, trace) } else { plain(line, trace) };
        if let Err(reason) = done {
            odd.add(format_args!("line {number}"), reason);
        }
        if number.is_multiple_of(1 << 16) { budget.check(trace.bytes()) } else { Ok(()) }
    })?;
    if trace.operations.is_empty()
        && let Some(first) = odd.first()
    {
        return Err(ReadFault::at("the whole file", format!("no line can be used, the first: {first}")));
    }
    trace.notes.extend(odd.note(["line", "lines"]));
    Ok(())
}

/// Calls with each line that is not empty, and its number from 1 on. What is too long, or no text, is called with `None`.
fn each_line(
    mut from: impl BufRead,
    mut call: impl FnMut(u64, Option<&str>) -> Result<(), ReadFault>,
) -> Result<(), ReadFault> {
    let fault = |error: io::Error| ReadFault::at("the file", error.to_string());
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        if (&mut from).take(LONGEST).read_until(b'\n', &mut line).map_err(fault)? == 0 {
            return Ok(());
        }
        number += 1;
        if line.len() as u64 == LONGEST && line.last() != Some(&b'\n') {
            from.skip_until(b'\n').map_err(fault)?;
            call(number, None)?;
            continue;
        }
        match std::str::from_utf8(&line) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => call(number, Some(text))?,
            Err(_) => call(number, None)?,
        }
    }
}

const NOT_TEXT: &str = "not text, or too long for a line";

fn plain(line: Option<&str>, trace: &mut Trace) -> Result<(), String> {
    let mut words = line.ok_or(NOT_TEXT)?.split_ascii_whitespace();
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(comment), ..) if comment.starts_with('#') => Ok(()),
        (Some("a"), Some(id), Some(size), None) => {
            let bytes = size.parse().map_err(|_| format!("`{size}` is not a size in bytes"))?;
            trace.allocate(id, bytes, "").map_err(|error| error.to_string())
        }
        (Some("f"), Some(id), None, None) => trace.free(id).map_err(|error| error.to_string()),
        _ => Err("neither `a ID BYTES` nor `f ID`".to_owned()),
    }
}

fn recorded(line: Option<&str>, trace: &mut Trace) -> Result<(), String> {
    let recorded: Recorded =
        serde_json::from_str(line.ok_or(NOT_TEXT)?).map_err(|error| error.to_string())?;
    match recorded {
        Recorded::Allocate { id, bytes, owner, tag, .. } => {
            let stack = trace.stacks.named(&owner);
            let annotation = trace.annotation(&tag);
            trace.allocate_from(
                Key::of(&id),
                bytes.bytes(),
                Origin { stack, annotation, ..Origin::default() },
            )
        }
        Recorded::Release { id } => trace.free(&id),
        Recorded::Trim {} => {
            trace.mark(Mark::Trim);
            Ok(())
        }
    }
    .map_err(|error| error.to_string())
}
