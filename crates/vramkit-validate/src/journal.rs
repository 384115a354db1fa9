//! A file that an experiment can go on from, whenever it ended.
//!
//! ```text
//! 8c1f… {"journal": …, "experiment": …}    what is run
//! 03aa… {"cycle": …, "ended": …, …}        a line a cycle, in order
//! 71e2… {"cycle": …, "en                   what was being written when it ended: is cut away
//! ```
//!
//! A line is written whole when its cycle is done, so a run that ends in any way loses the cycle that it was in, and no more. Each begins
//! with a sum over itself and all before it: what was changed, doubled, left out or swapped ends what is gone on from.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use vramkit::ByteSize;

use crate::error::ValidateError;
use crate::question::ValidateQuestion;
use crate::report::Cycle;

const NAME: &str = "vramkit.validate-journal/1";

/// What makes two experiments the same: all that cycles depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    model: FileIdentity,
    dataset: String,
    data: FileIdentity,
    most_samples: usize,
    batch_size: usize,
    switching_threshold: usize,
    warmup_cycles: usize,
    max_output_tokens: usize,
    scale: f64,
    context_tokens: usize,
    seed: u64,
}

/// What tells a file from one that takes its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FileIdentity {
    bytes: u64,
    modified_nanoseconds: String,
}

impl FileIdentity {
    fn of(path: &Path) -> Self {
        let metadata = path.metadata().ok();
        let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self {
            bytes: metadata.map_or(0, |metadata| metadata.len()),
            modified_nanoseconds: since.map_or(0, |since| since.as_nanos()).to_string(),
        }
    }
}

impl Identity {
    fn of(question: &ValidateQuestion, context: usize) -> Self {
        Self {
            model: FileIdentity::of(&question.model),
            dataset: question.source.name().to_owned(),
            data: FileIdentity::of(question.source.path()),
            most_samples: question.most_samples,
            batch_size: question.batch_size,
            switching_threshold: question.threshold(),
            warmup_cycles: question.warmup(),
            max_output_tokens: question.most_output_tokens,
            scale: question.scale,
            context_tokens: context,
            seed: question.seed,
        }
    }

    /// What differs first, in words.
    fn difference(&self, other: &Self) -> &'static str {
        let pairs = [
            (self.model == other.model, "model"),
            (self.dataset == other.dataset && self.data == other.data, "data set"),
            (self.most_samples == other.most_samples, "number of samples"),
            (self.batch_size == other.batch_size, "batch"),
            (self.switching_threshold == other.switching_threshold, "threshold"),
            (self.warmup_cycles == other.warmup_cycles, "number of cycles before those that count"),
            (self.max_output_tokens == other.max_output_tokens, "largest output"),
            (self.scale == other.scale, "scale"),
            (self.context_tokens == other.context_tokens, "context"),
            (self.seed == other.seed, "seed"),
        ];
        pairs.into_iter().find(|(is_same, _)| !is_same).map_or("identity", |(_, what)| what)
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    journal: String,
    experiment: Identity,
}

/// A cycle, and where the experiment stood when it was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub cycle: Cycle,
    /// Requests that ended in it or before it, and behind the last entry: number, tokens written, whether cut off.
    pub ended: Vec<(u64, usize, bool)>,
    /// Requests that ended with their first token, so far.
    pub ended_at_once: u64,
    /// The number of the next request.
    pub next: u64,
    /// Those that go on: number, tokens written.
    pub running: Vec<(u64, usize)>,
    pub peak_kv: ByteSize,
    pub peak_committed: ByteSize,
    pub device_peak: Option<ByteSize>,
}

impl Entry {
    /// Whether an experiment can have stood here: what is gone on with is believed no further.
    fn is_possible(&self, question: &ValidateQuestion, context: usize) -> bool {
        let most = question.most_output_tokens;
        let cycle = &self.cycle;
        let is_known = |number: u64, written: usize| number < self.next && (1..=most).contains(&written);
        let room = question.batch_size.saturating_mul(context);
        self.ended.len() >= question.threshold()
            && self.running.len() + self.ended.len() == question.batch_size
            && self.next < 1 << 48
            && cycle.xmax_tokens <= room
            && cycle.final_tokens <= room
            && cycle.steps <= most
            && self.running.is_sorted_by(|a, b| a.0 < b.0)
            && self.running.iter().all(|&(number, written)| is_known(number, written))
            && self.ended.iter().all(|&(number, written, _)| is_known(number, written))
            && cycle.x0_tokens <= cycle.xmax_tokens
            && cycle.x0_bytes <= cycle.xmax_bytes
            && self.ended_at_once <= self.next
    }
}

/// A sum over a line and all before it (FNV-1a, 64 bits): it tells accidents, not forgers.
fn sum(before: u64, line: &[u8]) -> u64 {
    line.iter().fold(before ^ 0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// What stands behind the sum of a whole line, and the sum; `None` where it is not that of the line.
fn checked(before: u64, line: &[u8]) -> Option<(u64, &[u8])> {
    let line = line.strip_suffix(b"\n")?;
    let (written, text) = (line.get(..16)?, line.get(17..)?);
    let found = sum(before, text);
    (written == format!("{found:016x}").as_bytes()).then_some((found, text))
}

/// The file, open to be written.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    /// The sum of the last line.
    sum: u64,
}

impl Journal {
    /// Opens the journal of an experiment, or begins it, in a folder that is made; with what is noted already.
    ///
    /// # Errors
    /// It cannot be read or written, is another experiment's, or is being written by another run.
    pub fn open(
        path: &Path,
        question: &ValidateQuestion,
        context: usize,
    ) -> Result<(Self, Vec<Entry>), ValidateError> {
        let wrong = |error| ValidateError::Journal { path: path.to_owned(), error };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(wrong)?;
        }
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(wrong(io::Error::other("no file")));
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ValidateError::Busy(path.to_owned())),
            // A file system without locks.
            Err(TryLockError::Error(_)) => {}
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(wrong)?;
        let mut lines = text.split_inclusive(|byte| *byte == b'\n');
        let identity = Identity::of(question, context);
        let mut journal = Self { file, path: path.to_owned(), sum: 0 };
        let Some(first) = lines.next().filter(|line| line.ends_with(b"\n")) else {
            let header = Header { journal: NAME.to_owned(), experiment: identity };
            journal.cut(0).and_then(|()| journal.write(&header)).map_err(wrong)?;
            return Ok((journal, Vec::new()));
        };
        let header = checked(0, first).and_then(|(sum, text)| {
            let header: Header = serde_json::from_slice(text).ok()?;
            (header.journal == NAME).then_some((sum, header))
        });
        let Some((sum, header)) = header else {
            return Err(wrong(io::Error::other(
                "no journal of an experiment: remove it or take another folder",
            )));
        };
        journal.sum = sum;
        let mut kept = first.len();
        let mut entries = Vec::new();
        for line in lines {
            let entry = checked(journal.sum, line).and_then(|(sum, text)| {
                let entry: Entry = serde_json::from_slice(text).ok()?;
                Some((sum, entry))
            });
            let Some((sum, entry)) = entry else { break };
            kept += line.len();
            journal.sum = sum;
            entries.push(entry);
        }
        if header.experiment != identity {
            let what = header.experiment.difference(&identity).to_owned();
            return Err(ValidateError::OtherExperiment {
                path: path.to_owned(),
                cycles: entries.len(),
                what,
            });
        }
        if !entries.iter().all(|entry| entry.is_possible(question, context)) {
            return Err(wrong(io::Error::other("no experiment can have stood where it says: remove it")));
        }
        journal.cut(kept as u64).map_err(wrong)?;
        Ok((journal, entries))
    }

    /// Notes a cycle.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, entry: &Entry) -> Result<(), ValidateError> {
        self.write(entry).map_err(|error| ValidateError::Journal { path: self.path.clone(), error })
    }

    /// Leaves so many bytes, and goes on behind them.
    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.file.seek(SeekFrom::Start(bytes)).map(|_| ())
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(line)?;
        self.sum = sum(self.sum, text.as_bytes());
        self.file.write_all(format!("{:016x} {text}\n", self.sum).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;
    use crate::question::Source;

    fn entry(steps: usize) -> Entry {
        let zero = ByteSize::ZERO;
        let cycle = Cycle {
            x0_tokens: 10,
            xmax_tokens: 20,
            final_tokens: 15,
            steps,
            preempted: 0,
            lacked_room: false,
            x0_bytes: zero,
            xmax_bytes: zero,
            device_bytes: None,
        };
        Entry {
            cycle,
            ended: vec![(3, 7, false)],
            ended_at_once: 1,
            next: 9,
            running: vec![(4, 2)],
            peak_kv: zero,
            peak_committed: zero,
            device_peak: Some(zero),
        }
    }

    #[test]
    fn whatever_is_left_of_the_last_line_the_cycles_before_it_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let question = ValidateQuestion {
            batch_size: 2,
            ..ValidateQuestion::new("model", Source::Lengths("data".into()))
        };
        let (mut journal, past) = Journal::open(&path, &question, 100).unwrap();
        assert!(past.is_empty());
        journal.add(&entry(1)).unwrap();
        journal.add(&entry(2)).unwrap();
        assert!(matches!(Journal::open(&path, &question, 100), Err(ValidateError::Busy(_))));
        drop(journal);
        let whole = fs::read(&path).unwrap();
        let lines: Vec<usize> =
            whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
        for kept in 0..=whole.len() {
            fs::write(&path, &whole[..kept]).unwrap();
            let (mut journal, past) = Journal::open(&path, &question, 100).unwrap();
            let expected = lines.iter().filter(|end| **end <= kept).count().saturating_sub(1);
            assert_eq!(past.len(), expected, "{kept} bytes");
            journal.add(&entry(3)).unwrap();
            drop(journal);
            assert_eq!(Journal::open(&path, &question, 100).unwrap().1.last().unwrap().cycle.steps, 3);
        }
    }

    #[test]
    fn another_experiment_is_not_gone_on_with_and_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let question = ValidateQuestion {
            batch_size: 2,
            ..ValidateQuestion::new("model", Source::Lengths("data".into()))
        };
        let (mut journal, _) = Journal::open(&path, &question, 100).unwrap();
        journal.add(&entry(1)).unwrap();
        drop(journal);
        let other = ValidateQuestion { batch_size: 8, ..question.clone() };
        let error = Journal::open(&path, &other, 100).unwrap_err();
        assert!(error.to_string().contains("1 cycles of an experiment with another batch"), "{error}");
        // More cycles of the same are.
        let longer = ValidateQuestion { cycles: 500, ..question };
        assert_eq!(Journal::open(&path, &longer, 100).unwrap().1.len(), 1);
        // A line doubled, changed or left out ends what is gone on from.
        drop(Journal::open(&path, &longer, 100).unwrap());
        let mut journal = Journal::open(&path, &longer, 100).unwrap().0;
        journal.add(&entry(2)).unwrap();
        journal.add(&entry(3)).unwrap();
        drop(journal);
        let whole = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        for (text, left) in [
            ([&lines[..2], &lines[1..]].concat().concat(), 1),
            ([&lines[..2], &lines[3..]].concat().concat(), 1),
            (whole.replacen("\"steps\":2", "\"steps\":7", 1), 1),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(Journal::open(&path, &longer, 100).unwrap().1.len(), left);
        }
        // What cannot be is refused, whatever its sum.
        for wrong in [
            Entry { running: vec![(4, 1 << 60)], ..entry(1) },
            Entry { running: vec![(40, 1)], ..entry(1) },
            Entry { running: (0..32).map(|number| (number, 1)).collect(), next: 99, ..entry(1) },
            Entry { cycle: Cycle { x0_tokens: 21, ..entry(1).cycle }, ..entry(1) },
            Entry { cycle: Cycle { xmax_tokens: usize::MAX, ..entry(1).cycle }, ..entry(1) },
            Entry { cycle: Cycle { steps: usize::MAX, ..entry(1).cycle }, ..entry(1) },
            Entry { next: u64::MAX, ..entry(1) },
            Entry { ended: Vec::new(), ..entry(1) },
        ] {
            fs::remove_file(&path).unwrap();
            Journal::open(&path, &longer, 100).unwrap().0.add(&wrong).unwrap();
            assert!(
                matches!(Journal::open(&path, &longer, 100), Err(ValidateError::Journal { .. })),
                "{wrong:?}"
            );
        }
        fs::write(&path, "something else\n").unwrap();
        assert!(matches!(Journal::open(&path, &longer, 100), Err(ValidateError::Journal { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "something else\n");
    }
}
