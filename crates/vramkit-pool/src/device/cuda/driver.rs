//! The driver library, found and opened at run time: its functions as pointers, its codes as errors.
//!
//! Nothing here knows devices or memory. A library that is not there, or lacks a function, is an error that names
//! the file or the function; a function that only some drivers have is looked up and may be missing.

use std::error::Error as _;
use std::ffi::{CStr, OsString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::sync::Arc;

use libloading::Library;

/// Overrides where the driver library is looked for.
const PATH_VARIABLE: &str = "VRAMKIT_CUDA_DRIVER";
const NAME: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// Why there is no CUDA device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// The library could not be opened.
    #[error(
        "no CUDA driver: {library} cannot be opened ({reason}); install NVIDIA's driver, or set {PATH_VARIABLE} to its library"
    )]
    NoDriver {
        /// The file looked for.
        library: String,
        /// What the system said.
        reason: String,
    },
    /// The library is not what it should be.
    #[error("{library} lacks the function {symbol}: it is not a CUDA driver, or one too old")]
    MissingSymbol {
        /// The file.
        library: String,
        /// The function.
        symbol: String,
    },
    /// The driver refused.
    #[error("the CUDA driver refuses {operation}: {reason}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// Its name for the reason.
        reason: String,
    },
    /// There is no such card.
    #[error("there is no cuda:{index}: the driver lists {count} {}", if *count == 1 { "card" } else { "cards" })]
    NoSuchCard {
        /// The card asked for.
        index: u32,
        /// How many there are.
        count: u32,
    },
}

/// A driver function's result, when it is not success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code(pub(super) c_int);

impl Code {
    pub(super) const OUT_OF_MEMORY: Self = Self(2);
    pub(super) const NOT_READY: Self = Self(600);

    /// Whether nothing works on the device from now on.
    pub(super) fn is_loss(self) -> bool {
        // Deinitialized, unavailable, uncorrectable ECC, context destroyed, and the faults that leave a context
        // unusable (cuda.h, "this leaves the process in an inconsistent state").
        matches!(self.0, 4 | 46 | 214 | 700 | 702 | 709 | 710 | 714..=719)
    }
}

/// Where memory is: `CUmemLocation`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Location {
    pub(super) kind: c_int,
    pub(super) id: c_int,
}

/// `CUmemAllocationProp`.
#[repr(C)]
pub(super) struct AllocationProperties {
    pub(super) kind: c_int,
    pub(super) handle_types: c_int,
    pub(super) location: Location,
    pub(super) metadata: *mut c_void,
    pub(super) flags: [u8; 8],
}

/// `CUmemAccessDesc`.
#[repr(C)]
pub(super) struct AccessDescription {
    pub(super) location: Location,
    pub(super) flags: c_int,
}

functions! {
    /// What every driver has.
    Base {
        init = cuInit(c_uint);
        device_count = cuDeviceGetCount(*mut c_int);
        device = cuDeviceGet(*mut c_int, c_int);
        device_name = cuDeviceGetName(*mut c_char, c_int, c_int);
        device_total = cuDeviceTotalMem_v2(*mut usize, c_int);
        device_attribute = cuDeviceGetAttribute(*mut c_int, c_int, c_int);
        context_retain = cuDevicePrimaryCtxRetain(*mut *mut c_void, c_int);
        context_release = cuDevicePrimaryCtxRelease_v2(c_int);
        context_push = cuCtxPushCurrent_v2(*mut c_void);
        context_pop = cuCtxPopCurrent_v2(*mut *mut c_void);
        synchronize = cuCtxSynchronize();
        memory_info = cuMemGetInfo_v2(*mut usize, *mut usize);
        allocate = cuMemAlloc_v2(*mut u64, usize);
        free = cuMemFree_v2(u64);
        to_device = cuMemcpyHtoD_v2(u64, *const c_void, usize);
        to_host = cuMemcpyDtoH_v2(*mut c_void, u64, usize);
        on_device = cuMemcpyDtoD_v2(u64, u64, usize);
        fill_bytes = cuMemsetD8_v2(u64, u8, usize);
        fill_words = cuMemsetD32_v2(u64, c_uint, usize);
        stream_create = cuStreamCreate(*mut *mut c_void, c_uint);
        stream_destroy = cuStreamDestroy_v2(*mut c_void);
        event_create = cuEventCreate(*mut *mut c_void, c_uint);
        event_destroy = cuEventDestroy_v2(*mut c_void);
        event_record = cuEventRecord(*mut c_void, *mut c_void);
        event_query = cuEventQuery(*mut c_void);
        event_wait = cuEventSynchronize(*mut c_void);
        error_name = cuGetErrorName(c_int, *mut *const c_char);
    }
}

functions! {
    /// Virtual memory management, since CUDA 10.2.
    Virtual {
        granularity = cuMemGetAllocationGranularity(*mut usize, *const AllocationProperties, c_int);
        reserve = cuMemAddressReserve(*mut u64, usize, usize, u64, u64);
        unreserve = cuMemAddressFree(u64, usize);
        create = cuMemCreate(*mut u64, usize, *const AllocationProperties, u64);
        release = cuMemRelease(u64);
        map = cuMemMap(u64, usize, usize, u64, u64);
        unmap = cuMemUnmap(u64, usize);
        set_access = cuMemSetAccess(u64, usize, *const AccessDescription, usize);
    }
}

functions! {
    /// A card's identity, since CUDA 9.2: of the whole card.
    Identity {
        uuid = cuDeviceGetUuid(*mut [u8; 16], c_int);
    }
}

functions! {
    /// As above, since CUDA 11.4: of a part of a card, where the program sees one.
    PartIdentity {
        uuid = cuDeviceGetUuid_v2(*mut [u8; 16], c_int);
    }
}

functions! {
    /// Stream-ordered pools, since CUDA 11.2.
    Pools {
        default_pool = cuDeviceGetDefaultMemPool(*mut *mut c_void, c_int);
        attribute = cuMemPoolGetAttribute(*mut c_void, c_int, *mut c_void);
    }
}

/// The driver, initialised.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) base: Base,
    /// Or the function that is missing.
    pub(super) vmm: Result<Virtual, &'static str>,
    pub(super) pools: Result<Pools, &'static str>,
    pub(super) identity: Result<Identity, &'static str>,
    pub(super) part_identity: Result<PartIdentity, &'static str>,
    // Last, so that the functions go before what they are in.
    _library: Library,
}

impl Driver {
    /// Opens a library, or the system's driver, and initialises it.
    pub(super) fn load(library: Option<&Path>) -> Result<Arc<Self>, CudaError> {
        let named =
            library.map(|path| path.as_os_str().to_owned()).or_else(|| std::env::var_os(PATH_VARIABLE));
        let name = named.unwrap_or_else(|| OsString::from(NAME));
        let library_name = name.to_string_lossy().into_owned();
        // SAFETY: opening runs the library's initialisers: the system's driver, or what the user has named instead.
        let library = unsafe { Library::new(&name) }.map_err(|error| CudaError::NoDriver {
            library: library_name.clone(),
            reason: error.source().map_or_else(|| error.to_string(), ToString::to_string),
        })?;
        let base = Base::load(&library).map_err(|symbol| CudaError::MissingSymbol {
            library: library_name,
            symbol: symbol.to_owned(),
        })?;
        let (vmm, pools) = (Virtual::load(&library), Pools::load(&library));
        let (identity, part_identity) = (Identity::load(&library), PartIdentity::load(&library));
        let driver = Self { base, vmm, pools, identity, part_identity, _library: library };
        // SAFETY: the first call of the driver, with the only flags that it knows.
        driver.check(unsafe { (driver.base.init)(0) }).map_err(|code| driver.refused("cuInit", code))?;
        Ok(Arc::new(driver))
    }

    /// A function's result as one of Rust's.
    pub(super) fn check(&self, code: c_int) -> Result<(), Code> {
        if code == 0 { Ok(()) } else { Err(Code(code)) }
    }

    /// The driver's name of a code, with its number.
    pub(super) fn name(&self, code: Code) -> String {
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: the pointer is valid for a write; on success the text is static in the library.
        let found = unsafe { (self.base.error_name)(code.0, &mut name) } == 0 && !name.is_null();
        if found {
            // SAFETY: the driver gave a text that ends with 0.
            let text = unsafe { CStr::from_ptr(name) }.to_string_lossy();
            format!("{text} ({})", code.0)
        } else {
            format!("code {}", code.0)
        }
    }

    pub(super) fn refused(&self, operation: &'static str, code: Code) -> CudaError {
        CudaError::Refused { operation, reason: self.name(code) }
    }
}
