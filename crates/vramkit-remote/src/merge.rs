//! What several machines say as one tick: every id says which machine it is of, and what a machine said before it fell silent is
//! not shown as if it were so now.

use std::collections::BTreeSet;
use std::time::SystemTime;

use vramkit::device::Reading;
use vramkit::monitor::{Usage, utc};
use vramkit_watch::{Activity, DeviceTick, Health, Presence, SourceTick, Tick, Unavailable};

use crate::host::Standing;
use crate::named::{named, only};

/// Adds a machine to a tick.
pub(crate) fn add(merged: &mut Tick, machine: &str, standing: Standing) {
    let is_up = standing.health == Health::Up;
    let mut source = SourceTick::new(machine.to_owned(), standing.health, utc(standing.since));
    source.reason.clone_from(&standing.reason);
    source.answered = standing.answered.map(utc);
    merged.sources.push(source);
    merged.events.extend(standing.events.into_iter().map(|mut event| {
        event.device = named(machine, &event.device);
        event
    }));
    let mut say = |reason| merged.unavailable.push(Unavailable { source: machine.to_owned(), reason });
    let reason = standing.reason.unwrap_or_default();
    if !is_up {
        say(reason.clone());
    }
    let Some(tick) = standing.tick else { return };
    standing.words.into_iter().for_each(&mut say);
    let mut taken = BTreeSet::new();
    let mut doubled = 0;
    merged.devices.extend(tick.devices.into_iter().map(|mut device| {
        let id = &mut device.snapshot.device.id;
        let name = named(machine, id);
        *id = only(name.clone(), &mut taken);
        doubled += usize::from(*id != name);
        if is_up {
            device.notes.extend(standing.doubt.clone());
            device
        } else {
            silenced(device, &reason, standing.silent_since)
        }
    }));
    if doubled > 0 {
        let reason =
            format!("{doubled} of its devices are called as another one: which is which is not known");
        merged.unavailable.push(Unavailable { source: machine.to_owned(), reason });
    }
    if is_up {
        let clock = |reason| Unavailable { source: format!("{machine} clock"), reason };
        merged.unavailable.extend(standing.doubt.map(clock));
        merged.sources.extend(tick.sources.into_iter().map(|mut source| {
            source.source = named(machine, &source.source);
            source
        }));
        merged.unavailable.extend(
            tick.unavailable
                .into_iter()
                .map(|absent| Unavailable { source: named(machine, &absent.source), ..absent }),
        );
    }
}

/// A device of which nothing is known any more but that it was there.
fn silenced(mut device: DeviceTick, reason: &str, since: SystemTime) -> DeviceTick {
    let source = device.snapshot.usage.used_bytes.source;
    // One that was lost before is still not known to be back.
    if device.presence == Presence::Present {
        device.presence = Presence::Unread { since: utc(since), reason: reason.to_owned() };
    }
    let snapshot = &mut device.snapshot;
    snapshot.usage = Usage::unavailable(source, reason);
    snapshot.processes = Reading::unavailable(source, reason);
    snapshot.pools.clear();
    snapshot.level = None;
    device.activity = None::<Activity>;
    device.stall = None;
    device.forecast = None;
    device.full_soon = false;
    device.growing = None;
    device.suspected.clear();
    device.holders.clear();
    device
}
