//! Sizes as people write them. What is read is printed and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vramkit_units::ByteSize;

fuzz_target!(|text: &str| {
    if let Ok(size) = text.parse::<ByteSize>() {
        let exact = size.bytes().to_string().parse::<ByteSize>().expect("digits are a size");
        assert_eq!(exact, size);
        // Printed with a few digits, which near 2^64 may be rounded up to more than there is.
        match size.to_string().parse::<ByteSize>() {
            Ok(shown) => {
                let off = shown.bytes().abs_diff(size.bytes());
                assert!(off as f64 <= 0.06 * size.bytes() as f64, "{size} for {text:?}");
            }
            Err(error) => assert!(size.bytes() > u64::MAX / 10 * 9, "{size} for {text:?}: {error}"),
        }
    }
});
