//! This machine's main memory in the kernel's figures (`/proc/meminfo`). What is available is what programs could have
//! without swapping, page cache that can be given up included; everything else is used.

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};

use crate::kernel::Kernel;

/// From one reading of the file.
pub(crate) struct MachineMemory {
    pub(crate) total: Reading<ByteSize>,
    pub(crate) available: Reading<ByteSize>,
    pub(crate) used: Reading<ByteSize>,
}

impl MachineMemory {
    pub(crate) fn read(kernel: &Kernel) -> Self {
        let text = kernel.text("proc/meminfo");
        let field = |name: &str| {
            let text = text.as_ref().map_err(Clone::clone);
            let found = text.and_then(|text| {
                kib_field(text, name).ok_or_else(|| format!("/proc/meminfo has no number `{name}`"))
            });
            match found {
                Ok(bytes) => Reading::known(ByteSize::new(bytes), Origin::System),
                Err(reason) => Reading::unavailable(Origin::System, reason),
            }
        };
        let (total, available) = (field("MemTotal"), field("MemAvailable"));
        let used = match (total.value, available.value) {
            (Some(total), Some(free)) => Reading::known(total.saturating_sub(free), Origin::System),
            _ => Reading::unavailable(Origin::System, "total or available memory is not known"),
        };
        Self { total, available, used }
    }
}

/// A `Name:   123 kB` line, in bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
