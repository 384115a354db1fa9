//! A tick as OpenMetrics: base units, OpenTelemetry's names for what it names (`hw.gpu.memory.*`, semantic conventions for
//! hardware), ours for the rest. What is not known has no sample, and what is gone has none either: every text is made from
//! one tick alone.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use vramkit::ByteSize;
use vramkit::pressure::PressureLevel;
use vramkit_watch::{DeviceTick, Tick};

/// What the text is, for the header.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text of a tick.
pub fn openmetrics(tick: &Arc<Tick>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(OfTick(tick.clone())));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct OfTick(Arc<Tick>);

type Labels = Vec<(&'static str, String)>;
type Samples = Vec<(Labels, f64)>;

impl Collector for OfTick {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let tick = &self.0;
        let mut family = |name: &str, help: &str, unit: Option<Unit>, kind: MetricType, samples: Samples| {
            if samples.is_empty() {
                return Ok(());
            }
            let counts = matches!(kind, MetricType::Counter);
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            for (labels, value) in samples.into_iter().filter(|(_, value)| value.is_finite()) {
                let mut metric = metric.encode_family(&labels)?;
                if counts {
                    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
                } else {
                    metric.encode_gauge(&value)?;
                }
            }
            Ok(())
        };
        let gauge = |of: &dyn Fn(&DeviceTick) -> Option<f64>| -> Samples {
            tick.devices.iter().filter_map(|device| Some((labels(device), of(device)?))).collect()
        };
        let bytes = |size: Option<ByteSize>| size.map(|size| size.bytes() as f64);

        // The conventions have names of their own for a machine's main memory.
        for (prefix, is_host) in [("hw_gpu_memory", false), ("system_memory", true)] {
            let of = |device: &DeviceTick| ((device.snapshot.device.id == "host") == is_host).then_some(());
            let used = gauge(&|device| of(device).and(bytes(device.snapshot.usage.used_bytes.value)));
            let help = "Memory that every process together holds";
            family(&format!("{prefix}_usage"), help, Some(Unit::Bytes), MetricType::Gauge, used)?;
            let total = gauge(&|device| of(device).and(bytes(device.snapshot.usage.total_bytes.value)));
            family(
                &format!("{prefix}_limit"),
                "Memory that there is",
                Some(Unit::Bytes),
                MetricType::Gauge,
                total,
            )?;
            let ratio = gauge(&|device| of(device).and(device.snapshot.usage.used_ratio()));
            let unit = Some(Unit::Other("ratio".into()));
            family(
                &format!("{prefix}_utilization"),
                "Held of what there is",
                unit,
                MetricType::Gauge,
                ratio,
            )?;
        }
        let free = gauge(&|device| bytes(device.snapshot.usage.free_bytes.value));
        family(
            "vramkit_memory_free",
            "Memory that could be had",
            Some(Unit::Bytes),
            MetricType::Gauge,
            free,
        )?;
        let driver = gauge(&|device| bytes(device.snapshot.usage.driver_bytes.value));
        family(
            "vramkit_memory_driver",
            "Memory that the driver keeps for itself",
            Some(Unit::Bytes),
            MetricType::Gauge,
            driver,
        )?;

        let level = gauge(&|device| device.snapshot.level.map(|level| f64::from(level as u8)));
        family(
            "vramkit_memory_pressure_level",
            "0 normal, 1 elevated, 2 high, 3 critical",
            None,
            MetricType::Gauge,
            level,
        )?;
        let changes = gauge(&|device| device.snapshot.level.map(|_| device.level_changes as f64));
        family("vramkit_memory_pressure_changes", "Changes of level", None, MetricType::Counter, changes)?;
        let readings =
            tick.devices.iter().filter(|device| device.snapshot.level.is_some()).flat_map(|device| {
                PressureLevel::ALL
                    .into_iter()
                    .zip(device.level_readings)
                    .map(|(level, count)| (with(labels(device), "level", level.to_string()), count as f64))
            });
        family(
            "vramkit_memory_pressure_readings",
            "Readings at each level",
            None,
            MetricType::Counter,
            readings.collect(),
        )?;
        let growing = gauge(&|device| Some(f64::from(u8::from(device.growing.is_some()))));
        family(
            "vramkit_memory_growing",
            "1 while used bytes grow fast or sustainedly",
            None,
            MetricType::Gauge,
            growing,
        )?;
        let full = gauge(&|device| device.forecast.and_then(|forecast| forecast.full_in_seconds));
        family(
            "vramkit_memory_full_in",
            "Until it is full at the rate of late",
            Some(Unit::Seconds),
            MetricType::Gauge,
            full,
        )?;
        let stalls = tick.devices.iter().filter_map(|device| Some((device, device.stall?))).flat_map(
            |(device, stall)| {
                [("some", stall.some), ("full", stall.full)]
                    .map(|(kind, stall)| (with(labels(device), "kind", kind.into()), stall.total_seconds))
            },
        );
        family(
            "vramkit_memory_stall",
            "Time lost waiting for memory",
            Some(Unit::Seconds),
            MetricType::Counter,
            stalls.collect(),
        )?;

        let processes: Vec<_> = tick
            .devices
            .iter()
            .flat_map(|device| {
                device.snapshot.processes.value.iter().flatten().map(move |process| (device, process))
            })
            .collect();
        let of_processes = |of: &dyn Fn(&vramkit::monitor::ProcessUse) -> Option<ByteSize>| -> Samples {
            let samples = processes.iter().filter_map(|(device, process)| {
                let mut labels = with(labels(device), "pid", process.pid.to_string());
                labels.push(("process", process.name.value.clone().unwrap_or_default()));
                labels.push(("container", process.container.clone().unwrap_or_default()));
                Some((labels, bytes(of(process))?))
            });
            samples.collect()
        };
        family(
            "vramkit_process_memory",
            "Memory that a process holds",
            Some(Unit::Bytes),
            MetricType::Gauge,
            of_processes(&|process| process.used_bytes.value),
        )?;
        family(
            "vramkit_process_memory_peak",
            "Most memory that a process ever held",
            Some(Unit::Bytes),
            MetricType::Gauge,
            of_processes(&|process| process.peak_bytes.value),
        )?;

        let pools: Vec<_> = tick
            .devices
            .iter()
            .flat_map(|device| device.snapshot.pools.iter().map(move |pool| (device, pool)))
            .collect();
        let pool_labels = |device: &DeviceTick, pool: &vramkit::monitor::PoolUse| {
            let mut labels = with(labels(device), "pool", pool.name.clone());
            labels.push(("pid", pool.pid.to_string()));
            labels
        };
        type OfPool = fn(&vramkit::pool::PoolStats) -> ByteSize;
        let sizes: [(&str, &str, OfPool); 5] = [
            ("vramkit_pool_capacity", "Most that a pool grants", |stats| stats.capacity_bytes),
            ("vramkit_pool_committed", "Held from the device", |stats| stats.committed_bytes),
            ("vramkit_pool_used", "Granted", |stats| stats.used_bytes),
            ("vramkit_pool_requested", "Asked for by what is live", |stats| stats.requested_bytes),
            ("vramkit_pool_largest_free", "The largest block that could be granted", |stats| {
                stats.largest_free_bytes
            }),
        ];
        for (name, help, of) in sizes {
            let samples = pools
                .iter()
                .map(|(device, pool)| (pool_labels(device, pool), of(&pool.stats).bytes() as f64));
            family(name, help, Some(Unit::Bytes), MetricType::Gauge, samples.collect())?;
        }
        type CountOfPool = fn(&vramkit::pool::PoolStats) -> u64;
        let counts: [(&str, &str, CountOfPool); 2] = [
            ("vramkit_pool_allocations", "Allocations granted", |stats| stats.granted),
            ("vramkit_pool_failures", "Requests refused", |stats| stats.failures),
        ];
        for (name, help, of) in counts {
            let samples =
                pools.iter().map(|(device, pool)| (pool_labels(device, pool), of(&pool.stats) as f64));
            family(name, help, None, MetricType::Counter, samples.collect())?;
        }
        let owners = pools.iter().flat_map(|(device, pool)| {
            pool.owners.iter().map(move |owner| {
                let mut labels = with(pool_labels(device, pool), "model", owner.model.clone());
                labels.push(("purpose", owner.purpose.to_string()));
                (labels, owner.granted_bytes.bytes() as f64)
            })
        });
        family(
            "vramkit_pool_owner",
            "Granted to a model for a purpose",
            Some(Unit::Bytes),
            MetricType::Gauge,
            owners.collect(),
        )?;
        let stalls = pools.iter().flat_map(|(device, pool)| {
            let kinds = [("some", pool.stall.some), ("full", pool.stall.full)];
            kinds.map(|(kind, stall)| {
                (with(pool_labels(device, pool), "kind", kind.into()), stall.total_seconds)
            })
        });
        family(
            "vramkit_pool_stall",
            "Time lost waiting for a pool",
            Some(Unit::Seconds),
            MetricType::Counter,
            stalls.collect(),
        )?;
        let suspected = tick.devices.iter().flat_map(|device| {
            device.suspected.iter().map(|leak| {
                let mut labels = with(labels(device), "model", leak.model.clone());
                labels.push(("purpose", leak.purpose.to_string()));
                labels.push(("tag", leak.tag.clone()));
                (labels, 1.0)
            })
        });
        family(
            "vramkit_leak_suspected",
            "1 while a tag's old bytes grow without end",
            None,
            MetricType::Gauge,
            suspected.collect(),
        )
    }
}

fn labels(device: &DeviceTick) -> Labels {
    let name = &device.snapshot.device;
    vec![
        ("hw_id", name.uuid.clone().unwrap_or_else(|| name.id.clone())),
        ("hw_name", name.name.clone()),
        ("device", name.id.clone()),
    ]
}

fn with(mut labels: Labels, name: &'static str, value: String) -> Labels {
    labels.push((name, value));
    labels
}
