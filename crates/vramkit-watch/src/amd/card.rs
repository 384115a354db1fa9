//! A card of AMD's in the kernel's files: where it is, what it is called, how much memory it has and uses, what it does.
//!
//! A card with memory of its own (VRAM) is that memory; what it maps of the machine's (GTT) is told beside it. A processor's
//! own graphics have a small part set aside and take the rest from the machine: for programs both together are its memory.

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::Usage;

use crate::kernel::{Kernel, shown};
use crate::source::Activity;

const VENDOR: &str = "0x1002";
/// Cards that are believed to exist.
const MOST: usize = 64;

/// A card: its number among AMD's, its folder, its place on the bus.
#[derive(Clone, Debug)]
pub(super) struct Card {
    pub(super) id: String,
    pub(super) folder: String,
    pub(super) bus: String,
    /// The number in `/dev/dri/renderD128`.
    pub(super) render: Option<u64>,
}

/// What a card has.
pub(super) struct CardMemory {
    pub(super) usage: Usage,
    pub(super) shared: Option<Reading<ByteSize>>,
    /// VRAM in use; with GTT for a card without memory of its own.
    pub(super) used: Option<u64>,
}

/// The cards, in the order of the kernel's numbers.
pub(super) fn cards(kernel: &Kernel) -> Vec<Card> {
    let names = kernel.names("sys/class/drm");
    let number = |name: &str| name.strip_prefix("card")?.parse::<u32>().ok();
    let mut numbered: Vec<u32> = names.iter().filter_map(|name| number(name)).collect();
    numbered.sort_unstable();
    let folders = numbered.into_iter().map(|number| format!("sys/class/drm/card{number}/device"));
    let amd = folders.filter(|folder| kernel.text(&format!("{folder}/vendor")).is_ok_and(|id| id == VENDOR));
    let card = |(index, folder): (usize, String)| {
        let real = std::fs::canonicalize(kernel.path(&folder)).ok();
        let bus = real.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let nodes = kernel.names(&format!("{folder}/drm"));
        let render = nodes.iter().find_map(|name| name.strip_prefix("renderD")?.parse().ok());
        Card { id: format!("amd:{index}"), folder, bus: bus.unwrap_or_default(), render }
    };
    amd.take(MOST).enumerate().map(card).collect()
}

impl Card {
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    pub(super) fn name(&self, kernel: &Kernel) -> String {
        let name = kernel.text(&self.file("product_name")).ok();
        let name = name.map(|name| shown(&name, 200)).filter(|name| !name.is_empty());
        name.unwrap_or_else(|| format!("AMD card at {}", self.bus))
    }

    pub(super) fn uuid(&self, kernel: &Kernel) -> Option<String> {
        let id = shown(&kernel.text(&self.file("unique_id")).ok()?, 64);
        // Zero is the driver's for a card without one.
        let is_one = !id.is_empty() && id.bytes().any(|byte| byte != b'0' && byte != b'x');
        is_one.then_some(id)
    }

    /// Whether it sleeps: asking it more than its memory's figures would wake it.
    pub(super) fn sleeps(&self, kernel: &Kernel) -> bool {
        kernel.text(&self.file("power/runtime_status")).is_ok_and(|status| status == "suspended")
    }

    /// How much memory it has; of a processor's own graphics with what they may have of the machine's, of which `available` is
    /// left.
    pub(super) fn memory(
        &self,
        kernel: &Kernel,
        is_integrated: bool,
        available: Option<ByteSize>,
    ) -> CardMemory {
        let size = |name: &str| self.size(kernel, name);
        let (vram, vram_used) = (size("mem_info_vram_total"), size("mem_info_vram_used"));
        let (gtt, gtt_used) = (size("mem_info_gtt_total"), size("mem_info_gtt_used"));
        let left = |total: &Reading<ByteSize>, used: &Reading<ByteSize>| match (total.value, used.value) {
            (Some(total), Some(used)) => Reading::known(total.saturating_sub(used), Origin::Sysfs),
            _ => Reading::unavailable(Origin::Sysfs, "total or used is not known"),
        };
        let own_free = left(&vram, &vram_used);
        let (total, used, free, shared) = if is_integrated {
            // GTT is a promise: no more of it can be had than the machine has left.
            let free = left(&gtt, &gtt_used).map(|free| available.map_or(free, |most| most.min(free)));
            (plus(vram, gtt), plus(vram_used, gtt_used), plus(own_free, free), None)
        } else {
            (vram, vram_used, own_free, Some(gtt_used).filter(|_| gtt.value.is_some()))
        };
        let none = |reason: &str| Reading::unavailable(Origin::Sysfs, reason);
        CardMemory {
            used: used.value.map(ByteSize::bytes),
            usage: Usage {
                total_bytes: total,
                free_bytes: free,
                used_bytes: used,
                driver_bytes: none("the kernel does not say what the driver keeps"),
                allocated_bytes: none("the kernel does not say what programs use of what they hold"),
                reserved_bytes: none("see the pools"),
            },
            shared,
        }
    }

    fn size(&self, kernel: &Kernel, name: &str) -> Reading<ByteSize> {
        match kernel.number(&self.file(name)) {
            // The sentinel of figures that the card does not have.
            Ok(bytes) if bytes < 1 << 60 => Reading::known(ByteSize::new(bytes), Origin::Sysfs),
            Ok(_) => Reading::unavailable(Origin::Sysfs, "the driver gives no number"),
            Err(reason) => Reading::unavailable(Origin::Sysfs, reason),
        }
    }

    /// What it does, as far as its driver says.
    pub(super) fn activity(&self, kernel: &Kernel) -> Option<Activity> {
        let mut activity = Activity::default();
        let busy = kernel.number(&self.file("gpu_busy_percent")).ok().filter(|&percent| percent <= 100);
        activity.utilization_ratio = busy.map(|percent| percent as f64 / 100.0);
        let monitors = kernel.names(&self.file("hwmon"));
        if let Some(monitor) = monitors.first().map(|name| self.file(&format!("hwmon/{name}"))) {
            let number = |name: &str| kernel.number(&format!("{monitor}/{name}")).ok();
            activity.temperature_celsius = temperature(kernel, &monitor);
            // Newer cards have the power of the moment, older ones an average.
            let watts = |micro: u64| Some(micro as f64 / 1e6).filter(|&watts| watts < 1e5);
            activity.power_watts =
                number("power1_average").or_else(|| number("power1_input")).and_then(watts);
            activity.power_limit_watts = number("power1_cap").and_then(watts);
        }
        (activity != Activity::default()).then_some(activity)
    }
}

/// At the edge where there is such a sensor, else the first: cards for data centres have it at the junction.
fn temperature(kernel: &Kernel, monitor: &str) -> Option<f64> {
    let label = |number: u32| kernel.text(&format!("{monitor}/temp{number}_label")).unwrap_or_default();
    let reading = |number: u32| {
        let text = kernel.text(&format!("{monitor}/temp{number}_input")).ok()?;
        let degrees = text.parse::<i64>().ok()? as f64 / 1000.0;
        (-60.0..=200.0).contains(&degrees).then_some(degrees)
    };
    let edge = (1..=3).find(|&number| label(number) == "edge").and_then(reading);
    edge.or_else(|| (1..=3).find_map(reading))
}

/// The sum, where both are known.
fn plus(a: Reading<ByteSize>, b: Reading<ByteSize>) -> Reading<ByteSize> {
    match (a.value, b.value) {
        (Some(one), Some(other)) => Reading { value: Some(one.saturating_add(other)), ..a },
        (None, _) => a,
        (_, None) => b,
    }
}
