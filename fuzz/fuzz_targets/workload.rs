//! Workloads: JSON when the text begins like it, else TOML. Files that they name are not there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_fuzz::file;
use vramkit_models::{ReadOptions, read, workload};

fuzz_target!(|content: &[u8]| {
    // What a workload names outside of the folder is whatever this machine has there.
    if content.contains(&b'/') {
        return;
    }
    let name = if content.trim_ascii_start().starts_with(b"{") { "workload.json" } else { "workload.toml" };
    if let Ok(demand) = read(&file(name, content), &ReadOptions::default()) {
        let _ = workload::to_toml(&demand, "read");
    }
});
