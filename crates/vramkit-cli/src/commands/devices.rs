//! `vramkit devices`.

use std::fmt::Write as _;

use vramkit_ask::DevicesReport;

use crate::args::DevicesOptions;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::output::BOLD;

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
        let _ = writeln!(
            text,
            "  {} usable, {} free, granules of {}",
            memory.total_bytes, memory.free_bytes, info.granularity
        );
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
        let _ = writeln!(text, "{BOLD}cuda{BOLD:#}  {}", absent.reason);
    }
    text
}
