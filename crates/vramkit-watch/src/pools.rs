//! Pools that processes of this machine publish. Who a process is, the kernel and `/proc` say; its numbers must add up.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use vramkit::ByteSize;
use vramkit::monitor::publish::{Heard, PublishedReader, Unreadable, folders};
use vramkit::monitor::text::{NAME, WORDS, clean};
use vramkit::monitor::{PoolUse, ProcessIdentity};

use crate::environment::Environment;
use crate::processes::Processes;
use crate::silent::LastHeard;
use crate::source::{Readings, Source, Unavailable};

/// No device has more.
const LARGEST: ByteSize = ByteSize::gib(1 << 20);
/// Most lines about what was left out.
const UNAVAILABLE: usize = 16;

/// Asks every publishing process at every read.
///
/// ```
/// use vramkit_watch::{PublishedPools, Source};
///
/// let mut nobody = PublishedPools::of("/nonexistent".into());
/// assert!(nobody.read().pools.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct PublishedPools {
    only: Option<PathBuf>,
    reader: PublishedReader,
    processes: Processes,
    last: LastHeard,
}

impl PublishedPools {
    /// Of one folder, instead of all that this user may read.
    pub fn of(folder: PathBuf) -> Self {
        Self { only: Some(folder), ..Self::default() }
    }

    /// The pools of a process, with whose they are, and what its environment says of cards.
    fn of_process(
        &mut self,
        heard: Heard,
        pools: &mut Vec<PoolUse>,
        environments: &mut BTreeMap<u32, Environment>,
        notes: &mut Vec<Unavailable>,
    ) {
        let socket = heard.socket.display().to_string();
        let mut note = |reason: String| {
            notes.push(Unavailable { source: clean(&socket, WORDS).into_owned(), reason });
        };
        let identity = match heard.peer.pid {
            Some(pid) => {
                let (_, mut identity) = self.processes.describe(pid);
                identity.user.get_or_insert_with(|| self.processes.user(heard.peer.uid));
                environments.insert(pid, self.processes.environment(pid));
                identity
            }
            None => {
                note("its process is not visible in this PID namespace, or has ended and left its socket to another: its pools are told apart by their socket".into());
                let user = Some(self.processes.user(heard.peer.uid));
                ProcessIdentity { user, ..ProcessIdentity::default() }
            }
        };
        if !heard.cut.is_nothing() {
            note(heard.cut.to_string());
        }
        let stem = heard.socket.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let before = heard.pools.len();
        let kept = heard.pools.into_iter().filter(adds_up).map(|mut pool| {
            if heard.peer.pid.is_none() {
                let name = format!("{} at {}", pool.name, stem.as_deref().unwrap_or_default());
                pool.name = clean(&name, NAME).into_owned();
            }
            pool.process = Some(identity.clone());
            pool
        });
        let there = pools.len();
        pools.extend(kept);
        let wrong = before - (pools.len() - there);
        if wrong > 0 {
            note(format!("{wrong} of its pools have numbers that no device has, or that do not add up"));
        }
    }
}

impl Source for PublishedPools {
    fn name(&self) -> &'static str {
        "pools"
    }

    fn read(&mut self) -> Readings {
        let folders = self.only.clone().map_or_else(folders, |only| vec![only]);
        self.processes.begin();
        let (mut pools, mut environments, mut unavailable) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut all = self.reader.read_all(&folders);
        let silent = self.last.follow(&mut all, self.reader.silent());
        for heard in all {
            self.of_process(heard, &mut pools, &mut environments, &mut unavailable);
        }
        tell_apart(&mut pools);
        let hidden = if self.only.is_some() { Unreadable::default() } else { Unreadable::now() };
        if !hidden.is_empty() {
            unavailable.push(Unavailable { source: self.name().to_owned(), reason: hidden.to_string() });
        }
        let (left_out, processes) = (self.reader.left_out(), &mut self.processes);
        let left_out = left_out.iter().map(|left| {
            let more = if left.count > 1 { format!(" and {} more", left.count - 1) } else { String::new() };
            let (user, why) = (processes.user(left.uid), &left.why);
            Unavailable {
                source: format!("{}{more} of user {user}", clean(&left.socket.display().to_string(), WORDS)),
                reason: why.to_string(),
            }
        });
        // What hides whole processes comes first.
        let mut all: Vec<Unavailable> = left_out.collect();
        all.append(&mut unavailable);
        let over = all.len().saturating_sub(UNAVAILABLE);
        all.truncate(UNAVAILABLE);
        if over > 0 {
            let reason = format!("{over} more things about published pools are not known");
            all.push(Unavailable { source: "pools".into(), reason });
        }
        Readings { pools, environments, silent, unavailable: all, ..Readings::default() }
    }
}

/// Two libraries of a process may call their pools the same: the second is `main #2`, so that each has its own numbers.
fn tell_apart(pools: &mut [PoolUse]) {
    // The last number of each name; names that are given stand there as well.
    let mut seen: HashMap<(u32, String), u64> = HashMap::new();
    for pool in pools {
        let key = (pool.pid, pool.name.clone());
        while seen.contains_key(&(pool.pid, pool.name.clone())) {
            let number = seen.entry(key.clone()).or_insert(1);
            *number += 1;
            pool.name = format!("{} #{number}", key.1);
        }
        seen.insert((pool.pid, pool.name.clone()), 1);
    }
}
/// Whether what is held can be added up. The document is another process's: with numbers that no device has, the pool is
/// left out.
fn adds_up(pool: &PoolUse) -> bool {
    let stats = &pool.stats;
    // Capacity, too, is rounded up to whole granules.
    let most = stats.capacity_bytes.saturating_add(ByteSize::gib(1));
    let sizes = [stats.committed_bytes, stats.used_bytes, stats.pending_bytes, stats.requested_bytes];
    if stats.capacity_bytes > LARGEST || sizes.iter().any(|size| *size > most) {
        return false;
    }
    let add = |sum: u64, size: ByteSize| sum.checked_add(size.bytes());
    let Some(granted) = pool.owners.iter().map(|owner| owner.granted_bytes).try_fold(0, add) else {
        return false;
    };
    // Owners are read a moment after the pool, and hold nothing that the pool has not.
    if ByteSize::new(granted) > stats.committed_bytes.saturating_add(ByteSize::gib(1)) {
        return false;
    }
    let tagged = pool.ledger.iter().map(|entry| entry.granted_bytes);
    let aged = pool.ledger.iter().flat_map(|entry| entry.by_age_bytes);
    let released = pool.ledger.iter().flat_map(|entry| entry.released_by_age_bytes);
    tagged.chain(aged).chain(released).try_fold(granted, add).is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vramkit::device::SimulatedDevice;
    use vramkit::pool::{AGE_CLASSES, DeviceMemoryPool, LedgerEntry, Request};

    use super::*;

    #[test]
    fn what_cannot_be_added_up_is_left_out() {
        let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
        let pool = DeviceMemoryPool::new(device, ByteSize::mib(64)).unwrap();
        let _held = pool.allocate(Request::new(ByteSize::mib(1))).unwrap();
        let shown = PoolUse::of("p", &pool);
        assert!(adds_up(&shown));
        assert!(!shown.ledger.is_empty());
        let spoil: [fn(&mut LedgerEntry); 3] = [
            |entry| entry.granted_bytes = ByteSize::MAX,
            |entry| entry.by_age_bytes[3] = ByteSize::MAX,
            |entry| entry.released_by_age_bytes = [ByteSize::new(1 << 60); AGE_CLASSES],
        ];
        for spoil in spoil {
            let mut spoiled = shown.clone();
            spoil(&mut spoiled.ledger[0]);
            assert!(!adds_up(&spoiled));
        }
        let spoil: [fn(&mut PoolUse); 3] = [
            |pool| pool.stats.used_bytes = ByteSize::MAX,
            |pool| pool.stats.committed_bytes = ByteSize::gib(1 << 30),
            |pool| pool.stats.capacity_bytes = ByteSize::gib(1 << 21),
        ];
        for spoil in spoil {
            let mut spoiled = shown.clone();
            spoil(&mut spoiled);
            assert!(!adds_up(&spoiled));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn whose_a_pool_is_the_kernel_says() {
        use std::io::Write;
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
        let pool = DeviceMemoryPool::new(device, ByteSize::mib(64)).unwrap();
        let mut shown = PoolUse::of("p", &pool);
        shown.process =
            Some(ProcessIdentity { user: Some("root\u{1b}".into()), ..ProcessIdentity::default() });
        let mut wrong = shown.clone();
        (wrong.name, wrong.stats.used_bytes) = ("wrong".into(), ByteSize::MAX);
        let document =
            serde_json::json!({"schema": "vramkit.published/1", "pid": 1, "pools": [shown, wrong]})
                .to_string();
        let listener = UnixListener::bind(folder.path().join("1.0.sock")).unwrap();
        let speaker = std::thread::spawn(move || {
            listener.accept().unwrap().0.write_all(document.as_bytes()).unwrap();
        });
        let readings = PublishedPools::of(folder.path().to_owned()).read();
        speaker.join().unwrap();
        let mut processes = Processes::default();
        let (_, identity) = processes.describe(std::process::id());
        assert_eq!((readings.pools.len(), readings.pools[0].pid), (1, std::process::id()));
        assert_eq!(readings.pools[0].process.as_ref(), Some(&identity));
        assert!(identity.user.is_some() && identity.command.is_some());
        assert!(readings.environments.contains_key(&std::process::id()));
        assert!(readings.unavailable[0].reason.starts_with("1 of its pools"), "{:?}", readings.unavailable);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_is_not_visible_is_told_apart_by_socket() {
        use vramkit::monitor::publish::Cut;
        let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
        let pool = DeviceMemoryPool::new(device, ByteSize::mib(64)).unwrap();
        let mut source = PublishedPools::default();
        let (mut pools, mut environments, mut notes) = (Vec::new(), BTreeMap::new(), Vec::new());
        for socket in ["/x/1.0.sock", "/x/1.1.sock"] {
            let peer = vramkit::monitor::publish::Peer { pid: None, uid: 4_000_000 };
            let shown = PoolUse { pid: 0, ..PoolUse::of("main", &pool) };
            let heard = Heard::new(peer, socket.into(), vec![shown], Cut::default());
            source.of_process(heard, &mut pools, &mut environments, &mut notes);
        }
        tell_apart(&mut pools);
        let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
        assert_eq!(names, ["main at 1.0", "main at 1.1"]);
        assert_eq!(pools[0].process.as_ref().and_then(|process| process.user.as_deref()), Some("4000000"));
        assert!(notes.len() == 2 && notes[0].reason.contains("not visible"), "{notes:?}");
        assert!(environments.is_empty());
    }

    #[test]
    fn pools_of_one_name_in_a_process_are_told_apart() {
        let device = Arc::new(SimulatedDevice::new(ByteSize::mib(64)));
        let pool = DeviceMemoryPool::new(device, ByteSize::mib(64)).unwrap();
        let one = |name: &str, pid| PoolUse { pid, ..PoolUse::of(name, &pool) };
        let mut pools = [one("main", 7), one("main", 8), one("main", 7), one("kv", 7), one("main", 7)];
        tell_apart(&mut pools);
        assert_eq!(pools.map(|pool| pool.name), ["main", "main", "main #2", "kv", "main #3"]);
        let mut pools = [one("main", 7), one("main #2", 7), one("main", 7)];
        tell_apart(&mut pools);
        assert_eq!(pools.map(|pool| pool.name), ["main", "main #2", "main #3"]);
    }
}
