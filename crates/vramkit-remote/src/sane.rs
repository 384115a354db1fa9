//! A stranger's numbers: what no device has, load, rate or time can be, is not known, and it is said which.

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::{Stall, StallTimes};
use vramkit_watch::{Activity, DeviceTick, Tick};

/// No device has more, nor fills by more in a second.
const LARGEST: ByteSize = ByteSize::gib(1 << 20);
const FASTEST: f64 = LARGEST.bytes() as f64;
/// In seconds: nothing has run for longer, nor is foretold for later.
const AGES: f64 = 1e10;
/// In degrees Celsius and in watts: no card bears more.
const HOTTEST: f64 = 200.0;
const COLDEST: f64 = -100.0;
const STRONGEST: f64 = 1e5;
/// So many times its own size no device holds.
const TIMES: f64 = 100.0;
/// Devices of which it is said by name.
const NAMED: usize = 8;

/// Takes out what cannot be; a line for each device of which something was.
pub(crate) fn sane(tick: &mut Tick) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut more = 0;
    for device in &mut tick.devices {
        let wrong = of_device(device);
        if wrong.is_empty() {
        } else if lines.len() == NAMED {
            more += 1;
        } else {
            let id = &device.snapshot.device.id;
            lines.push(format!("says of {id} what cannot be, and is left out: {}", wrong.join(", ")));
        }
    }
    if more > 0 {
        lines.push(format!("says of {more} more devices what cannot be, and is left out"));
    }
    lines
}

fn of_device(device: &mut DeviceTick) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    sizes(device, &mut wrong);
    if let Some(activity) = &mut device.activity {
        work(activity, &mut wrong);
    }
    let is_time = |stall: &Stall| {
        let ratios = [stall.avg10_ratio, stall.avg60_ratio, stall.avg300_ratio];
        ratios.iter().all(|ratio| (0.0..=1.0).contains(ratio)) && (0.0..=AGES).contains(&stall.total_seconds)
    };
    let is_stall = |stall: &StallTimes| is_time(&stall.some) && is_time(&stall.full);
    keep(&mut device.stall, is_stall, "time lost waiting", &mut wrong);
    let is_rate = |rate: f64| rate.abs() <= FASTEST;
    keep(
        &mut device.forecast,
        |forecast| {
            let rates =
                [forecast.bytes_per_second, forecast.bytes_per_second_low, forecast.bytes_per_second_high];
            let times =
                [forecast.full_in_seconds, forecast.full_in_seconds_soonest, forecast.full_in_seconds_latest];
            rates.into_iter().all(is_rate)
                && times.iter().flatten().all(|seconds| (0.0..=f64::MAX).contains(seconds))
        },
        "when it will be full",
        &mut wrong,
    );
    keep(
        &mut device.growing,
        |growing| is_rate(growing.growth.bytes_per_second) && growing.growth.growth_ratio.abs() <= FASTEST,
        "its growth",
        &mut wrong,
    );
    let before = device.suspected.len();
    device.suspected.retain(|found| is_rate(found.leak.bytes_per_second) && found.leak.old_bytes <= LARGEST);
    if device.suspected.len() < before {
        wrong.push("a leak");
    }
    wrong
}

fn sizes(device: &mut DeviceTick, wrong: &mut Vec<&'static str>) {
    let usage = &mut device.snapshot.usage;
    let (used, total) = (usage.used_bytes.value, usage.total_bytes.value);
    if used.zip(total).is_some_and(|(used, total)| !total.is_zero() && used.ratio_of(total) > TIMES) {
        unknown(&mut usage.total_bytes, "it is a small part of what is in use");
        wrong.push("all of its memory");
    }
    // As a monitor of today says it itself; a group may be over a limit that it was given a moment ago.
    let is_group = usage.used_bytes.source == Origin::Cgroup;
    let over = usage.used_bytes.value.zip(usage.total_bytes.value).filter(|(used, total)| used > total);
    if let Some((used, total)) = over.filter(|(_, total)| !total.is_zero() && !is_group) {
        let note = format!("{used} in use is said of {total} in all: one of them is wrong");
        if !device.notes.contains(&note) {
            device.notes.push(note);
        }
    }
    let readings = [
        (&mut usage.total_bytes, "all of its memory"),
        (&mut usage.free_bytes, "free bytes"),
        (&mut usage.used_bytes, "used bytes"),
        (&mut usage.driver_bytes, "the driver's bytes"),
        (&mut usage.allocated_bytes, "allocated bytes"),
        (&mut usage.reserved_bytes, "reserved bytes"),
    ];
    let shared = device.shared_bytes.iter_mut().map(|shared| (shared, "shared bytes"));
    for (reading, what) in readings.into_iter().chain(shared) {
        if reading.value.is_some_and(|bytes| bytes > LARGEST) {
            unknown(reading, "it is more than any device has");
            wrong.push(what);
        }
    }
    // A level without the numbers that it is of is no more than a word.
    if usage.used_ratio().is_none() {
        device.snapshot.level = None;
    }
    let before = device.holders.len();
    device.holders.retain(|holder| holder.bytes <= LARGEST);
    let mut is_wrong = device.holders.len() < before;
    for process in device.snapshot.processes.value.iter_mut().flatten() {
        for reading in [&mut process.used_bytes, &mut process.peak_bytes] {
            if reading.value.is_some_and(|bytes| bytes > LARGEST) {
                unknown(reading, "it is more than any device has");
                is_wrong = true;
            }
        }
    }
    if is_wrong {
        wrong.push("who holds it");
    }
}

fn work(activity: &mut Activity, wrong: &mut Vec<&'static str>) {
    keep(&mut activity.utilization_ratio, |ratio| (0.0..=1.0).contains(ratio), "load", wrong);
    let is_temperature = |degrees: &f64| (COLDEST..=HOTTEST).contains(degrees);
    keep(&mut activity.temperature_celsius, is_temperature, "temperature", wrong);
    let is_power = |watts: &f64| (0.0..=STRONGEST).contains(watts);
    keep(&mut activity.power_watts, is_power, "power", wrong);
    keep(&mut activity.power_limit_watts, is_power, "limit of power", wrong);
}

fn keep<T>(
    value: &mut Option<T>,
    is_so: impl Fn(&T) -> bool,
    what: &'static str,
    wrong: &mut Vec<&'static str>,
) {
    if value.take_if(|value| !is_so(value)).is_some() {
        wrong.push(what);
    }
}

fn unknown(reading: &mut Reading<ByteSize>, why: &str) {
    *reading = Reading::unavailable(reading.source, format!("what the machine says is no number: {why}"));
}
