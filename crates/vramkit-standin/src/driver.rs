//! The driver's functions: arguments checked and taken apart here, semantics in [`State`](crate::state::State).

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use crate::code::{self, Code};
use crate::process::{self, with};
use crate::state::{GRANULARITY, Location};

/// What a driver function returns.
fn status(result: Result<(), Code>) -> c_int {
    result.map_or_else(|code| code, |()| code::SUCCESS)
}

/// Writes through a pointer that a caller gave, as the driver does.
fn put<T>(to: *mut T, value: T) -> Result<(), Code> {
    if to.is_null() {
        return Err(code::INVALID_VALUE);
    }
    // SAFETY: the driver's contract, which callers of this library keep, is that the pointer is valid for a write.
    unsafe { to.write(value) };
    Ok(())
}

/// Declares driver functions: each counts its calls, fails when a test has asked for it, and is out of order before
/// `cuInit`.
macro_rules! driver {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) |$state:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> c_int {
            status(with(stringify!($name), |$state| $body))
        }
    )*};
}

#[repr(C)]
pub struct AllocationProperties {
    kind: c_int,
    handle_types: c_int,
    location: Location,
    metadata: *mut c_void,
    flags: [u8; 8],
}

#[repr(C)]
pub struct AccessDescription {
    location: Location,
    flags: c_int,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(_flags: c_uint) -> c_int {
    status(process::initialise())
}

driver! {
    fn cuDriverGetVersion(version: *mut c_int) |_state| put(version, 13000);
    fn cuDeviceGetCount(count: *mut c_int) |state| put(count, state.cards);
    fn cuDeviceGet(device: *mut c_int, ordinal: c_int) |state| {
        state.card(ordinal)?;
        put(device, ordinal)
    };
    fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) |state| {
        state.card(device)?;
        for (i, byte) in b"Stand-in card\0".iter().take(length.max(0) as usize).enumerate() {
            put(name.wrapping_add(i), *byte as c_char)?;
        }
        Ok(())
    };
    fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) |state| {
        state.card(device)?;
        put(uuid, state.uuid(device, true))
    };
    fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) |state| {
        state.card(device)?;
        put(uuid, state.uuid(device, false))
    };
    fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) |state| {
        state.card(device)?;
        put(bytes, state.bytes as usize)
    };
    fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: c_int) |state| {
        state.card(device)?;
        put(value, state.attribute(attribute)?)
    };
    fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, device: c_int) |state| {
        state.card(device)?;
        put(context, (device as usize + 1) as *mut c_void)
    };
    fn cuDevicePrimaryCtxRelease_v2(device: c_int) |state| state.card(device).map(drop);
    fn cuCtxPushCurrent_v2(context: *mut c_void) |state| state.push(context as usize);
    fn cuCtxPopCurrent_v2(context: *mut *mut c_void) |state| {
        let popped = state.pop()?;
        put(context, popped as *mut c_void)
    };
    fn cuCtxSynchronize() |state| state.current().map(drop);
    fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) |state| {
        let card = state.current()?;
        put(free, state.free(card) as usize)?;
        put(total, state.bytes as usize)
    };
    fn cuMemGetAllocationGranularity(bytes: *mut usize, _properties: *const AllocationProperties, _option: c_int) |_state| {
        put(bytes, GRANULARITY as usize)
    };
    fn cuMemAddressReserve(address: *mut u64, size: usize, _alignment: usize, _at: u64, _flags: u64) |state| {
        let reserved = state.reserve(size as u64)?;
        put(address, reserved)
    };
    fn cuMemAddressFree(address: u64, size: usize) |state| state.unreserve(address, size as u64);
    fn cuMemCreate(handle: *mut u64, size: usize, properties: *const AllocationProperties, _flags: u64) |state| {
        // SAFETY: the caller's pointer is null or valid, by the driver's contract.
        let Some(properties) = (unsafe { properties.as_ref() }) else { return Err(code::INVALID_VALUE) };
        let created = state.create(size as u64, properties.location)?;
        put(handle, created)
    };
    fn cuMemRelease(handle: u64) |state| state.release(handle);
    fn cuMemMap(address: u64, size: usize, offset: usize, handle: u64, _flags: u64) |state| {
        if offset != 0 { Err(code::INVALID_VALUE) } else { state.map(address, size as u64, handle) }
    };
    fn cuMemUnmap(address: u64, size: usize) |state| state.unmap(address, size as u64);
    fn cuMemSetAccess(address: u64, size: usize, access: *const AccessDescription, count: usize) |state| {
        // SAFETY: as for the properties of a page.
        let Some(access) = (unsafe { access.as_ref() }) else { return Err(code::INVALID_VALUE) };
        if count != 1 || access.flags != 3 || access.location.kind != 1 {
            return Err(code::INVALID_VALUE);
        }
        state.set_access(address, size as u64)
    };
    fn cuMemAlloc_v2(address: *mut u64, size: usize) |state| {
        let allocated = state.allocate(size as u64)?;
        put(address, allocated)
    };
    fn cuMemFree_v2(address: u64) |state| state.free_allocation(address);
    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, size: usize) |state| {
        state.check_access(to, size as u64)?;
        // SAFETY: the caller's bytes are valid by the driver's contract, ours by the look at the book.
        unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), to as *mut u8, size) };
        Ok(())
    };
    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, size: usize) |state| {
        state.check_access(from, size as u64)?;
        // SAFETY: as for the other direction.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to.cast::<u8>(), size) };
        Ok(())
    };
    fn cuMemcpyDtoD_v2(to: u64, from: u64, size: usize) |state| {
        state.check_access(from, size as u64)?;
        state.check_access(to, size as u64)?;
        // SAFETY: both ranges are accessible; they may overlap.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, size) };
        Ok(())
    };
    fn cuMemsetD8_v2(to: u64, value: u8, count: usize) |state| {
        state.check_access(to, count as u64)?;
        // SAFETY: the range is accessible.
        unsafe { std::ptr::write_bytes(to as *mut u8, value, count) };
        Ok(())
    };
    fn cuMemsetD32_v2(to: u64, value: c_uint, count: usize) |state| {
        if !to.is_multiple_of(4) {
            return Err(code::INVALID_VALUE);
        }
        state.check_access(to, 4 * count as u64)?;
        // SAFETY: the range is accessible and aligned to words.
        unsafe { std::slice::from_raw_parts_mut(to as *mut u32, count) }.fill(value);
        Ok(())
    };
    fn cuStreamCreate(stream: *mut *mut c_void, _flags: c_uint) |state| {
        state.current()?;
        put(stream, state.new_stream() as *mut c_void)
    };
    fn cuStreamDestroy_v2(stream: *mut c_void) |state| state.end_stream(stream as usize);
    fn cuEventCreate(event: *mut *mut c_void, _flags: c_uint) |state| {
        state.current()?;
        put(event, state.new_event() as *mut c_void)
    };
    fn cuEventDestroy_v2(event: *mut c_void) |state| state.end_event(event as usize);
    fn cuEventRecord(event: *mut c_void, stream: *mut c_void) |state| state.record(event as usize, stream as usize);
    fn cuEventQuery(event: *mut c_void) |state| state.query(event as usize);
    fn cuDeviceGetDefaultMemPool(pool: *mut *mut c_void, device: c_int) |state| {
        state.card(device)?;
        put(pool, 0x5000 as *mut c_void)
    };
    fn cuMemPoolGetAttribute(_pool: *mut c_void, attribute: c_int, value: *mut c_void) |_state| {
        // Reserved current and high, used current and high.
        let Some(number) = [96u64 << 20, 128 << 20, 64 << 20, 80 << 20].get((attribute - 5) as usize) else {
            return Err(code::INVALID_VALUE);
        };
        put(value.cast::<u64>(), *number)
    };
}

/// Waits; not under the book's lock, so that a test can let the stream go.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: *mut c_void) -> c_int {
    loop {
        match status(with("cuEventSynchronize", |state| state.query(event as usize))) {
            code::NOT_READY => std::thread::sleep(std::time::Duration::from_millis(1)),
            code => return code,
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(error: c_int, name: *mut *const c_char) -> c_int {
    status(code::name(error).ok_or(code::INVALID_VALUE).and_then(|text| put(name, text.as_ptr())))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(error: c_int, text: *mut *const c_char) -> c_int {
    let string: &CStr = c"what the stand-in says of it";
    status(code::name(error).ok_or(code::INVALID_VALUE).and_then(|_| put(text, string.as_ptr())))
}
