//! Reads what other processes publish: all of them together, each within a time, and each user's within a share, so that none
//! holds the reader up or fills its memory. What they say is theirs; who they are, the kernel says.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::pool_use::PoolUse;
use super::document::PATIENCE;
use super::owner::user;
use super::parse::{Cut, Wrong, document};
use super::peer::Peer;
use super::sockets::{Connected, SocketFile, sockets_in};
use super::users::{LARGEST, MOST, Room, Users};

/// How long one that took too long is left alone, twice as long every time up to the longest: one that was stopped for a moment is
/// soon heard again. And most that are remembered.
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(120);
const REMEMBERED: usize = 8192;
/// Most that are asked at once, and how long all together may take.
const AT_ONCE: usize = 192;
const ALL: Duration = Duration::from_millis(1500);
/// How long one on which nobody listens is passed over: many of them cost nothing then.
const DEAD: Duration = Duration::from_secs(10);
/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// What one process publishes.
///
/// ```
/// use vramkit::monitor::publish::{PublishedReader, folder};
///
/// for heard in PublishedReader::default().read(&folder()) {
///     println!("{:?} of user {}: {} pools", heard.peer.pid, heard.peer.uid, heard.pools.len());
/// }
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Which process it is, as the kernel says.
    pub peer: Peer,
    /// Which it says it is: of another PID namespace, or a lie, where the two differ.
    pub claimed_pid: u32,
    /// Where it listens.
    pub socket: PathBuf,
    /// Its pools, under the number that the kernel gives; 0 where the process is not visible here.
    pub pools: Vec<PoolUse>,
    /// What was left out of them.
    pub cut: Cut,
}

impl Heard {
    /// What a process publishes, as one would say it that does not lie.
    pub fn new(peer: Peer, socket: PathBuf, pools: Vec<PoolUse>, cut: Cut) -> Self {
        Self { peer, claimed_pid: peer.pid.unwrap_or_default(), socket, pools, cut }
    }
}

/// Why a socket was left out.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyLeftOut {
    /// It did not answer in time, or not to the end. It is asked again later.
    Silent,
    /// It says more than is read of one.
    TooLarge,
    /// The user's processes together say more than is read of one user.
    ShareUsedUp,
    /// Others took all of the time.
    NotReached,
    /// There are more of the user's than are asked.
    TooMany,
    /// What it says is no such document.
    NoDocument(String),
}

impl fmt::Display for WhyLeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = LARGEST >> 20;
        match self {
            Self::Silent => f.write_str("a process listens there and does not say its pools in time"),
            Self::TooLarge => write!(f, "a process says more than {mib} MiB there"),
            Self::ShareUsedUp => f.write_str("this user's processes say more than is read of one user"),
            Self::NotReached => f.write_str("there was no time left to ask"),
            Self::TooMany => write!(f, "more sockets of this user's than are asked ({MOST}) or looked at"),
            Self::NoDocument(why) => write!(f, "what is said there is no document of pools: {why}"),
        }
    }
}

/// Sockets of one user that were left out for one reason.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Whose they are.
    pub uid: u32,
    /// The first of them.
    pub socket: PathBuf,
    /// How many they are.
    pub count: usize,
    /// Why.
    pub why: WhyLeftOut,
}

/// Asks processes what they publish. One that did not answer in time is left alone for a while, so that a stopped process
/// costs its reader no second patience at every look.
#[derive(Clone, Debug, Default)]
pub struct PublishedReader {
    resting: HashMap<PathBuf, Rest>,
    /// Files on which nobody listens and which are not this user's to remove, since when.
    dead: HashMap<(u64, u64), Instant>,
    /// See [`left_out`](Self::left_out).
    left_out: Vec<LeftOut>,
    /// See [`silent`](Self::silent).
    silent: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    length: Duration,
}

/// One that is being asked.
struct Asking {
    user: usize,
    socket: SocketFile,
    stream: UnixStream,
    peer: Peer,
    text: Vec<u8>,
    since: Instant,
    /// Whether it has been let to be large, and whether it waits for that.
    large: bool,
    waits: bool,
}

/// What came of asking.
enum Answer {
    Said,
    Left(WhyLeftOut),
}

impl PublishedReader {
    /// What every process in a folder publishes. Whoever does not answer in time, or not with such a document, is left
    /// out; sockets that nobody listens on are removed where that is this user's to do.
    pub fn read(&mut self, folder: &Path) -> Vec<Heard> {
        self.read_all(&[folder.to_owned()])
    }

    /// Sockets that the last read left out, by user and reason.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Sockets on which a process listens that did not say its pools in time at the last read, or rested because of that.
    pub fn silent(&self) -> &[PathBuf] {
        &self.silent
    }

    /// As [`read`](Self::read), of several folders: this user's own processes before others', and others by users in turn. All is
    /// over in two seconds, however many do not answer.
    pub fn read_all(&mut self, folders: &[PathBuf]) -> Vec<Heard> {
        let started = Instant::now();
        self.left_out.clear();
        self.silent.clear();
        let mut users = self.line_up(folders);
        let (mut asking, mut found): (Vec<Asking>, _) = (Vec::new(), Vec::new());
        let mut piece = vec![0; PIECE];
        while started.elapsed() < ALL {
            self.connect(&mut users, &mut asking, started);
            if asking.is_empty() {
                break;
            }
            wait(&asking, ALL.saturating_sub(started.elapsed()));
            let mut still = Vec::with_capacity(asking.len());
            for mut one in asking {
                match one.go_on(&mut users, &mut piece) {
                    None => still.push(one),
                    Some(answer) => self.finish(one, answer, &mut users, &mut found),
                }
            }
            asking = still;
        }
        for one in asking {
            self.leave(one.socket.uid, one.socket.path(), WhyLeftOut::NotReached);
        }
        for (socket, had_all, used_up) in users.left() {
            let why = match (had_all, used_up) {
                (true, _) => WhyLeftOut::TooMany,
                (_, true) => WhyLeftOut::ShareUsedUp,
                _ => WhyLeftOut::NotReached,
            };
            self.leave(socket.uid, socket.path(), why);
        }
        found.sort_by(|a: &Heard, b| a.socket.cmp(&b.socket));
        found
    }

    /// Every socket once, but for those that rest.
    fn line_up(&mut self, folders: &[PathBuf]) -> Users {
        let now = Instant::now();
        // How long one has rested counts for as long again.
        self.resting.retain(|_, rest| now < rest.until + rest.length);
        self.dead.retain(|_, since| now < *since + DEAD);
        let (mut seen, mut sockets) = (HashSet::new(), Vec::new());
        for folder in folders {
            let (here, more) = sockets_in(folder);
            for uid in more {
                self.leave(uid, folder.clone(), WhyLeftOut::TooMany);
            }
            for socket in here {
                let rests = !self.resting.is_empty()
                    && self.resting.get(&socket.path()).is_some_and(|rest| now < rest.until);
                if rests {
                    self.leave(socket.uid, socket.path(), WhyLeftOut::Silent);
                } else if !self.dead.contains_key(&socket.file) && seen.insert(socket.file) {
                    sockets.push(socket);
                }
            }
        }
        Users::new(user(), sockets)
    }

    /// Asks more, as long as there is room. One that is dead takes nobody's.
    fn connect(&mut self, users: &mut Users, asking: &mut Vec<Asking>, started: Instant) {
        while asking.len() < AT_ONCE
            && started.elapsed() < ALL
            && let Some((user, socket)) = users.next()
        {
            match socket.connect() {
                Connected::To(stream) => {
                    users.begin(user);
                    let nobody = Peer { pid: None, uid: socket.uid };
                    let peer = Peer::of(&stream).unwrap_or(nobody);
                    let since = Instant::now();
                    let text = Vec::new();
                    asking.push(Asking {
                        user,
                        socket,
                        stream,
                        peer,
                        text,
                        since,
                        large: false,
                        waits: false,
                    });
                }
                Connected::Full => {
                    self.rest(socket.path());
                    self.leave(socket.uid, socket.path(), WhyLeftOut::Silent);
                }
                Connected::NoDescriptor => {
                    self.leave(socket.uid, socket.path(), WhyLeftOut::NotReached);
                }
                Connected::Dead => drop(self.dead.insert(socket.file, Instant::now())),
                Connected::Removed | Connected::Not => {}
            }
        }
    }

    fn finish(&mut self, one: Asking, answer: Answer, users: &mut Users, found: &mut Vec<Heard>) {
        let Asking { user, socket, peer, text, large, .. } = one;
        users.end(user, large);
        let (uid, path) = (socket.uid, socket.path());
        match answer {
            Answer::Left(why) => {
                if matches!(why, WhyLeftOut::Silent | WhyLeftOut::TooLarge) {
                    self.rest(path.clone());
                }
                self.leave(uid, path, why);
            }
            Answer::Said => match document(&text, &mut users.user(user).allowance) {
                Ok(mut said) => {
                    self.resting.remove(&path);
                    let pid = peer.pid.unwrap_or(0);
                    said.pools.iter_mut().for_each(|pool| pool.pid = pid);
                    let (pools, cut) = (said.pools, said.cut);
                    found.push(Heard { peer, claimed_pid: said.pid, socket: path, pools, cut });
                }
                // Its publisher gave up in the middle.
                Err(Wrong::Ends) => {
                    self.rest(path.clone());
                    self.leave(uid, path, WhyLeftOut::Silent);
                }
                Err(Wrong::Other(why)) => self.leave(uid, path, WhyLeftOut::NoDocument(why)),
            },
        }
    }

    fn rest(&mut self, path: PathBuf) {
        let before = self.resting.get(&path).map(|rest| rest.length);
        let length = before.map_or(REST, |before| (before * 2).min(LONGEST_REST));
        if before.is_some() || self.resting.len() < REMEMBERED {
            self.resting.insert(path, Rest { until: Instant::now() + length, length });
        }
    }

    fn leave(&mut self, uid: u32, socket: PathBuf, why: WhyLeftOut) {
        if why == WhyLeftOut::Silent {
            self.silent.push(socket.clone());
        }
        let same = |left: &&mut LeftOut| {
            left.uid == uid && std::mem::discriminant(&left.why) == std::mem::discriminant(&why)
        };
        match self.left_out.iter_mut().find(same) {
            Some(left) => left.count += 1,
            None => self.left_out.push(LeftOut { uid, socket, count: 1, why }),
        }
    }
}

impl Asking {
    /// When it has taken too long: to say anything, or to say all.
    fn deadline(&self) -> Instant {
        self.since + if self.text.is_empty() { PATIENCE } else { PATIENCE * 2 }
    }

    /// Reads what is there; something when it is over.
    fn go_on(&mut self, users: &mut Users, piece: &mut [u8]) -> Option<Answer> {
        loop {
            let room = users.room(self.user, self.text.len(), &mut self.large);
            self.waits = room == Room::Later;
            match room {
                Room::None => return Some(Answer::Left(WhyLeftOut::ShareUsedUp)),
                Room::Later if Instant::now() >= self.deadline() => {
                    return Some(Answer::Left(WhyLeftOut::NotReached));
                }
                Room::Later => return None,
                Room::Free => {}
            }
            match self.stream.read(piece) {
                Ok(0) => return Some(Answer::Said),
                Ok(read) => {
                    users.take(self.user, read);
                    self.text.extend_from_slice(&piece[..read]);
                    if self.text.len() > LARGEST {
                        return Some(Answer::Left(WhyLeftOut::TooLarge));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let is_over = Instant::now() >= self.deadline();
                    return is_over.then_some(Answer::Left(WhyLeftOut::Silent));
                }
                Err(_) => return Some(Answer::Left(WhyLeftOut::Silent)),
            }
            // One that sends without an end is not read without an end.
            if Instant::now() >= self.deadline() {
                return Some(Answer::Left(WhyLeftOut::Silent));
            }
        }
    }
}

/// Waits until one of those that may speak does, or has taken too long.
fn wait(asking: &[Asking], longest: Duration) {
    let now = Instant::now();
    let deadlines = asking.iter().map(|one| one.deadline().saturating_duration_since(now));
    let most = deadlines.min().unwrap_or(longest).min(longest).max(Duration::from_millis(1));
    let mut speak: Vec<PollFd<'_>> =
        asking.iter().filter(|one| !one.waits).map(|one| PollFd::new(&one.stream, PollFlags::IN)).collect();
    let most = Timespec { tv_sec: most.as_secs() as _, tv_nsec: most.subsec_nanos() as _ };
    // Interrupted or not: who has said nothing is seen at the next read.
    let _ = poll(&mut speak, Some(&most));
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
