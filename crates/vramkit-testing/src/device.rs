//! What every device must do, checked: for those who write one.
//!
//! In: a device with nothing reserved. Out: nothing, or a panic that says what does not hold. Both checks run over the
//! devices of this crate in its own tests.

use std::sync::Arc;

use vramkit::device::{AddressRange, Backing, Reservation, find_mismatch};
use vramkit::pool::{DeviceMemoryPool, PoolError, Request};
use vramkit::units::ByteSize;

/// Checks a device's reservations, of which it must have memory for 16 granules: committing and giving back to the
/// granule, content, refusals that change nothing, separate books.
pub fn check_device(device: &dyn Backing) {
    let granularity = device.info().granularity;
    assert!(granularity.bytes().is_power_of_two(), "the granularity is {granularity}");
    let size = ByteSize::new(16 * granularity.bytes());
    let memory = device.reserve(size - ByteSize::new(1)).expect("addresses for 16 granules");
    let range = memory.range();
    assert_eq!(range.size, size, "rounded up to granules");
    assert!(range.base.is_multiple_of(granularity.bytes()), "{range} is on a granule boundary");
    assert!(device.reserve(ByteSize::MAX).is_err());
    check_granules(device, &*memory, granularity);
    check_content(&*memory, granularity);
    check_refusals(device, &*memory, granularity);
    let committed = device.memory().committed_bytes;
    let other = device.reserve(size).expect("addresses for 16 granules more");
    let apart = other.range().base >= range.end() || other.range().end() <= range.base;
    assert!(apart, "two reservations share no address");
    assert!(other.read(range.base, &mut [0]).is_err(), "another reservation's memory");
    assert!(other.decommit(granules(range, granularity, 0, 1)).is_err(), "another reservation's memory");
    drop(other);
    assert_eq!(device.memory().committed_bytes, committed);
    drop(memory);
    assert_eq!(device.memory().committed_bytes.value, Some(ByteSize::ZERO), "all of it went back");
}

fn granules(range: AddressRange, granularity: ByteSize, first: u64, count: u64) -> AddressRange {
    let granule = granularity.bytes();
    range.part(first * granule, ByteSize::new(count * granule)).expect("inside of 16 granules")
}

/// What the device and the system say is there follows what is committed. Leaves nothing committed.
fn check_granules(device: &dyn Backing, memory: &dyn Reservation, granularity: ByteSize) {
    let part = |first, count| granules(memory.range(), granularity, first, count);
    let check = |count: u64| {
        let bytes = ByteSize::new(count * granularity.bytes());
        assert_eq!(device.memory().committed_bytes.value, Some(bytes), "{count} granules are committed");
        // The system need not say; if it does, it says the same.
        assert!(memory.resident().value.is_none_or(|resident| resident == bytes), "{:?}", memory.resident());
    };
    check(0);
    memory.commit(part(2, 5)).expect("memory for 5 granules");
    check(5);
    memory.commit(part(8, 1)).expect("memory for 6 granules");
    check(6);
    memory.decommit(part(3, 2)).expect("committed above");
    check(4);
    for (first, count) in [(2, 1), (5, 2), (8, 1)] {
        memory.decommit(part(first, count)).expect("still committed");
    }
    check(0);
}

/// What was written is read back, to the byte, and nothing beside it. Leaves one granule committed.
fn check_content(memory: &dyn Reservation, granularity: ByteSize) {
    const PATTERN: u32 = 0x0403_0201;
    let (range, granule) = (memory.range(), granularity.bytes());
    let part = |first, count| granules(range, granularity, first, count);
    memory.commit(part(0, 3)).expect("memory for 3 granules");
    // What it held before is anything.
    memory.fill(part(0, 3), 0).expect("committed memory");
    // From the end of one granule into the next, on no boundary.
    let length = granule.min(1000);
    let odd = range.part(granule - length / 2 + 3, ByteSize::new(length)).expect("inside of two granules");
    let intact = |place, pattern| find_mismatch(memory, place, pattern, None).expect("committed memory");
    memory.fill(odd, PATTERN).expect("committed memory");
    assert_eq!(intact(odd, PATTERN), None, "a fill is where it was put");
    memory.write(odd.base + 50, &[9, 9]).expect("committed memory");
    assert_eq!(intact(odd, PATTERN), Some(50), "a write is where it was put");
    let target = range.base + 2 * granule - 1;
    memory.copy(odd, target).expect("committed memory, apart");
    let (mut copied, mut original) = (vec![0; length as usize], vec![0; length as usize]);
    memory.read(target, &mut copied).expect("committed memory");
    memory.read(odd.base, &mut original).expect("committed memory");
    assert_eq!(copied, original, "a copy is the same");
    let mut beside = [1; 4];
    memory.read(odd.base - 4, &mut beside).expect("committed memory");
    assert_eq!(beside, [0; 4], "nothing was written beside it");
    for size in 0..9 {
        let small = range.part(7 + size, ByteSize::new(size)).expect("inside of a granule");
        memory.fill(small, !PATTERN).expect("committed memory");
        assert_eq!(intact(small, !PATTERN), None, "{size} bytes");
    }
    memory.decommit(part(0, 3)).expect("committed above");
    memory.commit(part(0, 1)).expect("memory for a granule");
}

/// A wrong range is an error and changes nothing. The first granule is committed.
fn check_refusals(device: &dyn Backing, memory: &dyn Reservation, granularity: ByteSize) {
    let (range, before) = (memory.range(), device.memory().committed_bytes);
    let part = |first, count| granules(range, granularity, first, count);
    assert!(memory.commit(part(0, 2)).is_err(), "a granule is committed already");
    assert!(memory.decommit(part(0, 2)).is_err(), "a granule is not committed");
    assert!(memory.commit(AddressRange::new(range.base + granularity.bytes() / 2, granularity)).is_err());
    assert!(memory.commit(AddressRange::new(range.end(), granularity)).is_err(), "past the end");
    assert!(memory.fill(part(0, 2), 1).is_err(), "a granule is not committed");
    assert!(memory.fill(AddressRange::new(u64::MAX - 1, ByteSize::new(9)), 1).is_err(), "past 2^64");
    assert!(memory.write(range.base + granularity.bytes() - 1, &[0, 0]).is_err(), "a byte too many");
    assert!(memory.read(range.end() - 1, &mut [0, 0]).is_err(), "past the end");
    assert!(memory.read(8, &mut [0]).is_err(), "nobody's");
    assert!(memory.copy(part(0, 1), range.base + granularity.bytes()).is_err(), "to what is not committed");
    let half = ByteSize::new(granularity.bytes() / 2 + 1);
    assert!(
        memory.copy(AddressRange::new(range.base, half), range.base + half.bytes() - 1).is_err(),
        "over itself"
    );
    assert_eq!(device.memory().committed_bytes, before);
    memory.fill(part(0, 1), 5).expect("what is committed can be reached as before");
}

/// Checks what a pool of 64 MiB on a device promises: content through grants, releases, trimming, moving and 400 steps
/// of random work.
pub fn check_pool(device: Arc<dyn Backing>) {
    let pool = DeviceMemoryPool::new(device.clone(), ByteSize::mib(64)).expect("addresses for 64 MiB");
    check_trim(&pool, device.info().granularity).expect("memory of the pool");
    check_moves(&pool).expect("memory of the pool");
    check_random_work(&pool).expect("memory of the pool");
    pool.trim().expect("nothing is live");
    assert_eq!((pool.used(), pool.committed()), (ByteSize::ZERO, ByteSize::ZERO));
    drop(pool);
    assert_eq!(device.memory().committed_bytes.value, Some(ByteSize::ZERO));
}

fn check_trim(pool: &DeviceMemoryPool, granularity: ByteSize) -> Result<(), PoolError> {
    const SIZE: u64 = 3_000_000;
    let mut blocks = Vec::new();
    for pattern in 0..12 {
        let mut block = pool.allocate(Request::new(ByteSize::new(SIZE)))?;
        block.fill(pattern)?;
        if pattern % 3 == 1 {
            blocks.push((pattern, block));
        }
    }
    pool.trim()?;
    let granule = granularity.bytes();
    let mut touched: Vec<u64> = blocks
        .iter()
        .flat_map(|(_, block)| block.offset() / granule..(block.offset() + SIZE).div_ceil(granule))
        .collect();
    touched.dedup();
    assert_eq!(
        pool.committed(),
        ByteSize::new(touched.len() as u64 * granule),
        "what is live, to the granule"
    );
    for (pattern, block) in &blocks {
        assert_eq!(block.find_mismatch(*pattern, None)?, None, "trimming took or moved a live byte");
    }
    Ok(())
}

fn check_moves(pool: &DeviceMemoryPool) -> Result<(), PoolError> {
    let mut movable = Vec::new();
    for pattern in 100..110 {
        let mut block = pool.allocate_movable(Request::new(ByteSize::mib(2)))?;
        block.pin_mut()?.fill(pattern)?;
        movable.push((pattern, block));
    }
    movable.retain(|(pattern, _)| pattern % 2 == 1);
    let report = pool.compact()?;
    assert_eq!(report.largest_after_bytes, pool.capacity() - ByteSize::mib(10), "all moved together");
    for (pattern, block) in &movable {
        assert_eq!(block.pin().find_mismatch(*pattern, None)?, None, "moving changed a byte");
    }
    Ok(())
}

fn check_random_work(pool: &DeviceMemoryPool) -> Result<(), PoolError> {
    let (mut live, mut random) = (Vec::new(), super::Random::new(7));
    for step in 0..400 {
        if random.unit() < 0.5 || live.is_empty() {
            let size = ByteSize::new(1 + random.below(2_000_000));
            if let Ok((id, _)) = pool.allocate_id(Request::new(size)) {
                pool.fill(id, step)?;
                live.push((id, step));
            }
        } else {
            let (id, pattern) = live.swap_remove(random.below(live.len() as u64) as usize);
            let stride = Some(ByteSize::new(65_536));
            assert_eq!(pool.find_mismatch(id, pattern, stride)?, None, "step {step}");
            pool.release(id)?;
        }
        assert_eq!(pool.used() + pool.available(), pool.capacity());
    }
    live.into_iter().try_for_each(|(id, _)| pool.release(id))
}
