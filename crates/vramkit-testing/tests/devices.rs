//! Every device does what a device must.
#![allow(clippy::unwrap_used)]
#![cfg(not(loom))]

use proptest::prelude::*;
use vramkit::ByteSize;
use vramkit::device::{AddressRange, Backing, Device, DeviceError, Fault, HostDevice, SimulatedDevice};

const GRANULE: ByteSize = HostDevice::GRANULARITY;

fn both(capacity: ByteSize) -> Vec<Box<dyn Backing>> {
    vec![Box::new(HostDevice::new(capacity)), Box::new(SimulatedDevice::new(capacity))]
}

fn granules(range: AddressRange, first: u64, count: u64) -> AddressRange {
    range.part(first * GRANULE.bytes(), ByteSize::new(count * GRANULE.bytes())).unwrap()
}

#[test]
fn every_device_passes_the_checks() {
    for device in both(ByteSize::mib(64)) {
        vramkit_testing::check_device(&*device);
    }
    for granularity in [256, 4096, 16 << 20] {
        let device = SimulatedDevice::builder(ByteSize::gib(1)).granularity(ByteSize::new(granularity));
        vramkit_testing::check_device(&device.build());
    }
}

#[test]
fn memory_is_zero_when_it_comes_and_when_it_comes_again() {
    for device in both(ByteSize::mib(64)) {
        let memory = device.reserve(GRANULE).unwrap();
        let (range, mut bytes) = (memory.range(), [1; 100]);
        for _ in 0..2 {
            memory.commit(range).unwrap();
            memory.read(range.base + 7, &mut bytes).unwrap();
            assert_eq!(bytes, [0; 100], "{device:?}");
            memory.fill(range, 0x0101_0101).unwrap();
            memory.decommit(range).unwrap();
        }
    }
}

#[test]
fn the_capacity_is_a_limit_with_numbers() {
    for device in both(ByteSize::mib(4)) {
        let memory = device.reserve(ByteSize::mib(8)).unwrap();
        let range = memory.range();
        memory.commit(granules(range, 0, 1)).unwrap();
        match memory.commit(granules(range, 1, 2)) {
            Err(DeviceError::OutOfMemory { requested, available, total, .. }) => {
                assert_eq!(
                    (requested, available, total),
                    (ByteSize::mib(4), ByteSize::mib(2), ByteSize::mib(4))
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(device.memory().free_bytes.value, Some(ByteSize::mib(2)));
        drop(memory);
        assert_eq!(device.memory().committed_bytes.value, Some(ByteSize::ZERO));
    }
}

#[test]
fn the_schedule_of_faults_is_kept() {
    let device = SimulatedDevice::builder(ByteSize::gib(80))
        .fault(Fault::CommitFails { nth: 2 })
        .fault(Fault::OthersHold { from_operation: 5, bytes: ByteSize::gib(80) })
        .fault(Fault::Lost { from_operation: 7 })
        .build();
    let memory = device.reserve(ByteSize::gib(80)).unwrap();
    let range = memory.range(); // operation 1
    memory.commit(granules(range, 0, 1)).unwrap();
    assert!(matches!(memory.commit(granules(range, 1, 1)), Err(DeviceError::OutOfMemory { .. })));
    memory.commit(granules(range, 1, 1)).unwrap();
    assert!(memory.commit(granules(range, 2, 1)).is_err(), "other processes took the rest");
    assert_eq!(device.memory().free_bytes.value, Some(ByteSize::ZERO));
    memory.decommit(granules(range, 0, 1)).unwrap();
    assert!(matches!(memory.commit(granules(range, 0, 1)), Err(DeviceError::Lost { .. })));
    assert_eq!(device.memory().committed_bytes.value, Some(GRANULE));
    drop(memory);
    assert_eq!(device.memory().committed_bytes.value, Some(ByteSize::ZERO), "gone with the device");
}

#[test]
fn random_faults_come_from_the_seed() {
    let run = |seed| -> Vec<bool> {
        let device = SimulatedDevice::builder(ByteSize::gib(1))
            .seed(seed)
            .fault(Fault::CommitsFailAtRandom { ratio: 0.5 })
            .build();
        let memory = device.reserve(ByteSize::gib(1)).unwrap();
        let range = memory.range();
        (0..64).map(|i| memory.commit(granules(range, i, 1)).is_ok()).collect()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    assert!((10..54).contains(&run(7).iter().filter(|ok| **ok).count()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The map of ranges that a simulated device keeps reads like plain memory.
    #[test]
    fn simulated_content_is_like_memory(
        operations in prop::collection::vec((0u8..3, 0u64..200, 0u64..60, any::<u32>(), 0u64..200), 1..60)
    ) {
        let device = SimulatedDevice::builder(ByteSize::mib(1)).granularity(ByteSize::new(256)).build();
        let memory = device.reserve(ByteSize::new(256)).unwrap();
        let range = memory.range();
        memory.commit(range).unwrap();
        let mut model = [0u8; 256];
        for (kind, at, size, pattern, target) in operations {
            let part = range.part(at, ByteSize::new(size.min(256 - at))).unwrap();
            let bytes = at as usize..(part.end() - range.base) as usize;
            match kind {
                0 => {
                    memory.fill(part, pattern).unwrap();
                    for i in bytes {
                        model[i] = pattern.to_le_bytes()[i % 4];
                    }
                }
                1 => {
                    let data: Vec<u8> = bytes.clone().map(|i| (i as u32 ^ pattern) as u8).collect();
                    memory.write(part.base, &data).unwrap();
                    model[bytes].copy_from_slice(&data);
                }
                _ => {
                    if memory.copy(part, range.base + target).is_ok() {
                        model.copy_within(bytes, target as usize);
                    }
                }
            }
            let mut found = [0; 256];
            memory.read(range.base, &mut found).unwrap();
            prop_assert_eq!(found, model);
        }
    }
}
