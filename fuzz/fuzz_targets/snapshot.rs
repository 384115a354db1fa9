//! PyTorch's memory snapshots: pickles, of any protocol.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vramkit_replay::traces_of;

fuzz_target!(|content: &[u8]| {
    let _ = traces_of(content.to_vec(), Path::new("snapshot.pickle"));
});
