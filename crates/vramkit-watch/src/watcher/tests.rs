//! A scripted source through the watcher.

use std::sync::{Arc, Mutex};

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::{Decision, DeviceName, Usage};
use vramkit::pool::{DeviceMemoryPool, Purpose, Request};
use vramkit::pressure::PressureLevel;

use super::*;
use crate::judge::decision;
use crate::source::{DeviceClass, DeviceReading, source_fn};
use crate::tick::EventKind;

pub(super) type Script = Arc<Mutex<Readings>>;

pub(super) fn scripted(script: &Script) -> impl Source + use<> {
    let script = Arc::clone(script);
    source_fn("scripted", move || script.lock().unwrap().clone())
}

pub(crate) fn device(id: &str, used: u64) -> DeviceReading {
    let known = |mib| Reading::known(ByteSize::mib(mib), Origin::Nvml);
    let mut usage = Usage::unavailable(Origin::Nvml, "not scripted");
    usage.total_bytes = known(1000);
    usage.free_bytes = known(1000 - used);
    usage.used_bytes = known(used);
    DeviceReading {
        device: DeviceName { id: id.into(), name: "scripted".into(), uuid: None },
        class: DeviceClass::Gpu,
        activity: None,
        usage,
        processes: Reading::known(Vec::new(), Origin::Nvml),
        stall: None,
        shared_bytes: None,
        notes: Vec::new(),
    }
}

pub(super) fn watcher() -> (Script, Watcher) {
    let script = Script::default();
    let watcher = Watcher::new(vec![Box::new(scripted(&script))], patient()).unwrap();
    (script, watcher)
}

/// However loaded the machine is.
pub(super) fn patient() -> WatchConfig {
    let (patience, first_patience) = (Duration::from_secs(60), Duration::from_secs(60));
    WatchConfig { patience, first_patience, ..WatchConfig::default() }
}

pub(super) fn kinds(tick: &Tick) -> Vec<EventKind> {
    tick.events.iter().map(|event| event.kind).collect()
}

#[test]
fn levels_change_once_and_devices_come_and_go() {
    let (script, mut watcher) = watcher();
    let mut at = |second: u64, devices: Vec<DeviceReading>| {
        script.lock().unwrap().devices = devices;
        let tick = watcher.tick(Duration::from_secs(second));
        (kinds(&tick), tick)
    };
    assert_eq!(at(0, vec![device("cuda:0", 100)]).0, []);
    assert_eq!(at(10, vec![device("cuda:0", 850)]).0, [EventKind::LevelChanged]);
    assert_eq!(at(20, vec![device("cuda:0", 851)]).0, []);
    let (found, tick) = at(30, vec![device("cuda:0", 950), device("cuda:1", 1)]);
    assert_eq!(found, [EventKind::Appeared, EventKind::LevelChanged]);
    assert_eq!(tick.devices[0].snapshot.level, Some(PressureLevel::Critical));
    assert_eq!((tick.devices[0].level_readings, tick.devices[0].level_changes), ([1, 0, 2, 1], 2));
    let (found, tick) = at(40, vec![device("cuda:1", 1)]);
    assert_eq!((found, tick.devices.len()), (vec![EventKind::Lost], 2));
    let both = vec![device("cuda:0", 1), device("cuda:1", 1)];
    assert_eq!(at(60, both).0, [EventKind::Back, EventKind::LevelChanged]);
    assert_eq!(watcher.history().events.len(), 6);
}

#[test]
fn growth_is_told_in_words_with_a_forecast_and_taken_back() {
    let (script, mut watcher) = watcher();
    let mut words = Vec::new();
    for second in 0..3000u64 {
        script.lock().unwrap().devices = vec![device("cuda:0", 200 + (second / 4).min(300))];
        let tick = watcher.tick(Duration::from_secs(second));
        words.extend(
            tick.events
                .into_iter()
                .filter(|event| event.kind != EventKind::LevelChanged)
                .map(|event| event.text),
        );
    }
    let [first, last] = &words[..] else { panic!("one cause, one verdict: {words:?}") };
    assert!(first.starts_with("growing fast: +") && first.contains("full in"), "{words:?}");
    assert_eq!(last, "growth stopped");
}

#[test]
fn growth_on_a_nearly_full_device_is_told_by_what_it_leaves() {
    let (script, mut watcher) = watcher();
    let mut words = Vec::new();
    for second in 0..1500u64 {
        // 900 of 1,000 MiB, and after a minute one more every 15 s.
        script.lock().unwrap().devices = vec![device("cuda:0", 900 + second.saturating_sub(60) / 15)];
        let tick = watcher.tick(Duration::from_secs(second));
        words.extend(tick.events.into_iter().map(|event| event.text));
    }
    assert!(words.iter().any(|text| text.starts_with("growing towards full: +")), "{words:?}");
}

#[test]
fn a_leak_in_a_pool_is_told_with_its_tag_and_a_cache_that_fills_as_what_it_is() {
    for released in [0, 10] {
        let (script, mut watcher) = watcher();
        let capacity = ByteSize::gib(8);
        let device = Arc::new(vramkit::device::SimulatedDevice::new(capacity));
        let pool = DeviceMemoryPool::new(device, capacity).unwrap();
        let request =
            Request::new(ByteSize::mib(1)).owner(pool.owner("llama", Purpose::Kv)).tag(pool.tag("blocks"));
        let _one = pool.allocate(request).unwrap();
        let mut seen = PoolUse::of("main", &pool);
        let mut found = Vec::new();
        for second in (10..3000u64).step_by(10) {
            // As if one that stays had been granted every second, and some that were released three seconds later.
            let entry = &mut seen.ledger[0];
            entry.by_age_bytes = Default::default();
            (1..=second).for_each(|age| entry.by_age_bytes[age.ilog2() as usize + 1] += ByteSize::mib(1));
            entry.granted_bytes = ByteSize::mib(second);
            entry.allocations = second;
            entry.released_by_age_bytes[2] = ByteSize::mib(second * released);
            script.lock().unwrap().pools = vec![seen.clone()];
            let tick = watcher.tick(Duration::from_secs(second));
            assert_eq!(tick.devices[0].snapshot.device.id, "sim");
            assert_eq!(tick.devices[0].snapshot.usage.total_bytes, Reading::known(capacity, Origin::Pool));
            let told = [EventKind::LeakSuspected, EventKind::Retains];
            found.extend(tick.events.into_iter().filter(|event| told.contains(&event.kind)));
            if second > 2900 {
                let suspected: Vec<&str> =
                    tick.devices[0].suspected.iter().map(|found| found.leak.tag.as_str()).collect();
                assert_eq!(suspected, if released > 0 { vec!["blocks"] } else { vec![] });
            }
        }
        assert_eq!(found.len(), 1, "{found:?}");
        let words = if released > 0 { "leak suspected" } else { "retains" };
        let text = &found[0].text;
        assert!(text.starts_with(&format!("{words}: tag `blocks` of llama (kv): ")), "{text}");
        assert!(text.contains("in pool main of process"), "{text}");
    }
}

#[test]
fn what_an_orchestrator_decides_is_told_once() {
    let (script, mut watcher) = watcher();
    let capacity = ByteSize::gib(8);
    let pool =
        DeviceMemoryPool::new(Arc::new(vramkit::device::SimulatedDevice::new(capacity)), capacity).unwrap();
    let mut seen = PoolUse::of("main", &pool);
    seen.decisions = vec![decision(0, "evicted")];
    let mut at = |second: u64, decisions: Vec<Decision>| {
        seen.decisions = decisions;
        script.lock().unwrap().pools = vec![seen.clone()];
        let tick = watcher.tick(Duration::from_secs(second));
        assert_eq!(tick.devices[0].snapshot.pools[0].decisions, seen.decisions, "they are passed on");
        let told = tick.events.into_iter().filter(|event| event.kind == EventKind::Decided);
        told.map(|event| event.text).collect::<Vec<_>>()
    };
    assert!(at(0, vec![decision(0, "evicted")]).is_empty(), "that was before");
    let both = vec![decision(0, "evicted"), decision(1, "bound"), decision(2, "evicted")];
    let told = at(1, both.clone());
    assert!(
        told.len() == 1 && told[0].starts_with("evicted: llama freed 2 MiB, in pool main of"),
        "{told:?}"
    );
    assert!(at(2, both).is_empty());
    assert_eq!(at(3, (3..50).map(|n| decision(n, "rejected")).collect()).len(), 9);
    assert_eq!(at(4, vec![decision(u64::MAX, "rejected"); 3]).len(), 3);
    assert_eq!(at(5, vec![decision(0, "rejected")]).len(), 1, "another orchestrator");
}

#[test]
#[cfg(unix)]
fn decisions_come_from_the_program_to_the_tick() {
    let folder = tempfile::tempdir().unwrap();
    let capacity = ByteSize::gib(8);
    let pool =
        DeviceMemoryPool::new(Arc::new(vramkit::device::SimulatedDevice::new(capacity)), capacity).unwrap();
    let pool = Arc::new(pool);
    let publisher = vramkit::monitor::publish::Publisher::within(folder.path(), &[("main", &pool)]).unwrap();
    let orchestrator = vramkit::orchestrator::MemoryOrchestrator::new(pool);
    assert!(publisher.show_decisions("main", orchestrator.trace()));
    let model = vramkit_testing::filler("m", ByteSize::mib(1));
    let plan = orchestrator.plan(&[model], vramkit::plan::Schedule::Fixed).unwrap();
    let sources: Vec<Box<dyn Source>> = vec![Box::new(crate::PublishedPools::of(folder.path().to_owned()))];
    let mut watcher = Watcher::new(sources, patient()).unwrap();
    watcher.tick(Duration::ZERO);
    orchestrator.bind("m", &plan).unwrap();
    orchestrator.apply(vramkit::orchestrator::PressurePolicy::Evict, ByteSize::mib(1));
    let tick = serde_json::to_value(watcher.tick(Duration::from_secs(1))).unwrap();
    let decisions = tick["devices"][0]["pools"][0]["decisions"].as_array().unwrap();
    let kinds: Vec<&str> = decisions.iter().map(|decision| decision["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["plan_generated", "bound", "evicted", "policy_applied"]);
    assert_eq!(
        (&decisions[2]["model"], &decisions[2]["numbers"]["freed_bytes"]),
        (&"m".into(), &(1 << 20).into())
    );
    assert!(tick["events"][0]["text"].as_str().unwrap().starts_with("evicted: m freed 1 MiB"), "{tick}");
}

#[test]
fn one_looks_sooner_when_it_fills_fast_and_little_is_left() {
    let (script, mut watcher) = watcher();
    // From a tenth of a second on.
    let longest = Duration::from_secs(1);
    script.lock().unwrap().devices = vec![device("cuda:0", 100)];
    let tick = watcher.tick(Duration::ZERO);
    assert_eq!(watcher.period(&tick, longest), longest);
    script.lock().unwrap().devices = vec![device("cuda:0", 900)];
    let tick = watcher.tick(Duration::from_secs(8));
    // 100 MiB a second, and as many are left: a quarter of a second.
    assert_eq!(watcher.period(&tick, longest), Duration::from_millis(250));
}

#[test]
fn a_group_fills_when_those_beside_it_take_what_is_above_them_all() {
    let (script, mut watcher) = watcher();
    let mut found = Vec::new();
    let (mut soon, mut sooner) = (false, false);
    for second in 0..1500u64 {
        // It stays at 300 MiB, and what is left to it shrinks.
        let mut group = device("cgroup", 300);
        group.class = DeviceClass::Group;
        for number in [&mut group.usage.total_bytes, &mut group.usage.used_bytes, &mut group.usage.free_bytes]
        {
            number.source = Origin::Cgroup;
        }
        group.usage.free_bytes.value = Some(ByteSize::mib(700 - second.saturating_sub(300) / 2));
        script.lock().unwrap().devices = vec![group];
        let tick = watcher.tick(Duration::from_secs(second));
        soon |= tick.devices[0].full_soon && tick.devices[0].forecast.is_some();
        sooner |= watcher.period(&tick, Duration::from_secs(1000)) < Duration::from_secs(1000);
        found.extend(kinds(&tick));
    }
    assert!(soon && sooner && found.contains(&EventKind::FullSoon), "{soon} {sooner} {found:?}");
}

#[test]
fn what_is_kept_is_bounded() {
    let script = Script::default();
    let config = WatchConfig { history: 10, ..patient() };
    let mut watcher = Watcher::new(vec![Box::new(scripted(&script))], config).unwrap();
    for second in 0..2000u64 {
        // Another name at every tick, and one that stays.
        let mut other = device(&format!("sim:{second}"), 1);
        other.class = if second % 2 == 0 { DeviceClass::Gpu } else { DeviceClass::Simulated };
        script.lock().unwrap().devices = vec![other, device("host", 1 + second % 990)];
        let tick = watcher.tick(Duration::from_secs(second));
        assert!(watcher.events.len() <= EVENTS && watcher.devices.len() <= MOST + 602);
        assert!(tick.devices.len() <= MOST);
    }
    // Seconds and minutes, thinned.
    assert!(watcher.history().devices["host"].len() <= 10 + 35);
}

#[test]
fn clocks_and_counters_that_go_back_do_no_harm() {
    let (script, mut watcher) = watcher();
    let mut stalled = device("cuda:0", 100);
    let times = |seconds: f64| {
        let stall = vramkit::monitor::Stall { total_seconds: seconds, ..Default::default() };
        Some(StallTimes { some: stall, full: stall })
    };
    for (second, used, lost) in
        [(100, 100, 50.0), (101, 120, 51.0), (20, 110, 3.0), (0, 900, 0.0), (102, 130, 0.5)]
    {
        (stalled.stall, stalled.usage.used_bytes) = (times(lost), device("cuda:0", used).usage.used_bytes);
        script.lock().unwrap().devices = vec![stalled.clone()];
        let tick = watcher.tick(Duration::from_secs(second));
        assert_eq!(tick.devices[0].stall.unwrap().some.total_seconds, lost, "as it was read");
        assert_eq!(tick.devices[0].snapshot.usage.used_bytes.value, Some(ByteSize::mib(used)));
        assert_eq!(tick.devices[0].forecast, None);
        let period = watcher.period(&tick, Duration::from_secs(1));
        assert!((Duration::from_millis(100)..=Duration::from_secs(1)).contains(&period));
    }
}
