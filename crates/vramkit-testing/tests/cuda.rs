//! The CUDA device against a driver: the stand-in over main memory, or, with `VRAMKIT_GPU=1`, the real one (then the
//! tests that make the driver fail are left out).
#![allow(unsafe_code, clippy::unwrap_used)]
#![cfg(all(target_os = "linux", not(loom)))]

use std::ffi::{CString, c_char, c_int, c_uint};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libloading::{Library, Symbol};
use vramkit::ByteSize;
use vramkit::device::{
    AddressRange, Backing, CudaDevice, CudaError, CudaStream, Device, DeviceError, HostDevice,
    SimulatedDevice, Stream, find_mismatch,
};
use vramkit::pool::{DeviceMemoryPool, PoolError, Request};
use vramkit_testing::{check_device, check_pool};

/// The stand-in has one state for the process: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn on_a_real_card() -> bool {
    std::env::var_os("VRAMKIT_GPU").is_some()
}

/// Where the stand-in's library is: where the environment says, else beside this test, where it was built to.
fn stand_in() -> PathBuf {
    if let Some(path) = std::env::var_os("VRAMKIT_CUDA_DRIVER") {
        return path.into();
    }
    // Built because this package depends on it; named so that it is.
    let _ = vramkit_standin::standin_bytes_created as extern "C" fn() -> u64;
    let directory = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    directory.join("libvramkit_standin.so")
}

struct Driver {
    library: Option<Library>,
    _turn: MutexGuard<'static, ()>,
}

impl Driver {
    fn new() -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the stand-in has no initialisers.
        let library = (!on_a_real_card()).then(|| unsafe { Library::new(stand_in()) }.unwrap());
        let driver = Self { library, _turn: turn };
        driver.call(|reset: Symbol<extern "C" fn()>| reset(), "standin_reset");
        driver
    }

    fn card(&self) -> CudaDevice {
        if self.library.is_some() { CudaDevice::with_driver(&stand_in(), 0) } else { CudaDevice::new(0) }
            .unwrap()
    }

    fn call<F, R>(&self, act: impl FnOnce(Symbol<F>) -> R, name: &str) -> Option<R> {
        // SAFETY: the types are those of the stand-in's declarations.
        self.library.as_ref().map(|library| act(unsafe { library.get(name.as_bytes()) }.unwrap()))
    }

    fn fail(&self, function: &str, nth: u32, code: i32) {
        let function = CString::new(function).unwrap();
        self.call(
            |fail: Symbol<unsafe extern "C" fn(*const c_char, c_uint, c_int)>| {
                // SAFETY: a text that ends with 0.
                unsafe { fail(function.as_ptr(), nth, code) }
            },
            "standin_fail",
        );
    }

    fn hold_streams(&self, held: bool) {
        self.call(|hold: Symbol<extern "C" fn(c_int)>| hold(c_int::from(held)), "standin_hold_streams");
    }

    fn others_hold(&self, bytes: u64) {
        self.call(|hold: Symbol<extern "C" fn(u64)>| hold(bytes), "standin_others_hold");
    }

    /// Bytes that exist on the card, as the driver itself counts them.
    fn created(&self) -> Option<u64> {
        self.call(|created: Symbol<extern "C" fn() -> u64>| created(), "standin_bytes_created")
    }
}

fn granules(device: &CudaDevice, range: AddressRange, first: u64, count: u64) -> AddressRange {
    let granule = device.info().granularity.bytes();
    range.part(first * granule, ByteSize::new(count * granule)).unwrap()
}

#[test]
fn a_card_says_what_it_is() {
    let driver = Driver::new();
    let card = driver.card();
    let (info, memory) = (card.info(), card.memory());
    assert_eq!(info.id, "cuda:0");
    assert!(info.multiprocessors.value.unwrap() > 0 && info.granularity >= ByteSize::mib(2));
    assert!(info.compute_capability.value.unwrap().contains('.'));
    assert!(memory.free_bytes.value.unwrap() <= memory.total_bytes.value.unwrap());
    let pool = card.stream_pool();
    assert!(pool.used_bytes.value.unwrap() <= pool.reserved_high_bytes.value.unwrap());
}

#[test]
fn memory_is_mapped_used_and_unmapped() {
    let driver = Driver::new();
    let card = driver.card().with_cached_pages(1);
    let before = card.memory().free_bytes.value.unwrap();
    let memory = card.reserve(ByteSize::mib(64)).unwrap();
    let range = memory.range();
    memory.commit(granules(&card, range, 0, 4)).unwrap();
    let odd = range.part(3, ByteSize::new(5001)).unwrap();
    memory.fill(odd, 0x0403_0201).unwrap();
    assert_eq!(find_mismatch(&*memory, odd, 0x0403_0201, None), Ok(None));
    memory.write(range.base + 500, &[9, 9]).unwrap();
    assert_eq!(find_mismatch(&*memory, odd, 0x0403_0201, None), Ok(Some(497)));
    memory.copy(odd, range.base + 3_000_001).unwrap();
    let mut bytes = [0; 5001];
    memory.read(range.base + 3_000_001, &mut bytes).unwrap();
    assert_eq!((&bytes[..2], &bytes[497..499]), (&[4, 1][..], &[9, 9][..]));
    for n in 0..9 {
        let small = range.part(7 + n, ByteSize::new(n)).unwrap();
        memory.fill(small, 0xdead_beef).unwrap();
        assert_eq!(find_mismatch(&*memory, small, 0xdead_beef, None), Ok(None));
    }
    let granule = card.info().granularity.bytes();
    if let Some(created) = driver.created() {
        assert_eq!(created, 4 * granule);
        assert_eq!(card.memory().free_bytes.value, Some(before - ByteSize::new(4 * granule)));
    }
    memory.decommit(granules(&card, range, 1, 2)).unwrap();
    // Of the two pages given up, one is kept.
    assert!(driver.created().is_none_or(|created| created == 3 * granule));
    memory.commit(granules(&card, range, 2, 1)).unwrap();
    assert!(driver.created().is_none_or(|created| created == 3 * granule), "the page kept is used again");
    drop(memory);
    assert_eq!(card.memory().committed_bytes.value, Some(ByteSize::ZERO));
    drop(card);
    assert!(driver.created().is_none_or(|created| created == 0));
}

#[test]
fn a_wrong_range_is_an_error_of_ours_and_loses_nothing() {
    let driver = Driver::new();
    let card = driver.card();
    let memory = card.reserve(ByteSize::mib(16)).unwrap();
    let range = memory.range();
    memory.commit(granules(&card, range, 1, 1)).unwrap();
    assert!(memory.commit(granules(&card, range, 0, 2)).is_err());
    assert!(memory.decommit(granules(&card, range, 1, 2)).is_err());
    assert!(memory.fill(granules(&card, range, 0, 2), 1).is_err());
    assert!(memory.write(range.end() - 1, &[0, 0]).is_err());
    assert!(memory.read(8, &mut [0]).is_err());
    assert!(memory.copy(granules(&card, range, 1, 1), range.base).is_err());
    assert!(card.reserve(ByteSize::MAX).is_err());
    memory.fill(granules(&card, range, 1, 1), 5).expect("the context is as it was");
    drop(memory);
}

#[test]
fn a_pool_keeps_its_promises_on_every_device() {
    check_pool(Arc::new(HostDevice::new(ByteSize::mib(64))));
    check_pool(Arc::new(SimulatedDevice::new(ByteSize::mib(64))));
    let driver = Driver::new();
    check_device(&driver.card().with_cached_pages(3));
    check_pool(Arc::new(driver.card()));
    assert!(driver.created().is_none_or(|created| created == 0));
}

#[test]
fn memory_released_on_a_cards_stream_waits_for_its_work() {
    let driver = Driver::new();
    let card = Arc::new(driver.card());
    let pool = DeviceMemoryPool::new(card.clone(), ByteSize::mib(16)).unwrap();
    let (one, two) = (CudaStream::new(card.clone()).unwrap(), CudaStream::new(card).unwrap());
    driver.hold_streams(true);
    let request = Request::new(ByteSize::mib(10));
    let (id, range) = pool.allocate_on(request, &one).unwrap();
    pool.release_on(id, &one).unwrap();
    if !on_a_real_card() {
        assert_eq!(pool.stats().pending_bytes, ByteSize::mib(10));
        let (again, same) = pool.allocate_on(request, &one).unwrap();
        assert_eq!(same, range, "the same stream's next work comes after");
        pool.release_on(again, &one).unwrap();
    }
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pool.allocate_on(request, &two));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(on_a_real_card() || !waiting.is_finished());
        driver.hold_streams(false);
        pool.release(waiting.join().unwrap().unwrap().0).unwrap();
    });
    assert_eq!(pool.used(), ByteSize::ZERO);
}

/// The stand-in keeps to the driver's rules, so that what passes against it has a meaning.
#[test]
fn the_stand_in_refuses_what_a_driver_refuses() {
    let driver = Driver::new();
    if on_a_real_card() {
        return;
    }
    let _card = driver.card();
    type Two = unsafe extern "C" fn(u64, usize) -> c_int;
    type One = unsafe extern "C" fn(u64) -> c_int;
    // SAFETY: addresses that the driver does not know, which it must refuse without touching them.
    let two =
        |name: &str, address, size| driver.call(|f: Symbol<Two>| unsafe { f(address, size) }, name).unwrap();
    // SAFETY: as above.
    let one = |name: &str, value| driver.call(|f: Symbol<One>| unsafe { f(value) }, name).unwrap();
    assert_eq!(two("cuMemUnmap", 0x20_0000, 0x20_0000), 211, "unmapping what is not mapped");
    assert_eq!(two("cuMemAddressFree", 0x20_0000, 0x20_0000), 1);
    assert_eq!((one("cuMemRelease", 77), one("cuMemFree_v2", 77)), (1, 1));
    let mut address = 0u64;
    let reserved = driver.call(
        |f: Symbol<unsafe extern "C" fn(*mut u64, usize, usize, u64, u64) -> c_int>| {
            // SAFETY: the pointer is valid for a write.
            unsafe { f(&mut address, 1000, 0, 0, 0) }
        },
        "cuMemAddressReserve",
    );
    assert_eq!(reserved, Some(1), "a size off the granularity");
}

#[test]
fn more_than_there_is_is_an_error_with_the_drivers_numbers() {
    let driver = Driver::new();
    let card = driver.card();
    let total = card.memory().total_bytes.value.unwrap();
    let memory = card.reserve(total + ByteSize::gib(1)).unwrap();
    let range = memory.range();
    if !on_a_real_card() {
        driver.others_hold(total.bytes() - (8 << 20));
        match memory.commit(granules(&card, range, 0, 5)) {
            Err(DeviceError::OutOfMemory { requested, available, .. }) => {
                assert_eq!((requested, available), (ByteSize::mib(10), ByteSize::mib(8)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(card.memory().committed_bytes.value, Some(ByteSize::ZERO));
        memory.commit(granules(&card, range, 0, 4)).expect("what fits is there");
    }
    drop(memory);
}

#[test]
fn a_failure_at_every_call_of_the_driver_is_typed_and_leaks_nothing() {
    let driver = Driver::new();
    if on_a_real_card() {
        return;
    }
    for function in
        ["cuMemCreate", "cuMemMap", "cuMemSetAccess", "cuMemUnmap", "cuMemRelease", "cuCtxPushCurrent_v2"]
    {
        for nth in 1..8 {
            for code in [2, 1, 719] {
                driver.call(|reset: Symbol<extern "C" fn()>| reset(), "standin_reset");
                let card: Arc<dyn Backing> = Arc::new(driver.card().with_cached_pages(2));
                let pool = DeviceMemoryPool::new(card.clone(), ByteSize::mib(32)).unwrap();
                driver.fail(function, nth, code);
                let mut live = Vec::new();
                for size in [5, 3, 7] {
                    match pool.allocate(Request::new(ByteSize::mib(size))) {
                        Ok(allocation) => live.push(allocation),
                        Err(PoolError::OutOfMemory(_) | PoolError::Device(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                let lost = matches!(card.reserve(ByteSize::mib(2)), Err(DeviceError::Lost { .. }));
                live.clear();
                assert_eq!(pool.used(), ByteSize::ZERO);
                let trimmed = (0..3).any(|_| pool.trim().is_ok());
                assert!(trimmed || lost || code == 719, "{function} {nth} {code}");
                drop(pool);
                assert_eq!(card.memory().committed_bytes.value, Some(ByteSize::ZERO), "gone, lost or not");
                drop(card);
                let left = driver.created().unwrap();
                // A page whose release itself failed is the driver's to keep.
                assert!(
                    left == 0
                        || lost
                        || code == 719
                        || function == "cuMemRelease"
                        || function == "cuCtxPushCurrent_v2",
                    "{function} {nth} {code}: {left}"
                );
            }
        }
    }
}

#[test]
fn without_virtual_memory_reserving_allocates() {
    // Read when the driver is initialised: a process of its own, this test again.
    let driver = Driver::new();
    if on_a_real_card() {
        return;
    }
    if std::env::var_os("VRAMKIT_STANDIN_PLAIN").is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "without_virtual_memory_reserving_allocates"])
            .env("VRAMKIT_STANDIN_PLAIN", "1")
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
        return;
    }
    let card: Arc<dyn Backing> = Arc::new(driver.card());
    let pool = DeviceMemoryPool::new(card.clone(), ByteSize::mib(32)).unwrap();
    assert!(driver.created().unwrap() >= 32 << 20);
    let mut block = pool.allocate(Request::new(ByteSize::mib(5))).unwrap();
    block.fill(3).unwrap();
    assert_eq!(block.find_mismatch(3, None), Ok(None));
    assert!(matches!(DeviceMemoryPool::new(card.clone(), ByteSize::gib(2)), Err(PoolError::Device(_))));
    drop((block, pool));
    assert_eq!(driver.created(), Some(0));
}

#[test]
fn events_are_done_when_their_stream_is() {
    let driver = Driver::new();
    let card = Arc::new(driver.card());
    let stream = CudaStream::new(card.clone()).unwrap();
    driver.hold_streams(true);
    let event = stream.record().unwrap();
    assert!(on_a_real_card() || event.is_done() == Ok(false));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| event.wait());
        driver.hold_streams(false);
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
    assert_eq!(event.is_done(), Ok(true));
    assert_ne!(stream.id(), CudaStream::default_of(card).id());
}

#[test]
fn a_stream_with_a_handle_of_the_past_waits_for_the_past() {
    let driver = Driver::new();
    let card = Arc::new(driver.card());
    let pool = DeviceMemoryPool::new(card.clone(), ByteSize::mib(16)).unwrap();
    let request = Request::new(ByteSize::mib(4));
    let first = CudaStream::new(card.clone()).unwrap();
    let (id, range) = pool.allocate_on(request, &first).unwrap();
    driver.hold_streams(true);
    pool.release_on(id, &first).unwrap();
    let (handle, name) = (first.handle(), first.id());
    // Destroyed with work in it, which goes on.
    drop(first);
    let second = CudaStream::new(card.clone()).unwrap();
    assert_ne!(second.id(), name);
    if !on_a_real_card() {
        assert_eq!(second.handle(), handle, "the driver uses handles again at once");
        let (other, elsewhere) = pool.allocate_on(request, &second).unwrap();
        assert_ne!(elsewhere, range, "the first stream's work may still use it");
        assert_eq!(pool.stats().pending_bytes, ByteSize::mib(4));
        // By name as another library would: the same handle, and still not the first stream.
        // SAFETY: `second` has the handle, and outlives this value.
        let foreign = unsafe { CudaStream::of(card.clone(), second.handle()) };
        assert_ne!(foreign.id(), second.id());
        pool.release(other).unwrap();
    }
    driver.hold_streams(false);
    drop(second);
    pool.trim().unwrap();
    assert_eq!(pool.used(), ByteSize::ZERO);
}

#[test]
fn what_is_missing_is_named() {
    let driver = Driver::new();
    let error = CudaDevice::with_driver(Path::new("/nowhere/libcuda.so"), 0).unwrap_err();
    assert!(
        matches!(&error, CudaError::NoDriver { library, .. } if library == "/nowhere/libcuda.so"),
        "{error}"
    );
    let error = CudaDevice::with_driver(Path::new("libm.so.6"), 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "libm.so.6 lacks the function cuInit: it is not a CUDA driver, or one too old"
    );
    if !on_a_real_card() {
        let error = CudaDevice::with_driver(&stand_in(), 5).unwrap_err();
        assert_eq!(error.to_string(), "there is no cuda:5: the driver lists 1 card");
        driver.fail("cuDevicePrimaryCtxRetain", 1, 2);
        let error = CudaDevice::with_driver(&stand_in(), 0).unwrap_err().to_string();
        assert_eq!(error, "the CUDA driver refuses cuDevicePrimaryCtxRetain: CUDA_ERROR_OUT_OF_MEMORY (2)");
    }
}
