//! What the operating system says about this machine's memory. Text files of the kernel in, numbers out; a
//! file that is not there gives `None`.

use vramkit_units::ByteSize;

/// A `Name:   123 kB` line of one of the kernel's files.
fn kib_field(text: &str, name: &str) -> Option<ByteSize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024).map(ByteSize::new)
}

/// The machine's memory, from one reading.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SystemMemory {
    /// Physical memory, or what the control group allows when that is less.
    pub total: Option<ByteSize>,
    /// What could be taken now without swapping, within the control group's limit.
    pub available: Option<ByteSize>,
}

/// Reads it. Each of the kernel's files is read once: they take longer than all else that a look at the memory does.
pub(super) fn memory() -> SystemMemory {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else { return SystemMemory::default() };
    let (limit, current) = cgroup_memory();
    let left = limit.zip(current).map(|(limit, current)| limit.saturating_sub(current));
    let within = |field: Option<ByteSize>, bound: Option<ByteSize>| {
        field.map(|size| bound.map_or(size, |bound| bound.min(size)))
    };
    SystemMemory {
        total: within(kib_field(&text, "MemTotal"), limit),
        available: within(kib_field(&text, "MemAvailable"), left),
    }
}

/// What this process's (version 2) control group may take, and has without what the kernel would give up; `None` where there is
/// none or it may take all.
fn cgroup_memory() -> (Option<ByteSize>, Option<ByteSize>) {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(path) = groups.lines().find_map(|line| line.strip_prefix("0::")) else { return (None, None) };
    let number = |file: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup{path}/{file}")).ok()?;
        text.trim().parse().ok().map(ByteSize::new)
    };
    let limit = number("memory.max");
    let used = || {
        let stat = std::fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.stat")).unwrap_or_default();
        Some(number("memory.current")?.saturating_sub(reclaimable(&stat)))
    };
    (limit, limit.and_then(|_| used()))
}

/// What of a group's memory the kernel gives up before it refuses any: clean pages of files, and slab that says so.
fn reclaimable(stat: &str) -> ByteSize {
    let field = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let sum = |names: [&str; 2]| names.into_iter().map(field).fold(0, u64::saturating_add);
    let clean = sum(["active_file", "inactive_file"]).saturating_sub(sum(["file_dirty", "file_writeback"]));
    ByteSize::new(clean.saturating_add(field("slab_reclaimable")))
}

/// Resident memory of this process between two addresses, as the kernel counts it. The mappings there must not
/// reach over either address.
pub(super) fn resident_between(start: u64, end: u64) -> Option<ByteSize> {
    let maps = std::fs::read_to_string("/proc/self/smaps").ok()?;
    let mut inside = false;
    let mut resident = ByteSize::ZERO;
    for line in maps.lines() {
        if let Some((from, to)) = mapping_bounds(line) {
            inside = from >= start && to <= end;
        } else if inside && let Some(rss) = kib_field(line, "Rss") {
            resident += rss;
        }
    }
    Some(resident)
}

/// The addresses of a mapping's headline, such as `7f00-7f10 rw-p …`.
fn mapping_bounds(line: &str) -> Option<(u64, u64)> {
    let (from, to) = line.split_whitespace().next()?.split_once('-')?;
    Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        assert_eq!(kib_field("A: 1 kB\nMemTotal:       24 kB\n", "MemTotal"), Some(ByteSize::new(24 << 10)));
        assert_eq!(kib_field("MemTotal: lots\n", "MemTotal"), None);
        let stat = "file 900\nactive_file 300\ninactive_file 200\nfile_dirty 70\nfile_writeback 30\nslab_reclaimable 5\n";
        assert_eq!(reclaimable(stat), ByteSize::new(405));
        assert_eq!(reclaimable("inactive_file lots\nfile_dirty 3"), ByteSize::ZERO);
        assert_eq!(mapping_bounds("7f00-7f10 rw-p 00000000"), Some((0x7f00, 0x7f10)));
        assert_eq!(mapping_bounds("Rss:  4 kB"), None);
    }
}
