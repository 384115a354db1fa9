//! Lines of a file that may have been cut, mixed or filled with zeros: each alone, none longer than there are ticks.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use vramkit::monitor::text::clean;

use crate::utc::unix_seconds;

/// A longer line is no tick.
pub(super) const LONGEST: u64 = 16 << 20;
/// With what each line begins.
pub(super) const START: &[u8] = br#"{"schema":"vramkit."#;

/// Gives each whole line to `take`, with its number from 1, or what is wrong with it. A last line that was cut off is left out: one
/// without an end that is a whole document was not.
pub(super) fn each<T: DeserializeOwned>(
    path: &Path,
    schema: &str,
    mut take: impl FnMut(usize, Result<T, String>),
) -> io::Result<()> {
    until(path, schema, |number, line| {
        take(number, line);
        ControlFlow::Continue(())
    })
}

/// As [`each`], until `take` has what it wants.
pub(super) fn until<T: DeserializeOwned>(
    path: &Path,
    schema: &str,
    mut take: impl FnMut(usize, Result<T, String>) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        let mut found = Vec::new();
        if line.last() != Some(&b'\n') {
            if (read as u64) < LONGEST {
                if let Ok(document) = parse(&line, schema) {
                    let _ = take(number, Ok(document));
                }
                break;
            }
            if reader.skip_until(b'\n')? == 0 {
                break;
            }
            found.push(Err("it is too long".to_owned()));
        } else {
            found.push(parse(&line, schema));
            if found[0].is_err() {
                // A line that was cut, with a whole one after it.
                let whole = last_start(&line).and_then(|at| parse(&line[at..], schema).ok());
                found.extend(whole.map(Ok));
            }
        }
        if found.into_iter().try_for_each(|found| take(number, found)).is_break() {
            break;
        }
    }
    Ok(())
}

fn last_start(line: &[u8]) -> Option<usize> {
    line.windows(START.len()).rposition(|part| part == START).filter(|&at| at > 0)
}

fn parse<T: DeserializeOwned>(line: &[u8], schema: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Named {
        schema: String,
        time: String,
    }
    let named: Named = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if named.schema != schema {
        let found = clean(&named.schema, 40);
        return Err(format!("it is `{found}`, and this version reads `{schema}`"));
    }
    if unix_seconds(&named.time).is_none() {
        let found = clean(&named.time, 40);
        return Err(format!("it is of `{found}`, which is no time"));
    }
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

/// Goes to where the next line begins: behind a last line that is a whole document, which gets its end; over one that was cut off.
pub(super) fn go_to_end(file: &mut File) -> io::Result<u64> {
    let (start, length) = (whole(file)?, file.seek(SeekFrom::End(0))?);
    let mut end = start;
    if (1..LONGEST).contains(&(length - start)) {
        let mut last = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut last)?;
        if serde_json::from_slice::<serde::de::IgnoredAny>(&last).is_ok() {
            file.write_all(b"\n")?;
            end = length + 1;
        }
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))
}

/// Where the last whole line ends.
pub(super) fn whole(file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut buffer = vec![0; 1 << 16];
    while end > 0 {
        let start = end.saturating_sub(buffer.len() as u64);
        let part = &mut buffer[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
