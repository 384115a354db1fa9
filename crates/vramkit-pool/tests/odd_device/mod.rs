//! A simulated device that panics, refuses or keeps memory when it is told to.
#![allow(dead_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use vramkit_pool::device::{
    AddressRange, Backing, Device, DeviceError, DeviceInfo, DeviceMemory, Reading, Reservation,
    SimulatedDevice,
};
use vramkit_units::ByteSize;

/// What it does wrong.
#[derive(Debug)]
pub struct Wrongs {
    /// Whether the next commit or copy panics.
    pub panics: AtomicBool,
    /// Copies that are still done; the next one is refused.
    pub copies: AtomicUsize,
    /// Whether memory is not taken back.
    pub keeps: AtomicBool,
}

#[derive(Debug)]
pub struct OddDevice {
    device: SimulatedDevice,
    wrongs: Arc<Wrongs>,
}

impl OddDevice {
    /// A device that does nothing wrong yet.
    pub fn new(capacity: ByteSize) -> (Arc<Self>, Arc<Wrongs>) {
        let (panics, keeps) = (AtomicBool::new(false), AtomicBool::new(false));
        let wrongs = Arc::new(Wrongs { panics, copies: AtomicUsize::new(usize::MAX), keeps });
        let device = SimulatedDevice::new(capacity);
        (Arc::new(Self { device, wrongs: wrongs.clone() }), wrongs)
    }
}

impl Device for OddDevice {
    fn info(&self) -> DeviceInfo {
        self.device.info()
    }

    fn memory(&self) -> DeviceMemory {
        self.device.memory()
    }
}

impl Backing for OddDevice {
    fn reserve(&self, size: ByteSize) -> Result<Box<dyn Reservation>, DeviceError> {
        let memory = self.device.reserve(size)?;
        Ok(Box::new(OddReservation { memory, wrongs: self.wrongs.clone() }))
    }

    fn has_virtual_memory(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct OddReservation {
    memory: Box<dyn Reservation>,
    wrongs: Arc<Wrongs>,
}

impl OddReservation {
    fn panic_if_told(&self) {
        assert!(!self.wrongs.panics.swap(false, Ordering::Relaxed), "on purpose");
    }
}

fn refused(operation: &'static str) -> DeviceError {
    DeviceError::Driver { device: "sim".to_owned(), operation, reason: "on purpose".to_owned() }
}

impl Reservation for OddReservation {
    fn range(&self) -> AddressRange {
        self.memory.range()
    }

    fn commit(&self, range: AddressRange) -> Result<(), DeviceError> {
        self.panic_if_told();
        self.memory.commit(range)
    }

    fn decommit(&self, range: AddressRange) -> Result<(), DeviceError> {
        match self.wrongs.keeps.load(Ordering::Relaxed) {
            true => Err(refused("decommitting")),
            false => self.memory.decommit(range),
        }
    }

    fn fill(&self, range: AddressRange, pattern: u32) -> Result<(), DeviceError> {
        self.memory.fill(range, pattern)
    }

    fn write(&self, to: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.memory.write(to, bytes)
    }

    fn read(&self, from: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        self.memory.read(from, into)
    }

    fn copy(&self, from: AddressRange, to: u64) -> Result<(), DeviceError> {
        self.panic_if_told();
        match self.wrongs.copies.fetch_sub(1, Ordering::Relaxed) {
            0 => Err(refused("copying")),
            _ => self.memory.copy(from, to),
        }
    }

    fn resident(&self) -> Reading<ByteSize> {
        self.memory.resident()
    }
}
