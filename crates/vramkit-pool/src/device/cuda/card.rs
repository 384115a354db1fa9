//! A card in the driver: its number and context, what it is, and how to call the driver for it.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use super::CudaError;
use super::driver::{AllocationProperties, Code, Driver, Location};
use crate::device::{Origin, Reading};
use vramkit_units::ByteSize;

/// `CUdevice_attribute`.
pub(super) mod attribute {
    pub(in super::super) const MULTIPROCESSORS: i32 = 16;
    pub(in super::super) const INTEGRATED: i32 = 18;
    pub(in super::super) const BUS_WIDTH: i32 = 37;
    pub(in super::super) const L2_CACHE: i32 = 38;
    pub(in super::super) const CAPABILITY_MAJOR: i32 = 75;
    pub(in super::super) const CAPABILITY_MINOR: i32 = 76;
    pub(in super::super) const VIRTUAL_MEMORY: i32 = 102;
}

/// A card's number and context, in the driver.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) driver: Arc<Driver>,
    pub(super) device: c_int,
    context: Context,
}

#[derive(Clone, Copy, Debug)]
struct Context(*mut c_void);

// SAFETY: a context is a token of the driver, which is thread-safe; nothing is read through the pointer here.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Card {
    /// Calls the driver with this card's context current on the thread, and leaves the thread's own as it was.
    pub(super) fn call(&self, act: impl FnOnce(&Driver) -> c_int) -> Result<(), Code> {
        let driver = &*self.driver;
        // SAFETY: the context was retained when the card was opened and is released when it is dropped.
        driver.check(unsafe { (driver.base.context_push)(self.context.0) })?;
        let outcome = driver.check(act(driver));
        let mut popped = std::ptr::null_mut();
        // SAFETY: pops what was pushed above.
        let restored = driver.check(unsafe { (driver.base.context_pop)(&mut popped) });
        outcome.and(restored)
    }

    pub(super) fn attribute(&self, attribute: c_int) -> Reading<i32> {
        let mut value = 0;
        // SAFETY: the pointer is valid for a write.
        let code = unsafe { (self.driver.base.device_attribute)(&mut value, attribute, self.device) };
        match self.driver.check(code) {
            Ok(()) => Reading::known(value, Origin::Driver),
            Err(code) => Reading::unavailable(Origin::Driver, self.driver.name(code)),
        }
    }

    /// Its identity as the management library writes it: `GPU-…`, or `MIG-…` of a part, whose identity is not its card's.
    pub(super) fn uuid(&self) -> Option<String> {
        let ask = |of: unsafe extern "C" fn(*mut [u8; 16], c_int) -> c_int| {
            let mut bytes = [0; 16];
            // SAFETY: the driver writes an identity, which is of 16 bytes, and the pointer is valid for that.
            let code = unsafe { of(&raw mut bytes, self.device) };
            self.driver.check(code).ok().map(|()| bytes)
        };
        let whole = self.driver.identity.as_ref().ok().and_then(|found| ask(found.uuid));
        let part = self.driver.part_identity.as_ref().ok().and_then(|found| ask(found.uuid));
        let bytes = part.or(whole).filter(|bytes| *bytes != [0; 16])?;
        let is_part = part.is_some() && whole.is_some() && part != whole;
        let hex = |range: std::ops::Range<usize>| -> String {
            bytes[range].iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let groups = [hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)].join("-");
        Some(format!("{}-{groups}", if is_part { "MIG" } else { "GPU" }))
    }

    pub(super) fn location(&self) -> Location {
        Location { kind: 1, id: self.device }
    }

    pub(super) fn properties(&self) -> AllocationProperties {
        // Pinned memory on the card, shared with nobody.
        AllocationProperties {
            kind: 1,
            handle_types: 0,
            location: self.location(),
            metadata: std::ptr::null_mut(),
            flags: [0; 8],
        }
    }

    /// Opens a card that the driver lists; also its name and how much memory it has.
    pub(super) fn open(driver: Arc<Driver>, index: u32) -> Result<(Self, String, ByteSize), CudaError> {
        let base = &driver.base;
        let check = |operation, code| driver.check(code).map_err(|code| driver.refused(operation, code));
        let (mut device, mut name, mut total, mut context) = (0, [0; 256], 0, std::ptr::null_mut());
        // SAFETY: the pointer is valid for a write.
        let code = unsafe { (base.device)(&mut device, index as c_int) };
        check("cuDeviceGet", code)?;
        // SAFETY: the pointer is valid for writes of the length told.
        let code = unsafe { (base.device_name)(name.as_mut_ptr(), name.len() as c_int, device) };
        check("cuDeviceGetName", code)?;
        // SAFETY: the pointer is valid for a write.
        let code = unsafe { (base.device_total)(&mut total, device) };
        check("cuDeviceTotalMem", code)?;
        // SAFETY: the pointer is valid for a write; the context is released when the device is dropped.
        let code = unsafe { (base.context_retain)(&mut context, device) };
        check("cuDevicePrimaryCtxRetain", code)?;
        let name: Vec<u8> = name.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
        let card = Self { driver, device, context: Context(context) };
        Ok((card, String::from_utf8_lossy(&name).into_owned(), ByteSize::new(total as u64)))
    }

    /// The driver's smallest page; 2 MiB, which all cards have had so far, where it has none.
    pub(super) fn granularity(&self) -> ByteSize {
        let mut bytes = 0;
        let asked = self.driver.vmm.as_ref().map(|vmm| {
            // SAFETY: both pointers are valid; 0 asks for the minimum.
            self.driver.check(unsafe { (vmm.granularity)(&mut bytes, &self.properties(), 0) })
        });
        let given = matches!(asked, Ok(Ok(()))) && bytes.is_power_of_two();
        ByteSize::new(if given { bytes as u64 } else { 2 << 20 })
    }
}

pub(super) fn card_count(driver: &Driver) -> Result<u32, CudaError> {
    let mut count = 0;
    // SAFETY: the pointer is valid for a write.
    let counted = driver.check(unsafe { (driver.base.device_count)(&mut count) });
    counted.map_err(|code| driver.refused("cuDeviceGetCount", code))?;
    Ok(u32::try_from(count).unwrap_or(0))
}
