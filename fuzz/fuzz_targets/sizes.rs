//! Sizes as people write them. What is read is printed and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_units::ByteSize;

fuzz_target!(|text: &str| {
    if let Ok(size) = text.parse::<ByteSize>() {
        let exact = size.bytes().to_string().parse::<ByteSize>().expect("digits are a size");
        assert_eq!(exact, size);
        let shown: ByteSize = size.to_string().parse().expect("a size is printed as one");
        // Printed with a few digits.
        assert!(shown.bytes().abs_diff(size.bytes()) as f64 <= 0.06 * size.bytes() as f64, "{size} for {text:?}");
    }
});
