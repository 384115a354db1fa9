//! Who is connected, for how long, and who goes when somebody else wants the place.
//!
//! A connection waits for a request, is answered, or follows events; each may last so long and no longer. When every place
//! is taken a newcomer gets that of whoever has been of least use: first of addresses that have taken more than their
//! share, first of those that have asked nothing yet, the longest first. So whoever sends a whole request at once is
//! answered, however many others hold connections open, and nobody who has shown a token goes while anybody else can.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

/// Connections at once.
const MOST: usize = 128;
/// Fewer where the system gives few descriptors: as many as these are left to what reads devices.
const DESCRIPTORS_LEFT: u64 = 64;
const FEWEST: usize = 8;
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
            Self::Opened => Some(FOR_A_REQUEST),
            Self::Idle => Some(BETWEEN_REQUESTS),
            Self::Answered => Some(FOR_AN_ANSWER),
            Self::Behind => Some(FOR_AN_EVENT),
            Self::Following => None,
        }
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
            State::Idle => Some(1),
            State::Answered if now.saturating_duration_since(self.since) > AT_ONCE => Some(2),
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
    table: Arc<Mutex<Table>>,
}

impl Connections {
    /// As many as the system's limit on descriptors allows.
    pub(crate) fn within_limits() -> Self {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = limit.map_or(MOST, |limit| {
            usize::try_from(limit.saturating_sub(DESCRIPTORS_LEFT)).unwrap_or(MOST).clamp(FEWEST, MOST)
        });
        Self::new(most)
    }

    fn new(most: usize) -> Self {
        Self { most, table: Arc::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.table().connections.len() >= self.most
    }

    /// Closes the connection of least use; whether there was one that may be closed.
    pub(crate) fn close_one(&self) -> bool {
        let mut table = self.table();
        let (now, shares) = (Instant::now(), table.shares(|_| true));
        let candidates = table.connections.iter().filter_map(|(id, connection)| {
            let within_share = shares[&connection.peer] <= self.most / 4;
            Some(((connection.trusted, within_share, connection.rank(now)?, connection.since), *id))
        });
        let Some((_, id)) = candidates.min() else { return false };
        table.close(id);
        true
    }

    /// Closes what has lasted too long.
    pub(crate) fn close_overdue(&self) {
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

    /// A request has come.
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
        if shares.values().sum::<usize>() >= FOLLOWERS.min(self.connections.most / 2) {
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
