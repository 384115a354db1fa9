//! Allocation traces as text, CSV and JSON Lines, compressed or not; what is read is placed.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vramkit_replay::{PolicyName, place, traces_of};

fuzz_target!(|content: &[u8]| {
    for trace in traces_of(content.to_vec(), Path::new("trace")).into_iter().flatten() {
        for policy in [PolicyName::Default, PolicyName::BestFit, PolicyName::Pytorch, PolicyName::PytorchExpandable] {
            let placed = place(&trace, policy, None);
            assert_eq!(placed.len(), trace.allocations(), "{policy} refused what there is room for");
        }
    }
});
