//! One tick: every source is read once, and what was read is judged.
//!
//! For each device a level, growth of its used bytes, a forecast and a short history; for each published pool, leaks by
//! owner. What changed becomes events, each told once. Everything kept is bounded: devices and pools that have not been
//! seen for a while are forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use vramkit::monitor::leak::TagLeak;
use vramkit::monitor::{PoolUse, Snapshot, StallTimes, sampling_period, utc};
use vramkit::pressure::{Ladder, LadderError};

use crate::amd::AmdSource;
use crate::holders::holders;
use crate::host::HostSource;
use crate::join::by_device;
use crate::judge::{News, WatchedDevice, WatchedPool};
use crate::nvml::NvmlSource;
use crate::pools::PublishedPools;
use crate::source::{DeviceClass, Health, Readings, Source, Unavailable};
use crate::tick::{DeviceTick, EventKind, History, Presence, SourceTick, Tick, WatchEvent};

/// Events kept.
const EVENTS: usize = 500;
/// Devices and pools that are watched at most, and for how long one that is not seen is remembered.
const MOST: usize = 256;
const FORGET: Duration = Duration::from_secs(600);
/// Ticks come no closer, unless they are asked to.
const SHORTEST: Duration = Duration::from_millis(50);

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

/// Reads sources and judges what they say.
///
/// ```
/// use std::time::Duration;
/// use vramkit_watch::host::HostSource;
/// use vramkit_watch::{WatchConfig, Watcher};
///
/// let mut watcher = Watcher::new(vec![Box::new(HostSource::default())], WatchConfig::default())?;
/// let tick = watcher.tick(Duration::ZERO);
/// let next = watcher.period(&tick, Duration::from_secs(1)); // sooner as headroom shrinks
/// assert!(next <= Duration::from_secs(1));
/// # Ok::<(), vramkit::pressure::LadderError>(())
/// ```
pub struct Watcher {
    config: WatchConfig,
    sources: Vec<Box<dyn Source>>,
    devices: BTreeMap<String, WatchedDevice>,
    pools: BTreeMap<(String, u32, String), WatchedPool>,
    events: VecDeque<WatchEvent>,
    first: bool,
}

impl Watcher {
    /// Of these sources.
    ///
    /// # Errors
    /// A ladder that makes no sense.
    pub fn new(sources: Vec<Box<dyn Source>>, config: WatchConfig) -> Result<Self, LadderError> {
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
    ///
    /// # Errors
    /// A ladder that makes no sense.
    pub fn of_this_machine(config: WatchConfig) -> Result<Self, LadderError> {
        let sources: Vec<Box<dyn Source>> = vec![
            Box::new(NvmlSource::default()),
            Box::new(AmdSource::default()),
            Box::new(HostSource::default()),
            Box::new(PublishedPools::default()),
        ];
        Self::new(sources, config)
    }

    /// Reads everything. `now` is of a clock that does not go back.
    pub fn tick(&mut self, now: Duration) -> Tick {
        let time = SystemTime::now();
        let mut all = Readings::default();
        let mut sources = Vec::new();
        for source in &mut self.sources {
            let readings = source.read();
            let why = readings.unavailable.first().map(|absent| absent.reason.clone());
            sources.push(SourceTick {
                source: source.name().to_owned(),
                health: readings.health,
                since: String::new(),
                reason: why.filter(|_| readings.health != Health::Up),
                answered: None,
            });
            all.devices.extend(readings.devices);
            all.pools.extend(readings.pools);
            all.environments.extend(readings.environments);
            all.unavailable.extend(readings.unavailable);
        }
        self.judge(now, time, sources, all)
    }

    fn judge(
        &mut self,
        now: Duration,
        time: SystemTime,
        sources: Vec<SourceTick>,
        mut all: Readings,
    ) -> Tick {
        let joined = by_device(all.devices, all.pools, &all.environments);
        let mut readings = joined.devices;
        all.unavailable.extend(joined.notes);
        if readings.len() > MOST {
            let reason = format!("{} devices more than {MOST} are not shown", readings.len() - MOST);
            all.unavailable.push(Unavailable { source: "devices".into(), reason });
            readings.truncate(MOST);
        }
        let mut news = Vec::new();
        let mut devices = Vec::new();
        for (reading, on_it) in readings {
            let suspected = self.judge_pools(now, &on_it, &mut news);
            let snapshot = Snapshot {
                time,
                device: reading.device,
                event: String::new(),
                slot: None,
                models: Vec::new(),
                model_bytes: BTreeMap::new(),
                usage: reading.usage,
                processes: reading.processes,
                pools: on_it,
                level: None,
            };
            let mut device = self.judge_device(now, snapshot, reading.stall, suspected, &mut news);
            (device.class, device.activity) = (reading.class, reading.activity);
            devices.push(device);
        }
        self.note_absent(now, &devices, &mut news);
        self.first = false;
        let text = utc(time);
        let events: Vec<WatchEvent> = news
            .into_iter()
            .map(|News { device, kind, text: words }| WatchEvent {
                time: text.clone(),
                device,
                kind,
                text: words,
            })
            .collect();
        self.events.extend(events.iter().cloned());
        while self.events.len() > EVENTS {
            self.events.pop_front();
        }
        Tick {
            schema: "vramkit.top/1".into(),
            time: text,
            devices,
            sources,
            unavailable: all.unavailable,
            events,
        }
    }

    fn judge_pools(&mut self, now: Duration, pools: &[PoolUse], news: &mut Vec<News>) -> Vec<TagLeak> {
        let mut suspected = Vec::new();
        for pool in pools {
            let key = (pool.device.clone(), pool.pid, pool.name.clone());
            if self.pools.len() >= MOST && !self.pools.contains_key(&key) {
                continue;
            }
            let watched = self.pools.entry(key).or_insert_with(|| WatchedPool::new(now));
            suspected.extend(watched.judge(now, pool, self.first, news).cloned());
        }
        suspected
    }

    fn judge_device(
        &mut self,
        now: Duration,
        mut snapshot: Snapshot,
        stall: Option<StallTimes>,
        suspected: Vec<TagLeak>,
        news: &mut Vec<News>,
    ) -> DeviceTick {
        let id = snapshot.device.id.clone();
        let watched = self.devices.entry(id).or_insert_with(WatchedDevice::new);
        if !watched.note_present(now) && !self.first {
            let words = format!("{} is here", snapshot.device.name);
            news.push(News::new(&snapshot.device.id, EventKind::Appeared, words));
        }
        let judged = watched.judge(now, &self.config.ladder, &mut snapshot, news);
        let holders = holders(&snapshot);
        watched.keep(&snapshot, &holders, self.config.history);
        DeviceTick {
            class: DeviceClass::Other,
            presence: Presence::Present,
            activity: None,
            level_readings: judged.level_readings,
            level_changes: judged.level_changes,
            stall,
            forecast: judged.forecast,
            full_soon: judged.full_soon,
            growing: judged.growing,
            suspected,
            holders,
            snapshot,
        }
    }

    fn note_absent(&mut self, now: Duration, devices: &[DeviceTick], news: &mut Vec<News>) {
        for (id, watched) in &mut self.devices {
            let is_here = devices.iter().any(|device| device.snapshot.device.id == *id);
            if !is_here && watched.note_absent() {
                news.push(News::new(id, EventKind::Lost, "is not here any more"));
            }
        }
        self.devices.retain(|_, watched| now.saturating_sub(watched.seen()) < FORGET);
        self.pools.retain(|_, watched| now.saturating_sub(watched.seen()) < FORGET);
    }

    /// The last samples of every device and the last events.
    pub fn history(&self) -> History {
        let devices = self.devices.iter();
        History {
            schema: "vramkit.history/1".into(),
            devices: devices.map(|(id, watched)| (id.clone(), watched.history())).collect(),
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
            let fastest = self.devices.get(&device.snapshot.device.id)?.fastest();
            Some(sampling_period(headroom, fastest, bounds))
        });
        periods.min().unwrap_or(longest)
    }
}

#[cfg(test)]
mod tests;
