//! A device of one's own: memory in chunks of this program's heap, written as its raw calls, checked as every device
//! is, and used by a pool. `cargo run --release -p vramkit-testing --example own_device`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vramkit::ByteSize;
use vramkit::device::{
    Allowed, Checked, DeviceError, DeviceInfo, DeviceKind, DeviceMemory, Origin, RawMemory, Reading,
};
use vramkit::pool::{DeviceMemoryPool, Request};
use vramkit_testing::{check_device, check_pool};

const GRANULE: ByteSize = ByteSize::new(64 << 10);

/// The next address, and a chunk for every granule that is committed.
type State = (u64, BTreeMap<u64, Box<[u8]>>);

#[derive(Debug)]
struct Chunks {
    capacity: ByteSize,
    state: Mutex<State>,
}

impl Chunks {
    fn new(capacity: ByteSize) -> Self {
        Self { capacity, state: Mutex::new((GRANULE.bytes(), BTreeMap::new())) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Visits the pieces of a range, chunk by chunk, with where each is in the range. The book has seen to it that all
    /// of it is committed.
    fn pieces(&self, range: Allowed<'_>, mut visit: impl FnMut(usize, &mut [u8])) {
        let mut state = self.state();
        let mut at = range.base();
        while at < range.end() {
            let chunk = at / GRANULE.bytes() * GRANULE.bytes();
            let end = range.end().min(chunk + GRANULE.bytes());
            let bytes = state.1.get_mut(&chunk).expect("the range is committed");
            visit((at - range.base()) as usize, &mut bytes[(at - chunk) as usize..(end - chunk) as usize]);
            at = end;
        }
    }
}

impl RawMemory for Chunks {
    fn info(&self) -> DeviceInfo {
        DeviceInfo::new("chunks", "chunks of the heap", DeviceKind::Other("chunks".to_owned()), GRANULE)
    }

    fn memory(&self, committed: ByteSize) -> DeviceMemory {
        DeviceMemory {
            total_bytes: Reading::known(self.capacity, Origin::Configured),
            free_bytes: Reading::known(self.capacity.saturating_sub(committed), Origin::Configured),
            committed_bytes: Reading::known(committed, Origin::Configured),
        }
    }

    fn reserve(&self, size: ByteSize) -> Result<u64, DeviceError> {
        let (requested, reason) = (size, "2^64 addresses are all".to_owned());
        let unable = || DeviceError::AddressSpace { device: "chunks".to_owned(), requested, reason };
        let mut state = self.state();
        let base = state.0;
        state.0 = base.checked_add(size.bytes()).filter(|end| *end < 1 << 60).ok_or_else(unable)?;
        Ok(base)
    }

    fn release(&self, reservation: Allowed<'_>) -> Result<(), DeviceError> {
        self.state().1.retain(|at, _| *at < reservation.base() || *at >= reservation.end());
        Ok(())
    }

    fn commit(&self, granules: Allowed<'_>, committed: ByteSize) -> Result<(), DeviceError> {
        let (requested, available) = (granules.size(), self.capacity.saturating_sub(committed));
        if requested > available {
            let (device, total) = ("chunks".to_owned(), self.capacity);
            return Err(DeviceError::OutOfMemory { device, requested, available, total });
        }
        let chunk = || vec![0; GRANULE.bytes() as usize].into();
        let addresses = (granules.base()..granules.end()).step_by(GRANULE.bytes() as usize);
        self.state().1.extend(addresses.map(|at| (at, chunk())));
        Ok(())
    }

    fn decommit(&self, granules: Allowed<'_>) -> Result<(), DeviceError> {
        self.release(granules)
    }

    fn write(&self, to: Allowed<'_>, bytes: &[u8]) -> Result<(), DeviceError> {
        self.pieces(to, |at, piece| piece.copy_from_slice(&bytes[at..at + piece.len()]));
        Ok(())
    }

    fn read(&self, from: Allowed<'_>, into: &mut [u8]) -> Result<(), DeviceError> {
        self.pieces(from, |at, piece| into[at..at + piece.len()].copy_from_slice(piece));
        Ok(())
    }
}

/// Checks the device, and writes a few bytes to memory of a pool on it.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Arc::new(Checked::new(Chunks::new(ByteSize::mib(64))));
    check_device(&*device);
    check_pool(device.clone());
    let pool = DeviceMemoryPool::new(device, ByteSize::mib(64))?;
    let mut block = pool.allocate(Request::new(ByteSize::new(1000)))?;
    block.write(990, b"in chunks!")?;
    let error = block.view::<u8>().err().ok_or("chunks have no addresses of the processor's")?;
    assert!(error.to_string().starts_with("the memory is on chunks"));
    Ok(())
}
