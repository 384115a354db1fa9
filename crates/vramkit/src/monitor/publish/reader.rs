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
