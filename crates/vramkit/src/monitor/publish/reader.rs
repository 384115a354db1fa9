//! Reads what other processes publish: all of them at once, each within a time, so that none holds the reader up. What they say is
//! theirs: names are cut, and what is no such document is left out.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};

use super::super::decisions::{Decision, bound};
use super::super::pool_use::PoolUse;
use super::document::{PATIENCE, Published, SCHEMA, is_own};
use crate::sync::lock_std;

/// How long one that took longer is left alone.
const REST: Duration = Duration::from_secs(30);
/// Most bytes of a document, and most sockets of a folder that are asked.
const LARGEST: usize = 32 << 20;
const MOST: usize = 256;
/// Most bytes of all that is asked at once.
const TOGETHER: usize = 256 << 20;
/// Most that are asked at once, and how long all together may take: who has not been asked then is left out of this look.
const AT_ONCE: usize = 32;
const ALL: Duration = Duration::from_secs(2);
/// Most characters of a pool's and a device's name.
const NAME: usize = 256;

/// Asks processes what they publish. One that did not answer in time is left alone for a while, so that a stopped process
/// costs its reader no second patience at every look.
#[derive(Clone, Debug, Default)]
pub struct PublishedReader {
    slow: HashMap<PathBuf, Instant>,
    /// See [`left_out`](Self::left_out).
    left_out: Vec<PathBuf>,
}

/// What came of asking.
enum Answer {
    Document(Box<Published>),
    /// It took too long.
    Slow,
    /// Nobody, or nothing that is such a document.
    None,
}

impl PublishedReader {
    /// What every process in a folder publishes. Whoever does not answer in time, or not with such a document, is left
    /// out; in this user's own folder, sockets that nobody listens on are removed.
    pub fn read(&mut self, folder: &Path) -> Vec<Published> {
        self.read_all(&[folder.to_owned()])
    }

    /// Sockets that the last read left out: they took longer than half a second of late or said more than 32 MiB, or there are more than
    /// 256 in their folder.
    pub fn left_out(&self) -> &[PathBuf] {
        &self.left_out
    }

    /// As [`read`](Self::read), of several folders, this user's own before others'. All is over in two seconds or three, however
    /// many do not answer.
    pub fn read_all(&mut self, folders: &[PathBuf]) -> Vec<Published> {
        self.left_out.clear();
        let mut sockets: Vec<(bool, PathBuf)> = Vec::new();
        for folder in folders {
            let own = is_own(folder);
            let mut here = sockets_of(folder);
            self.left_out.extend(here.split_off(here.len().min(MOST)));
            sockets.extend(here.into_iter().map(|path| (own, path)));
        }
        sockets.sort_by(|a, b| (!a.0, &a.1).cmp(&(!b.0, &b.1)));
        self.slow.retain(|_, since| since.elapsed() < REST);
        sockets.retain(|(_, path)| !self.slow.contains_key(path));
        let answers: Vec<Mutex<Answer>> = sockets.iter().map(|_| Mutex::new(Answer::None)).collect();
        let (next, taken, started) = (AtomicUsize::new(0), AtomicUsize::new(0), Instant::now());
        let ask_on = || {
            while started.elapsed() < ALL
                && let Some(((own, path), answer)) = {
                    let i = next.fetch_add(1, Relaxed);
                    sockets.get(i).zip(answers.get(i))
                }
            {
                *lock_std(answer) = ask(path, *own, Room(&taken, 0));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..sockets.len().min(AT_ONCE) {
                // Where the system gives no thread, fewer are asked at once.
                let _ = std::thread::Builder::new().name("vramkit-ask".into()).spawn_scoped(scope, ask_on);
            }
            ask_on();
        });
        let mut found = Vec::new();
        let asked = next.into_inner();
        for (i, ((_, path), answer)) in sockets.into_iter().zip(answers).enumerate() {
            match answer.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Answer::Document(document) => found.push(*document),
                Answer::Slow => drop(self.slow.insert(path, Instant::now())),
                Answer::None if i >= asked => self.left_out.push(path),
                Answer::None => {}
            }
        }
        self.left_out.extend(self.slow.keys().cloned());
        found
    }
}

/// Bytes that are being read, of all that may be.
struct Room<'a>(&'a AtomicUsize, usize);

impl Room<'_> {
    /// Takes so many bytes more; whether they are there.
    fn take(&mut self, bytes: usize) -> bool {
        self.1 += bytes;
        self.0.fetch_add(bytes, Relaxed) + bytes <= TOGETHER
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Relaxed);
    }
}

/// Sockets in a folder, by name.
fn sockets_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sockets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    let named =
        sockets.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "sock"));
    let mut named: Vec<PathBuf> = named.take(16 * MOST).collect();
    named.sort();
    named
}

/// Has a pool's texts be of one line, and its names short: they come to terminals, pages and metrics.
fn tame(pool: &mut PoolUse) {
    bound(&mut pool.name, NAME);
    bound(&mut pool.device, NAME);
    Decision::bound_all(&mut pool.decisions);
    let owners = pool.owners.iter_mut().map(|owner| &mut owner.model);
    for model in owners.chain(pool.ledger.iter_mut().map(|entry| &mut entry.model)) {
        if model.as_str().chars().any(char::is_control) {
            *model = model.as_str().replace(char::is_control, " ").as_str().into();
        }
    }
    pool.ledger.iter_mut().for_each(|entry| bound(&mut entry.tag, usize::MAX));
}

/// Connects, and waits no longer than [`PATIENCE`] for a place in the queue of one that answers nobody: on Linux the time
/// that a socket may take to send is the time to connect too (socket(7), `SO_SNDTIMEO`); elsewhere a full queue refuses.
fn connect_in_time(path: &Path) -> io::Result<UnixStream> {
    let made = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&made, rustix::io::FdFlags::CLOEXEC)?;
    set_socket_timeout(&made, Timeout::Send, Some(PATIENCE))?;
    connect(&made, &SocketAddrUnix::new(path)?)?;
    Ok(made.into())
}

fn ask(path: &Path, may_remove: bool, mut room: Room<'_>) -> Answer {
    let mut stream = match connect_in_time(path) {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock => return Answer::Slow,
            io::ErrorKind::ConnectionRefused if may_remove => {
                let _ = fs::remove_file(path);
                return Answer::None;
            }
            _ => return Answer::None,
        },
    };
    if stream.set_read_timeout(Some(PATIENCE)).is_err() {
        return Answer::None;
    }
    let started = Instant::now();
    let (mut text, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) if room.take(read) => text.extend_from_slice(&buffer[..read]),
            Ok(_) => return Answer::Slow,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Answer::Slow,
        }
        // One that sends a byte at a time does not hold its reader up for long either.
        if text.len() > LARGEST || started.elapsed() > PATIENCE * 2 {
            return Answer::Slow;
        }
    }
    match serde_json::from_slice::<Published>(&text) {
        Ok(mut found) if found.schema == SCHEMA => {
            found.pools.iter_mut().for_each(tame);
            Answer::Document(Box::new(found))
        }
        // Its publisher gave up in the middle.
        Err(error) if error.is_eof() && !text.is_empty() => Answer::Slow,
        _ => Answer::None,
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    const NOTHING: &str = r#"{"schema":"vramkit.published/1","pid":7,"pools":[]}"#;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("vramkit-reader-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Asks one that says something, piece by piece, each after a time.
    fn asked(name: &str, pieces: Vec<(Duration, Vec<u8>)>, held: usize) -> Answer {
        let folder = folder(name);
        let path = folder.join("7.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let speaker = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            for (wait, piece) in pieces {
                std::thread::sleep(wait);
                if stream.write_all(&piece).is_err() {
                    break;
                }
            }
        });
        let taken = AtomicUsize::new(held);
        let answer = ask(&path, false, Room(&taken, 0));
        assert_eq!(taken.into_inner(), held, "what was taken is given back");
        speaker.join().expect("it spoke");
        fs::remove_dir_all(folder).expect("the folder is there");
        answer
    }

    fn said(text: &str) -> Vec<(Duration, Vec<u8>)> {
        vec![(Duration::ZERO, text.as_bytes().to_vec())]
    }

    #[test]
    fn room_is_for_all_together_and_given_back() {
        let taken = AtomicUsize::new(0);
        let mut first = Room(&taken, 0);
        assert!(first.take(TOGETHER - 10) && first.take(10) && !first.take(1));
        let mut second = Room(&taken, 0);
        assert!(!second.take(1));
        drop(first);
        assert!(second.take(TOGETHER - 1));
        drop(second);
        assert_eq!(taken.into_inner(), 0);
    }

    #[test]
    fn a_document_is_one_of_ours_whole_and_in_time() {
        let document = |answer: &Answer| matches!(answer, Answer::Document(document) if document.pid == 7);
        assert!(document(&asked("whole", said(NOTHING), 0)));
        let pieces = NOTHING.as_bytes().chunks(20).map(|piece| (Duration::from_millis(10), piece.to_vec()));
        assert!(document(&asked("pieces", pieces.collect(), 0)));
        assert!(matches!(asked("nothing", said(""), 0), Answer::None));
        assert!(matches!(asked("other", said("{}"), 0), Answer::None));
        let later = NOTHING.replace("published/1", "published/2");
        assert!(matches!(asked("later", said(&later), 0), Answer::None));
        // Half of one: its publisher gave up.
        assert!(matches!(asked("half", said(&NOTHING[..30]), 0), Answer::Slow));
        // A byte at a time, each in time, and all together not.
        let slow = (0..30).map(|_| (Duration::from_millis(60), b" ".to_vec())).collect();
        assert!(matches!(asked("slow", slow, 0), Answer::Slow));
        let late = vec![(PATIENCE + Duration::from_millis(300), NOTHING.as_bytes().to_vec())];
        assert!(matches!(asked("late", late, 0), Answer::Slow));
    }

    #[test]
    fn what_is_too_large_by_itself_or_together_is_left() {
        let padded = |bytes: usize| {
            let mut text = NOTHING.as_bytes().to_vec();
            text.resize(bytes, b' ');
            vec![(Duration::ZERO, text)]
        };
        assert!(matches!(asked("largest", padded(LARGEST), 0), Answer::Document(_)));
        assert!(matches!(asked("larger", padded(LARGEST + (1 << 17)), 0), Answer::Slow));
        assert!(matches!(asked("together", padded(1 << 10), TOGETHER), Answer::Slow));
    }

    #[test]
    fn so_many_sockets_of_a_folder_are_asked_and_the_rest_is_named() {
        let folder = folder("many");
        let listeners: Vec<_> = (0..MOST + 3)
            .map(|number| UnixListener::bind(folder.join(format!("{number:04}.sock"))).expect("a socket"))
            .collect();
        fs::write(folder.join("0000.txt"), "no socket").expect("a file");
        UnixListener::bind(folder.join("other")).expect("a socket of another name");
        // Nobody listens on these any more; those of this user's own folder go, but for what is not asked.
        drop(listeners);
        let mut reader = PublishedReader::default();
        assert_eq!(reader.read(&folder).len(), 0);
        let left: Vec<_> = reader.left_out().iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(left, ["0256.sock", "0257.sock", "0258.sock"]);
        assert_eq!(sockets_of(&folder).len(), 3);
        assert!(folder.join("other").exists() && folder.join("0000.txt").exists());
        fs::remove_dir_all(folder).expect("the folder is there");
    }

    #[test]
    fn who_was_slow_is_left_alone_for_a_while() {
        let folder = folder("rest");
        let path = folder.join("1.sock");
        // It accepts nobody, and its queue takes one: it says nothing.
        let listener = UnixListener::bind(&path).expect("a socket");
        let mut reader = PublishedReader::default();
        let begun = Instant::now();
        assert!(reader.read(&folder).is_empty() && begun.elapsed() >= PATIENCE);
        assert_eq!(reader.left_out(), std::slice::from_ref(&path));
        let begun = Instant::now();
        assert!(reader.read(&folder).is_empty() && begun.elapsed() < PATIENCE);
        assert_eq!(reader.left_out(), std::slice::from_ref(&path));
        // After its rest it is asked again.
        for since in reader.slow.values_mut() {
            *since = since.checked_sub(REST).expect("the clock began before");
        }
        let begun = Instant::now();
        assert!(reader.read(&folder).is_empty() && begun.elapsed() >= PATIENCE);
        drop(listener);
        fs::remove_dir_all(folder).expect("the folder is there");
    }
}
