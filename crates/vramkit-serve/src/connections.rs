//! Who is connected, for how long, and who goes when somebody else wants the place.
//!
//! A connection waits until a whole request has come, which costs next to nothing, so that thousands may; then for one of
//! few places in which requests are answered and events followed. Each state may last so long and no longer. When there is
//! no place for somebody, that of whoever is of least use is taken: first of addresses that have more than their share,
//! first of those that have asked nothing, the longest first. Whoever has shown the token goes last, and a probe needs no
//! place: so it is answered, however many others hold connections.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Connections at once, most of which have asked nothing yet.
const MOST: usize = 8192;
/// Places in which requests are answered.
const PLACES: usize = 128;
/// Fewer connections where the system gives few descriptors: as many as these are left to what reads devices.
const DESCRIPTORS_LEFT: u64 = 128;
const FEWEST: usize = 16;
/// Readers of events at once: these stay.
const FOLLOWERS: usize = 32;
/// From its opening to a whole request.
const FOR_A_REQUEST: Duration = Duration::from_secs(10);
/// From one answer to the next request.
const BETWEEN_REQUESTS: Duration = Duration::from_secs(75);
/// From a request until its answer has been read.
const FOR_AN_ANSWER: Duration = Duration::from_secs(30);
/// From the first byte of an event to the last.
const FOR_AN_EVENT: Duration = Duration::from_secs(10);
/// An answer that takes no longer is nobody's fault.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It was opened, and nothing whole has been asked.
    Opened,
    /// A whole request has come, and there is no place to answer it.
    Waiting,
    /// What was asked has been answered.
    Idle,
    /// An answer is made or read.
    Answered,
    /// It has read every event.
    Following,
    /// It reads an event.
    Behind,
}

impl State {
    fn longest(self) -> Option<Duration> {
        match self {
            Self::Opened | Self::Waiting => Some(FOR_A_REQUEST),
            Self::Idle => Some(BETWEEN_REQUESTS),
            Self::Answered => Some(FOR_AN_ANSWER),
            Self::Behind => Some(FOR_AN_EVENT),
            Self::Following => None,
        }
    }

    fn has_place(self) -> bool {
        !matches!(self, Self::Opened | Self::Waiting)
    }

    fn follows(self) -> bool {
        matches!(self, Self::Following | Self::Behind)
    }
}

#[derive(Debug)]
struct Connection {
    peer: IpAddr,
    state: State,
    since: Instant,
    /// It has shown the token.
    trusted: bool,
    task: AbortHandle,
}

impl Connection {
    fn enter(&mut self, state: State) {
        (self.state, self.since) = (state, Instant::now());
    }

    /// How soon it goes when its place is wanted, soonest least; none while it must not.
    fn rank(&self, now: Instant) -> Option<u8> {
        match self.state {
            State::Opened => Some(0),
            State::Waiting => Some(1),
            State::Idle => Some(2),
            State::Answered if now.saturating_duration_since(self.since) > AT_ONCE => Some(3),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    connections: HashMap<u64, Connection>,
}

impl Table {
    /// How many connections each address has, of those that count.
    fn shares(&self, counts: impl Fn(&Connection) -> bool) -> HashMap<IpAddr, usize> {
        let mut shares = HashMap::new();
        for connection in self.connections.values().filter(|connection| counts(connection)) {
            *shares.entry(connection.peer).or_default() += 1;
        }
        shares
    }

    fn close(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            connection.task.abort();
        }
    }
}

/// All connections of a server.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    most: usize,
    all_places: usize,
    places: Arc<Semaphore>,
    table: Arc<Mutex<Table>>,
}

impl Connections {
    /// As many as the system's limit on descriptors allows, which is raised as far as it may be.
    pub(crate) fn within_limits() -> Self {
        let wanted = MOST as u64 + DESCRIPTORS_LEFT;
        let before = getrlimit(Resource::Nofile);
        if before.current.is_some_and(|current| current < wanted) {
            let most = before.maximum.map_or(wanted, |maximum| maximum.min(wanted));
            // Refused: then there are fewer.
            _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: before.maximum });
        }
        let most = getrlimit(Resource::Nofile).current.map_or(MOST, |limit| {
            usize::try_from(limit.saturating_sub(DESCRIPTORS_LEFT)).unwrap_or(MOST).clamp(FEWEST, MOST)
        });
        Self::new(most, PLACES.min(most / 2))
    }

    fn new(most: usize, places: usize) -> Self {
        Self { most, all_places: places, places: Arc::new(Semaphore::new(places)), table: Arc::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.table().connections.len() >= self.most
    }

    /// Closes those of least use, a few at once since looking at all takes time; whether there were any that may be closed.
    pub(crate) fn make_room(&self) -> bool {
        self.close_least(self.most.div_ceil(64), self.most / 4, |_| true)
    }

    /// Closes up to `many` of those that `counts`, where more than `fair` of one address is more than its share.
    fn close_least(&self, many: usize, fair: usize, counts: impl Fn(State) -> bool) -> bool {
        let mut table = self.table();
        let (now, shares) = (Instant::now(), table.shares(|connection| counts(connection.state)));
        let counted = table.connections.iter().filter(|(_, connection)| counts(connection.state));
        let candidates = counted.filter_map(|(id, connection)| {
            let within_share = shares[&connection.peer] <= fair;
            Some(((connection.trusted, within_share, connection.rank(now)?, connection.since), *id))
        });
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_unstable();
        candidates.iter().take(many).for_each(|(_, id)| table.close(*id));
        !candidates.is_empty()
    }

    /// Closes what has lasted too long, and those of least use that have a place somebody waits for.
    pub(crate) fn close_overdue(&self) {
        let is_waiting = |connection: &&Connection| connection.state == State::Waiting;
        let waiting = self.table().connections.values().filter(is_waiting).count();
        if waiting > 0 {
            self.close_least(waiting, self.all_places / 4, State::has_place);
        }
        let (mut table, now) = (self.table(), Instant::now());
        let is_overdue = |connection: &Connection| {
            let lasted = now.saturating_duration_since(connection.since);
            connection.state.longest().is_some_and(|longest| lasted > longest)
        };
        let overdue: Vec<u64> =
            table.connections.iter().filter(|(_, one)| is_overdue(one)).map(|(id, _)| *id).collect();
        overdue.into_iter().for_each(|id| table.close(id));
    }

    /// A place for `peer`, and the task that `converse` starts with it.
    pub(crate) fn add(&self, peer: IpAddr, converse: impl FnOnce(Place) -> AbortHandle) {
        let id = {
            let mut table = self.table();
            table.next += 1;
            table.next
        };
        let (peer, since) = (network(peer), Instant::now());
        let task = converse(Place { connections: self.clone(), id });
        let connection = Connection { peer, state: State::Opened, since, trusted: false, task };
        self.table().connections.insert(id, connection);
    }
}

/// One machine may have a whole /64 of addresses.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => IpAddr::V6(Ipv6Addr::from_bits(peer.to_bits() & (u128::MAX << 64))),
        peer @ IpAddr::V4(_) => peer,
    }
}

/// A connection's place, as it says what it does.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    connections: Connections,
    id: u64,
}

impl Place {
    fn with(&self, change: impl FnOnce(&mut Connection)) {
        // None: it has just been closed.
        if let Some(connection) = self.connections.table().connections.get_mut(&self.id) {
            change(connection);
        }
    }

    /// A whole request has come: a place in which it is answered, as soon as there is one.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let places = &self.connections.places;
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Some(place);
        }
        self.with(|connection| connection.enter(State::Waiting));
        places.clone().acquire_owned().await.ok()
    }

    /// A request is answered from now on.
    pub(crate) fn is_asked(&self) {
        self.with(|connection| connection.enter(State::Answered));
    }

    /// Its answer has been read, or as good as.
    pub(crate) fn is_answered(&self) {
        self.with(|connection| connection.enter(State::Idle));
    }

    /// The token was right.
    pub(crate) fn is_trusted(&self) {
        self.with(|connection| connection.trusted = true);
    }

    /// It is handed a part of an answer.
    pub(crate) fn is_handed(&self) {
        self.with(|connection| {
            if connection.state.follows() {
                connection.enter(State::Behind);
            }
        });
    }

    /// There is nothing to hand it.
    pub(crate) fn is_up_to_date(&self) {
        self.with(|connection| {
            if connection.state == State::Behind {
                connection.enter(State::Following);
            }
        });
    }

    /// It wants to follow events; whether it may. Where all places for that are taken, it gets that of a reader who does not
    /// read, or of an address that has two more than its own.
    pub(crate) fn follow(&self) -> bool {
        let (mut table, now) = (self.connections.table(), Instant::now());
        let shares = table.shares(|connection| connection.state.follows());
        let Some(peer) = table.connections.get(&self.id).map(|connection| connection.peer) else {
            return false;
        };
        // Readers of events never take all places.
        if shares.values().sum::<usize>() >= FOLLOWERS.min(self.connections.all_places / 2) {
            let own = shares.get(&peer).copied().unwrap_or(0);
            let candidates = table.connections.iter().filter(|(_, connection)| connection.state.follows());
            let candidates = candidates.filter_map(|(id, connection)| {
                let lasted = now.saturating_duration_since(connection.since);
                let reads = connection.state == State::Following || lasted <= AT_ONCE;
                let share = shares[&connection.peer];
                let may_go = !reads || share > own + 1;
                may_go.then_some(((reads, std::cmp::Reverse(share), connection.since), *id))
            });
            let Some((_, id)) = candidates.min() else { return false };
            table.close(id);
        }
        if let Some(connection) = table.connections.get_mut(&self.id) {
            connection.enter(State::Following);
        }
        true
    }

    /// The connection has ended.
    pub(crate) fn leave(&self) {
        self.connections.table().connections.remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
