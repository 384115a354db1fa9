//! The parts of a divided card (MI300 and later: DPX, QPX, CPX). Each is a node of KFD's with a render node and a number of its own;
//! memory's figures the kernel gives of the card alone.
//!
//! What a part may have stands in its node's memory banks: where the driver gives each an equal share, or the card's memory is
//! divided as well (NPS4), together no more than the card has. Then each part is a device, and what its processes hold is in use of
//! it. Where each may have all (`compute_partition_mem_alloc_mode`), they are none: the card is as full as all of them make it.

use std::collections::BTreeMap;

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::Usage;

use super::card::Card;
use super::kfd::{KfdUse, Node};
use crate::kernel::{Kernel, shown};

/// What is known of a card that is divided.
pub(super) struct Division {
    pub(super) note: String,
    /// Those that have memory of their own.
    pub(super) parts: Vec<Part>,
}

pub(super) struct Part {
    pub(super) usage: Usage,
    /// By process.
    pub(super) held: BTreeMap<u32, u64>,
}

/// How a card of so many bytes, which is these nodes, is divided; nothing of one that is whole. One that is `asleep` is not asked.
pub(super) fn division(
    kernel: &Kernel,
    (card, asleep): (&Card, bool),
    total: Option<ByteSize>,
    nodes: &[&Node],
    uses: &[KfdUse],
) -> Option<Division> {
    let mode = |name: &str| {
        let mode = kernel.text(&card.file(name)).ok().filter(|_| !asleep);
        mode.map(|mode| shown(&mode, 16)).filter(|mode| !mode.is_empty())
    };
    let compute = mode("current_compute_partition").filter(|mode| mode != "SPX");
    if nodes.len() < 2 && compute.is_none() {
        return None;
    }
    let modes: Vec<String> = [compute, mode("current_memory_partition")].into_iter().flatten().collect();
    let modes = if modes.is_empty() { String::new() } else { format!(" ({})", modes.join(", ")) };
    let together = nodes.iter().fold(0u64, |sum, node| sum.saturating_add(node.bytes));
    let have_own = nodes.len() > 1
        && nodes.iter().all(|node| node.bytes > 0)
        && total.is_some_and(|total| together <= total.bytes());
    let parts = if have_own { nodes.iter().map(|node| part(node, uses)).collect() } else { Vec::new() };
    let note = match (have_own, nodes.len()) {
        (true, count) => format!("divided into {count} parts{modes}: one may be full before the card is"),
        (false, 0 | 1) => format!("divided{modes}: what its parts are, KFD's topology does not say"),
        (false, count) => format!("divided into {count} parts{modes}, which have its memory in common"),
    };
    Some(Division { note, parts })
}

fn part(node: &Node, uses: &[KfdUse]) -> Part {
    let mut held = BTreeMap::new();
    for one in uses.iter().filter(|one| one.gpu_id == node.gpu_id && one.bytes > 0) {
        held.insert(one.pid, one.bytes);
    }
    let used = held.values().fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
    let known = |bytes: u64| Reading::known(ByteSize::new(bytes), Origin::Sysfs);
    let none = |reason: &str| Reading::unavailable(Origin::Sysfs, reason);
    let usage = Usage {
        total_bytes: known(node.bytes),
        used_bytes: known(used),
        free_bytes: known(node.bytes.saturating_sub(used)),
        driver_bytes: none("the kernel does not say what the driver keeps"),
        allocated_bytes: none("the kernel does not say what programs use of what they hold"),
        reserved_bytes: none("see the pools"),
    };
    Part { usage, held }
}
