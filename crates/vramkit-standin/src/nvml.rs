//! A stand-in for NVIDIA's management library, scripted by a file: what `VRAMKIT_STANDIN_NVML` names is read at every
//! count of devices, so that a test changes the machine between two ticks by writing it.
//!
//! ```json
//! {"once": false, "init": 0, "count": 0, "cards": [{"name": "Card", "uuid": "GPU-1", "total": 1073741824, "free": 0, "used": 0,
//!   "reserved": 0, "memory": 0, "memory_v2": 0, "list": 0, "handle": 0, "accounting": true,
//!   "processes": [{"pid": 1, "used": 5, "peak": 9}], "graphics": [], "mps": [], "parts": [{...}]}]}
//! ```
//!
//! A card may have `utilization` (in percent), `temperature` (in degrees), `power` and `power_limit` (in milliwatts); without
//! them it does not support them. `init`, `count`, `handle`, `memory`, `memory_v2` and `list` are error codes. Missing numbers are sentinels.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

const SUCCESS: c_int = 0;
const INVALID_ARGUMENT: c_int = 2;
const NOT_SUPPORTED: c_int = 3;
const NOT_FOUND: c_int = 6;
const INSUFFICIENT_SIZE: c_int = 7;
const DRIVER_NOT_LOADED: c_int = 9;
const SENTINEL: u64 = u64::MAX;

fn sentinel() -> u64 {
    SENTINEL
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Script {
    /// Read the file at the start alone, for benchmarks.
    once: bool,
    init: c_int,
    count: c_int,
    cards: Vec<Card>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Card {
    name: String,
    uuid: String,
    #[serde(default = "sentinel")]
    total: u64,
    #[serde(default = "sentinel")]
    free: u64,
    #[serde(default = "sentinel")]
    used: u64,
    #[serde(default = "sentinel")]
    reserved: u64,
    memory: c_int,
    memory_v2: c_int,
    list: c_int,
    handle: c_int,
    accounting: bool,
    utilization: Option<c_uint>,
    temperature: Option<c_uint>,
    power: Option<c_uint>,
    power_limit: Option<c_uint>,
    processes: Vec<Process>,
    graphics: Vec<Process>,
    /// Clients of MPS's server.
    mps: Vec<Process>,
    parts: Vec<Card>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Process {
    pid: c_uint,
    #[serde(default = "sentinel")]
    used: u64,
    #[serde(default = "sentinel")]
    peak: u64,
}

static SCRIPT: Mutex<Option<Script>> = Mutex::new(None);

fn load() {
    if SCRIPT.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|script| script.once) {
        return;
    }
    let script = std::env::var_os("VRAMKIT_STANDIN_NVML")
        .and_then(|path| std::fs::read_to_string(path).ok())
        .and_then(|text| serde_json::from_str(&text).ok());
    *SCRIPT.lock().unwrap_or_else(PoisonError::into_inner) = script;
}

fn with<T>(look: impl FnOnce(&Script) -> Result<T, c_int>) -> Result<T, c_int> {
    look(SCRIPT.lock().unwrap_or_else(PoisonError::into_inner).as_ref().ok_or(DRIVER_NOT_LOADED)?)
}

fn code(result: Result<(), c_int>) -> c_int {
    result.map_or_else(|code| code, |()| SUCCESS)
}

/// Handles are 1 + 100 · card + (1 + part).
fn card<T>(handle: *mut c_void, look: impl FnOnce(&Card) -> Result<T, c_int>) -> Result<T, c_int> {
    with(|script| {
        let number = (handle as usize).checked_sub(1).ok_or(INVALID_ARGUMENT)?;
        let card = script.cards.get(number / 100).ok_or(INVALID_ARGUMENT)?;
        match number % 100 {
            0 => look(card),
            part => look(card.parts.get(part - 1).ok_or(INVALID_ARGUMENT)?),
        }
    })
}

fn put<T>(to: *mut T, value: T) -> Result<(), c_int> {
    if to.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: the library's contract is that the pointer is valid for a write.
    unsafe { to.write(value) };
    Ok(())
}

fn put_text(to: *mut c_char, length: c_uint, text: &str) -> Result<(), c_int> {
    if to.is_null() || text.len() + 1 > length as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    // SAFETY: the caller gives room for `length` bytes, and the text with its end is no longer.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), to, text.len());
        to.add(text.len()).write(0);
    }
    Ok(())
}

/// As the library's `nvmlUtilization_t`.
#[repr(C)]
pub struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

/// As the library's `nvmlMemory_t`.
#[repr(C)]
pub struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// As `nvmlMemory_v2_t`.
#[repr(C)]
pub struct MemoryV2 {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// As `nvmlProcessInfo_v2_t`.
#[repr(C)]
pub struct ProcessInfo {
    pid: c_uint,
    used: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

/// As `nvmlAccountingStats_t`.
#[repr(C)]
pub struct AccountingStats {
    gpu_utilization: c_uint,
    memory_utilization: c_uint,
    max_memory: c_ulonglong,
    time: c_ulonglong,
    start: c_ulonglong,
    is_running: c_uint,
    reserved: [c_uint; 5],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlInit_v2() -> c_int {
    load();
    code(with(|script| if script.init == 0 { Ok(()) } else { Err(script.init) }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlShutdown() -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, length: c_uint) -> c_int {
    code(put_text(to, length, "580.95.05"))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(to: *mut c_uint) -> c_int {
    load();
    code(with(|script| {
        if script.count != 0 {
            return Err(script.count);
        }
        put(to, script.cards.len() as c_uint)
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, to: *mut *mut c_void) -> c_int {
    code(with(|script| {
        let card = script.cards.get(index as usize).ok_or(INVALID_ARGUMENT)?;
        if card.handle != 0 {
            return Err(card.handle);
        }
        put(to, (1 + 100 * index as usize) as *mut c_void)
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(handle: *mut c_void, to: *mut c_char, length: c_uint) -> c_int {
    code(card(handle, |card| put_text(to, length, &card.name)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(handle: *mut c_void, to: *mut c_char, length: c_uint) -> c_int {
    code(card(handle, |card| put_text(to, length, &card.uuid)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo(handle: *mut c_void, to: *mut Memory) -> c_int {
    code(card(handle, |card| {
        if card.memory != 0 {
            return Err(card.memory);
        }
        put(to, Memory { total: card.total, free: card.free, used: card.used })
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(handle: *mut c_void, to: *mut MemoryV2) -> c_int {
    code(card(handle, |card| {
        if card.memory_v2 != 0 || card.memory != 0 {
            return Err(if card.memory_v2 != 0 { card.memory_v2 } else { card.memory });
        }
        let (total, reserved, free, used) = (card.total, card.reserved, card.free, card.used);
        put(to, MemoryV2 { version: 0, total, reserved, free, used })
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(handle: *mut c_void, to: *mut Utilization) -> c_int {
    code(card(handle, |card| put(to, Utilization { gpu: card.utilization.ok_or(NOT_SUPPORTED)?, memory: 0 })))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(
    handle: *mut c_void,
    _sensor: c_uint,
    to: *mut c_uint,
) -> c_int {
    code(card(handle, |card| put(to, card.temperature.ok_or(NOT_SUPPORTED)?)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPowerUsage(handle: *mut c_void, to: *mut c_uint) -> c_int {
    code(card(handle, |card| put(to, card.power.ok_or(NOT_SUPPORTED)?)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetEnforcedPowerLimit(handle: *mut c_void, to: *mut c_uint) -> c_int {
    code(card(handle, |card| put(to, card.power_limit.ok_or(NOT_SUPPORTED)?)))
}

fn put_list(
    handle: *mut c_void,
    count: *mut c_uint,
    to: *mut ProcessInfo,
    of: fn(&Card) -> &Vec<Process>,
) -> c_int {
    code(card(handle, |card| {
        if card.list != 0 {
            return Err(card.list);
        }
        let list = of(card);
        if count.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        // SAFETY: the caller's number is valid for a read and a write.
        let room = unsafe { count.replace(list.len() as c_uint) };
        if list.len() > room as usize {
            return Err(INSUFFICIENT_SIZE);
        }
        for (i, process) in list.iter().enumerate() {
            let info = ProcessInfo {
                pid: process.pid,
                used: process.used,
                gpu_instance: c_uint::MAX,
                compute_instance: c_uint::MAX,
            };
            // SAFETY: the caller gives room for `room` entries, and there are no more.
            unsafe { to.add(i).write(info) };
        }
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    handle: *mut c_void,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> c_int {
    put_list(handle, count, to, |card| &card.processes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    handle: *mut c_void,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> c_int {
    put_list(handle, count, to, |card| &card.graphics)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMPSComputeRunningProcesses_v3(
    handle: *mut c_void,
    count: *mut c_uint,
    to: *mut ProcessInfo,
) -> c_int {
    put_list(handle, count, to, |card| &card.mps)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigMode(
    handle: *mut c_void,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> c_int {
    code(card(handle, |card| {
        if card.parts.is_empty() {
            return Err(NOT_SUPPORTED);
        }
        put(current, 1)?;
        put(pending, 1)
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxMigDeviceCount(handle: *mut c_void, to: *mut c_uint) -> c_int {
    // As on cards: more places than parts.
    code(card(handle, |_| put(to, 7)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    handle: *mut c_void,
    index: c_uint,
    to: *mut *mut c_void,
) -> c_int {
    code(card(handle, |card| {
        card.parts.get(index as usize).ok_or(NOT_FOUND)?;
        put(to, (handle as usize + 1 + index as usize) as *mut c_void)
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetAccountingMode(handle: *mut c_void, to: *mut c_uint) -> c_int {
    code(card(handle, |card| put(to, c_uint::from(card.accounting))))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetAccountingStats(
    handle: *mut c_void,
    pid: c_uint,
    to: *mut AccountingStats,
) -> c_int {
    code(card(handle, |card| {
        let process = card.processes.iter().find(|process| process.pid == pid).ok_or(NOT_FOUND)?;
        put(
            to,
            AccountingStats {
                gpu_utilization: 0,
                memory_utilization: 0,
                max_memory: process.peak,
                time: 0,
                start: 0,
                is_running: 1,
                reserved: [0; 5],
            },
        )
    }))
}
