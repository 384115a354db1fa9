//! Memory of the host as slices, and of any device as typed pointers.
#![allow(clippy::unwrap_used, unsafe_code)]
#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use vramkit_pool::device::{AddressRange, Backing, HostDevice, SimulatedDevice};
use vramkit_pool::pool::{Allocation, AllocationId, DeviceMemoryPool, PoolError, Request, ViewError};
use vramkit_units::ByteSize;

fn pool(device: impl Backing + 'static, mib: u64) -> DeviceMemoryPool {
    DeviceMemoryPool::new(Arc::new(device), ByteSize::mib(mib)).unwrap()
}

fn host(mib: u64) -> DeviceMemoryPool {
    pool(HostDevice::new(ByteSize::mib(mib)), mib)
}

fn take(pool: &DeviceMemoryPool, bytes: u64) -> Allocation {
    pool.allocate(Request::new(ByteSize::new(bytes))).unwrap()
}

#[test]
fn what_is_written_by_view_is_read_by_view_and_by_copy() {
    let pool = host(8);
    let mut block = take(&pool, 4 << 20);
    assert!(block.view::<u64>().unwrap().iter().all(|&word| word == 0), "fresh memory is zero");
    for (i, value) in block.view_mut::<f32>().unwrap().iter_mut().enumerate() {
        *value = i as f32;
    }
    assert_eq!(block.view::<f32>().unwrap()[1 << 19], (1 << 19) as f32);
    let mut bytes = [0; 4];
    block.read(4 * 77, &mut bytes).unwrap();
    assert_eq!(f32::from_ne_bytes(bytes), 77.0);
    block.write(8, &1.5f32.to_ne_bytes()).unwrap();
    assert_eq!(block.view_part::<f32>(8, 1).unwrap(), [1.5]);
    block.view_part_mut::<[u16; 3]>(6, 2).unwrap().fill([9; 3]);
    assert_eq!(block.view_part::<u16>(6, 7).unwrap()[..6], [9; 6]);
    block.fill(0x0403_0201).unwrap();
    assert_eq!(block.view::<u8>().unwrap()[..5], [1, 2, 3, 4, 1]);
    // Trimming takes nothing that is live, and what is used again is as it was left.
    let place = block.range();
    pool.trim().unwrap();
    drop(block);
    let again = take(&pool, 4 << 20);
    assert_eq!((again.range(), again.view::<u32>().unwrap()[0]), (place, 0x0403_0201));
}

#[test]
fn what_cannot_be_viewed_is_said_with_numbers() {
    let pool = host(2);
    let block = take(&pool, 1002);
    assert!(block.range().base.is_multiple_of(256));
    let error = block.view::<u32>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "1002 bytes are no whole number of u32, of 4 bytes each; view a part of them"
    );
    assert!(matches!(block.view::<[u8; 0]>(), Err(ViewError::Size { .. })), "nothing, how many times?");
    assert_eq!(block.view_part::<u32>(0, 250).unwrap().len(), 250);
    let base = block.range().base;
    assert_eq!(
        block.view_part::<u32>(2, 1),
        Err(ViewError::Misaligned { address: base + 2, alignment: 4, element: "u32" })
    );
    assert_eq!(block.view_part::<u8>(1002, 0).unwrap(), [0u8; 0]);
    for (offset, len) in [(1000, 1), (0, 251), (u64::MAX, 1), (4, usize::MAX), (u64::MAX - 3, usize::MAX / 2)]
    {
        let error = block.view_part::<u32>(offset, len).unwrap_err();
        assert!(matches!(error, ViewError::OutOfBounds(_)), "{offset} {len}: {error}");
    }
    let pointer = block.device_ptr::<u16>().unwrap();
    assert_eq!((pointer.address(), pointer.len(), pointer.range()), (base, 501, block.range()));
    assert_eq!(pointer.part(500, 1).unwrap().address(), base + 1000);
    assert!(pointer.part(500, 2).is_none() && pointer.part(usize::MAX, 2).is_none());
}

#[test]
fn memory_elsewhere_has_a_pointer_and_no_slice() {
    let pool = pool(SimulatedDevice::new(ByteSize::gib(80)), 4);
    let mut block = take(&pool, 4096);
    let error = block.view_mut::<f64>().unwrap_err();
    assert_eq!(error, ViewError::NotHost { device: "sim".to_owned() });
    assert_eq!(
        error.to_string(),
        "the memory is on sim, where this processor has no address for it; copy with `read` and `write`, or give \
         `device_ptr` to a kernel"
    );
    assert_eq!(block.device_ptr::<f64>().unwrap().len(), 512);
    block.write(0, &[1, 2]).unwrap();
    let mut bytes = [0; 3];
    block.read(0, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 0]);
    assert!(matches!(block.write(4095, &[0; 2]), Err(PoolError::OutOfBounds(_))));
    assert!(matches!(block.read(u64::MAX, &mut bytes), Err(PoolError::OutOfBounds(_))));
}

#[test]
fn movable_memory_is_viewed_while_it_is_pinned() {
    let pool = host(8);
    let below = take(&pool, 1 << 20);
    let mut movable = pool.allocate_movable(Request::new(ByteSize::mib(1))).unwrap();
    let place = movable.pin().range();
    movable.pin_mut().unwrap().view_mut::<u64>().unwrap().fill(42);
    drop(below);
    let pinned = movable.pin();
    assert!(pool.compact().unwrap().pinned);
    assert_eq!(pinned.view::<u64>().unwrap()[100], 42);
    assert_eq!(pinned.device_ptr::<u64>().unwrap().range(), place);
    drop(pinned);
    assert_eq!(pool.compact().unwrap().moved, 1);
    let pinned = movable.pin();
    assert_ne!(pinned.range(), place);
    // The id that an error names is the handle's own.
    let Err(PoolError::Pinned(id)) = movable.pin_mut() else { panic!("a pin is out") };
    assert_eq!(pool.release(id), Err(PoolError::UnknownAllocation(id)));
    assert_eq!(pool.fill(id, 1), Err(PoolError::UnknownAllocation(id)));
    assert!(pinned.view::<u64>().unwrap().iter().all(|&word| word == 42));
}

#[test]
fn ids_reach_what_is_live_and_only_that() {
    let pool = host(8);
    let (id, range) = pool.allocate_id(Request::new(ByteSize::new(1000))).unwrap();
    pool.fill(id, 7).unwrap();
    assert_eq!(pool.find_mismatch(id, 7, None), Ok(None));
    pool.fill_part(id, 500, ByteSize::new(100), 8).unwrap();
    assert_eq!(pool.find_mismatch(id, 7, None), Ok(Some(500)));
    assert_eq!(pool.find_mismatch_in(id, 500, ByteSize::new(100), 8, None), Ok(None));
    pool.write(id, 990, &[1; 10]).unwrap();
    let Err(PoolError::OutOfBounds(error)) = pool.write(id, 990, &[1; 11]) else { panic!("a byte too many") };
    assert_eq!((error.range.base, error.allocation), (range.base + 990, range));
    pool.release(id).unwrap();
    assert_eq!(pool.write(id, 0, &[1]), Err(PoolError::UnknownAllocation(id)));
    assert_eq!(pool.read(id, 0, &mut [1]), Err(PoolError::UnknownAllocation(id)));
}

/// Whoever views memory through a handle must be the only one who can release it: no id that safe code can come by may
/// stand for it, wherever it is from.
#[test]
fn no_plain_id_stands_for_a_handles_memory() {
    let (one, two) = (host(2), host(2));
    let ids: Vec<AllocationId> =
        (0..64).map(|_| one.allocate_id(Request::new(ByteSize::new(256))).unwrap().0).collect();
    let mut handles: Vec<Allocation> = (0..64).map(|_| take(&two, 256)).collect();
    for (i, handle) in handles.iter_mut().enumerate() {
        handle.view_mut::<u64>().unwrap().fill(i as u64);
    }
    for &id in &ids {
        assert_eq!(two.release(id), Err(PoolError::UnknownAllocation(id)));
        assert_eq!(two.fill(id, 1), Err(PoolError::UnknownAllocation(id)));
        assert!(two.resolve(id).is_err());
    }
    assert_eq!(two.stats().live, 64);
    assert!(handles.iter().enumerate().all(|(i, handle)| handle.view::<u64>().unwrap()[31] == i as u64));
    // A handle that becomes an id is one from then on.
    let range = handles[5].range();
    let id = handles.swap_remove(5).into_id();
    assert_eq!(two.resolve(id), Ok(range));
    let mut bytes = [0; 8];
    two.read(id, 0, &mut bytes).unwrap();
    assert_eq!(u64::from_ne_bytes(bytes), 5);
    two.release(id).unwrap();
    assert_eq!(two.release(id), Err(PoolError::UnknownAllocation(id)));
    drop(handles);
    assert_eq!(two.used(), ByteSize::ZERO);
    ids.into_iter().for_each(|id| one.release(id).unwrap());
}

/// A write by an id that began before the id was released is over before the next owner's view is there.
#[test]
fn a_write_by_a_dead_id_never_lands_in_a_view() {
    /// Ends the other threads, however this one ends.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let pool = host(2);
    let done = AtomicBool::new(false);
    let shared = std::sync::Mutex::new(None::<AllocationId>);
    let size = ByteSize::new(256 << 10);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    let id = *shared.lock().unwrap();
                    if let Some(id) = id {
                        let _dead_or_alive = pool.fill(id, 0xdead_dead);
                    }
                }
            });
        }
        let _done = Done(&done);
        for round in 0..300u64 {
            let (id, range) = pool.allocate_id(Request::new(size)).unwrap();
            *shared.lock().unwrap() = Some(id);
            std::thread::yield_now();
            pool.release(id).unwrap();
            let mut block = pool.allocate(Request::new(size)).unwrap();
            assert_eq!(block.range(), range, "the same place");
            let view = block.view_mut::<u64>().unwrap();
            view.fill(round);
            std::thread::yield_now();
            assert!(std::hint::black_box(view).iter().all(|&word| word == round), "round {round}");
        }
    });
}

#[test]
fn a_range_of_the_pools_addresses_is_viewed_where_it_is() {
    let pool =
        DeviceMemoryPool::new(Arc::new(HostDevice::new(ByteSize::mib(2))), ByteSize::mib(2)).expect("pool");
    let mut held = pool.allocate(Request::new(ByteSize::new(1024))).expect("granted");
    held.view_mut::<u32>().expect("view").fill(7);
    let range = held.range();
    // SAFETY: nothing else touches what `held` keeps while the slice is there.
    let seen = unsafe { pool.view_range_mut::<u32>(range) }.expect("inside");
    assert_eq!((seen.len(), seen[255]), (256, 7));
    seen[255] = 8;
    assert_eq!(held.view::<u32>().expect("view")[255], 8);
    let outside = AddressRange::new(pool.range().base + pool.range().size.bytes() - 4, ByteSize::new(8));
    // SAFETY: refused.
    assert!(matches!(unsafe { pool.view_range::<u32>(outside) }, Err(ViewError::OutOfBounds(_))));
}
