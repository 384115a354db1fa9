use super::*;
use serde_json::{Value, json};
use vramkit::device::SimulatedDevice;
use vramkit::monitor::{Limits, MonitorConfig, VramMonitor};
use vramkit::pool::{DeviceMemoryPool, Request};
use vramkit_watch::{DeviceReading, Readings, WatchConfig, Watcher, source_fn};

fn watching(readings: Readings) -> Watcher {
    let source = source_fn("one", move || readings.clone());
    Watcher::new(vec![Box::new(source)], WatchConfig::default()).unwrap()
}

#[test]
fn what_a_card_does_is_told_as_far_as_it_is_known() {
    let device = DeviceReading {
        device: vramkit::monitor::DeviceName { id: "cuda:0".into(), name: "a card".into(), uuid: None },
        class: DeviceClass::Gpu,
        activity: Some(Activity {
            utilization_ratio: Some(0.25),
            temperature_celsius: Some(61.0),
            ..Activity::default()
        }),
        usage: Usage::unavailable(vramkit::device::Origin::Nvml, "none"),
        processes: Reading::unavailable(vramkit::device::Origin::Nvml, "none"),
        stall: None,
        notes: Vec::new(),
        shared_bytes: None,
    };
    let readings = Readings { devices: vec![device], ..Readings::default() };
    let mut watcher = watching(readings);
    let text = openmetrics(&Arc::new(watcher.tick(Duration::ZERO))).unwrap();
    let labels = "{hw_id=\"cuda:0\",hw_name=\"a card\",device=\"cuda:0\",class=\"gpu\"}";
    for sample in ["hw_gpu_utilization_ratio{} 0.25", "hw_temperature_celsius{} 61.0"] {
        let sample = sample.replace("{}", labels);
        assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
    }
    assert!(!text.contains("watts"), "what is not known has no sample\n{text}");
}

#[test]
fn the_counts_of_a_programs_monitor_are_among_its_pools() {
    let capacity = ByteSize::mib(64);
    let device = Arc::new(SimulatedDevice::new(capacity));
    let pool = Arc::new(DeviceMemoryPool::new(device, capacity).unwrap());
    let limits = Some(Limits::new(ByteSize::mib(8), ByteSize::mib(32)).unwrap());
    let config = MonitorConfig { limits, ..MonitorConfig::default() };
    let monitor = VramMonitor::with_config(pool.clone(), config).unwrap();
    let _held = pool.allocate(Request::new(ByteSize::mib(16))).unwrap();
    assert!(monitor.check_limits("decode").unwrap().is_some());
    (0..3).for_each(|_| assert!(monitor.increment_generation_count() > 0));
    monitor.cleanup().unwrap();
    let shown = PoolUse { monitor: Some(monitor.stats()), ..PoolUse::of("kv", &pool) };
    let device = DeviceReading {
        device: monitor.log_snapshot("", None, &[]).device,
        class: DeviceClass::Simulated,
        activity: None,
        usage: monitor.usage(),
        processes: Reading::unavailable(vramkit::device::Origin::Pool, "none"),
        stall: None,
        shared_bytes: None,
        notes: Vec::new(),
    };
    let readings = Readings { devices: vec![device], pools: vec![shown], ..Readings::default() };
    let mut watcher = watching(readings);
    let text = openmetrics(&Arc::new(watcher.tick(Duration::ZERO))).unwrap();
    for (name, count) in [
        ("vramkit_monitor_violations_total", [("limit=\"soft\"", 1.0), ("limit=\"hard\"", 0.0)].as_slice()),
        ("vramkit_monitor_cleanups_total", &[("pool=\"kv\"", 1.0)]),
        ("vramkit_monitor_cleanups_unhelpful_total", &[("pool=\"kv\"", 1.0)]),
        ("vramkit_monitor_generations_total", &[("pool=\"kv\"", 3.0)]),
        ("vramkit_monitor_failures_total", &[("pool=\"kv\"", 0.0)]),
    ] {
        for (label, count) in count {
            let found = text.lines().any(|line| {
                line.starts_with(&format!("{name}{{"))
                    && line.contains(label)
                    && line.ends_with(&format!(" {count:.1}"))
            });
            assert!(found, "{name} {label} {count}\n{text}");
        }
    }
}

fn merged(one: &Value, other: &Value) -> Value {
    let fields = [one, other].map(|value| value.as_object().unwrap().clone());
    Value::Object(fields.into_iter().flatten().collect())
}

#[test]
fn where_a_process_runs_has_its_labels_also_in_no_pod_and_no_series_comes_twice() {
    let capacity = ByteSize::mib(64);
    let pool = Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap());
    let _held = pool.allocate(Request::new(ByteSize::mib(16))).unwrap();
    let process = |pid: u32, pod: Option<&str>| -> ProcessUse {
        let known = |value: Value| json!({"value": value, "source": "nvml"});
        let none = json!({"unavailable": "none", "source": "nvml"});
        let told = json!({"pid": pid, "name": known("python3".into()), "pod": pod,
            "used_bytes": known(7.into()), "peak_bytes": none});
        serde_json::from_value(told).unwrap()
    };
    let processes = vec![process(1, None), process(2, Some("team/llm-0"))];
    let device = DeviceReading {
        device: vramkit::monitor::DeviceName { id: "sim".into(), name: "a card".into(), uuid: None },
        class: DeviceClass::Gpu,
        activity: None,
        usage: Usage::unavailable(vramkit::device::Origin::Nvml, "none"),
        processes: Reading::known(processes, vramkit::device::Origin::Nvml),
        stall: None,
        notes: Vec::new(),
        shared_bytes: None,
    };
    let mut tick = watching(Readings { devices: vec![device], ..Readings::default() }).tick(Duration::ZERO);
    // Two replicas, the same in all that labels say.
    let mut shown = PoolUse::of("kv", &pool);
    shown.pid = 7;
    shown.process = Some(serde_json::from_value(json!({"pod": "team/llm-1", "container": "c"})).unwrap());
    tick.devices[0].snapshot.pools = vec![shown.clone(), shown];
    let leak = json!({"model": "llama", "purpose": "kv", "tag": "t", "bytes_per_second": 1.0,
        "window_seconds": 60.0, "old_bytes": 1, "old_seconds": 60.0, "allocations": 1});
    let other = json!({"pool": "kv", "pid": 7});
    tick.devices[0].suspected = serde_json::from_value(json!([leak, merged(&leak, &other), leak])).unwrap();
    let text = openmetrics(&Arc::new(tick)).unwrap();
    for place in [
        r#"pid="1",process="python3",namespace="",pod="",container="""#,
        r#"pid="2",process="python3",namespace="team",pod="llm-0",container="""#,
        r#"pool="",pid="0",namespace="",pod="",container="",model="llama",purpose="kv",tag="t"} 1.0"#,
        r#"pool="kv",pid="7",namespace="team",pod="llm-1",container="c",model="llama",purpose="kv",tag="t"} 1.0"#,
        r#"pool="kv",pid="7",namespace="team",pod="llm-1",container="c"} "#,
    ] {
        assert!(text.contains(place), "{place}\n{text}");
    }
    let series =
        || text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    let names: HashSet<&str> = series().map(|(name, _)| name).collect();
    assert_eq!(names.len(), series().count(), "{text}");
    for name in ["vramkit_leak_suspected{", "vramkit_pool_used_bytes{", "vramkit_pool_stall_seconds_total{"] {
        assert!(names.iter().any(|series| series.starts_with(name)), "{name}\n{text}");
    }
}
