//! Lengths of requests: as CSV, as JSON Lines and as a data set.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_fuzz::file;
use vramkit_models::traffic::{BadRows, read_traffic};

fuzz_target!(|content: &[u8]| {
    for name in ["requests.csv", "requests.jsonl", "requests.json"] {
        let path = file(name, content);
        if let Ok(traffic) = read_traffic(&path, BadRows::Refuse) {
            let again = read_traffic(&path, BadRows::LeaveOut).expect("it was read");
            assert_eq!((again.requests.len(), again.left_out), (traffic.requests.len(), traffic.left_out));
        }
    }
});
