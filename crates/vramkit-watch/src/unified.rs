//! Cards that have no memory of their own (GB10, Jetson): theirs is the machine's. The driver has no figures of it, so
//! the machine's stand there: all of it, what is in use of it by anybody, what could be had. What the card's processes hold
//! of it is what is allocated.

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::{ProcessUse, Usage};

use crate::kernel::Kernel;
use crate::meminfo::MachineMemory;

/// What is to be known of such figures.
pub(crate) const NOTE: &str =
    "its driver has no figures of memory of its own: taken as sharing the machine's, whose figures these are";

/// The figures of a card that shares the machine's memory.
pub(crate) fn usage(kernel: &Kernel, processes: &Reading<Vec<ProcessUse>>) -> Usage {
    let machine = MachineMemory::read(kernel);
    let none = |reason: &str| Reading::unavailable(Origin::System, reason);
    Usage {
        total_bytes: machine.total,
        free_bytes: machine.available,
        used_bytes: machine.used,
        driver_bytes: none("the driver's part is not told apart in the machine's memory"),
        allocated_bytes: held(processes),
        reserved_bytes: none("see the pools"),
    }
}

/// The sum over processes, where every one of them is known.
fn held(processes: &Reading<Vec<ProcessUse>>) -> Reading<ByteSize> {
    let none = |reason: &str| Reading::unavailable(Origin::Processes, reason);
    let Some(list) = &processes.value else {
        return none(processes.unavailable.as_deref().unwrap_or("processes are not listed"));
    };
    let mut sum = ByteSize::ZERO;
    for process in list {
        let Some(bytes) = process.used_bytes.value else {
            return none("what some process holds is not known");
        };
        sum = sum.saturating_add(bytes);
    }
    Reading::known(sum, Origin::Processes)
}
