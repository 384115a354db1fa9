//! What several machines say as one tick: every id says which machine it is of, and what a machine said before it fell silent is
//! not shown as if it were so now.

use std::time::SystemTime;

use vramkit::device::Reading;
use vramkit::monitor::{Usage, utc};
use vramkit_watch::{Activity, DeviceTick, Health, Presence, SourceTick, Tick, Unavailable};

use crate::host::Standing;

/// Of one machine: devices, and lines about what is not there.
const DEVICES: usize = 256;
const LINES: usize = 256;

/// Adds a machine to a tick.
pub(crate) fn add(merged: &mut Tick, machine: &str, standing: Standing) {
    let named = |name: &str| format!("{machine} {name}");
    let is_up = standing.health == Health::Up;
    let mut source = SourceTick::new(machine.to_owned(), standing.health, utc(standing.since));
    source.reason.clone_from(&standing.reason);
    source.answered = standing.answered.map(utc);
    merged.sources.push(source);
    merged.events.extend(standing.events.into_iter().map(|mut event| {
        event.device = named(&event.device);
        event
    }));
    let reason = standing.reason.unwrap_or_default();
    if !is_up {
        merged.unavailable.push(Unavailable { source: machine.to_owned(), reason: reason.clone() });
    }
    let Some(tick) = standing.tick else { return };
    let all = tick.devices.len();
    if all > DEVICES {
        let reason = format!("only {DEVICES} of its {all} devices are taken");
        merged.unavailable.push(Unavailable { source: machine.to_owned(), reason });
    }
    let since = standing.answered.unwrap_or(standing.since);
    merged.devices.extend(tick.devices.into_iter().take(DEVICES).map(|mut device| {
        device.snapshot.device.id = named(&device.snapshot.device.id);
        if is_up { device } else { silenced(device, &reason, since) }
    }));
    if is_up {
        merged.sources.extend(tick.sources.into_iter().take(LINES).map(|mut source| {
            source.source = named(&source.source);
            source
        }));
        merged.unavailable.extend(
            tick.unavailable
                .into_iter()
                .take(LINES)
                .map(|absent| Unavailable { source: named(&absent.source), ..absent }),
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
