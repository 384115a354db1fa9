//! From a file to traces, whatever format it is in and whatever it is called; gzip is undone first.
//!
//! ```text
//! bytes ──► gzip undone ──► by how they begin: pickle, torch.save's archive, JSON ──► values ──► snapshot ──► Trace for each card
//!                                              lines, JSON Lines, RMM's CSV ───────────────────────────────► Trace
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use crate::fault::ReadFault;
use crate::trace::Trace;
use crate::values::{Budget, Counted, ValueError, Values, is_pickle, read_json, read_pickle};
use crate::{lines, rmm, snapshot};

/// How much of a file tells its format.
const BEGIN: usize = 64 << 10;
/// How a monitor's recording begins.
const READINGS: &[u8] = br#"{"schema":"vramkit.top/"#;
/// An archive is held whole; no larger one is read.
const MOST_ARCHIVE: u64 = 4 << 30;

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
        error: io::Error,
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
    /// It tells how full devices were, and of no allocation.
    #[error("`{}` is a recording of a monitor's readings, in which no allocation is told", path.display())]
    Readings {
        /// The file.
        path: PathBuf,
    },
}

/// The traces in a file: one, or one for each card of a snapshot; `-` is standard input. `passed` is called now and then with how many
/// bytes of the file were read since.
///
/// # Errors
/// The file cannot be read or is not a trace: then the place in it is told. Its content takes more memory than a small multiple of it.
pub fn read_traces(path: &Path, passed: &dyn Fn(u64)) -> Result<Vec<Trace>, ReadTraceError> {
    let io = |error| ReadTraceError::Io { path: path.to_owned(), error };
    if path.as_os_str() == "-" {
        return traces_from(io::stdin().lock(), Path::new("standard input"), passed);
    }
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.is_dir() {
        return Err(io(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    traces_from(file, path, passed)
}

/// The traces in the bytes of a file, as [`read_traces`] gives them; of `path` only the name is used.
///
/// ```
/// use std::path::Path;
/// use vramkit_replay::traces_of;
///
/// let traces = traces_of(b"a 1 4096\na 2 1024\nf 1\n", Path::new("two.txt"))?;
/// assert_eq!(traces[0].peak_live().bytes(), 5120);
/// # Ok::<(), vramkit_replay::ReadTraceError>(())
/// ```
///
/// # Errors
/// As [`read_traces`]; `Io` only for a gzip stream that is broken.
pub fn traces_of(bytes: &[u8], path: &Path) -> Result<Vec<Trace>, ReadTraceError> {
    traces_from(bytes, path, &|_| ())
}

fn traces_from(from: impl Read, path: &Path, passed: &dyn Fn(u64)) -> Result<Vec<Trace>, ReadTraceError> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let (counted, raw) = Counted::new(Told { inner: from, passed });
    let mut input = BufReader::with_capacity(BEGIN, counted);
    let budget = Budget::new(raw);
    let packed = input.fill_buf().map(|begin| begin.starts_with(&[0x1f, 0x8b]));
    let parsed = packed.map_err(Into::into).and_then(|packed| {
        if packed {
            parse(BufReader::with_capacity(BEGIN, flate2::bufread::MultiGzDecoder::new(input)), &name, budget)
        } else {
            parse(input, &name, budget)
        }
    });
    parsed.map_err(|fault| match fault {
        Fault::Io(error) => ReadTraceError::Io { path: path.to_owned(), error },
        Fault::Content(ReadFault { place, reason }) => {
            ReadTraceError::Content { path: path.to_owned(), place, reason }
        }
        Fault::Readings => ReadTraceError::Readings { path: path.to_owned() },
    })
}

/// Tells how much is read through it.
struct Told<'a, R> {
    inner: R,
    passed: &'a dyn Fn(u64),
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        (self.passed)(count as u64);
        Ok(count)
    }
}

#[derive(Debug)]
enum Fault {
    Io(io::Error),
    Content(ReadFault),
    Readings,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ReadFault> for Fault {
    fn from(fault: ReadFault) -> Self {
        Self::Content(fault)
    }
}

impl Fault {
    fn of(format: &str, error: ValueError) -> Self {
        match error {
            ValueError::Io(error) => Self::Io(error),
            ValueError::Content { at, what } => ReadFault::at(format!("{format}, byte {at}"), what).into(),
        }
    }
}

/// What a file is, by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Pickle,
    Archive,
    Json,
    JsonLines,
    Rmm,
    Lines,
    /// Nothing that is read here.
    Unknown,
}

impl Format {
    fn of(begin: &[u8]) -> Self {
        if is_pickle(begin) {
            return Self::Pickle;
        }
        if begin.starts_with(b"PK\x03\x04") {
            return Self::Archive;
        }
        let text = match std::str::from_utf8(begin) {
            Ok(text) => text,
            // Cut in a letter, or odd behind the first lines.
            Err(error) if error.valid_up_to() > 0 => {
                std::str::from_utf8(&begin[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return Self::Unknown,
        };
        if text.contains('\0') {
            return Self::Unknown;
        }
        let first =
            text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("");
        let is_recorded = |line: &str| {
            let object: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(line).ok();
            object.is_some_and(|object| object.contains_key("op"))
        };
        match first.as_bytes().first() {
            Some(b'{') if is_recorded(first) => Self::JsonLines,
            _ if first.contains("Action,Pointer") => Self::Rmm,
            Some(b'{' | b'[') => Self::Json,
            _ if first.contains(',') => Self::Rmm,
            _ => Self::Lines,
        }
    }
}

fn parse(mut input: impl BufRead, name: &str, budget: Budget) -> Result<Vec<Trace>, Fault> {
    // Some editors begin texts with a mark.
    if input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    let begin = input.fill_buf()?;
    if begin.starts_with(READINGS) {
        return Err(Fault::Readings);
    }
    let format = Format::of(begin);
    let mut trace = Trace::new(name);
    let traces = match format {
        Format::Pickle => {
            let values =
                read_pickle(input, budget.clone()).map_err(|error| Fault::of("the pickle", error))?;
            snapshot::traces(&values, name, &budget)?
        }
        Format::Archive => {
            let values = read_archive(input, budget.clone())?;
            snapshot::traces(&values, name, &budget)?
        }
        Format::Json => {
            let values = read_json(input, budget.clone()).map_err(|error| Fault::of("the JSON", error))?;
            snapshot::traces(&values, name, &budget)?
        }
        Format::JsonLines | Format::Lines => {
            lines::read(input, format == Format::JsonLines, &mut trace, &budget)?;
            vec![trace]
        }
        Format::Rmm => {
            rmm::read(input, &mut trace, &budget)?;
            vec![trace]
        }
        Format::Unknown => return Err(ReadFault::at("byte 0", "not text, and no format known").into()),
    };
    if traces.iter().all(|trace| trace.operations.is_empty()) {
        return Err(ReadFault::at("the whole file", "it has no allocation").into());
    }
    Ok(traces)
}

/// The values of the pickle in what `torch.save` writes: a zip archive with `data.pkl` in a folder.
fn read_archive(input: impl Read, budget: Budget) -> Result<Values, Fault> {
    let fault = |error: zip::result::ZipError| Fault::from(ReadFault::at("the archive", error.to_string()));
    let mut bytes = Vec::new();
    input.take(MOST_ARCHIVE).read_to_end(&mut bytes)?;
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(fault)?;
    let mut names = archive.file_names().filter_map(|name| name.ok().map(|name| name.into_owned()));
    let Some(name) = names.find(|name| name == "data.pkl" || name.ends_with("/data.pkl")) else {
        return Err(ReadFault::at("the archive", "it has no data.pkl: torch.save did not write it").into());
    };
    drop(names);
    let pickle = archive.by_name(&name).map_err(fault)?;
    read_pickle(pickle, budget).map_err(|error| Fault::of("the pickle in the archive", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vramkit_units::ByteSize;

    fn traces(bytes: &[u8]) -> Result<Vec<Trace>, String> {
        traces_of(bytes, Path::new("t")).map_err(|error| error.to_string())
    }

    fn peak(text: &str) -> Result<u64, String> {
        traces(text.as_bytes()).map(|traces| traces[0].peak_live().bytes())
    }

    #[test]
    fn the_formats() {
        assert_eq!(peak("# a step, or two\na 1 100\na 2 50\nf 1\na 1 10\n"), Ok(150));
        assert_eq!(
            peak("Thread,Time,Action,Pointer,Size,Stream\n1,10:00:00,allocate,0x10,100,0x0\n"),
            Ok(100)
        );
        assert_eq!(
            peak(
                "[2024-01-01 00:00:00.000] [info] Thread,Time,Action,Pointer,Size,Stream\n1,1,allocate,0x10,7,0\n"
            ),
            Ok(7)
        );
        let recorded = [
            vramkit_pool::pool::Recorded::Allocate {
                id: "0.1".into(),
                bytes: ByteSize::new(7),
                address: 0,
                owner: "m (kv)".into(),
                tag: "t".into(),
            },
            vramkit_pool::pool::Recorded::Trim {},
            vramkit_pool::pool::Recorded::Release { id: "0.1".into() },
        ]
        .map(|line| serde_json::to_string(&line).unwrap());
        let trace = traces(recorded.join("\n").as_bytes()).unwrap().remove(0);
        assert_eq!((trace.peak_live(), trace.operations.len(), trace.marks.len()), (ByteSize::new(7), 2, 1));
        let packed = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, b"\xef\xbb\xbfa 1 5\n").unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(traces(&packed).unwrap()[0].peak_live(), ByteSize::new(5));
    }

    #[test]
    fn an_odd_line_is_lost_alone() {
        let trace = traces(b"a 1 100\nf 2\nb 1\na 3 0\na 1 7\n\xff\nf 1\n").unwrap().remove(0);
        assert_eq!((trace.operations.len(), trace.notes.len()), (2, 1));
        assert!(
            trace.notes[0].starts_with("5 lines left out, the first: line 2: id 2 is freed and is not live"),
            "{:?}",
            trace.notes
        );
        let long = format!("a 1 100\na 2 {}\nf 1\n", "9".repeat(3 << 20));
        assert_eq!(traces(long.as_bytes()).unwrap()[0].operations.len(), 2);
    }

    #[test]
    fn bad_input_has_its_place() {
        let refused = |text: &str| peak(text).unwrap_err();
        assert!(refused("a 1 0").contains("line 1: an allocation of 0 bytes"));
        assert!(
            refused("a 1 9223372036854775808")
                .contains("line 1: an allocation of 9223372036854775808 bytes: no")
        );
        assert!(refused("a 1 99999999999999999999999").contains("is not a size"));
        assert!(refused("b 1").contains("neither"));
        assert!(refused("").contains("no allocation"));
        assert!(refused("x,y\n1,2\n").contains("no column `Action`"));
        assert!(refused("{\"op\": \"grow\"}").contains("line 1: "));
        assert!(traces(&[0xff, 0xfe]).unwrap_err().contains("no format known"));
        let readings = b"{\"schema\":\"vramkit.top/1\",\"time\":\"\"}\n";
        assert!(matches!(traces_of(readings, Path::new("r.jsonl")), Err(ReadTraceError::Readings { .. })));
        assert!(traces(b"\x80\x04N.").unwrap_err().contains("not a CUDA memory snapshot"));
        assert!(
            traces(b"ccollections\nOrderedDict\n(tRcos\nsystem\n(S'ls'\ntR.")
                .unwrap_err()
                .contains("os.system")
        );
        assert!(traces(b"PK\x03\x04nothing").unwrap_err().contains("archive"));
        assert!(traces(&[0x1f, 0x8b, 8, 0]).is_err());
    }

    #[test]
    fn a_snapshot_begins_with_what_was_live() {
        // {'segments': [{'device': 0, 'address': 4096, 'total_size': 20971520, 'blocks': [{'size': 512,
        //   'requested_size': 500, 'state': 'active_allocated'}]}], 'device_traces': [[{'action': 'alloc', 'addr': 9000,
        //   'size': 100, 'frames': [{'filename': 'a/x.py', 'line': 3, 'name': 'f'}]}, {'action': 'free_completed',
        //   'addr': 8000, 'size': 64}]]}, protocol 0.
        let pickle = b"(dVsegments\n((dVdevice\nI0\nsVaddress\nI4096\nsVtotal_size\nI20971520\nsVblocks\n((dVsize\nI512\nsVrequested_size\nI500\nsVstate\nVactive_allocated\nslslsVdevice_traces\n(((dVaction\nValloc\nsVaddr\nI9000\nsVsize\nI100\nsVframes\n((dVfilename\nVa/x.py\nsVline\nI3\nsVname\nVf\nsls(dVaction\nVfree_completed\nsVaddr\nI8000\nsVsize\nI64\nslls.";
        let trace = traces(pickle).unwrap().remove(0);
        assert_eq!((trace.allocations(), trace.operations.len()), (3, 4));
        assert_eq!(trace.peak_live(), ByteSize::new(664));
        assert_eq!(trace.recorded_reserved, Some(ByteSize::mib(20)));
        assert_eq!(trace.held_after(usize::MAX, crate::OwnedBy::Line)[1].owner, "x.py:3 f");
    }

    #[test]
    fn settings_are_read_as_they_were_written_or_set() {
        let with = |settings: &str| {
            let entry = r#"{"action": "alloc", "addr": 1, "size": 5}"#;
            let text = format!(
                r#"{{"segments": [], "device_traces": [[{entry}]], "allocator_settings": {settings}}}"#
            );
            traces(text.as_bytes()).unwrap().remove(0)
        };
        let written = r#"{"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64", "max_split_size": 67108864, "expandable_segments": true}"#;
        assert_eq!(with(written).recorded_settings, "max_split_size_mb:64,expandable_segments:True");
        let set = r#"{"PYTORCH_CUDA_ALLOC_CONF": "", "max_split_size": -1, "garbage_collection_threshold": 0.5,
            "roundup_power2_divisions": {"1": 0, "256": 4}}"#;
        let settings: crate::AllocatorSettings = with(set).recorded_settings.parse().unwrap();
        assert_eq!(
            (settings.garbage_collection_threshold, settings.roundup_power2_divisions[8]),
            (Some(0.5), 4)
        );
        let none =
            with(r#"{"PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync", "expandable_segments": false}"#);
        assert!(
            none.recorded_settings.is_empty() && none.notes[0].contains("only the native allocator"),
            "{:?}",
            none.notes
        );
    }

    /// The same snapshot as JSON says the same.
    #[test]
    fn a_snapshot_in_json() {
        let text = r#"{"segments": [{"device": 0, "address": 4096, "total_size": 20971520, "blocks": [{"size": 512,
            "requested_size": 500, "state": "active_allocated"}]}], "device_traces": [[{"action": "alloc", "addr": 9000,
            "size": 100, "frames": [{"filename": "a/x.py", "line": 3, "name": "f"}]}, {"action": "free_completed",
            "addr": 8000, "size": 64}, {"action": "oom", "size": 1000, "device_free": 3, "stream": 9}]]}"#;
        let trace = traces(text.as_bytes()).unwrap().remove(0);
        assert_eq!((trace.allocations(), trace.operations.len()), (4, 5));
        assert_eq!(trace.peak_live(), ByteSize::new(1600));
    }
}
