//! Whose process is this? Names and containers from `/proc`, kept for as long as the process lives, because reading them
//! costs more than everything else in a tick.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use vramkit::device::{Origin, Reading};
use vramkit::monitor::ProcessIdentity;

/// Ticks after which an entry is looked at again: numbers are given to new processes.
const FRESH: u64 = 16;
/// Entries kept.
const MOST: usize = 8192;

/// See the module's first lines.
///
/// ```
/// use vramkit_watch::Processes;
///
/// let mut processes = Processes::default();
/// processes.begin();
/// let (name, _identity) = processes.describe(std::process::id());
/// assert!(name.value.is_some() || name.unavailable.is_some());
/// ```
#[derive(Debug)]
pub struct Processes {
    root: PathBuf,
    known: HashMap<u32, Known>,
    tick: u64,
}

#[derive(Clone, Debug)]
struct Known {
    started: Option<u64>,
    name: Reading<String>,
    identity: ProcessIdentity,
    looked: u64,
    seen: u64,
}

impl Default for Processes {
    fn default() -> Self {
        Self::at(&crate::kernel::system_root())
    }
}

impl Processes {
    /// Reads `proc` below `root`.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned(), known: HashMap::new(), tick: 0 }
    }

    /// A new tick begins: what was not asked for in the last ones is forgotten.
    pub fn begin(&mut self) {
        self.tick += 1;
        let tick = self.tick;
        self.known.retain(|_, known| tick - known.seen < FRESH);
    }

    /// A process's name, and whose it is.
    pub fn describe(&mut self, pid: u32) -> (Reading<String>, ProcessIdentity) {
        let tick = self.tick;
        if let Some(known) = self.known.get_mut(&pid)
            && tick - known.looked < FRESH
        {
            known.seen = tick;
            return (known.name.clone(), known.identity.clone());
        }
        // The number may have been given to another process meanwhile.
        let started = self.started(pid);
        let known = match self.known.remove(&pid) {
            Some(known) if started.is_some() && known.started == started => {
                Known { looked: tick, seen: tick, ..known }
            }
            _ => self.look(pid, started),
        };
        let described = (known.name.clone(), known.identity.clone());
        if self.known.len() < MOST {
            self.known.insert(pid, known);
        }
        described
    }

    fn file(&self, pid: u32, name: &str) -> std::io::Result<Vec<u8>> {
        use std::io::Read;
        let mut bytes = Vec::new();
        fs::File::open(self.root.join(format!("proc/{pid}/{name}")))?
            .take(1 << 16)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// When it started, in the kernel's ticks: the 22nd field, counted after the name, which may contain anything.
    fn started(&self, pid: u32) -> Option<u64> {
        let stat = self.file(pid, "stat").ok()?;
        let stat = String::from_utf8_lossy(&stat);
        stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
    }

    fn look(&self, pid: u32, started: Option<u64>) -> Known {
        let name = match self.file(pid, "comm") {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                // It goes to terminals.
                Reading::known(text.trim().chars().filter(|c| !c.is_control()).collect(), Origin::System)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Reading::unavailable(
                Origin::System,
                "no such process here: it has ended, or runs outside this container",
            ),
            Err(error) => Reading::unavailable(Origin::System, error.to_string()),
        };
        let container =
            self.file(pid, "cgroup").ok().and_then(|bytes| container(&String::from_utf8_lossy(&bytes)));
        let identity = ProcessIdentity { container, ..ProcessIdentity::default() };
        Known { started, name, identity, looked: self.tick, seen: self.tick }
    }
}

/// The container that a process's groups name: a runtime and the first twelve digits of its number.
fn container(groups: &str) -> Option<String> {
    let parts = groups.lines().flat_map(|line| line.rsplit(['/', ':']));
    parts
        .filter_map(|part| {
            let part = part.strip_suffix(".scope").unwrap_or(part);
            let (runtime, id) = match part.rsplit_once('-') {
                Some((runtime, id)) => (runtime, id),
                // Docker without systemd: `/docker/ID`.
                None => ("container", part),
            };
            let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_id.then(|| format!("{runtime}:{}", &id[..12]))
        })
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_named_by_their_runtime() {
        let id = "0123456789abcdef".repeat(4);
        for (groups, expected) in [
            (format!("0::/system.slice/docker-{id}.scope"), Some("docker:0123456789ab")),
            (format!("4:memory:/docker/{id}\n0::/"), Some("container:0123456789ab")),
            (
                format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
                Some("cri-containerd:0123456789ab"),
            ),
            ("0::/user.slice/user-1000.slice".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(container(&groups).as_deref(), expected, "{groups}");
        }
    }

    #[test]
    fn names_are_kept_and_a_number_given_to_another_process_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("proc/77");
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, start: u64| {
            fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
            fs::write(folder.join("stat"), format!("77 (a) b) S {} {start} 0", "0 ".repeat(18))).unwrap();
        };
        write("python", 5);
        let mut processes = Processes::at(root.path());
        let mut name = |ticks: u64| {
            let mut name = None;
            for _ in 0..ticks {
                processes.begin();
                name = processes.describe(77).0.value;
            }
            name
        };
        assert_eq!(name(1).as_deref(), Some("python"));
        write("other", 5);
        assert_eq!(name(FRESH * 2).as_deref(), Some("python"), "the same process: not read again");
        write("next", 6);
        assert_eq!(name(FRESH * 2).as_deref(), Some("next"));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(name(FRESH * 2), None);
        assert!(processes.describe(78).0.unavailable.unwrap().contains("outside this container"));
    }
}
