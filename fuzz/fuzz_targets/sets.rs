//! A manager's configuration: read, and written back with sets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_fuzz::file;
use vramkit_sets::{maximal_sets, read_sets, write_llama_swap};
use vramkit_units::ByteSize;

fuzz_target!(|content: &[u8]| {
    for name in ["llama-swap.yaml", "models.toml", "presets.ini", "Modelfile"] {
        if let Ok(sets) = read_sets(&file(name, content)) {
            let sizes: Vec<_> = sets.entries.iter().map(|entry| (entry.name.clone(), ByteSize::gib(1))).collect();
            let solved = maximal_sets(&sizes, ByteSize::gib(2));
            let _ = write_llama_swap(&sets, &solved);
        }
    }
});
