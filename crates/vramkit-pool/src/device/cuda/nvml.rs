//! A card as NVIDIA's management library sees it: for whoever looks at it and uses nothing of it. No context is made, so
//! no memory of the card is taken, and the driver's own library is not touched, so that the process may fork.
//!
//! Every figure is of one call. Cards are counted as the library counts them, in the order of their places on the bus; of
//! `CUDA_VISIBLE_DEVICES` what is given as numbers or as `GPU-…` is followed.

use std::ffi::{CStr, OsString, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::path::Path;
use std::sync::Arc;

use libloading::Library;

use super::visible;
use crate::device::{Origin, Reading, nvml_size};
use vramkit_units::ByteSize;

/// The library's name, with the version that programs link.
const NAME: &str = if cfg!(windows) { "nvml.dll" } else { "libnvidia-ml.so.1" };
/// Names another one.
const PATH_VARIABLE: &str = "VRAMKIT_NVML";
/// Processes of a card that are believed to exist.
const MOST: usize = 4096;

/// Why a card cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NvmlError {
    /// The library is not here, or is not what it should be.
    #[error(
        "no NVIDIA management library: {library}: {reason}; install NVIDIA's driver, or set {PATH_VARIABLE} to its library"
    )]
    NoLibrary {
        /// The file looked for.
        library: String,
        /// What is wrong.
        reason: String,
    },
    /// The library refused.
    #[error("the NVIDIA management library refuses {operation}: {reason}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// Its words.
        reason: String,
    },
    /// There is no such card.
    #[error("there is no cuda:{index}: {reason}")]
    NoSuchCard {
        /// The card asked for.
        index: u32,
        /// What there is.
        reason: String,
    },
}

/// `nvmlMemory_t`.
#[repr(C)]
#[derive(Default)]
pub(super) struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// `nvmlMemory_v2_t`.
#[repr(C)]
#[derive(Default)]
pub(super) struct MemoryV2 {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// `nvmlProcessInfo_t` of the third form of the call.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Process {
    pid: c_uint,
    used: c_ulonglong,
    gpu_instance: c_uint,
    compute_instance: c_uint,
}

functions! {
    /// What every version of the library has.
    Base {
        init = nvmlInit_v2();
        shutdown = nvmlShutdown();
        count = nvmlDeviceGetCount_v2(*mut c_uint);
        handle = nvmlDeviceGetHandleByIndex_v2(c_uint, *mut *mut c_void);
        name = nvmlDeviceGetName(*mut c_void, *mut c_char, c_uint);
        uuid = nvmlDeviceGetUUID(*mut c_void, *mut c_char, c_uint);
        memory = nvmlDeviceGetMemoryInfo(*mut c_void, *mut Memory);
    }
}

functions! {
    /// Memory with what the driver keeps, since release 510.
    Newer {
        memory = nvmlDeviceGetMemoryInfo_v2(*mut c_void, *mut MemoryV2);
    }
}

functions! {
    /// Who computes on a card, since release 510.
    Lists {
        computing = nvmlDeviceGetComputeRunningProcesses_v3(*mut c_void, *mut c_uint, *mut Process);
    }
}

/// The library, initialised.
#[derive(Debug)]
struct Nvml {
    base: Base,
    newer: Option<Newer>,
    lists: Option<Lists>,
    // Last, so that the functions go before what they are in.
    _library: Library,
}

/// A card that is looked at. Clones look at the same one.
///
/// ```
/// use vramkit_pool::device::NvmlCard;
///
/// match NvmlCard::open(0) {
///     Ok(card) => println!("{}: {} in use", card.name(), card.memory().used_bytes),
///     Err(error) => println!("{error}"), // no driver, no such card, …
/// }
/// ```
#[derive(Clone, Debug)]
pub struct NvmlCard {
    library: Arc<Nvml>,
    handle: Handle,
    index: u32,
    name: String,
    uuid: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Handle(*mut c_void);

// SAFETY: a handle is a token of the library, which is thread-safe; nothing is read through the pointer here.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// A card's memory from one call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NvmlMemory {
    /// All of it.
    pub total_bytes: Reading<ByteSize>,
    /// What could be had.
    pub free_bytes: Reading<ByteSize>,
    /// What every process together holds.
    pub used_bytes: Reading<ByteSize>,
    /// What the driver keeps for itself.
    pub driver_bytes: Reading<ByteSize>,
}

/// A process that computes on a card.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NvmlProcess {
    /// As the machine (outside containers) numbers it.
    pub pid: u32,
    /// What it holds.
    pub used_bytes: Reading<ByteSize>,
}

impl Nvml {
    fn load(library: Option<&Path>) -> Result<Self, NvmlError> {
        let named =
            library.map(|path| path.as_os_str().to_owned()).or_else(|| std::env::var_os(PATH_VARIABLE));
        let file = named.unwrap_or_else(|| OsString::from(NAME));
        let missing =
            |reason: String| NvmlError::NoLibrary { library: file.to_string_lossy().into_owned(), reason };
        // SAFETY: opening runs the library's initialisers: the system's, or what the user has named instead.
        let library = unsafe { Library::new(&file) }.map_err(|_| missing("it is not here".to_owned()))?;
        let base =
            Base::load(&library).map_err(|symbol| missing(format!("it lacks the function {symbol}")))?;
        let (newer, lists) = (Newer::load(&library).ok(), Lists::load(&library).ok());
        // SAFETY: the first call of the library; `Drop` of what is returned undoes it.
        check("nvmlInit_v2", unsafe { (base.init)() })?;
        Ok(Self { base, newer, lists, _library: library })
    }

    fn count(&self) -> Result<u32, NvmlError> {
        let mut count = 0;
        // SAFETY: the pointer is valid for a write.
        check("nvmlDeviceGetCount_v2", unsafe { (self.base.count)(&mut count) })?;
        Ok(count)
    }

    fn handle(&self, index: u32) -> Result<Handle, NvmlError> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the pointer is valid for a write.
        check("nvmlDeviceGetHandleByIndex_v2", unsafe { (self.base.handle)(index, &mut handle) })?;
        Ok(Handle(handle))
    }

    /// A text of a card.
    fn text(
        &self,
        operation: &'static str,
        call: unsafe extern "C" fn(*mut c_void, *mut c_char, c_uint) -> c_int,
        handle: Handle,
    ) -> Result<String, NvmlError> {
        let mut text = [0; 96];
        // SAFETY: the handle is of this library, and the pointer is valid for writes of the length told.
        check(operation, unsafe { call(handle.0, text.as_mut_ptr(), text.len() as c_uint) })?;
        let last = text.len() - 1;
        text[last] = 0;
        // SAFETY: the last byte is zero.
        Ok(unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned())
    }
}

impl Drop for Nvml {
    fn drop(&mut self) {
        // SAFETY: it was initialised when it was loaded; the library counts.
        unsafe { (self.base.shutdown)() };
    }
}

impl NvmlCard {
    /// The `index`-th card that this process may see, by the system's library or the one that `VRAMKIT_NVML` names.
    ///
    /// # Errors
    /// No library, no such card, or what the library says.
    pub fn open(index: u32) -> Result<Self, NvmlError> {
        Self::of(None, std::env::var(visible::VARIABLE).ok().as_deref(), index)
    }

    /// As [`open`](Self::open), by this library, of all cards that it lists.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn with_library(library: &Path, index: u32) -> Result<Self, NvmlError> {
        Self::of(Some(library), None, index)
    }

    fn of(library: Option<&Path>, visible: Option<&str>, index: u32) -> Result<Self, NvmlError> {
        let library = Nvml::load(library)?;
        let count = library.count()?;
        let uuids = || -> Vec<String> {
            let uuid = |card| library.text("nvmlDeviceGetUUID", library.base.uuid, library.handle(card)?);
            (0..count).map(|card| uuid(card).unwrap_or_default()).collect()
        };
        let place = visible::place(index, count, visible, uuids)
            .map_err(|reason| NvmlError::NoSuchCard { index, reason })?;
        let handle = library.handle(place)?;
        let name = library.text("nvmlDeviceGetName", library.base.name, handle)?;
        let uuid = library.text("nvmlDeviceGetUUID", library.base.uuid, handle).ok();
        Ok(Self { library: Arc::new(library), handle, index, name, uuid })
    }

    /// The id that goes with it: `cuda:0`.
    pub fn id(&self) -> String {
        format!("cuda:{}", self.index)
    }

    /// As its maker calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its identity wherever it is plugged in.
    pub fn uuid(&self) -> Option<&str> {
        self.uuid.as_deref()
    }

    /// Its memory, from one call.
    pub fn memory(&self) -> NvmlMemory {
        let nvml = &*self.library;
        let mut newer =
            MemoryV2 { version: size_of::<MemoryV2>() as c_uint | 2 << 24, ..MemoryV2::default() };
        if let Some(functions) = &nvml.newer {
            // SAFETY: the handle is of this library, and the structure is valid for a write and says its version.
            let code = unsafe { (functions.memory)(self.handle.0, &mut newer) };
            if code == 0 {
                return NvmlMemory::of(newer.total, newer.free, newer.used, nvml_size(newer.reserved));
            }
        }
        let mut memory = Memory::default();
        // SAFETY: the handle is of this library, and the structure is valid for a write.
        match check("nvmlDeviceGetMemoryInfo", unsafe { (nvml.base.memory)(self.handle.0, &mut memory) }) {
            Ok(()) => {
                let driver =
                    Reading::unavailable(Origin::Nvml, "this driver does not say what it keeps for itself");
                NvmlMemory::of(memory.total, memory.free, memory.used, driver)
            }
            Err(error) => NvmlMemory::unavailable(&error.to_string()),
        }
    }

    /// Who computes on it.
    pub fn processes(&self) -> Reading<Vec<NvmlProcess>> {
        let Some(lists) = &self.library.lists else {
            return Reading::unavailable(Origin::Nvml, "this driver does not list processes");
        };
        let mut list = vec![Process::default(); 64];
        loop {
            let mut count = list.len() as c_uint;
            // SAFETY: the handle is of this library, and there is room for as many entries as it is told.
            let code = unsafe { (lists.computing)(self.handle.0, &mut count, list.as_mut_ptr()) };
            // Too small (7): it has said how many there are, and may be more by now.
            if code == 7 && list.len() < MOST {
                list.resize((2 * count as usize).clamp(list.len() + 1, MOST), Process::default());
                continue;
            }
            if let Err(error) = check("nvmlDeviceGetComputeRunningProcesses_v3", code) {
                return Reading::unavailable(Origin::Nvml, error.to_string());
            }
            list.truncate(count as usize);
            let processes =
                list.iter().map(|one| NvmlProcess { pid: one.pid, used_bytes: nvml_size(one.used) });
            return Reading::known(processes.collect(), Origin::Nvml);
        }
    }
}

impl NvmlMemory {
    fn of(total: u64, free: u64, used: u64, driver: Reading<ByteSize>) -> Self {
        if total == 0 {
            return Self::unavailable("this card has no memory of its own");
        }
        Self {
            total_bytes: nvml_size(total),
            free_bytes: nvml_size(free),
            used_bytes: nvml_size(used),
            driver_bytes: driver,
        }
    }

    fn unavailable(reason: &str) -> Self {
        let none = || Reading::unavailable(Origin::Nvml, reason);
        Self { total_bytes: none(), free_bytes: none(), used_bytes: none(), driver_bytes: none() }
    }
}

/// `nvmlReturn_t`.
fn check(operation: &'static str, code: c_int) -> Result<(), NvmlError> {
    let reason = match code {
        0 => return Ok(()),
        1 => "not initialised",
        2 => "an argument is not valid",
        3 => "not supported",
        4 => "no permission",
        6 => "not found",
        9 => "the driver is not loaded",
        15 => "the card has fallen off the bus",
        18 => "library and driver are of different versions",
        999 => "an unknown error",
        code => return Err(NvmlError::Refused { operation, reason: format!("error {code}") }),
    };
    Err(NvmlError::Refused { operation, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_and_cards_without_memory_give_no_number() {
        assert_eq!(nvml_size(u64::MAX).value, None);
        let driver = || Reading::unavailable(Origin::Nvml, "");
        assert_eq!(NvmlMemory::of(0, 0, 0, driver()).used_bytes.value, None);
        assert_eq!(NvmlMemory::of(9, 4, u64::MAX, driver()).used_bytes.value, None);
        assert_eq!(NvmlMemory::of(9, 4, 5, driver()).used_bytes.value, Some(ByteSize::new(5)));
    }
}
