//! `vramkit devices`.

use std::fmt::Write as _;

use vramkit::device::{Device, HostDevice};
use vramkit::report::{DeviceReport, DevicesReport};

use crate::args::DevicesOptions;
use crate::failure::Failure;
use crate::output::{self, BOLD};

pub fn run(options: &DevicesOptions) -> Result<bool, Failure> {
    let host = HostDevice::with_available_memory();
    let devices = vec![DeviceReport { info: host.info(), memory: host.memory() }];
    let report = DevicesReport { schema: "vramkit.devices/1", devices };
    if options.json {
        output::json(&report)?;
        return Ok(true);
    }
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
    }
    output::text(&text)?;
    Ok(true)
}
