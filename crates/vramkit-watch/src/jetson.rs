//! A Jetson's own card where NVIDIA's management library is not here (before JetPack 6): the model from the device tree,
//! load and temperature from the kernel's files, the machine's memory. Where the library lists the card, it is the
//! library's.
//!
//! Who holds its memory stands in `/sys/kernel/debug/nvmap`, which only root may read and which has no fixed form: it is not
//! read.

use vramkit::device::{Origin, Reading};
use vramkit::monitor::DeviceName;

use crate::kernel::{Kernel, shown, system_root};
use crate::source::{Activity, DeviceClass, DeviceReading, Readings, Source};
use crate::unified;

/// Folders in which its driver has been seen, by board and kernel.
const FOLDERS: [&str; 3] = ["sys/devices", "sys/devices/platform", "sys/devices/platform/bus@0"];
/// Ends of its name there.
const NAMES: [&str; 5] = ["gpu.0", ".gpu", ".ga10b", ".gv11b", ".gp10b"];
const MOST_ZONES: usize = 64;

/// See the module's first lines.
#[derive(Debug)]
pub(crate) struct JetsonSource {
    kernel: Kernel,
    model: String,
    /// Where its load stands, per mille.
    load: Option<String>,
    /// Where its temperature stands, in thousandths of a degree.
    temperature: Option<String>,
}

impl JetsonSource {
    /// On a Jetson; none anywhere else.
    pub(crate) fn of_this_machine() -> Option<Self> {
        Self::of(Kernel::at(&system_root()))
    }

    pub(crate) fn of(kernel: Kernel) -> Option<Self> {
        let model = shown(&kernel.text("proc/device-tree/model").ok()?, 200);
        // Some boards' models do not say it (`NVIDIA Orin Nano Developer Kit`), and each of them says its chip.
        let compatible = kernel.text("proc/device-tree/compatible").unwrap_or_default();
        if !model.contains("Jetson") && !compatible.contains("nvidia,tegra") {
            return None;
        }
        let loads = FOLDERS.iter().flat_map(|folder| {
            let names = kernel.names(folder).into_iter();
            let is_card = |name: &String| NAMES.iter().any(|end| name.ends_with(end));
            names.filter(is_card).map(move |name| format!("{folder}/{name}/load"))
        });
        let load = loads.into_iter().find(|path| kernel.path(path).is_file());
        let zones = kernel.names("sys/class/thermal").into_iter().take(MOST_ZONES);
        let zone = zones.map(|name| format!("sys/class/thermal/{name}")).find(|zone| {
            let kind = kernel.text(&format!("{zone}/type")).unwrap_or_default();
            kind.to_ascii_lowercase().starts_with("gpu")
        });
        Some(Self { model, load, temperature: zone.map(|zone| format!("{zone}/temp")), kernel })
    }
}

impl Source for JetsonSource {
    fn name(&self) -> &'static str {
        "jetson"
    }

    fn read(&mut self) -> Readings {
        let number = |path: &Option<String>| self.kernel.number(path.as_ref()?).ok();
        let activity = Activity {
            utilization_ratio: number(&self.load)
                .filter(|&load| load <= 1000)
                .map(|load| load as f64 / 1000.0),
            temperature_celsius: number(&self.temperature)
                .filter(|&degrees| degrees < 200_000)
                .map(|degrees| degrees as f64 / 1000.0),
            ..Activity::default()
        };
        let why =
            "the kernel says who holds its memory to root alone (/sys/kernel/debug/nvmap), which is not read";
        let processes = Reading::unavailable(Origin::System, why);
        let device = DeviceReading {
            device: DeviceName { id: "cuda:0".into(), name: self.model.clone(), uuid: None },
            class: DeviceClass::Gpu,
            activity: (activity != Activity::default()).then_some(activity),
            usage: unified::usage(&self.kernel, &processes),
            processes,
            stall: None,
            shared_bytes: None,
            notes: vec!["it shares the machine's memory, whose figures these are".to_owned()],
        };
        Readings { devices: vec![device], ..Readings::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use vramkit::ByteSize;

    use super::*;

    #[test]
    fn a_board_is_its_card_with_the_machines_memory() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let source = || JetsonSource::of(Kernel::at(root.path()));
        assert!(source().is_none());
        put("proc/device-tree/model", "Raspberry Pi 5\0");
        assert!(source().is_none());
        put("proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0");
        put("proc/meminfo", "MemTotal: 64000 kB\nMemAvailable: 24000 kB\n");
        put("sys/devices/platform/bus@0/17000000.gpu/load", "425\n");
        put("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n");
        put("sys/class/thermal/thermal_zone1/type", "gpu-thermal\n");
        put("sys/class/thermal/thermal_zone1/temp", "51250\n");
        let device = source().unwrap().read().devices.remove(0);
        assert_eq!(device.device.name, "NVIDIA Jetson AGX Orin Developer Kit");
        let activity = device.activity.unwrap();
        assert_eq!((activity.utilization_ratio, activity.temperature_celsius), (Some(0.425), Some(51.25)));
        assert_eq!(device.usage.total_bytes.value, Some(ByteSize::new(64000 << 10)));
        assert_eq!(device.usage.used_bytes.value, Some(ByteSize::new(40000 << 10)));
        assert!(device.processes.unavailable.unwrap().contains("nvmap"));
        assert_eq!(device.usage.allocated_bytes.value, None);
    }
}
