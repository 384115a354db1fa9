//! The example of a device of one's own, as a test; and how its kind is written.
#![cfg(not(loom))]

use vramkit::device::DeviceKind;

#[path = "../examples/own_device.rs"]
mod own_device;

#[test]
fn a_device_of_ones_own_passes_the_checks_and_serves_a_pool() {
    own_device::main().expect("the example ends well");
}

#[test]
fn kinds_of_devices_are_open_and_those_known_are_written_as_ever() {
    for (kind, text) in [
        (DeviceKind::Host, "\"host\""),
        (DeviceKind::Cuda, "\"cuda\""),
        (DeviceKind::Simulated, "\"simulated\""),
        (DeviceKind::Other("rocm".to_owned()), "\"rocm\""),
    ] {
        assert_eq!(serde_json::to_string(&kind).expect("a kind is a string"), text);
        assert_eq!(serde_json::from_str::<DeviceKind>(text).expect("a string is a kind"), kind);
    }
}
