//! Files that may hang, read on a thread of their own with a deadline.
//!
//! A thread that hangs cannot be ended: it is left behind, and another takes its place, a few times. When all hang nothing more is read
//! until one of them answers, so a machine full of stuck processes costs a few threads and no time.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// How long one file may take.
const PATIENCE: Duration = Duration::from_millis(100);
/// Threads that may hang at once.
const HANGING: usize = 4;

/// What came of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Slow {
    Read(Vec<u8>),
    Fails,
    Hangs,
}

/// Takes paths with the most bytes to read, and gives what was read.
type Thread = (Sender<(PathBuf, u64)>, Receiver<Option<Vec<u8>>>);

/// See the module's first lines.
#[derive(Debug, Default)]
pub(crate) struct SlowFiles {
    thread: Option<Thread>,
    /// Threads that have not answered.
    hanging: Arc<AtomicUsize>,
    /// What they were asked for: not asked again until all have answered.
    stuck: Vec<PathBuf>,
}

impl SlowFiles {
    /// The first bytes of a file, so many at most.
    pub(crate) fn read(&mut self, path: PathBuf, most: u64) -> Slow {
        let hanging = self.hanging.load(Ordering::Relaxed);
        if hanging == 0 {
            self.stuck.clear();
        }
        if self.stuck.contains(&path) {
            return Slow::Hangs;
        }
        if self.thread.is_none() {
            if hanging >= HANGING {
                return Slow::Hangs;
            }
            let Ok(thread) = start(Arc::clone(&self.hanging)) else { return Slow::Fails };
            self.thread = Some(thread);
        }
        let Some((questions, answers)) = &self.thread else { return Slow::Fails };
        self.hanging.fetch_add(1, Ordering::Relaxed);
        // A thread that has ended, which none does before its answers are dropped, answers at once that it has.
        let _ = questions.send((path.clone(), most));
        match answers.recv_timeout(PATIENCE) {
            Ok(Some(bytes)) => Slow::Read(bytes),
            Ok(None) => Slow::Fails,
            Err(_) => {
                self.thread = None;
                self.stuck.push(path);
                Slow::Hangs
            }
        }
    }
}

fn start(hanging: Arc<AtomicUsize>) -> std::io::Result<Thread> {
    let (questions, asked) = mpsc::channel::<(PathBuf, u64)>();
    let (answer, answers) = mpsc::channel();
    let read = move || {
        while let Ok((path, most)) = asked.recv() {
            let mut bytes = Vec::new();
            let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
            hanging.fetch_sub(1, Ordering::Relaxed);
            if answer.send(read.is_ok().then_some(bytes)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("vk-names".to_owned()).spawn(read)?;
    Ok((questions, answers))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_hangs_costs_its_time_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("here"), b"words").unwrap();
        let mut files = SlowFiles::default();
        assert_eq!(files.read(path("here"), 3), Slow::Read(b"wor".to_vec()));
        assert_eq!(files.read(path("not here"), 3), Slow::Fails);
        // Opening a pipe that nobody writes to waits for ever.
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        for number in 0..HANGING {
            assert_eq!(files.read(path("here"), 9), Slow::Read(b"words".to_vec()), "others are read");
            let other = format!("pipe {number}");
            std::fs::hard_link(path("pipe"), path(&other)).unwrap();
            assert_eq!(files.read(path(&other), 9), Slow::Hangs);
            assert_eq!(files.read(path(&other), 9), Slow::Hangs, "without a thread more");
        }
        assert_eq!(files.read(path("here"), 9), Slow::Hangs, "no more threads");
        drop(std::fs::OpenOptions::new().read(true).write(true).open(path("pipe")).unwrap());
        let mut reads = (0..10_000).map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            files.read(path("here"), 9)
        });
        assert!(reads.any(|read| read == Slow::Read(b"words".to_vec())), "one has answered");
    }
}
