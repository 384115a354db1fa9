//! NVIDIA's cards through the management library, loaded by its name at run time. It takes no device memory.
//!
//! Faults of the field that are looked for here: sentinels (2^64 - 1) where there is no number, cards without memory of
//! their own whose figures are not supported (`unified`), a driver that goes away between two calls, process numbers of another
//! namespace, the old form of a call where the new one is missing.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use nvml_wrapper::enum_wrappers::device::TemperatureSensor;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::nvmlMemory_t;
use vramkit::ByteSize;
use vramkit::device::{Origin, Reading, nvml_size};
use vramkit::monitor::text::{NAME, clean};
use vramkit::monitor::{DeviceName, ProcessUse, Usage};

use crate::ids::NAMELESS;
use crate::kernel::{Kernel, system_root};
use crate::processes::Processes;
use crate::source::{Activity, DeviceClass, DeviceReading, Health, Missing, Readings, Source, Unavailable};
use crate::unified;

/// The library's name, with the version that programs link.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// Names another one.
const VARIABLE: &str = "VRAMKIT_NVML";
/// After a failure to load it, how long to wait before trying again: twice as long each time. A driver that is loaded anew is back
/// within seconds.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// Cards and parts of cards that are believed to exist.
const MOST: u32 = 64;
/// Names that are remembered: more than there are devices, so that parts may come and go.
const KNOWN: usize = 1024;

/// See the module's first lines.
///
/// ```
/// use vramkit_watch::Source;
/// use vramkit_watch::NvmlSource;
///
/// let readings = NvmlSource::default().read();
/// // What is not on this machine is said to be unavailable, with the reason.
/// assert!(readings.devices.iter().all(|device| !device.device.id.is_empty()));
/// ```
pub struct NvmlSource {
    path: OsString,
    library: Result<Nvml, Absent>,
    tried: Instant,
    retry: Duration,
    processes: Processes,
    names: Names,
}

/// By id and identity, since a driver may give two cards the same one; and by size, since a part that is made anew in the place of
/// another has its identity.
type Names = BTreeMap<(String, String, Option<u64>), String>;

impl Default for NvmlSource {
    /// The library by its usual name, or the one that `VRAMKIT_NVML` names.
    fn default() -> Self {
        Self::of(&std::env::var_os(VARIABLE).unwrap_or_else(|| LIBRARY.into()))
    }
}

impl NvmlSource {
    /// A library of the caller's.
    pub fn of(path: &OsStr) -> Self {
        Self {
            path: path.to_owned(),
            library: load(path),
            tried: Instant::now(),
            retry: FIRST_RETRY,
            processes: Processes::default(),
            names: Names::new(),
        }
    }
}

/// Why there is no library: there is none on this machine, or it does not work.
type Absent = (Health, String);

fn load(path: &OsStr) -> Result<Nvml, Absent> {
    Nvml::builder().lib_path(path).init().map_err(|error| match error {
        NvmlError::LibloadingError(_) => {
            (Health::Absent, format!("`{}` is not here", path.to_string_lossy()))
        }
        NvmlError::FailedToLoadSymbol(symbol) => {
            (Health::Failing, format!("`{}` is no NVML: {symbol}", path.to_string_lossy()))
        }
        error => (unloaded(&error), error.to_string()),
    })
}

/// A driver that is not loaded is none on this machine; one that says anything else is one that fails.
fn unloaded(error: &NvmlError) -> Health {
    match error {
        NvmlError::DriverNotLoaded | NvmlError::LibraryNotFound => Health::Absent,
        _ => Health::Failing,
    }
}

/// Whether an error says that the driver has gone, rather than that it has no such number.
fn is_gone(error: &NvmlError) -> bool {
    matches!(error, NvmlError::Uninitialized | NvmlError::DriverNotLoaded | NvmlError::LibRmVersionMismatch)
}

/// Whether an error says that the card does not answer any more.
fn is_lost(error: &NvmlError) -> bool {
    matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired)
}

/// The card of this place, which cannot be asked.
fn missing(id: String, uuid: Option<String>, error: &NvmlError) -> Missing {
    let device = DeviceName { name: format!("{NAMELESS} that cannot be asked"), uuid, id };
    Missing { device, place: None, reason: error.to_string() }
}

fn is_missing(error: &NvmlError) -> bool {
    matches!(error, NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound)
}

fn none<T>(error: &NvmlError) -> Reading<T> {
    Reading::unavailable(Origin::Nvml, error.to_string())
}

impl Source for NvmlSource {
    fn name(&self) -> &'static str {
        "nvml"
    }

    fn read(&mut self) -> Readings {
        let mut readings = Readings::default();
        if self.library.is_err() && self.tried.elapsed() > self.retry {
            self.library = load(&self.path);
            self.tried = Instant::now();
            self.retry = if self.library.is_ok() { FIRST_RETRY } else { (2 * self.retry).min(LAST_RETRY) };
        }
        self.processes.begin();
        let outcome = match &self.library {
            Ok(nvml) => read_all(nvml, &mut self.processes, &mut self.names, &mut readings),
            Err((health, reason)) => {
                readings.health = *health;
                readings.unavailable.push(Unavailable { source: "nvml".into(), reason: reason.clone() });
                Ok(())
            }
        };
        if let Err(error) = outcome {
            readings.health = Health::Failing;
            readings.unavailable.push(Unavailable { source: "nvml".into(), reason: error.to_string() });
            if is_gone(&error) {
                // Whoever reloads the driver gets a library that knows it.
                self.library = Err((unloaded(&error), error.to_string()));
                self.tried = Instant::now();
                self.names.clear();
            }
        }
        readings
    }
}

fn read_all(
    nvml: &Nvml,
    processes: &mut Processes,
    names: &mut Names,
    readings: &mut Readings,
) -> Result<(), NvmlError> {
    let count = nvml.device_count()?;
    if count > MOST {
        let reason = format!("{} cards more than {MOST} are not looked at", count - MOST);
        readings.unavailable.push(Unavailable { source: "nvml".into(), reason });
    }
    for index in 0..count.min(MOST) {
        let id = format!("cuda:{index}");
        let device = match nvml.device_by_index(index) {
            Ok(device) => device,
            Err(error) if is_gone(&error) => return Err(error),
            // The count is of all cards of the machine, also in a job or container that has some of them.
            Err(NvmlError::NoPermission) => {
                readings.barred.insert(id);
                continue;
            }
            Err(error) => {
                readings.missing.push(missing(id, None, &error));
                continue;
            }
        };
        if let Err(error) = device.memory_info()
            && is_lost(&error)
        {
            readings.missing.push(missing(id, uuid_of(&device), &error));
            continue;
        }
        let reading = read_device(nvml, &device, id.clone(), processes, names)?;
        readings.devices.push(reading);
        if device.mig_mode().is_ok_and(|mode| mode.current == 1) {
            for part in 0..device.mig_device_count().unwrap_or(0).min(MOST) {
                // Places of parts that do not exist are errors.
                if let Ok(part_of_it) = device.mig_device_by_index(part) {
                    let id = format!("{id}/mig:{part}");
                    readings.devices.push(read_device(nvml, &part_of_it, id, processes, names)?);
                }
            }
        }
    }
    let reason = match readings.barred.len() {
        0 => return Ok(()),
        1 => "one card of this machine may not be asked by this user".to_owned(),
        many => format!("{many} cards of this machine may not be asked by this user"),
    };
    readings.unavailable.push(Unavailable { source: "nvml".into(), reason });
    Ok(())
}

fn read_device(
    nvml: &Nvml,
    device: &Device<'_>,
    id: String,
    processes: &mut Processes,
    names: &mut Names,
) -> Result<DeviceReading, NvmlError> {
    let class = if id.contains("/mig:") { DeviceClass::GpuPart } else { DeviceClass::Gpu };
    let list = match process_list(device) {
        Err(error) if is_gone(&error) => return Err(error),
        list => list,
    };
    let accounting = device.is_accounting_enabled().unwrap_or(false);
    let peak = |pid: u32| {
        if !accounting {
            return Reading::unavailable(Origin::Nvml, "accounting is off (nvidia-smi -am 1)");
        }
        match device.accounting_stats_for(pid) {
            Ok(stats) => match stats.max_memory_usage {
                Some(bytes) => nvml_size(bytes),
                None => Reading::unavailable(Origin::Nvml, "the driver gives no number"),
            },
            Err(error) => none(&error),
        }
    };
    let uses = match list {
        Ok(list) => {
            let uses = list.into_iter().map(|(pid, used)| {
                let (name, identity) = processes.describe(pid);
                ProcessUse { pid, name, identity, used_bytes: used, peak_bytes: peak(pid) }
            });
            Reading::known(uses.collect::<Vec<_>>(), Origin::Nvml)
        }
        Err(error) => none(&error),
    };
    let mut notes = Vec::new();
    let usage = match memory(nvml, device) {
        Ok(usage) => usage,
        Err(error) if is_gone(&error) => return Err(error),
        Err(error) => {
            // A part of a card is no part of the machine. Any other error says nothing of whose memory it is.
            if matches!(error, NvmlError::NotSupported) && class == DeviceClass::Gpu {
                notes.push(unified::NOTE.to_owned());
                unified::usage(&Kernel::at(&system_root()), &uses)
            } else {
                Usage::unavailable(Origin::Nvml, &error.to_string())
            }
        }
    };
    let device_name = identify(device, id, usage.total_bytes.value, names);
    Ok(DeviceReading {
        device: device_name,
        class,
        // Parts of a card have no figures of their own.
        activity: (class == DeviceClass::Gpu).then(|| activity(device)),
        usage,
        processes: uses,
        stall: None,
        shared_bytes: None,
        notes,
    })
}

/// Which device it is now: a card that is divided anew has other parts at the same places. Its identity costs little; its name
/// is asked for when that is new.
fn identify(device: &Device<'_>, id: String, total: Option<ByteSize>, names: &mut Names) -> DeviceName {
    let uuid = uuid_of(device);
    let key = uuid.as_ref().map(|uuid| (id.clone(), uuid.clone(), total.map(ByteSize::bytes)));
    let known = key.as_ref().and_then(|key| names.get(key).cloned());
    let name = known.unwrap_or_else(|| match (device.name(), key) {
        (Ok(name), key) => {
            let name = clean(&name, NAME).into_owned();
            let key = key.filter(|_| names.len() < KNOWN);
            names.extend(key.map(|key| (key, name.clone())));
            name
        }
        // It is asked again.
        (Err(error), _) => format!("{NAMELESS} without a name ({error})"),
    });
    DeviceName { id, name, uuid }
}

fn uuid_of(device: &Device<'_>) -> Option<String> {
    // An empty one is none.
    device.uuid().ok().map(|uuid| clean(&uuid, NAME).trim().to_owned()).filter(|uuid| !uuid.is_empty())
}

/// What it does, as far as the driver says.
fn activity(device: &Device<'_>) -> Activity {
    let watts = |milliwatts: Result<u32, NvmlError>| {
        milliwatts
            .ok()
            .filter(|milliwatts| *milliwatts != u32::MAX)
            .map(|milliwatts| f64::from(milliwatts) / 1e3)
    };
    let percent = device.utilization_rates().ok().map(|rates| rates.gpu).filter(|percent| *percent <= 100);
    // Beyond what silicon bears it is no temperature.
    let degrees = device.temperature(TemperatureSensor::Gpu).ok().filter(|degrees| *degrees < 200);
    Activity {
        utilization_ratio: percent.map(|percent| f64::from(percent) / 100.0),
        temperature_celsius: degrees.map(f64::from),
        power_watts: watts(device.power_usage()),
        power_limit_watts: watts(device.enforced_power_limit()),
    }
}

/// Bytes of the card, with what the driver keeps where it says so.
fn memory(nvml: &Nvml, device: &Device<'_>) -> Result<Usage, NvmlError> {
    let (total, free, used, driver) = match device.memory_info() {
        Ok(memory) => (memory.total, memory.free, memory.used, nvml_size(memory.reserved)),
        Err(error) if is_missing(&error) || matches!(error, NvmlError::NotSupported) => {
            let memory =
                old_memory(nvml, device).map_err(|old| if is_missing(&old) { error } else { old })?;
            let reason = "this driver does not say what it keeps for itself";
            (memory.total, memory.free, memory.used, Reading::unavailable(Origin::Nvml, reason))
        }
        Err(error) => return Err(error),
    };
    if total == 0 {
        return Ok(Usage::unavailable(
            Origin::Nvml,
            "the driver says that all of it is 0 bytes, which is no size",
        ));
    }
    let none = |reason: &str| Reading::unavailable(Origin::Nvml, reason);
    Ok(Usage {
        total_bytes: nvml_size(total),
        free_bytes: nvml_size(free),
        used_bytes: nvml_size(used),
        driver_bytes: driver,
        allocated_bytes: none("the driver does not say what programs use of what they hold"),
        reserved_bytes: none("see the pools"),
    })
}

/// The first version of the call, which `nvml-wrapper` leaves out.
#[allow(unsafe_code)]
fn old_memory(nvml: &Nvml, device: &Device<'_>) -> Result<nvmlMemory_t, NvmlError> {
    let Ok(call) = nvml.lib().nvmlDeviceGetMemoryInfo.as_ref() else {
        return Err(NvmlError::FunctionNotFound);
    };
    let mut memory = nvmlMemory_t { total: 0, free: 0, used: 0 };
    // SAFETY: the function has this signature in every version of the library, the handle is a device's of the same
    // library, which outlives the call, and the structure is valid for the write.
    let code = unsafe { call(device.handle(), &raw mut memory) };
    nvml_wrapper::error::nvml_try(code).map(|()| memory)
}

/// Who computes or draws on it, itself or through MPS's server, each process once.
fn process_list(device: &Device<'_>) -> Result<BTreeMap<u32, Reading<ByteSize>>, NvmlError> {
    let newer_or_older = |newer: Result<Vec<ProcessInfo>, NvmlError>,
                          older: &dyn Fn() -> Result<Vec<ProcessInfo>, NvmlError>| {
        match newer {
            Err(error) if is_missing(&error) => older(),
            other => other,
        }
    };
    let compute =
        newer_or_older(device.running_compute_processes(), &|| device.running_compute_processes_v2())?;
    // Cards that only compute do not list who draws.
    let graphics =
        newer_or_older(device.running_graphics_processes(), &|| device.running_graphics_processes_v2())
            .unwrap_or_default();
    let through_server = device.mps_running_compute_processes().unwrap_or_default();
    let mut list: BTreeMap<u32, Reading<ByteSize>> = BTreeMap::new();
    for process in compute.into_iter().chain(graphics).chain(through_server) {
        let used = match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => nvml_size(bytes),
            UsedGpuMemory::Unavailable => Reading::unavailable(Origin::Nvml, "the driver gives no number"),
        };
        // One that computes and draws is in both lists with the same number.
        match list.get_mut(&process.pid) {
            Some(known) if known.value >= used.value => {}
            _ => drop(list.insert(process.pid, used)),
        }
    }
    Ok(list)
}
