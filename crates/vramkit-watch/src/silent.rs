//! Programs that published pools and do not say them any more (stopped, or out of time): for some seconds what they said last stands, so
//! that a card's level does not jump, and on their cards stands since when they are silent.
//!
//! ```text
//! source: what was heard, by socket ──► LastHeard ──► what stands, and who is silent since when
//! watcher: cards of joined pools, by process ──► Silent ──► notes on those cards
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use vramkit::monitor::publish::{Cut, Heard};
use vramkit::monitor::{PoolUse, utc};

use crate::source::DeviceReading;

/// How long what was said last stands.
const STANDS: Duration = Duration::from_secs(10);
/// Owners and tags that are kept for that, of all programs together.
const MOST: usize = 4096;

/// What was last heard at a socket.
#[derive(Clone, Debug)]
struct Last {
    heard: Heard,
    at: Instant,
    time: SystemTime,
}

/// See the module's first lines.
#[derive(Debug, Default)]
pub(crate) struct LastHeard(HashMap<PathBuf, Last>);

impl LastHeard {
    /// Takes what was heard now. What stands of those that are silent is added to it.
    pub(crate) fn follow(&mut self, heard: &mut Vec<Heard>, silent: &[PathBuf]) -> BTreeMap<u32, SystemTime> {
        let silent: HashSet<&PathBuf> = silent.iter().collect();
        self.0.retain(|socket, _| silent.contains(socket));
        let of_silent = self.0.values().filter_map(|last| Some((last.heard.peer.pid?, last.time)));
        let since = of_silent.collect();
        let standing = self.0.values().filter(|last| last.at.elapsed() <= STANDS);
        let standing: Vec<Heard> = standing.map(|last| last.heard.clone()).collect();
        let mut room = MOST.saturating_sub(standing.iter().map(size).sum());
        let (at, time) = (Instant::now(), SystemTime::now());
        for one in heard.iter() {
            let left = room.checked_sub(size(one));
            let pools = if left.is_some() { one.pools.clone() } else { Vec::new() };
            room = left.unwrap_or(room);
            let kept = Heard::new(one.peer, one.socket.clone(), pools, Cut::default());
            self.0.insert(one.socket.clone(), Last { heard: kept, at, time });
        }
        heard.extend(standing);
        since
    }
}

/// Owners and tags of what was heard.
fn size(heard: &Heard) -> usize {
    heard.pools.iter().map(|pool| 1 + pool.owners.len() + pool.ledger.len() + pool.decisions.len()).sum()
}

/// The devices that each process's pools are on, or were when it spoke.
#[derive(Debug, Default)]
pub(crate) struct Silent(BTreeMap<u32, BTreeSet<String>>);

impl Silent {
    /// Notes on devices whose processes are silent.
    pub(crate) fn note(
        &mut self,
        since: &BTreeMap<u32, SystemTime>,
        devices: &mut [(DeviceReading, Vec<PoolUse>)],
    ) {
        self.0.retain(|pid, _| since.contains_key(pid));
        for (reading, pools) in devices.iter() {
            for pool in pools.iter().filter(|pool| pool.pid != 0) {
                self.0.entry(pool.pid).or_default().insert(reading.device.id.clone());
            }
        }
        for (pid, since) in since {
            let Some(on) = self.0.get(pid) else { continue };
            for (reading, pools) in devices.iter_mut().filter(|(one, _)| on.contains(&one.device.id)) {
                let stands = pools.iter().any(|pool| pool.pid == *pid);
                let what = if stands { "what it said then stands" } else { "they are not known" };
                let when = utc(*since);
                let note = format!("process {pid} has not said its pools since {when}: {what}");
                reading.notes.push(note);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vramkit::ByteSize;
    use vramkit::device::SimulatedDevice;
    use vramkit::monitor::publish::Peer;
    use vramkit::pool::DeviceMemoryPool;

    use super::*;

    #[test]
    fn what_was_said_last_stands_for_a_while_and_the_card_says_so() {
        let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
        let pool = DeviceMemoryPool::new(device, ByteSize::mib(64)).unwrap();
        let shown = PoolUse { pid: 7, ..PoolUse::of("main", &pool) };
        let (path, peer) = (PathBuf::from("/x/7.0.sock"), Peer { pid: Some(7), uid: 0 });
        let said = || vec![Heard::new(peer, path.clone(), vec![shown.clone()], Cut::default())];
        let (mut last, mut cards) = (LastHeard::default(), Silent::default());
        let mut notes = |heard: &[Heard], since: &BTreeMap<u32, SystemTime>| {
            let pools: Vec<PoolUse> = heard.iter().flat_map(|one| one.pools.clone()).collect();
            let idle = (crate::watcher::tests::device("cuda:1", 1), Vec::new());
            let mut devices = [(crate::watcher::tests::device("cuda:0", 1), pools), idle];
            cards.note(since, &mut devices);
            assert!(devices[1].0.notes.is_empty());
            devices[0].0.notes.clone()
        };
        let mut heard = said();
        let since = last.follow(&mut heard, &[]);
        assert!(notes(&heard, &since).is_empty());
        // Silent: what it said stands.
        let mut heard = Vec::new();
        let since = last.follow(&mut heard, std::slice::from_ref(&path));
        assert_eq!(heard, said());
        let [note] = &notes(&heard, &since)[..] else { panic!("one note") };
        assert!(note.starts_with("process 7 has not said its pools since 2"), "{note}");
        assert!(note.ends_with("what it said then stands"), "{note}");
        // For ten seconds.
        last.0.get_mut(&path).unwrap().at -= STANDS + Duration::from_secs(1);
        let mut heard = Vec::new();
        let since = last.follow(&mut heard, std::slice::from_ref(&path));
        assert!(heard.is_empty());
        assert!(notes(&heard, &since)[0].ends_with("they are not known"));
        // Heard again, and then gone.
        let mut heard = said();
        let since = last.follow(&mut heard, &[]);
        assert!(notes(&heard, &since).is_empty() && heard.len() == 1);
        let mut heard = Vec::new();
        assert!(last.follow(&mut heard, &[]).is_empty() && heard.is_empty());
    }
}
