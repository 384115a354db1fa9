//! `vramkit devices`.

use std::fmt::Write as _;

use vramkit::device::DeviceKind;
use vramkit_ask::DevicesReport;
use vramkit_watch::DeviceClass;

use crate::args::DevicesOptions;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::output::{BOLD, DIM};

pub fn run(options: &DevicesOptions, caller: &mut Caller) -> Result<bool, Failure> {
    let report = vramkit_ask::devices();
    if options.json {
        caller.json(&report)?
    } else {
        caller.text(&text(&report))?
    }
    Ok(true)
}

fn text(report: &DevicesReport) -> String {
    let mut text = String::new();
    for device in &report.devices {
        let (info, memory) = (&device.info, &device.memory);
        let _ = writeln!(text, "{BOLD}{}{BOLD:#}  {}", info.id, info.name);
        let uuid = info.uuid.as_ref().map_or_else(String::new, |uuid| format!(", {uuid}"));
        let _ = writeln!(text, "  {}{uuid}", class(device.class));
        for note in &device.notes {
            let _ = writeln!(text, "  {DIM}{note}{DIM:#}");
        }
        let (total, free) = (&memory.total_bytes, &memory.free_bytes);
        if info.granularity.is_zero() {
            let _ = writeln!(
                text,
                "  {total} in all, {free} free; as its driver says: this program takes no memory of it"
            );
            continue;
        }
        let _ = writeln!(text, "  {total} usable, {free} free, granules of {}", info.granularity);
        let _ = writeln!(text, "  processors {}", info.multiprocessors);
        let _ = writeln!(text, "  level-2 cache {}", info.l2_cache_bytes);
        let _ = writeln!(text, "  bus width {}", info.bus_width_bits);
        let _ = writeln!(text, "  compute capability {}", info.compute_capability);
        if let Some(pool) = &device.stream_pool {
            let _ = writeln!(
                text,
                "  stream-ordered pool {} used of {} reserved, at most {} of {}",
                pool.used_bytes, pool.reserved_bytes, pool.used_high_bytes, pool.reserved_high_bytes
            );
        }
    }
    for absent in &report.unavailable {
        let kind = match &absent.kind {
            DeviceKind::Other(kind) => kind,
            _ => "cuda",
        };
        let _ = writeln!(text, "{BOLD}{kind}{BOLD:#}  {}", absent.reason);
    }
    text
}

fn class(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::Gpu => "a card",
        DeviceClass::GpuPart => "a part of a card",
        DeviceClass::Machine => "main memory",
        DeviceClass::Group => "a control group's part of main memory",
        DeviceClass::Simulated => "simulated",
        _ => "another kind",
    }
}
