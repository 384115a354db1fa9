//! Devices of all sources, each with the pools on it: which card a pool is on is what the driver knows, not what the pool's
//! program says.
//!
//! ```text
//! pool ──simulated──────────────────────────► a device of its own: there is no such memory
//!      ──with an identity──► the card of it, or a device of its own
//!      ──without one───────► the only card whose driver lists the process, else by the process's environment,
//!                            else the card of its name (a claim)
//! a claim that the driver's list of a card, or what is in use of it, contradicts ──► a device of its own, and a word
//! ```

use std::collections::{BTreeMap, HashMap};

use vramkit::ByteSize;
use vramkit::device::{DeviceKind, Origin, Reading};
use vramkit::monitor::{DeviceBy, DeviceName, PoolUse, Usage};
use vramkit::pool::PoolStats;

use crate::doubts::is_more;
use crate::environment::{Card, Environment};
use crate::source::{DeviceClass, DeviceReading, Unavailable};

/// Most devices that only one user's pools speak of.
const OWN: usize = 32;
/// Most words about claims.
const WORDS: usize = 8;

/// Devices with their pools, and what is to be said of how they were found.
pub(crate) struct Joined {
    /// Those that sources list.
    pub(crate) listed: Vec<(DeviceReading, Vec<PoolUse>)>,
    /// Those that only pools speak of.
    pub(crate) own: Vec<(DeviceReading, Vec<PoolUse>)>,
    pub(crate) notes: Vec<Unavailable>,
}

/// Where a pool is.
enum Place {
    /// On a device of a source.
    On(usize, Option<DeviceBy>),
    /// On one that only pools speak of, which is never called as one that a source lists.
    Own(String, DeviceClass),
}

/// Every device with its pools, in the order of the sources; and devices that no source knows, which are what their
/// pools say they are.
pub(crate) fn by_device(
    devices: Vec<DeviceReading>,
    all: Vec<PoolUse>,
    environments: &BTreeMap<u32, Environment>,
) -> Joined {
    let mut on: Vec<Vec<PoolUse>> = devices.iter().map(|_| Vec::new()).collect();
    let mut own: BTreeMap<String, (DeviceClass, Vec<PoolUse>)> = BTreeMap::new();
    let (mut owns, mut notes): (HashMap<Option<String>, usize>, _) = (HashMap::new(), Vec::new());
    for mut pool in all {
        let found = place(&devices, &pool, environments);
        let place = match found {
            Place::On(place, _) if is_more_than_there_is(&devices[place], &pool) => {
                let (id, used) = (&devices[place].device.id, &devices[place].usage.used_bytes);
                let holds = pool.stats.committed_bytes;
                notes.push(note(
                    &pool,
                    format!(
                        "says that it holds {holds} of {id}, of which {used} is in use: it is shown apart"
                    ),
                ));
                Place::Own(format!("claimed:{id}"), DeviceClass::Other)
            }
            Place::On(place, by) if contradicts(&devices[place], &pool, by) => {
                let id = &devices[place].device.id;
                notes.push(note(
                    &pool,
                    format!("says that it is on {id}, whose driver lists no such process: it is shown apart"),
                ));
                Place::Own(format!("claimed:{id}"), DeviceClass::Other)
            }
            Place::On(place, Some(DeviceBy::Claim)) if devices[place].class.is_gpu() => {
                let id = &devices[place].device.id;
                notes.push(note(
                    &pool,
                    format!(
                        "says that it is on {id}, and nothing else does: it gives no identity of the card"
                    ),
                ));
                found
            }
            found => found,
        };
        match place {
            Place::On(place, by) => {
                pool.device_by = by;
                pool.device.clone_from(&devices[place].device.id);
                on[place].push(pool);
            }
            Place::Own(mut id, class) => {
                // Nobody writes into the history of what a source lists by calling a device of one's own the same.
                if devices.iter().any(|one| one.device.id == id) {
                    notes.push(note(
                        &pool,
                        format!("says that it is on `{id}`, which is no identity of a card"),
                    ));
                    id = format!("claimed:{id}");
                }
                let user = pool.process.as_ref().and_then(|process| process.user.clone());
                let count = owns.entry(user).or_default();
                if !own.contains_key(&id) {
                    if *count == OWN {
                        notes.push(note(&pool, format!("is on one device more than {OWN} that only this user's pools speak of: it is not shown")));
                        continue;
                    }
                    *count += 1;
                }
                pool.device.clone_from(&id);
                own.entry(id).or_insert_with(|| (class, Vec::new())).1.push(pool);
            }
        }
    }
    let over = notes.len().saturating_sub(WORDS);
    notes.truncate(WORDS);
    if over > 0 {
        let reason = format!("{over} more are on devices that only they speak of");
        notes.push(Unavailable { source: "pools".into(), reason });
    }
    let own = own.into_iter().map(|(id, (class, on_it))| (device_of_pools(id, class, &on_it), on_it));
    Joined { listed: devices.into_iter().zip(on).collect(), own: own.collect(), notes }
}

fn note(pool: &PoolUse, reason: String) -> Unavailable {
    Unavailable { source: format!("pool {} of process {}", pool.name, pool.pid), reason }
}

fn place(devices: &[DeviceReading], pool: &PoolUse, environments: &BTreeMap<u32, Environment>) -> Place {
    let named = |wanted: fn(DeviceClass) -> bool| {
        devices.iter().position(|one| one.device.id == pool.device && wanted(one.class))
    };
    // A name of its own, whatever a source may come to call a device.
    let own = || {
        let taken = named(|_| true).is_some();
        Place::Own(
            if taken { format!("claimed:{}", pool.device) } else { pool.device.clone() },
            DeviceClass::Other,
        )
    };
    let is_simulated = pool.device_kind == Some(DeviceKind::Simulated) || pool.device.starts_with("sim");
    if is_simulated {
        let id =
            if pool.device.starts_with("sim") { pool.device.clone() } else { format!("sim:{}", pool.device) };
        return match named(|class| class == DeviceClass::Simulated) {
            Some(place) => Place::On(place, None),
            None => Place::Own(id, DeviceClass::Simulated),
        };
    }
    if let Some(uuid) = pool.device_uuid.as_ref().filter(|uuid| !uuid.is_empty()) {
        let found = devices
            .iter()
            .position(|one| one.device.uuid.as_deref().is_some_and(|known| is_same(known, uuid)));
        return match found {
            Some(place) => Place::On(place, Some(DeviceBy::Identity)),
            None => Place::Own(uuid.clone(), DeviceClass::Other),
        };
    }
    let number = pool.device.strip_prefix("cuda:").and_then(|number| number.parse::<usize>().ok());
    match (&pool.device_kind, number) {
        (Some(DeviceKind::Host), _) => match named(|class| !class.is_gpu()) {
            Some(place) => Place::On(place, None),
            None => own(),
        },
        (None | Some(DeviceKind::Cuda), Some(number)) => {
            if let Some(place) = only_listed(devices, pool.pid) {
                return Place::On(place, Some(DeviceBy::Driver));
            }
            if let Some(place) = by_environment(devices, pool, number, environments) {
                return Place::On(place, Some(DeviceBy::Environment));
            }
            named(DeviceClass::is_gpu).map_or_else(own, |place| Place::On(place, Some(DeviceBy::Claim)))
        }
        _ => match named(|_| true) {
            Some(place) => {
                let is_gpu = devices[place].class.is_gpu();
                Place::On(place, is_gpu.then_some(DeviceBy::Claim))
            }
            None => own(),
        },
    }
}

/// Whether two texts are of one identity: some drivers and programs disagree about the word before it and its letters.
fn is_same(one: &str, other: &str) -> bool {
    let bare = |text: &str| {
        let text = text.strip_prefix("GPU-").or_else(|| text.strip_prefix("MIG-")).unwrap_or(text);
        text.to_ascii_lowercase()
    };
    bare(one) == bare(other)
}

fn lists(device: &DeviceReading, pid: u32) -> bool {
    device.processes.value.iter().flatten().any(|process| process.pid == pid)
}

/// The only card that lists a process; the only part of it, where the card is in parts.
fn only_listed(devices: &[DeviceReading], pid: u32) -> Option<usize> {
    let only = |class: DeviceClass| {
        let mut found = devices.iter().enumerate().filter(|(_, one)| one.class == class && lists(one, pid));
        let first = found.next().map(|(place, _)| place);
        (first, found.next().is_some())
    };
    if pid == 0 {
        return None;
    }
    match only(DeviceClass::GpuPart) {
        (None, _) => match only(DeviceClass::Gpu) {
            (Some(place), false) => Some(place),
            _ => None,
        },
        (Some(place), false) => Some(place),
        (Some(_), true) => None,
    }
}

fn by_environment(
    devices: &[DeviceReading],
    pool: &PoolUse,
    number: usize,
    environments: &BTreeMap<u32, Environment>,
) -> Option<usize> {
    let environment = environments.get(&pool.pid)?;
    let cards: Vec<Card<'_>> = devices
        .iter()
        .enumerate()
        .filter(|(_, one)| one.class == DeviceClass::Gpu && one.device.id.starts_with("cuda:"))
        .map(|(place, one)| Card { place, name: &one.device.name, uuid: one.device.uuid.as_deref() })
        .collect();
    let process = pool.process.as_ref();
    let in_container = process.is_some_and(|process| process.container.is_some() || process.pod.is_some());
    environment.card(number, &cards, in_container)
}

/// Whether the driver's list says that the process is not there. It does where all that it lists is of this namespace, and it
/// lists some, or has less in use than the pool says it holds.
fn contradicts(device: &DeviceReading, pool: &PoolUse, by: Option<DeviceBy>) -> bool {
    let Some(listed) = device.processes.value.as_ref().filter(|_| device.class.is_gpu()) else {
        return false;
    };
    let holds = pool.stats.committed_bytes;
    // One that cannot be seen from here is none of those that can.
    let is_claim = by != Some(DeviceBy::Driver) && !holds.is_zero();
    let is_ours = listed.iter().all(|process| process.name.value.is_some());
    let is_less = device.usage.used_bytes.value.is_some_and(|used| used < holds);
    is_claim && is_ours && !lists(device, pool.pid) && (!listed.is_empty() || is_less)
}

/// Whether a pool whose process the driver does not list says that it holds more than is in use at all. Of main memory what is asked for is in use once it is touched:
/// there, more than there is.
fn is_more_than_there_is(device: &DeviceReading, pool: &PoolUse) -> bool {
    let usage = &device.usage;
    let most = if device.class.is_gpu() { &usage.used_bytes } else { &usage.total_bytes };
    let is_listed = pool.pid != 0 && lists(device, pool.pid);
    !is_listed
        && most.source != Origin::Pool
        && most.value.is_some_and(|most| is_more(pool.stats.committed_bytes, most))
}

/// A device as the sum of its pools.
fn device_of_pools(id: String, class: DeviceClass, pools: &[PoolUse]) -> DeviceReading {
    let sum = |of: fn(&PoolStats) -> ByteSize| {
        let sum = pools.iter().fold(0u64, |sum, pool| sum.saturating_add(of(&pool.stats).bytes()));
        Reading::known(ByteSize::new(sum), Origin::Pool)
    };
    let why = "only pools are seen of this device";
    let used = sum(|stats| stats.used_bytes);
    let uuid = pools.first().and_then(|pool| pool.device_uuid.clone());
    DeviceReading {
        device: DeviceName { id, name: "pools of programs".into(), uuid },
        class,
        activity: None,
        usage: Usage {
            total_bytes: sum(|stats| stats.capacity_bytes),
            free_bytes: sum(|stats| stats.capacity_bytes.saturating_sub(stats.used_bytes)),
            used_bytes: used.clone(),
            driver_bytes: Reading::unavailable(Origin::Pool, why),
            allocated_bytes: used,
            reserved_bytes: sum(|stats| stats.committed_bytes),
        },
        processes: Reading::unavailable(Origin::Pool, why),
        stall: None,
        shared_bytes: None,
        notes: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
