//! Where control groups are mounted, from `/proc/self/mountinfo`: read once, because the list may be long and what a
//! running program stands in does not move.

use crate::kernel::Kernel;

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The folder in the hierarchy that the mount shows; without a slash at its end.
    pub(crate) root: String,
    /// Where, without the leading slash.
    pub(crate) at: String,
}

/// What is mounted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounts {
    /// Groups of version 1 that limit memory, the usual place first.
    pub(crate) memory: Vec<Mount>,
    /// Groups of version 2, the usual place first.
    pub(crate) unified: Vec<Mount>,
    /// Whether lxcfs stands in for `/proc/meminfo`.
    pub(crate) has_lxcfs: bool,
}

impl Mounts {
    pub(crate) fn read(kernel: &Kernel) -> Self {
        let mut mounts = Self::default();
        for line in kernel.text("proc/self/mountinfo").unwrap_or_default().lines() {
            let Some((place, kind)) = line.split_once(" - ") else { continue };
            let mut kind = kind.split(' ');
            let (name, options) = (kind.next().unwrap_or(""), kind.nth(1).unwrap_or(""));
            let mut place = place.split(' ').skip(3);
            let (Some(root), Some(at)) = (place.next(), place.next()) else { continue };
            let mount = Mount {
                root: plain(root).trim_end_matches('/').to_owned(),
                at: plain(at).trim_start_matches('/').to_owned(),
            };
            mounts.has_lxcfs |= at == "/proc/meminfo" && name.contains("lxcfs");
            match name {
                "cgroup" if options.split(',').any(|option| option == "memory") => mounts.memory.push(mount),
                "cgroup2" => mounts.unified.push(mount),
                _ => {}
            }
        }
        for found in [&mut mounts.memory, &mut mounts.unified] {
            found.sort_by_key(|mount| !mount.at.starts_with("sys/fs/cgroup"));
        }
        mounts
    }
}

/// A path of the list, in which spaces and the like are written as `\040`.
fn plain(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
