//! One reading as text: a table of all devices, then each with its holders, then what is not here.

use std::fmt::Write as _;

use vramkit::monitor::{ProcessIdentity, ProcessUse};
use vramkit_ask::Tick;
use vramkit_watch::{Activity, DeviceTick, Presence};

use crate::output::{self, BAD, BOLD, DIM};
use crate::printable::printable;

/// Most characters of a holder's name and of what is said of its process.
const NAME: usize = 60;
const WORDS: usize = 80;
/// Most processes of a device whose bytes are not known.
const UNTOLD: usize = 8;

pub fn text(tick: &Tick) -> String {
    let mut text = String::new();
    if tick.devices.len() > 1 {
        text += &summary(tick);
        text.push('\n');
    }
    for device in &tick.devices {
        details(device, &mut text);
    }
    for absent in &tick.unavailable {
        let _ = writeln!(text, "{DIM}{}: {}{DIM:#}", printable(&absent.source), printable(&absent.reason));
    }
    text
}

/// A line for every device.
fn summary(tick: &Tick) -> String {
    let headers =
        ["device", "level", "used", "total", "full", "busy", "temp", "power"].map(str::to_owned).to_vec();
    let mut rows = vec![headers];
    for device in &tick.devices {
        let usage = &device.snapshot.usage;
        let [busy, temperature, power] = activity(device.activity.as_ref());
        let size =
            |size: Option<vramkit::ByteSize>| size.map_or_else(|| "–".to_owned(), |size| size.to_string());
        let full =
            usage.used_ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{:.1} %", 100.0 * ratio));
        rows.push(vec![
            printable(&device.snapshot.device.id),
            state(device),
            size(usage.used_bytes.value),
            size(usage.total_bytes.value),
            full,
            busy,
            temperature,
            power,
        ]);
    }
    output::table(&rows)
}

/// Its level, or that it is not there.
fn state(device: &DeviceTick) -> String {
    match (&device.presence, device.snapshot.level) {
        (Presence::Lost { .. }, _) => format!("{BAD}lost{BAD:#}"),
        (Presence::Unread { .. }, _) => "not read".to_owned(),
        (Presence::Given { .. }, _) => "given away".to_owned(),
        (Presence::Barred { .. }, _) => "barred".to_owned(),
        (_, Some(level)) => level.to_string(),
        (_, None) => "unknown".to_owned(),
    }
}

/// Work, temperature, power.
fn activity(activity: Option<&Activity>) -> [String; 3] {
    let known = |of: fn(&Activity) -> Option<f64>| activity.and_then(of);
    let cell = |value: Option<f64>, unit: &str| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}{unit}"))
    };
    [
        cell(known(|activity| activity.utilization_ratio).map(|ratio| 100.0 * ratio), " %"),
        cell(known(|activity| activity.temperature_celsius), " °C"),
        cell(known(|activity| activity.power_watts), " W"),
    ]
}

fn details(device: &DeviceTick, text: &mut String) {
    let (snapshot, usage) = (&device.snapshot, &device.snapshot.usage);
    let (id, name) = (printable(&snapshot.device.id), printable(&snapshot.device.name));
    let absent = match &device.presence {
        Presence::Lost { since, reason } => Some((format!("{BAD}lost{BAD:#}"), since, reason)),
        Presence::Unread { since, reason } => Some((format!("{BAD}not read{BAD:#}"), since, reason)),
        Presence::Given { since, reason } => Some(("given away".to_owned(), since, reason)),
        Presence::Barred { since, reason } => Some(("barred".to_owned(), since, reason)),
        _ => None,
    };
    if let Some((state, since, reason)) = absent {
        let reason = printable(reason);
        let _ = writeln!(text, "{BOLD}{id}{BOLD:#}  {name}  {state} since {since}: {reason}");
        return;
    }
    let level = snapshot.level.map_or_else(|| "level not available".to_owned(), |level| level.to_string());
    let percent =
        usage.used_ratio().map_or_else(String::new, |ratio| format!(", {:.1} % used", 100.0 * ratio));
    let _ = writeln!(text, "{BOLD}{id}{BOLD:#}  {name}  {level}{percent}");
    // Full is where the driver's own part begins, so it belongs to the level.
    let kept = usage.driver_bytes.value.filter(|kept| !kept.is_zero());
    let kept = kept.map_or_else(String::new, |kept| format!(", {kept} kept by the driver"));
    let (used, total, free) = (&usage.used_bytes, &usage.total_bytes, &usage.free_bytes);
    let _ = writeln!(text, "  {used} used of {total}, {free} free{kept}");
    if let Some(shared) = &device.shared_bytes {
        let _ = writeln!(text, "  beside it, of the machine's memory (GTT): {shared}");
    }
    for note in device.assigned_words().iter().chain(&device.notes) {
        let _ = writeln!(text, "  {DIM}{}{DIM:#}", printable(note));
    }
    if let Some(stall) = device.stall {
        let _ = writeln!(
            text,
            "  waiting for memory: {:.1} % of 10 s, {:.1} % of 60 s, {:.1} % of 300 s",
            100.0 * stall.some.avg10_ratio,
            100.0 * stall.some.avg60_ratio,
            100.0 * stall.some.avg300_ratio
        );
    }
    if let Some(reason) =
        snapshot.processes.unavailable.as_ref().filter(|_| snapshot.processes.value.is_none())
    {
        let _ = writeln!(text, "  {DIM}processes: {}{DIM:#}", printable(reason));
    }
    *text += &holders(device);
    *text += &untold(device);
    for found in &device.suspected {
        let [tag, model, pool] = [found.leak.tag.clone(), found.leak.model.to_string(), found.pool.clone()]
            .map(|name| printable(&name));
        let pid = found.pid;
        let _ = writeln!(
            text,
            "  {BAD}leak suspected{BAD:#}: tag `{tag}` of {model} in pool {pool} of process {pid}"
        );
    }
}

/// Processes of which the driver doesn't say what they hold.
fn untold(device: &DeviceTick) -> String {
    let processes = device.snapshot.processes.value.iter().flatten();
    let untold: Vec<&ProcessUse> = processes.filter(|process| process.used_bytes.value.is_none()).collect();
    let mut text = String::new();
    for process in untold.iter().take(UNTOLD) {
        let name = process.name.value.as_deref().unwrap_or("process");
        let why = process.used_bytes.unavailable.as_deref().unwrap_or("the driver does not say");
        let (name, why) = (output::cut(&printable(name), NAME), printable(why));
        let _ = writeln!(text, "  {DIM}{name} ({}): what it holds is not known: {why}{DIM:#}", process.pid);
    }
    if untold.len() > UNTOLD {
        let _ = writeln!(text, "  {DIM}and {} more{DIM:#}", untold.len() - UNTOLD);
    }
    text
}

/// Who holds it, with the columns that something is known for.
fn holders(device: &DeviceTick) -> String {
    let holders = &device.holders;
    if holders.is_empty() {
        return String::new();
    }
    type Column = (&'static str, fn(&ProcessIdentity) -> Option<String>);
    let columns: [Column; 4] = [
        ("user", |whose| whose.user.clone()),
        ("pod or container", |whose| whose.pod.clone().or_else(|| whose.container.clone())),
        ("job", |whose| whose.job.clone()),
        ("command", |whose| whose.command.clone()),
    ];
    let is_known = |(_, of): &Column| holders.iter().any(|holder| of(&holder.identity).is_some());
    let columns: Vec<Column> = columns.into_iter().filter(is_known).collect();
    let total = device.snapshot.usage.total_bytes.value.filter(|total| !total.is_zero());
    let mut headers = vec!["holder", "holds", "of all"];
    headers.extend(columns.iter().map(|(name, _)| *name));
    let mut rows = vec![headers.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for holder in holders {
        let part = total.map(|total| format!("{:.1} %", 100.0 * holder.bytes.ratio_of(total)));
        let name = output::cut(&printable(&holder.name), NAME);
        let mut row = vec![name, holder.bytes.to_string(), part.unwrap_or_default()];
        row.extend(columns.iter().map(|(_, of)| {
            of(&holder.identity).map_or_else(|| "–".to_owned(), |text| output::cut(&printable(&text), WORDS))
        }));
        rows.push(row);
    }
    output::table(&rows)
}
