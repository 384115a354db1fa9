//! The control group that this process is in: what it, or a group above it, may have of the machine's memory, and what of
//! that is in use.
//!
//! ```text
//! /proc/self/cgroup, mountinfo ──► hierarchy (version, folder) ──► groups up to its root ──► the one with the least limit
//! ```
//!
//! In use is what the kernel could not give up at once: the group's memory without the file pages that are clean and
//! without reclaimable slab. Swap is not counted. What is left is the least that this group and those above it leave. Where a group is
//! slowed down (`memory.high`) is told: it is no end. Groups of version 2 (`memory.max`), of version 1
//! (`memory.limit_in_bytes`), and version 1 beside version 2 are read.

use vramkit::ByteSize;

use crate::kernel::{Kernel, field, shown};
use crate::mounts::{Mount, Mounts};

/// Folders deep that are followed.
const DEEPEST: usize = 64;
/// A limit from here on is none: version 1 says "none" as the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 60;

/// A group is where it is slowed down from all but this part of it on.
const NEAR: u64 = 50;

/// The group whose limit is the least.
#[derive(Debug)]
pub(crate) struct GroupMemory {
    /// Its path in its hierarchy, as far as it is seen from here.
    pub(crate) path: String,
    pub(crate) limit: ByteSize,
    pub(crate) used: Result<ByteSize, String>,
    /// What it and the groups above it leave.
    pub(crate) free: Result<ByteSize, String>,
    /// Its pressure stall information; empty where there is none.
    pub(crate) pressure: String,
    /// What else is to be known of it.
    pub(crate) notes: Vec<String>,
}

/// What is found about groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// The tightest, where one has a limit less than the machine's memory.
    pub(crate) tightest: Option<GroupMemory>,
    /// From how much memory on a group is slowed down, without a limit.
    pub(crate) notes: Vec<String>,
    /// What could not be read.
    pub(crate) wrong: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where this process's group is.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    /// Where the hierarchy is mounted.
    mount: String,
    /// Names from there to the group.
    path: Vec<String>,
}

/// One group on the way up.
struct Group {
    name: String,
    folder: String,
    limit: Option<u64>,
    high: Option<u64>,
}

/// Looks for the group with the least limit below `machine`, the machine's memory.
///
/// # Errors
/// There are no groups here, or they cannot be found.
pub(crate) fn groups(kernel: &Kernel, mounts: &Mounts, machine: Option<ByteSize>) -> Result<Groups, String> {
    let hierarchy = hierarchy(kernel, mounts)?;
    let (version, machine) = (hierarchy.version, machine.map_or(NO_LIMIT, ByteSize::bytes));
    let mut found = Groups::default();
    let mut limited: Vec<Group> = Vec::new();
    for depth in (0..=hierarchy.path.len()).rev() {
        let group = group(kernel, &hierarchy, depth, machine, &mut found.wrong);
        if let Some(high) = group.high {
            let (name, high) = (&group.name, ByteSize::new(high));
            let held = used(kernel, version, &group, &mut Vec::new());
            let is_there = held.is_ok_and(|held| held.bytes() >= high.bytes() - high.bytes() / NEAR);
            let now = if is_there { ", and is there" } else { "" };
            found
                .notes
                .push(format!("control group {name} is slowed down from {high} on (memory.high){now}"));
        }
        if group.limit.is_some() {
            limited.push(group);
        }
    }
    let least = limited.iter().filter_map(|group| group.limit).min();
    let hidden = hidden_limit(kernel, &hierarchy).filter(|&limit| limit < least.unwrap_or(machine));
    found.tightest = match (hidden, least) {
        (Some(limit), _) => {
            let outermost = group(kernel, &hierarchy, 0, machine, &mut Vec::new());
            Some(below_hidden(kernel, version, &outermost, limit))
        }
        (None, Some(least)) => tightest(kernel, version, &limited, least),
        (None, None) => None,
    };
    if let Some(tightest) = &mut found.tightest {
        tightest.notes.append(&mut found.notes);
    }
    Ok(found)
}

fn group(
    kernel: &Kernel,
    hierarchy: &Hierarchy,
    depth: usize,
    machine: u64,
    wrong: &mut Vec<String>,
) -> Group {
    let path = hierarchy.path[..depth].iter().map(|name| format!("/{name}")).collect::<String>();
    let folder = format!("{}{path}", hierarchy.mount);
    let mut number = |file: &str| {
        let found = limit(kernel, &format!("{folder}/{file}")).unwrap_or_else(|reason| {
            wrong.push(reason);
            None
        });
        found.filter(|&limit| limit < machine)
    };
    let (limit, high) = match hierarchy.version {
        // A group of version 1 that does not count those below it does not limit them.
        Version::One if depth < hierarchy.path.len() && !counts_those_below(kernel, &folder) => (None, None),
        Version::One => (number("memory.limit_in_bytes"), None),
        Version::Two => (number("memory.max"), number("memory.high")),
    };
    let name = if path.is_empty() { "/".to_owned() } else { shown(&path, 200) };
    Group { name, folder, limit, high }
}

/// A limit; none where it is `max`, or where the file is not there: a hierarchy's root has none.
fn limit(kernel: &Kernel, path: &str) -> Result<Option<u64>, String> {
    if !kernel.path(path).exists() {
        return Ok(None);
    }
    match kernel.text(path)?.as_str() {
        "max" => Ok(None),
        _ => kernel.number(path).map(Some),
    }
}

fn counts_those_below(kernel: &Kernel, folder: &str) -> bool {
    kernel.number(&format!("{folder}/memory.use_hierarchy")) != Ok(0)
}

/// The least limit up the tree as version 1 knows it, which includes groups that are not seen from here.
fn hidden_limit(kernel: &Kernel, hierarchy: &Hierarchy) -> Option<u64> {
    if hierarchy.version != Version::One {
        return None;
    }
    let folder = format!("{}/{}", hierarchy.mount, hierarchy.path.join("/"));
    field(&kernel.text(&format!("{folder}/memory.stat")).ok()?, "hierarchical_memory_limit")
}

/// The group with the `least` limit; of equal ones the outermost, which counts what the others hold. The groups go outwards.
fn tightest(kernel: &Kernel, version: Version, limited: &[Group], least: u64) -> Option<GroupMemory> {
    let at = limited.iter().rposition(|group| group.limit == Some(least))?;
    let (group, above) = limited[at..].split_first()?;
    let mut notes = Vec::new();
    let used = used(kernel, version, group, &mut notes);
    let mut free = used.clone().map(|used| ByteSize::new(least).saturating_sub(used));
    for other in above {
        let used = self::used(kernel, version, other, &mut Vec::new());
        let (Ok(used), Some(limit), Ok(free)) = (used, other.limit, &mut free) else { continue };
        let left = ByteSize::new(limit).saturating_sub(used);
        if left < *free {
            notes.push(format!("{} above it leaves {left}, less than its own limit does", other.name));
            *free = left;
        }
    }
    let pressure = kernel.text(&format!("{}/memory.pressure", group.folder)).unwrap_or_default();
    Some(GroupMemory { path: group.name.clone(), limit: ByteSize::new(least), used, free, pressure, notes })
}

/// A limit that a group above those that are seen has.
fn below_hidden(kernel: &Kernel, version: Version, outermost: &Group, limit: u64) -> GroupMemory {
    let mut notes = vec![
        "the limit is a group's that is not seen from here: what others in that group hold is not known, so more may be used and less free"
            .to_owned(),
    ];
    let used = used(kernel, version, outermost, &mut notes);
    let limit = ByteSize::new(limit);
    let free = used.clone().map(|used| limit.saturating_sub(used));
    GroupMemory { path: outermost.name.clone(), limit, used, free, pressure: String::new(), notes }
}

/// What a group holds and the kernel could not give up at once.
fn used(
    kernel: &Kernel,
    version: Version,
    group: &Group,
    notes: &mut Vec<String>,
) -> Result<ByteSize, String> {
    let (file, prefix, dirty) = match version {
        Version::One => ("memory.usage_in_bytes", "total_", ["dirty", "writeback"]),
        Version::Two => ("memory.current", "", ["file_dirty", "file_writeback"]),
    };
    let all = kernel.number(&format!("{}/{file}", group.folder))?;
    let stat = match kernel.text(&format!("{}/memory.stat", group.folder)) {
        Ok(stat) => stat,
        Err(reason) => {
            notes.push(format!("page cache counts as used: {reason}"));
            return Ok(ByteSize::new(all));
        }
    };
    let sum = |names: &[&str]| {
        let numbers = names.iter().filter_map(|name| field(&stat, &format!("{prefix}{name}")));
        numbers.fold(0u64, u64::saturating_add)
    };
    let clean = sum(&["active_file", "inactive_file"]).saturating_sub(sum(&dirty));
    let reclaimable = clean.saturating_add(sum(&["slab_reclaimable"]));
    Ok(ByteSize::new(all.saturating_sub(reclaimable)))
}

/// Finds the hierarchy that limits memory, and this process's group in it.
fn hierarchy(kernel: &Kernel, mounts: &Mounts) -> Result<Hierarchy, String> {
    let text = kernel.text("proc/self/cgroup")?;
    let mut of_two = None;
    let mut of_one = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if number == "0" && controllers.is_empty() {
            of_two = Some(path);
        } else if controllers.split(',').any(|controller| controller == "memory") {
            of_one = Some(path);
        }
    }
    // Where both are there, the one that has the controller counts.
    let (version, path) = match (of_one, of_two) {
        (Some(path), _) => (Version::One, path),
        (None, Some(path)) => (Version::Two, path),
        (None, None) => return Err("/proc/self/cgroup names no group that limits memory".to_owned()),
    };
    let (mounted, usual): (_, &[&str]) = match version {
        Version::One => (&mounts.memory, &["sys/fs/cgroup/memory"]),
        Version::Two => (&mounts.unified, &["sys/fs/cgroup/unified", "sys/fs/cgroup"]),
    };
    let usual = usual.iter().map(|at| Mount { root: String::new(), at: (*at).to_owned() });
    let Mount { root, at: mount } = mounted
        .iter()
        .cloned()
        .chain(usual)
        .find(|mount| kernel.is_folder(&mount.at))
        .ok_or("control groups are not mounted here: what this process may have is not known")?;
    // A mount may show a part of the hierarchy: paths go on from there.
    let below = path.strip_prefix(&*root).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let path: Vec<String> =
        below.unwrap_or("").split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    // Seen from a namespace, a group outside of it begins with `..`; a folder that is not there is another view's. The
    // mount's own folder is then the nearest that is known to be this process's.
    let is_here = path.len() <= DEEPEST
        && path.iter().all(|name| name != "..")
        && kernel.is_folder(&format!("{mount}/{}", path.join("/")));
    Ok(Hierarchy { version, mount, path: if is_here { path } else { Vec::new() } })
}
