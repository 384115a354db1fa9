//! Lifetime tables (CSV). What is read is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_models::table;

fuzz_target!(|content: &[u8]| {
    let Ok(read) = table::parse("table.csv", content, "m", 1) else { return };
    let offsets = vec![vramkit_units::ByteSize::ZERO; read.tensors.len()];
    read.write_with_offsets(&offsets, std::io::sink()).expect("a sink takes everything");
});
