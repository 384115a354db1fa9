//! One tick: every source is read once, and what was read is judged.
//!
//! For each device a level, growth of its used bytes, a forecast and a short history; for each published pool, leaks by
//! owner. What changed becomes events, each told once. Everything kept is bounded: devices and pools that have not been
//! seen for a while are forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use vramkit::ByteSize;
use vramkit::device::{Origin, Reading};
use vramkit::monitor::leak::{Growth, GrowthDetector, GrowthEvent, OwnerLeaks, TagEvent, TagLeak};
use vramkit::monitor::{DeviceName, Forecaster, PoolUse, Snapshot, StallTimes, Usage, sampling_period, utc};
use vramkit::pool::PoolStats;
use vramkit::pressure::{Ladder, PressureGauge};

use crate::source::{DeviceReading, Readings, Source};
use crate::tick::{
    DeviceTick, EventKind, Growing, History, HistorySample, HolderUse, Tick, WatchEvent, duration,
};

mod decided;
use decided::Decided;

/// Events kept, and holders told apart in a sample.
const EVENTS: usize = 500;
const HOLDERS: usize = 8;
/// Devices and pools that are watched at most, and for how long one that is not seen is remembered.
const MOST: usize = 256;
const FORGET: Duration = Duration::from_secs(600);
/// Ticks come no closer, unless they are asked to.
const SHORTEST: Duration = Duration::from_millis(50);
/// Owners are looked at no more often.
const OWNERS_EVERY: Duration = Duration::from_secs(10);

/// How a watcher behaves.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// Levels.
    pub ladder: Ladder<()>,
    /// Samples kept for each device.
    pub history: usize,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self { ladder: Ladder::watch(), history: 1200 }
    }
}

/// What is kept of a device from tick to tick.
struct Watched {
    gauge: PressureGauge,
    growth: GrowthDetector,
    growing: Option<Growing>,
    forecaster: Forecaster,
    history: VecDeque<HistorySample>,
    last_used: Option<(Duration, ByteSize)>,
    /// The fastest filling seen of late, in bytes a second.
    fastest: f64,
    seen: Duration,
    present: bool,
}

struct WatchedPool {
    leaks: OwnerLeaks,
    decided: Decided,
    looked: Option<Duration>,
    seen: Duration,
}

/// Reads sources and judges what they say.
pub struct Watcher {
    config: WatchConfig,
    sources: Vec<Box<dyn Source>>,
    devices: BTreeMap<String, Watched>,
    pools: BTreeMap<(String, u32, String), WatchedPool>,
    events: VecDeque<WatchEvent>,
    first: bool,
}

impl Watcher {
    /// Of these sources. A ladder that makes no sense is an error.
    pub fn new(
        sources: Vec<Box<dyn Source>>,
        config: WatchConfig,
    ) -> Result<Self, vramkit::pressure::LadderError> {
        config.ladder.check()?;
        Ok(Self {
            config,
            sources,
            devices: BTreeMap::new(),
            pools: BTreeMap::new(),
            events: VecDeque::new(),
            first: true,
        })
    }

    /// Of everything that this machine may have.
    pub fn of_this_machine(config: WatchConfig) -> Result<Self, vramkit::pressure::LadderError> {
        let sources: Vec<Box<dyn Source>> = vec![
            Box::new(crate::NvmlSource::default()),
            Box::new(crate::amd::AmdSource::default()),
            Box::new(crate::host::HostSource::default()),
            Box::new(crate::PublishedPools::default()),
        ];
        Self::new(sources, config)
    }

    /// Reads everything. `now` is of a clock that does not go back.
    pub fn tick(&mut self, now: Duration) -> Tick {
        let time = SystemTime::now();
        let mut all = Readings::default();
        for source in &mut self.sources {
            let readings = source.read();
            all.devices.extend(readings.devices);
            all.pools.extend(readings.pools);
            all.unavailable.extend(readings.unavailable);
        }
        self.judge(now, time, all)
    }

    fn judge(&mut self, now: Duration, time: SystemTime, all: Readings) -> Tick {
        let mut pools: BTreeMap<String, Vec<PoolUse>> = BTreeMap::new();
        for pool in all.pools {
            pools.entry(pool.device.clone()).or_default().push(pool);
        }
        let mut readings: Vec<(DeviceReading, Vec<PoolUse>)> = Vec::new();
        for reading in all.devices {
            let on_it = pools.remove(&reading.device.id).unwrap_or_default();
            readings.push((reading, on_it));
        }
        // A device that no source knows is what its pools say it is.
        readings.extend(pools.into_iter().map(|(id, on_it)| (device_of_pools(id, &on_it), on_it)));
        readings.truncate(MOST);
        let mut events = Vec::new();
        let mut devices = Vec::new();
        for (reading, on_it) in readings {
            let suspected = self.judge_pools(now, &on_it, &mut events);
            let snapshot = Snapshot {
                time,
                device: reading.device,
                event: String::new(),
                slot: None,
                models: Vec::new(),
                usage: reading.usage,
                processes: reading.processes,
                pools: on_it,
                level: None,
            };
            devices.push(self.judge_device(now, snapshot, reading.stall, suspected, &mut events));
        }
        self.note_absent(now, &devices, &mut events);
        self.first = false;
        let text = utc(time);
        let events: Vec<WatchEvent> = events
            .into_iter()
            .map(|(device, kind, words)| WatchEvent { time: text.clone(), device, kind, text: words })
            .collect();
        self.events.extend(events.iter().cloned());
        while self.events.len() > EVENTS {
            self.events.pop_front();
        }
        Tick { schema: "vramkit.top/1".into(), time: text, devices, unavailable: all.unavailable, events }
    }

    fn judge_pools(
        &mut self,
        now: Duration,
        pools: &[PoolUse],
        events: &mut Vec<(String, EventKind, String)>,
    ) -> Vec<TagLeak> {
        let mut suspected = Vec::new();
        for pool in pools {
            let key = (pool.device.clone(), pool.pid, pool.name.clone());
            if self.pools.len() >= MOST && !self.pools.contains_key(&key) {
                continue;
            }
            let watched = self.pools.entry(key).or_insert_with(|| WatchedPool {
                leaks: OwnerLeaks::default(),
                decided: Decided::default(),
                looked: None,
                seen: now,
            });
            watched.seen = now;
            let news = watched.decided.news(pool, self.first);
            events.extend(news.into_iter().map(|words| (pool.device.clone(), EventKind::Decided, words)));
            if watched.looked.is_none_or(|looked| now.saturating_sub(looked) >= OWNERS_EVERY) {
                watched.looked = Some(now);
                for owner in &pool.owners {
                    watched.leaks.set_budget(&owner.model, owner.purpose, owner.budget_bytes);
                }
                for event in watched.leaks.check(now, &pool.ledger) {
                    let (kind, leak, words) = match &event {
                        TagEvent::Suspected(leak) => (EventKind::LeakSuspected, leak, "leak suspected"),
                        TagEvent::Cleared(leak) => (EventKind::Cleared, leak, "no longer growing"),
                    };
                    let tag = if leak.tag.is_empty() { "untagged" } else { &leak.tag };
                    events.push((
                        pool.device.clone(),
                        kind,
                        format!(
                            "{words}: tag `{tag}` of {} ({}) in pool {} of process {}: {} older than {:.0} min, {}/min more",
                            leak.model,
                            leak.purpose,
                            pool.name,
                            pool.pid,
                            leak.old_bytes,
                            leak.old_seconds / 60.0,
                            size(leak.bytes_per_second * 60.0),
                        ),
                    ));
                }
            }
            suspected.extend(watched.leaks.suspected().cloned());
        }
        suspected
    }

    fn judge_device(
        &mut self,
        now: Duration,
        mut snapshot: Snapshot,
        stall: Option<StallTimes>,
        suspected: Vec<TagLeak>,
        events: &mut Vec<(String, EventKind, String)>,
    ) -> DeviceTick {
        let id = snapshot.device.id.clone();
        let known = self.devices.contains_key(&id);
        let watched = self.devices.entry(id.clone()).or_insert_with(Watched::new);
        if !self.first && (!known || !watched.present) {
            events.push((id.clone(), EventKind::Appeared, format!("{} is here", snapshot.device.name)));
        }
        (watched.seen, watched.present) = (now, true);
        let ratio = snapshot.usage.used_ratio();
        if let Some(ratio) = ratio {
            if let Some(change) = watched.gauge.read(&self.config.ladder, ratio, now) {
                let words = format!("{} to {} at {:.0} %", change.from, change.to, 100.0 * ratio);
                events.push((id.clone(), EventKind::LevelChanged, words));
            }
            snapshot.level = Some(watched.gauge.level());
        }
        let mut forecast = None;
        if let Some(used) = snapshot.usage.used_bytes.value {
            watched.note_rate(now, used);
            watched.forecaster.push(now, used);
            forecast = snapshot.usage.total_bytes.value.and_then(|total| watched.forecaster.forecast(total));
            if let Some(event) = watched.growth.push(now, used) {
                let full = forecast.and_then(|forecast| forecast.full_in_seconds);
                events.push(watched.note_growth(&id, event, full));
            }
        }
        let holders = holders(&snapshot);
        watched.history.push_back(HistorySample {
            unix_seconds: snapshot
                .time
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0.0, |since| since.as_secs_f64()),
            used_bytes: snapshot.usage.used_bytes.value,
            level: snapshot.level,
            holders: holders.iter().take(HOLDERS).cloned().collect(),
        });
        while watched.history.len() > self.config.history.max(1) {
            watched.history.pop_front();
        }
        DeviceTick {
            level_readings: watched.gauge.readings(),
            level_changes: watched.gauge.changes(),
            stall,
            forecast,
            growing: watched.growing,
            suspected,
            holders,
            snapshot,
        }
    }

    fn note_absent(
        &mut self,
        now: Duration,
        devices: &[DeviceTick],
        events: &mut Vec<(String, EventKind, String)>,
    ) {
        for (id, watched) in &mut self.devices {
            if watched.present && !devices.iter().any(|device| device.snapshot.device.id == *id) {
                watched.present = false;
                events.push((id.clone(), EventKind::Lost, "is not here any more".into()));
            }
        }
        self.devices.retain(|_, watched| now.saturating_sub(watched.seen) < FORGET);
        self.pools.retain(|_, watched| now.saturating_sub(watched.seen) < FORGET);
    }

    /// The last samples of every device and the last events.
    pub fn history(&self) -> History {
        let devices = self.devices.iter();
        History {
            schema: "vramkit.history/1".into(),
            devices: devices
                .map(|(id, watched)| (id.clone(), watched.history.iter().cloned().collect()))
                .collect(),
            events: self.events.iter().cloned().collect(),
        }
    }

    /// How long to wait before the next tick: `longest`, or as little as a tenth of it (but not under 50 ms), the shorter
    /// as some device's headroom shrinks at the rate at which it has been seen to fill.
    pub fn period(&self, tick: &Tick, longest: Duration) -> Duration {
        let bounds = ((longest / 10).max(SHORTEST).min(longest), longest);
        let periods = tick.devices.iter().filter_map(|device| {
            let usage = &device.snapshot.usage;
            let headroom = usage.total_bytes.value?.saturating_sub(usage.used_bytes.value?);
            let fastest = self.devices.get(&device.snapshot.device.id)?.fastest;
            Some(sampling_period(headroom, fastest, bounds))
        });
        periods.min().unwrap_or(longest)
    }
}

impl Watched {
    fn new() -> Self {
        Self {
            gauge: PressureGauge::new(),
            growth: GrowthDetector::new(),
            growing: None,
            forecaster: Forecaster::new(Duration::from_secs(2), Duration::from_secs(60)),
            history: VecDeque::new(),
            last_used: None,
            fastest: 0.0,
            seen: Duration::ZERO,
            present: false,
        }
    }

    /// The fastest rate is forgotten by half in a minute.
    fn note_rate(&mut self, now: Duration, used: ByteSize) {
        if let Some((then, before)) = self.last_used {
            let seconds = now.saturating_sub(then).as_secs_f64();
            if seconds > 0.0 {
                let rate = used.saturating_sub(before).bytes() as f64 / seconds;
                self.fastest = rate.max(self.fastest * 0.5f64.powf(seconds / 60.0));
            }
        }
        self.last_used = Some((now, used));
    }

    fn note_growth(
        &mut self,
        id: &str,
        event: GrowthEvent,
        full_in_seconds: Option<f64>,
    ) -> (String, EventKind, String) {
        let full =
            full_in_seconds.map_or(String::new(), |seconds| format!(", full in {}", duration(seconds)));
        let numbers = |growth: &Growth| (100.0 * growth.growth_ratio, duration(growth.window_seconds));
        let (growing, kind, words) = match event {
            GrowthEvent::Fast(growth) => {
                let (percent, window) = numbers(&growth);
                let words = format!("growing fast: +{percent:.0} % in {window}{full}");
                (Some(Growing { fast: true, growth }), EventKind::GrowingFast, words)
            }
            GrowthEvent::Sustained(growth) => {
                let (percent, window) = numbers(&growth);
                let words =
                    format!("sustained growth: floor up {percent:.0} % over {window}, not slowing{full}");
                (Some(Growing { fast: false, growth }), EventKind::SustainedGrowth, words)
            }
            GrowthEvent::Stopped => (None, EventKind::Cleared, "growth stopped".into()),
        };
        self.growing = growing;
        (id.to_owned(), kind, words)
    }
}

/// A device as the sum of its pools.
fn device_of_pools(id: String, pools: &[PoolUse]) -> DeviceReading {
    let sum = |of: fn(&PoolStats) -> ByteSize| {
        let sum = pools.iter().fold(0u64, |sum, pool| sum.saturating_add(of(&pool.stats).bytes()));
        Reading::known(ByteSize::new(sum), Origin::Pool)
    };
    let why = "only pools are seen of this device";
    let used = sum(|stats| stats.used_bytes);
    DeviceReading {
        device: DeviceName { id, name: "pools of programs".into(), uuid: None },
        usage: Usage {
            total_bytes: sum(|stats| stats.capacity_bytes),
            free_bytes: sum(|stats| stats.capacity_bytes.saturating_sub(stats.used_bytes)),
            used_bytes: used.clone(),
            driver_bytes: Reading::unavailable(Origin::Pool, why),
            allocated_bytes: used,
            reserved_bytes: sum(|stats| stats.committed_bytes),
        },
        processes: Reading::unavailable(Origin::Pool, why),
        stall: None,
    }
}

/// Bytes a time, for people.
fn size(bytes: f64) -> ByteSize {
    ByteSize::new(bytes.max(0.0) as u64)
}

/// Owners of pools; processes, with what is not in the pools that they publish; what is left.
fn holders(snapshot: &Snapshot) -> Vec<HolderUse> {
    let mut holders: Vec<HolderUse> = Vec::new();
    let mut add = |name: String, bytes: ByteSize| {
        if bytes.is_zero() {
            return;
        }
        match holders.iter_mut().find(|holder| holder.name == name) {
            Some(holder) => holder.bytes = ByteSize::new(holder.bytes.bytes().saturating_add(bytes.bytes())),
            None => holders.push(HolderUse { name, bytes }),
        }
    };
    let mut pooled: BTreeMap<u32, u64> = BTreeMap::new();
    let mut shown = 0u64;
    for pool in &snapshot.pools {
        for owner in &pool.owners {
            add(format!("{} {}", owner.model, owner.purpose), owner.granted_bytes);
        }
        let committed = pool.stats.committed_bytes;
        let idle = committed.saturating_sub(pool.stats.used_bytes);
        // Where used means granted, what is not granted is not a part of it.
        let idle = if snapshot.usage.used_bytes.source == Origin::Pool { ByteSize::ZERO } else { idle };
        add(format!("pool {}, idle", pool.name), idle);
        *pooled.entry(pool.pid).or_default() += committed.bytes();
        shown = shown.saturating_add(committed.bytes());
    }
    for process in snapshot.processes.value.iter().flatten() {
        let Some(used) = process.used_bytes.value else { continue };
        let rest = used.bytes().saturating_sub(pooled.get(&process.pid).copied().unwrap_or(0));
        let name = process.name.value.clone().unwrap_or_else(|| "process".into());
        add(format!("{name} {}", process.pid), ByteSize::new(rest));
        shown = shown.saturating_add(rest);
    }
    if let Some(used) = snapshot.usage.used_bytes.value {
        add("others".into(), ByteSize::new(used.bytes().saturating_sub(shown)));
    }
    holders.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    holders
}

#[cfg(test)]
mod tests;
