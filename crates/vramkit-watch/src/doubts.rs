//! Numbers of one device that do not fit one another: who reads them is told, since nobody here knows which of them is wrong.
//!
//! They are read one after the other, so that a little more held than in use is no wonder.

use std::collections::BTreeSet;

use vramkit::ByteSize;
use vramkit::device::Origin;
use vramkit::monitor::{DeviceBy, PoolUse};

use crate::source::DeviceReading;

/// What may come or go between two readings: a twentieth and this.
const SLACK: ByteSize = ByteSize::mib(256);

/// A word for it counts from this part of all there is on: a twentieth.
const MATTERS: u64 = 20;

/// What is to be said of a device's numbers.
pub(crate) fn doubts(reading: &DeviceReading, pools: &[PoolUse]) -> Vec<String> {
    let usage = &reading.usage;
    // A sum of pools is what they say and no more.
    if usage.used_bytes.source == Origin::Pool {
        return Vec::new();
    }
    let (total, free, used) = (usage.total_bytes.value, usage.free_bytes.value, usage.used_bytes.value);
    let mut doubts = Vec::new();
    if total.is_some_and(ByteSize::is_zero) {
        doubts.push("all of it is said to be 0 bytes: how full it is, is not known".to_owned());
    }
    let mut above = |what: &str, part: Option<ByteSize>| {
        if let Some((part, total)) = part.zip(total).filter(|(part, total)| part > total && !total.is_zero())
        {
            doubts.push(format!("{part} {what} is said of {total} in all: one of them is wrong"));
        }
    };
    // A group may be over a limit that it was given a moment ago.
    if usage.used_bytes.source != Origin::Cgroup {
        above("in use", used);
    }
    above("free", free);
    let Some(used) = used else { return doubts };
    let processes = reading.processes.value.iter().flatten().filter_map(|process| process.used_bytes.value);
    let held = processes.fold(ByteSize::ZERO, ByteSize::saturating_add);
    if is_more(held, used) {
        doubts.push(format!(
            "processes are said to hold {held} together, and {used} is in use: one of them is wrong"
        ));
    }
    doubts.extend(of_pools(reading, pools, used, held));
    doubts
}

/// What is to be said of pools on a card that is lost, of which nobody says that they are there but a number: drivers number the
/// others anew.
pub(crate) fn guessed(pools: &[PoolUse]) -> Option<String> {
    let is_guess = |pool: &&PoolUse| matches!(pool.device_by, Some(DeviceBy::Environment | DeviceBy::Claim));
    let pids: BTreeSet<u32> = pools.iter().filter(is_guess).map(|pool| pool.pid).collect();
    let first = pids.first()?;
    let more = if pids.len() > 1 { format!(" and {} more", pids.len() - 1) } else { String::new() };
    Some(format!(
        "pools of process {first}{more} are taken to be here by a number alone: a program that began after this card was lost \
         means another one by it"
    ))
}

/// What pools say that does not fit what is in use, and what processes hold together.
fn of_pools(reading: &DeviceReading, pools: &[PoolUse], used: ByteSize, held: ByteSize) -> Vec<String> {
    let mut doubts = Vec::new();
    let sum = |of: &mut dyn Iterator<Item = ByteSize>| of.fold(ByteSize::ZERO, ByteSize::saturating_add);
    let of =
        |pid: u32| pools.iter().filter(move |pool| pool.pid == pid).map(|pool| pool.stats.committed_bytes);
    for process in reading.processes.value.iter().flatten() {
        let pooled = sum(&mut of(process.pid));
        if let Some(used) = process.used_bytes.value.filter(|&used| is_more(pooled, used)) {
            let pid = process.pid;
            doubts.push(format!(
                "pools of process {pid} say that they hold {pooled}, and the driver that it holds {used}: no more than that counts"
            ));
        }
    }
    let is_named = |pid: u32| {
        let mut all = reading.processes.value.iter().flatten();
        all.any(|process| process.pid == pid && process.used_bytes.value.is_some())
    };
    // Of main memory no room inside is counted, and no process is listed.
    let of_others = || pools.iter().filter(|pool| reading.class.is_gpu() && !is_named(pool.pid));
    let theirs = sum(&mut of_others().map(|pool| pool.stats.committed_bytes));
    if !held.is_zero() && !theirs.is_zero() && is_more(theirs.saturating_add(held), used) {
        doubts.push(format!(
            "pools of processes that the driver does not list hold {theirs} beside {held} of those that it lists, and {used} is in use: either they are the same under other numbers and are counted twice, or the pools' word is wrong"
        ));
    }
    let mut idle = of_others().map(|pool| pool.stats.committed_bytes.saturating_sub(pool.stats.used_bytes));
    let idle = sum(&mut idle).min(used);
    let total = reading.usage.total_bytes.value;
    if total.is_some_and(|total| idle.bytes() > total.bytes() / MATTERS) {
        doubts.push(format!(
            "pools of processes of which the driver gives no bytes say that {idle} of what they hold is idle: it counts as room for them, and that is their programs' word alone"
        ));
    }
    let pooled = sum(&mut pools.iter().map(|pool| pool.stats.committed_bytes));
    if is_more(pooled, used) {
        doubts.push(format!(
            "pools say that they hold {pooled} together, and {used} is in use: who holds it is their programs' word alone"
        ));
    }
    doubts
}

/// Whether more is held than can be in use, by more than what changes meanwhile.
pub(crate) fn is_more(held: ByteSize, used: ByteSize) -> bool {
    held > used.saturating_add(ByteSize::new(used.bytes() / 20)).saturating_add(SLACK)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vramkit::device::{Reading, SimulatedDevice};
    use vramkit::monitor::{DeviceName, ProcessIdentity, ProcessUse, Usage};
    use vramkit::pool::DeviceMemoryPool;

    use super::*;
    use crate::source::DeviceClass;

    fn card(total: u64, free: u64, used: u64, processes: &[u64]) -> DeviceReading {
        let known = |gib: u64| Reading::known(ByteSize::gib(gib), Origin::Nvml);
        let mut usage = Usage::unavailable(Origin::Nvml, "not scripted");
        (usage.total_bytes, usage.free_bytes, usage.used_bytes) = (known(total), known(free), known(used));
        let process = |&gib: &u64| ProcessUse {
            pid: 7,
            name: Reading::unavailable(Origin::System, "not scripted"),
            identity: ProcessIdentity::default(),
            used_bytes: known(gib),
            peak_bytes: Reading::unavailable(Origin::Nvml, "not scripted"),
        };
        DeviceReading {
            device: DeviceName { id: "cuda:0".into(), name: "H100".into(), uuid: None },
            class: DeviceClass::Gpu,
            activity: None,
            usage,
            processes: Reading::known(processes.iter().map(process).collect(), Origin::Nvml),
            stall: None,
            shared_bytes: None,
            notes: Vec::new(),
        }
    }

    fn pool(gib: u64) -> PoolUse {
        let device = Arc::new(SimulatedDevice::new(ByteSize::gib(1)));
        let mut shown = PoolUse::of("kv", &DeviceMemoryPool::new(device, ByteSize::gib(1)).unwrap());
        shown.stats.committed_bytes = ByteSize::gib(gib);
        shown
    }

    #[test]
    fn what_does_not_fit_is_said_and_nothing_else() {
        for (reading, pools, says) in [
            (card(80, 38, 42, &[20, 20]), vec![2], &[][..]),
            (card(80, 40, 40, &[42]), vec![], &[]),
            (
                card(80, 40, 40, &[42]),
                vec![42],
                &["hold 42 GiB beside 42 GiB of those that it lists", "40 GiB of what they hold is idle"],
            ),
            (card(80, 0, 200, &[]), vec![], &["200 GiB in use is said of 80 GiB"]),
            (card(1, 2, 0, &[]), vec![], &["2 GiB free is said of 1 GiB"]),
            (
                card(80, 79, 1, &[12]),
                vec![],
                &["processes are said to hold 12 GiB together, and 1 GiB is in use"],
            ),
            (
                card(80, 39, 41, &[]),
                vec![30, 20],
                &[
                    "say that 41 GiB of what they hold is idle: it counts as room",
                    "pools say that they hold 50 GiB together, and 41 GiB is in use",
                ],
            ),
            (card(80, 36, 44, &[41]), vec![3], &[]),
            (card(0, 0, 0, &[]), vec![], &["0 bytes"]),
        ] {
            let pools: Vec<PoolUse> = pools.into_iter().map(pool).collect();
            let found = doubts(&reading, &pools);
            assert_eq!(found.len(), says.len(), "{found:?}");
            assert!(found.iter().zip(says).all(|(found, says)| found.contains(says)), "{found:?}");
        }
        let mut unknown = card(80, 1, 1, &[]);
        unknown.usage = Usage::unavailable(Origin::Nvml, "not known");
        assert!(doubts(&unknown, &[pool(50)]).is_empty(), "what is not known contradicts nothing");
        // Of a process that the driver lists.
        let listed = card(80, 3, 77, &[1, 1]);
        let of_it = || PoolUse { pid: 7, ..pool(40) };
        let words = doubts(&listed, &[of_it(), of_it()]).concat();
        assert!(
            words
                .contains("pools of process 7 say that they hold 80 GiB, and the driver that it holds 1 GiB"),
            "{words}"
        );
        let mut memory = card(80, 40, 40, &[]);
        memory.class = DeviceClass::Machine;
        assert!(doubts(&memory, &[pool(30)]).is_empty(), "what is idle there is no room anyway");
        let mut own = card(1, 1, 1, &[]);
        own.usage.used_bytes.source = Origin::Pool;
        assert!(doubts(&own, &[pool(50)]).is_empty());
    }
}
