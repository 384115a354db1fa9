//! From a file to traces, whatever format it is in; gzip is undone first.
//!
//! * text: `a ID BYTES` and `f ID`, a line each;
//! * CSV as RMM's logging adaptor writes it (`Thread,Time,Action,Pointer,Size,Stream`);
//! * JSON Lines as vramkit's pools record ([`vramkit_pool::pool::Recorded`]);
//! * PyTorch's memory snapshots.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use vramkit_pool::pool::Recorded;

use crate::fault::ReadFault;
use crate::pickle;
use crate::snapshot;
use crate::trace::{Trace, TraceError};

/// No recording is larger, undone; a file that claims to be is refused before it fills the memory.
const MOST_BYTES: u64 = 4 << 30;

/// Why a file gives no trace.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ReadTraceError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Its content is not a trace.
    #[error("`{}`, {place}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: String,
        /// What is wrong.
        reason: String,
    },
}

/// The traces in a file: one, or one for each card of a snapshot that recorded anything.
///
/// # Errors
/// The file cannot be read, has more than 4 GiB when decompressed, or is not a trace: then the place in it is told.
pub fn read_traces(path: &Path) -> Result<Vec<Trace>, ReadTraceError> {
    let io = |error| ReadTraceError::Io { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes)).map_err(io)?;
    traces_of(bytes, path)
}

/// The traces in the bytes of a file, as [`read_traces`] gives them; of `path` only the name is used.
///
/// ```
/// use std::path::Path;
/// use vramkit_replay::traces_of;
///
/// let traces = traces_of(b"a 1 4096\na 2 1024\nf 1\n".to_vec(), Path::new("two.txt"))?;
/// assert_eq!(traces[0].peak_live().bytes(), 5120);
/// # Ok::<(), vramkit_replay::ReadTraceError>(())
/// ```
///
/// # Errors
/// As [`read_traces`]; `Io` only for a gzip stream that is broken.
pub fn traces_of(bytes: Vec<u8>, path: &Path) -> Result<Vec<Trace>, ReadTraceError> {
    let bytes = inflate(bytes).map_err(|error| ReadTraceError::Io { path: path.to_owned(), error })?;
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    parse(&bytes, &name).map_err(|fault| ReadTraceError::Content {
        path: path.to_owned(),
        place: fault.place,
        reason: fault.reason,
    })
}

fn inflate(mut bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut inflated = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).take(MOST_BYTES + 1).read_to_end(&mut inflated)?;
        if inflated.len() as u64 > MOST_BYTES {
            return Err(std::io::Error::other(format!(
                "it has more than {MOST_BYTES} bytes when decompressed"
            )));
        }
        bytes = inflated;
    }
    Ok(bytes)
}

fn parse(bytes: &[u8], name: &str) -> Result<Vec<Trace>, ReadFault> {
    let is_pickle = bytes.first() == Some(&0x80) || name.contains(".pkl") || name.contains(".pickle");
    let traces = if is_pickle {
        let pickle = pickle::read(bytes).map_err(|error| ReadFault::at("the pickle", error.to_string()))?;
        snapshot::traces(&pickle, name)?
    } else {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            ReadFault::at(format!("byte {}", error.valid_up_to()), "not text, and no format known")
        })?;
        let first =
            text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("");
        let mut trace = Trace::new(name);
        if first.starts_with('{') {
            json_lines(text, &mut trace)?;
        } else if first.contains(',') {
            rmm(text, &mut trace)?;
        } else {
            plain(text, &mut trace)?;
        }
        vec![trace]
    };
    if traces.iter().all(|trace| trace.operations.is_empty()) {
        return Err(ReadFault::at("the whole file", "it has no allocation"));
    }
    Ok(traces)
}

fn plain(text: &str, trace: &mut Trace) -> Result<(), ReadFault> {
    for (i, line) in text.lines().enumerate() {
        let mut words = line.split_ascii_whitespace();
        let done: Result<(), TraceError> = match (words.next(), words.next(), words.next(), words.next()) {
            (None, ..) => Ok(()),
            (Some(comment), ..) if comment.starts_with('#') => Ok(()),
            (Some("a"), Some(id), Some(size), None) => {
                let size = size
                    .parse()
                    .map_err(|_| ReadFault::line(i + 1, format!("`{size}` is not a size in bytes")))?;
                trace.allocate(id, size, "")
            }
            (Some("f"), Some(id), None, None) => trace.free(id),
            _ => return Err(ReadFault::line(i + 1, "neither `a ID BYTES` nor `f ID`")),
        };
        done.map_err(|error| ReadFault::line(i + 1, error))?;
    }
    Ok(())
}

fn rmm(text: &str, trace: &mut Trace) -> Result<(), ReadFault> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let fault = |error: csv::Error| ReadFault::at("the table", error.to_string());
    let headers = reader.headers().map_err(fault)?.clone();
    let column = |name: &str| {
        let found = headers.iter().position(|header| header.eq_ignore_ascii_case(name));
        found.ok_or_else(|| ReadFault::line(1, format!("there is no column `{name}`: not an RMM log")))
    };
    let (action, pointer, size) = (column("Action")?, column("Pointer")?, column("Size")?);
    for record in reader.records() {
        let record = record.map_err(fault)?;
        let line = record.position().map_or(0, |position| position.line() as usize);
        let cell = |at: usize| record.get(at).ok_or_else(|| ReadFault::line(line, "the row is too short"));
        let id = cell(pointer)?;
        let done = match cell(action)? {
            "allocate" => {
                let text = cell(size)?;
                let size = text
                    .parse()
                    .map_err(|_| ReadFault::line(line, format!("`{text}` is not a size in bytes")))?;
                trace.allocate(id, size, "")
            }
            "free" | "deallocate" => trace.free(id),
            "allocate failure" => Ok(()),
            other => return Err(ReadFault::line(line, format!("`{other}` is not an action of RMM's"))),
        };
        done.map_err(|error| ReadFault::line(line, error))?;
    }
    Ok(())
}

fn json_lines(text: &str, trace: &mut Trace) -> Result<(), ReadFault> {
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let recorded: Recorded = serde_json::from_str(line).map_err(|error| ReadFault::line(i + 1, error))?;
        match recorded {
            Recorded::Allocate { id, bytes, owner, .. } => trace.allocate(&id, bytes.bytes(), &owner),
            Recorded::Release { id } => trace.free(&id),
        }
        .map_err(|error| ReadFault::line(i + 1, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vramkit_units::ByteSize;

    fn peak(text: &str) -> Result<u64, String> {
        parse(text.as_bytes(), "t")
            .map(|traces| traces[0].peak_live().bytes())
            .map_err(|f| format!("{}: {}", f.place, f.reason))
    }

    #[test]
    fn the_formats() {
        assert_eq!(peak("# a step, or two\na 1 100\na 2 50\nf 1\na 1 10\n"), Ok(150));
        let rmm = "Thread,Time,Action,Pointer,Size,Stream\n1,10:00:00,allocate,0x10,100,0x0\n1,10:00:01,free,0x10,100,0x0\n1,10:00:02,allocate failure,0x0,9,0x0\n";
        assert_eq!(peak(rmm), Ok(100));
        let lines = [
            Recorded::Allocate {
                id: "0.1".into(),
                bytes: ByteSize::new(7),
                address: 0,
                owner: "m (kv)".into(),
                tag: String::new(),
            },
            Recorded::Release { id: "0.1".into() },
        ]
        .map(|line| serde_json::to_string(&line).unwrap());
        assert_eq!(peak(&lines.join("\n")), Ok(7));
    }

    #[test]
    fn bad_input_has_its_place() {
        let refused = |text: &str| peak(text).unwrap_err();
        assert_eq!(
            refused("a 1 100\nf 2\n"),
            "line 2: id 2 is freed and is not live: freed twice, or never allocated"
        );
        assert_eq!(refused("a 1 0"), "line 1: an allocation of 0 bytes");
        assert!(
            refused("a 1 9223372036854775808")
                .starts_with("line 1: an allocation of 9223372036854775808 bytes: no")
        );
        assert!(refused("a 1 99999999999999999999999").contains("is not a size"));
        assert!(refused("b 1").contains("neither"));
        assert!(refused("").contains("no allocation"));
        assert!(refused("x,y\n1,2\n").contains("no column `Action`"));
        assert!(refused("{\"op\": \"grow\"}").starts_with("line 1: "));
        assert!(parse(&[0xff, 0xfe], "t").is_err());
        assert!(parse(b"\x80\x04N.", "t").unwrap_err().reason.contains("device_traces"));
        assert!(parse(b"cos\nsystem\n", "t.pkl").unwrap_err().reason.contains("would run code"));
    }

    #[test]
    fn a_snapshot_begins_with_what_was_live() {
        // {'segments': [{'device': 0, 'address': 4096, 'total_size': 20971520, 'blocks': [{'size': 512,
        //   'requested_size': 500, 'state': 'active_allocated'}]}], 'device_traces': [[{'action': 'alloc', 'addr': 9000,
        //   'size': 100, 'frames': [{'filename': 'a/x.py', 'line': 3, 'name': 'f'}]}, {'action': 'free_completed',
        //   'addr': 8000, 'size': 64}]]}, protocol 0.
        let pickle = b"(dVsegments\n((dVdevice\nI0\nsVaddress\nI4096\nsVtotal_size\nI20971520\nsVblocks\n((dVsize\nI512\nsVrequested_size\nI500\nsVstate\nVactive_allocated\nslslsVdevice_traces\n(((dVaction\nValloc\nsVaddr\nI9000\nsVsize\nI100\nsVframes\n((dVfilename\nVa/x.py\nsVline\nI3\nsVname\nVf\nsls(dVaction\nVfree_completed\nsVaddr\nI8000\nsVsize\nI64\nslls.";
        let trace = parse(pickle, "s.pkl").unwrap().remove(0);
        assert_eq!((trace.allocations(), trace.operations.len()), (3, 4));
        assert_eq!(trace.peak_live(), ByteSize::new(664));
        assert_eq!(trace.recorded_reserved, Some(ByteSize::mib(20)));
        assert_eq!(trace.owners.last().unwrap(), "x.py:3 f");
    }
}
