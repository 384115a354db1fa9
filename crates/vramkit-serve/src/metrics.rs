//! A tick as OpenMetrics: base units, OpenTelemetry's names for what it names (`hw.gpu.memory.*`, semantic conventions for
//! hardware), ours for the rest. What is not known has no sample, and what is gone has none either: every text is made from
//! one tick alone.

mod states;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use vramkit::ByteSize;
use vramkit::device::Reading;
use vramkit::monitor::{MonitorStats, PoolUse, ProcessIdentity, ProcessUse, StallTimes, Usage};
use vramkit::pool::{Holder, PoolStats, Purpose};
use vramkit::pressure::PressureLevel;
use vramkit_watch::{Activity, DeviceClass, DeviceTick, Presence, Tick};

/// What the text is, for the header.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text of a tick.
pub fn openmetrics(tick: &Arc<Tick>) -> Result<String, fmt::Error> {
    encode(OfTick { tick: tick.clone(), interval: None, is_old: false })
}

/// The text of a tick of which one is made at every interval at least.
pub(crate) fn sampled(tick: &Arc<Tick>, interval: Duration) -> Result<String, fmt::Error> {
    encode(OfTick { tick: tick.clone(), interval: Some(interval), is_old: false })
}

/// The text of a tick that is old: when it was, and nothing else of it.
pub(crate) fn when(tick: &Arc<Tick>, interval: Duration) -> Result<String, fmt::Error> {
    encode(OfTick { tick: tick.clone(), interval: Some(interval), is_old: true })
}

fn encode(tick: OfTick) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(tick));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct OfTick {
    tick: Arc<Tick>,
    interval: Option<Duration>,
    is_old: bool,
}

type Labels = Vec<(&'static str, String)>;
type Samples = Vec<(Labels, f64)>;

impl Collector for OfTick {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut families = Families(encoder);
        families.monitor(&self.tick, self.interval)?;
        if self.is_old {
            return Ok(());
        }
        families.states(&self.tick)?;
        families.devices(&self.tick.devices)?;
        families.activity(&self.tick.devices)?;
        families.processes(&self.tick.devices)?;
        families.pools(&self.tick.devices)
    }
}

/// Families of samples, written one after the other; one without samples is not written.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: Samples,
    ) -> Result<(), fmt::Error> {
        self.family(name, help, unit, MetricType::Gauge, samples)
    }

    fn bytes(&mut self, name: &str, help: &str, samples: Samples) -> Result<(), fmt::Error> {
        self.gauge(name, help, Some(Unit::Bytes), samples)
    }

    fn count(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: Samples,
    ) -> Result<(), fmt::Error> {
        self.family(name, help, unit, MetricType::Counter, samples)
    }

    fn family(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        kind: MetricType,
        samples: Samples,
    ) -> Result<(), fmt::Error> {
        if samples.is_empty() {
            return Ok(());
        }
        let counts = matches!(kind, MetricType::Counter);
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        // A text that has a series twice is none. What no label tells apart is one.
        let mut told = HashSet::new();
        for (labels, value) in samples.iter().filter(|(_, value)| value.is_finite()) {
            if !told.insert(labels) {
                continue;
            }
            if labels.is_empty() && !counts {
                family.encode_gauge(value)?;
                continue;
            }
            let mut metric = family.encode_family(labels)?;
            if counts {
                metric.encode_counter::<NoLabelSet, _, u64>(value, None)?;
            } else {
                metric.encode_gauge(value)?;
            }
        }
        Ok(())
    }

    fn devices(&mut self, devices: &[DeviceTick]) -> Result<(), fmt::Error> {
        let each = |of: &dyn Fn(&DeviceTick) -> Option<f64>| -> Samples {
            devices.iter().filter_map(|device| Some((labels(device), of(device)?))).collect()
        };
        // The conventions have names of their own for cards and for a machine's main memory; what is neither has ours.
        for prefix in ["hw_gpu_memory", "system_memory", "vramkit_memory"] {
            let each = |of: &dyn Fn(&Usage) -> Option<f64>| {
                let kind = devices.iter().filter(|device| names(device.class) == prefix);
                kind.filter_map(|device| Some((labels(device), of(&device.snapshot.usage)?))).collect()
            };
            let used = each(&|usage| bytes(&usage.used_bytes));
            self.bytes(&format!("{prefix}_usage"), "Memory that every process together holds", used)?;
            let total = each(&|usage| bytes(&usage.total_bytes));
            self.bytes(&format!("{prefix}_limit"), "Memory that there is", total)?;
            let ratio = Some(Unit::Other("ratio".into()));
            let used = each(&Usage::used_ratio);
            self.gauge(&format!("{prefix}_utilization"), "Held of what there is", ratio, used)?;
        }
        let free = each(&|device| bytes(&device.snapshot.usage.free_bytes));
        self.bytes("vramkit_memory_free", "Memory that could be had", free)?;
        let driver = each(&|device| bytes(&device.snapshot.usage.driver_bytes));
        self.bytes("vramkit_memory_driver", "Memory that the driver keeps for itself", driver)?;
        let level = each(&|device| device.snapshot.level.map(|level| f64::from(level as u8)));
        let levels = "0 normal, 1 elevated, 2 high, 3 critical";
        self.gauge("vramkit_memory_pressure_level", levels, None, level)?;
        let changes = each(&|device| device.snapshot.level.map(|_| device.level_changes as f64));
        self.count("vramkit_memory_pressure_changes", "Changes of level", None, changes)?;
        let known = devices.iter().filter(|device| device.snapshot.level.is_some());
        let readings = known.flat_map(|device| {
            let levels = PressureLevel::ALL.into_iter().zip(device.level_readings);
            levels.map(|(level, count)| (with(labels(device), "level", level.to_string()), count as f64))
        });
        let readings = readings.collect();
        self.count("vramkit_memory_pressure_readings", "Readings at each level", None, readings)?;
        let growing = each(&|device| is_present(device).then(|| is(device.growing.is_some())));
        self.gauge("vramkit_memory_growing", "1 while used bytes grow fast or sustainedly", None, growing)?;
        let full = each(&|device| device.forecast.and_then(|forecast| forecast.full_in_seconds));
        let help = "Until it is full at the rate of late";
        self.gauge("vramkit_memory_full_in", help, Some(Unit::Seconds), full)?;
        let soon = each(&|device| is_present(device).then(|| is(device.full_soon)));
        let help = "1 while it will be full within a quarter of an hour at the latest";
        self.gauge("vramkit_memory_full_soon", help, None, soon)?;
        let stalls = devices.iter().filter_map(|device| Some((labels(device), device.stall?)));
        self.stall("vramkit_memory_stall", "Time lost waiting for memory", stalls)?;
        let suspected = devices.iter().flat_map(|device| {
            device.suspected.iter().map(|found| {
                let labels = with(labels(device), "pool", found.pool.clone());
                let mut labels = with(labels, "pid", found.pid.to_string());
                let pool = device.snapshot.pools.iter().find(|pool| pool.pid == found.pid);
                labels.extend(place_of(pool.and_then(|pool| pool.process.as_ref())));
                let labels = owner(labels, &found.leak.model, found.leak.purpose);
                (with(labels, "tag", found.leak.tag.clone()), 1.0)
            })
        });
        let help = "1 while a tag's old bytes grow without end";
        self.gauge("vramkit_leak_suspected", help, None, suspected.collect())
    }

    /// What cards do beside holding memory.
    fn activity(&mut self, devices: &[DeviceTick]) -> Result<(), fmt::Error> {
        let each = |of: fn(&Activity) -> Option<f64>| -> Samples {
            let known = devices.iter().filter_map(|device| Some((device, device.activity.as_ref()?)));
            known.filter_map(|(device, activity)| Some((labels(device), of(activity)?))).collect()
        };
        let [ratio, celsius, watts] =
            ["ratio", "celsius", "watts"].map(|unit| Some(Unit::Other(unit.into())));
        let busy = each(|activity| activity.utilization_ratio);
        self.gauge("hw_gpu_utilization", "Part of the time in which it computed", ratio, busy)?;
        let temperature = each(|activity| activity.temperature_celsius);
        self.gauge("hw_temperature", "Temperature", celsius, temperature)?;
        let power = each(|activity| activity.power_watts);
        self.gauge("hw_power", "Power that it takes", watts.clone(), power)?;
        let limit = each(|activity| activity.power_limit_watts);
        self.gauge("vramkit_power_limit", "Power that it may take at most", watts, limit)
    }

    fn stall(
        &mut self,
        name: &str,
        help: &str,
        stalls: impl Iterator<Item = (Labels, StallTimes)>,
    ) -> Result<(), fmt::Error> {
        let samples = stalls.flat_map(|(labels, stall)| {
            [("some", stall.some), ("full", stall.full)]
                .map(|(kind, stall)| (with(labels.clone(), "kind", kind.into()), stall.total_seconds))
        });
        self.count(name, help, Some(Unit::Seconds), samples.collect())
    }

    fn processes(&mut self, devices: &[DeviceTick]) -> Result<(), fmt::Error> {
        let each = |of: fn(&ProcessUse) -> Option<f64>| -> Samples {
            let processes = devices.iter().flat_map(|device| {
                device.snapshot.processes.value.iter().flatten().map(move |process| (device, process))
            });
            let samples = processes.filter_map(|(device, process)| {
                let value = of(process)?;
                let mut labels = with(labels(device), "pid", process.pid.to_string());
                labels.push(("process", process.name.value.clone().unwrap_or_default()));
                let whose = &process.identity;
                labels.extend(place_of(Some(whose)));
                // A target has a label `job` of its own.
                let more = [("user", &whose.user), ("batch_job", &whose.job)];
                labels.extend(more.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
                Some((labels, value))
            });
            samples.collect()
        };
        let used = each(|process| bytes(&process.used_bytes));
        self.bytes("vramkit_process_memory", "Memory that a process holds", used)?;
        let peak = each(|process| bytes(&process.peak_bytes));
        self.bytes("vramkit_process_memory_peak", "Most memory that a process ever held", peak)
    }

    fn pools(&mut self, devices: &[DeviceTick]) -> Result<(), fmt::Error> {
        let pools: Vec<(Labels, &PoolUse)> = devices
            .iter()
            .flat_map(|device| {
                device.snapshot.pools.iter().map(move |pool| (pool_labels(device, pool), pool))
            })
            .collect();
        let each = |of: fn(&PoolStats) -> u64| -> Samples {
            pools.iter().map(|(labels, pool)| (labels.clone(), of(&pool.stats) as f64)).collect()
        };
        let capacity = each(|stats| stats.capacity_bytes.bytes());
        self.bytes("vramkit_pool_capacity", "Most that a pool grants", capacity)?;
        let committed = each(|stats| stats.committed_bytes.bytes());
        self.bytes("vramkit_pool_committed", "Held from the device", committed)?;
        self.bytes("vramkit_pool_used", "Granted", each(|stats| stats.used_bytes.bytes()))?;
        let requested = each(|stats| stats.requested_bytes.bytes());
        self.bytes("vramkit_pool_requested", "Asked for by what is live", requested)?;
        let largest = each(|stats| stats.largest_free_bytes.bytes());
        self.bytes("vramkit_pool_largest_free", "The largest block that could be granted", largest)?;
        self.count("vramkit_pool_allocations", "Allocations granted", None, each(|stats| stats.granted))?;
        self.count("vramkit_pool_failures", "Requests refused", None, each(|stats| stats.failures))?;
        let owners = pools.iter().flat_map(|(labels, pool)| {
            pool.owners.iter().map(move |held| {
                (owner(labels.clone(), &held.model, held.purpose), held.granted_bytes.bytes() as f64)
            })
        });
        self.bytes("vramkit_pool_owner", "Granted to a model for a purpose", owners.collect())?;
        let stalls = pools.iter().map(|(labels, pool)| (labels.clone(), pool.stall));
        self.stall("vramkit_pool_stall", "Time lost waiting for a pool", stalls)?;
        self.monitors(&pools)
    }

    /// The counts of programs' monitors, where programs show them.
    fn monitors(&mut self, pools: &[(Labels, &PoolUse)]) -> Result<(), fmt::Error> {
        let shown: Vec<(&Labels, &MonitorStats)> =
            pools.iter().filter_map(|(labels, pool)| Some((labels, pool.monitor.as_ref()?))).collect();
        let each = |of: fn(&MonitorStats) -> u64| -> Samples {
            shown.iter().map(|(labels, stats)| ((*labels).clone(), of(stats) as f64)).collect()
        };
        let violations = shown.iter().flat_map(|(labels, stats)| {
            [("soft", stats.soft_violations), ("hard", stats.hard_violations)]
                .map(|(limit, count)| (with((*labels).clone(), "limit", limit.into()), count as f64))
        });
        let help = "Crossings of the soft limit, checks that found the hard one passed";
        self.count("vramkit_monitor_violations", help, None, violations.collect())?;
        let cleanups = each(|stats| stats.cleanups);
        self.count("vramkit_monitor_cleanups", "Cleanups of a program's memory", None, cleanups)?;
        let unhelpful = each(|stats| stats.unhelpful_cleanups);
        self.count("vramkit_monitor_cleanups_unhelpful", "Cleanups that freed nothing", None, unhelpful)?;
        let generations = each(|stats| stats.generations);
        self.count("vramkit_monitor_generations", "Generations of work", None, generations)?;
        let failures = each(|stats| stats.failures);
        self.count("vramkit_monitor_failures", "Readings that gave no number", None, failures)
    }
}

fn is(so: bool) -> f64 {
    f64::from(u8::from(so))
}

fn is_present(device: &DeviceTick) -> bool {
    device.presence == Presence::Present
}

fn bytes(reading: &Reading<ByteSize>) -> Option<f64> {
    reading.value.map(|size| size.bytes() as f64)
}

fn pool_labels(device: &DeviceTick, pool: &PoolUse) -> Labels {
    let mut labels = with(labels(device), "pool", pool.name.clone());
    labels.push(("pid", pool.pid.to_string()));
    labels.extend(place_of(pool.process.as_ref()));
    labels
}

/// Nobody has no name in a label: there an empty one means that there is none.
fn owner(labels: Labels, model: &Holder, purpose: Purpose) -> Labels {
    let mut labels = with(labels, "model", model.model().unwrap_or_default().to_owned());
    labels.push(("purpose", purpose.to_string()));
    labels
}

/// What the names of its bytes begin with.
fn names(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::Gpu | DeviceClass::GpuPart => "hw_gpu_memory",
        DeviceClass::Machine => "system_memory",
        _ => "vramkit_memory",
    }
}

fn labels(device: &DeviceTick) -> Labels {
    let name = &device.snapshot.device;
    vec![
        ("hw_id", name.uuid.clone().unwrap_or_else(|| name.id.clone())),
        ("hw_name", name.name.clone()),
        ("device", name.id.clone()),
        // Rules choose by it: an alert about a card is not about main memory.
        ("class", device.class.as_str().to_owned()),
    ]
}

/// As [`place`], of a process.
fn place_of(whose: Option<&ProcessIdentity>) -> Labels {
    let pod = whose.and_then(|whose| whose.pod.as_deref());
    place(pod, whose.and_then(|whose| whose.container.as_deref()))
}

/// In which pod and container, each label always: in place of one that is not there Prometheus puts the target's own, which is
/// the pod of who looks.
fn place(pod: Option<&str>, container: Option<&str>) -> Labels {
    let pod = pod.unwrap_or_default();
    let (namespace, pod) = pod.split_once('/').unwrap_or(("", pod));
    let labels = [("namespace", namespace), ("pod", pod), ("container", container.unwrap_or_default())];
    labels.map(|(name, value)| (name, value.to_owned())).to_vec()
}

fn with(mut labels: Labels, name: &'static str, value: String) -> Labels {
    labels.push((name, value));
    labels
}
