//! One tick: every source is asked once, all at the same time, and what they say is judged.
//!
//! ```text
//! sources, each on its thread ──► known (ids that stay; lost, unread) ──► join (pools) ──► judge ──► tick ──► recorder
//!          └─► standing (up, late, failing)
//! ```
//!
//! For each device a level, growth of its used bytes, a forecast and a history; for each published pool, leaks by owner.
//! What changed becomes events, each told once, and logged where somebody has to look. Everything kept is bounded: what has
//! not been seen for a while is forgotten, but for cards that are lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use vramkit::monitor::{PoolUse, Snapshot, StallTimes, sampling_period, utc};
use vramkit::pressure::{Ladder, LadderError};

use crate::amd::AmdSource;
use crate::asked::{Asked, Outcome};
use crate::assigned::Assigned;
use crate::bus::WithBus;
use crate::clock::Clock;
use crate::doubts::{doubts, guessed};
use crate::events;
use crate::holders::holders;
use crate::host::HostSource;
use crate::identity;
use crate::jetson::JetsonSource;
use crate::join::by_device;
use crate::judge::{FewNews, News, WatchedDevice, WatchedPools};
use crate::kernel::system_root;
use crate::known::{Known, Moment};
use crate::nvml::NvmlSource;
use crate::pools::PublishedPools;
use crate::record::{Keeper, TICK, TickRecorder};
use crate::silent::Silent;
use crate::source::{DeviceClass, DeviceReading, Health, Lazy, Readings, Source, Unavailable};
use crate::standing::Standing;
use crate::tick::{DeviceTick, Presence, SuspectedLeak, Tick, WatchEvent};
use crate::unreadable::Unreadable;
use crate::utc::since_1970;
use told::{event, log};

mod history;
mod told;

/// Events kept.
const EVENTS: usize = 500;
/// Devices that are watched at most, and for how long one, or a pool, that is not seen is remembered.
const MOST: usize = 256;
const FORGET: Duration = Duration::from_secs(600);
/// Ticks come no closer, unless they are asked to.
const SHORTEST: Duration = Duration::from_millis(50);
/// Two clocks that go right differ by no more seconds between two ticks.
const SLACK: f64 = 2.0;

/// How a watcher behaves.
#[derive(Clone, Debug)]
pub struct WatchConfig {
    /// Levels.
    pub ladder: Ladder<()>,
    /// Samples of each device that are kept as they are. Of those before, the largest of each minute of a day is kept, then
    /// of each ten minutes of a week; of more than sixteen devices, less of each.
    pub history: usize,
    /// How long a tick waits for a source. One that is late is not waited for again until it has answered.
    pub patience: Duration,
    /// How long the first tick does: a driver may have to start.
    pub first_patience: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        let (patience, first_patience) = (Duration::from_secs(1), Duration::from_secs(5));
        Self { ladder: Ladder::watch(), history: 1200, patience, first_patience }
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
    sources: Vec<Watched>,
    known: Known,
    unreadable: Unreadable,
    /// By what each is known.
    devices: BTreeMap<String, WatchedDevice>,
    pools: WatchedPools,
    of_pools: FewNews,
    silent: Silent,
    events: VecDeque<WatchEvent>,
    /// Ids of devices that a recording knew.
    restored: BTreeMap<String, String>,
    recorder: Option<Keeper>,
    clock: Clock,
    /// When the last tick was, by the clock that does not go back.
    last: Duration,
    first: bool,
}

struct Watched {
    asked: Asked,
    standing: Standing,
}

impl Watcher {
    /// Of these sources.
    ///
    /// # Errors
    /// A ladder that makes no sense.
    pub fn new(sources: Vec<Box<dyn Source>>, config: WatchConfig) -> Result<Self, LadderError> {
        config.ladder.check()?;
        let mut watcher = Self {
            config,
            sources: Vec::new(),
            known: Known::default(),
            unreadable: Unreadable::default(),
            devices: BTreeMap::new(),
            pools: WatchedPools::default(),
            of_pools: FewNews::default(),
            silent: Silent::default(),
            events: VecDeque::new(),
            restored: BTreeMap::new(),
            recorder: None,
            clock: Clock::default(),
            last: Duration::ZERO,
            first: true,
        };
        watcher.extend(sources);
        Ok(watcher)
    }

    /// Of everything that this machine may have. `VRAMKIT_SYSTEM_ROOT` names a folder whose `proc` and `sys` stand for the
    /// kernel's, and `VRAMKIT_NVML` a library that stands for NVIDIA's: a machine that is not here.
    ///
    /// # Errors
    /// A ladder that makes no sense.
    pub fn of_this_machine(config: WatchConfig) -> Result<Self, LadderError> {
        // Loading a driver's library may take its time, or hang.
        let nvml = || WithBus::at(&system_root(), NvmlSource::default());
        let mut sources: Vec<Box<dyn Source>> =
            vec![Box::new(Lazy::new("nvml", nvml)), Box::new(AmdSource::default())];
        if let Some(jetson) = JetsonSource::of_this_machine() {
            sources.push(Box::new(jetson));
        }
        sources.push(Box::new(HostSource::default()));
        sources.push(Box::new(PublishedPools::default()));
        Self::new(sources, config)
    }

    /// With more sources, which are asked from the next tick on.
    pub fn extend(&mut self, sources: impl IntoIterator<Item = Box<dyn Source>>) {
        let watched = |source| Watched { asked: Asked::new(source), standing: Standing::default() };
        self.sources.extend(sources.into_iter().map(watched));
    }

    /// Reads everything. `now` is of a clock that does not go back.
    ///
    /// A source that does not answer within its time is late, and what it lists unread: it is not waited for again until it
    /// has answered.
    pub fn tick(&mut self, now: Duration) -> Tick {
        self.tick_at(now, SystemTime::now())
    }

    fn tick_at(&mut self, now: Duration, time: SystemTime) -> Tick {
        let mut news = Vec::new();
        self.follow_clock(now, time);
        let mut all = self.ask(now, time, &mut news);
        let moment = Moment { time, is_first: self.first };
        // What an earlier source lists is that one's: it knows more of it.
        let mut listed = BTreeSet::new();
        for (number, (readings, source)) in all.iter_mut().zip(&mut self.sources).enumerate() {
            readings.devices.retain(|reading| listed.insert(reading.device.id.clone()));
            self.known.settle(&moment, number, &source.standing, readings, &mut news);
            identity::note_unknown(&mut readings.devices);
            let is_present =
                |reading: &&DeviceReading| self.known.presence(&reading.device.id) == Presence::Present;
            let present = readings.devices.iter().filter(is_present);
            let unread = self.unreadable.note(number, present, &mut news);
            readings.unavailable.extend(unread);
            source.standing.note_unreadable(self.unreadable.words(number));
        }
        // Nobody's word for a device is its past.
        for key in self.known.take_forgotten() {
            self.devices.remove(&key);
        }
        // A card that says who it is goes on with what was kept of it under its place.
        for (before, key) in self.known.take_moved() {
            if let Some(watched) = self.devices.remove(&before) {
                self.devices.entry(key).or_insert(watched);
            }
        }
        let mut pools_of = BTreeMap::new();
        let mut merged = Readings::default();
        let mut healths = Vec::new();
        for (number, readings) in all.into_iter().enumerate() {
            let of_it = |pool: &PoolUse| ((pool.pid, pool.name.clone()), number);
            pools_of.extend(readings.pools.iter().map(of_it));
            healths.push(readings.health);
            merged.devices.extend(readings.devices);
            merged.pools.extend(readings.pools);
            merged.environments.extend(readings.environments);
            merged.assigned.extend(readings.assigned);
            merged.silent.extend(readings.silent);
            merged.unavailable.extend(readings.unavailable);
        }
        let mut joined = by_device(merged.devices, merged.pools, &merged.environments);
        merged.unavailable.append(&mut joined.notes);
        let mut of_pools = Vec::new();
        for (reading, on_it) in &joined.own {
            let pool = on_it.first().map(|pool| (pool.pid, pool.name.clone()));
            let source = pool.and_then(|pool| pools_of.get(&pool).copied()).unwrap_or(0);
            self.known.note_of_pools(&moment, source, reading, &mut of_pools);
        }
        let mut readings = joined.listed;
        let own: BTreeSet<String> = joined.own.iter().map(|(reading, _)| reading.device.id.clone()).collect();
        readings.append(&mut joined.own);
        for (number, (health, source)) in healths.into_iter().zip(&self.sources).enumerate() {
            let missed =
                self.known.settle_of_pools(&moment, number, (&source.standing, health), &own, &mut of_pools);
            readings.extend(missed.into_iter().map(|reading| (reading, Vec::new())));
        }
        if readings.len() > MOST {
            let reason = format!("{} devices more than {MOST} are not shown", readings.len() - MOST);
            merged.unavailable.push(Unavailable { source: "devices".into(), reason });
            readings.truncate(MOST);
        }
        self.silent.note(&merged.silent, &mut readings);
        let assigned = Assigned::of(merged.assigned, &self.known.places(), &readings);
        merged.unavailable.extend(assigned.nowhere());
        let devices = self.judge(now, time, (readings, &assigned), (&mut news, &mut of_pools));
        news.extend(self.of_pools.take(now, of_pools));
        merged.unavailable.extend(self.pools.left_out());
        self.forget(now);
        self.first = false;
        // What a lost or unread device's reason is, is said there.
        let mut unavailable = merged.unavailable;
        let is_told = |absent: &Unavailable| {
            let missed = devices.iter().filter(|device| device.presence != Presence::Present);
            missed.map(|device| &device.snapshot.device.id).any(|id| *id == absent.source)
        };
        unavailable.retain(|absent| !is_told(absent));
        let mut tick = Tick {
            schema: TICK.into(),
            time: utc(time),
            devices,
            sources: self.sources.iter().map(|source| source.standing.tick(source.asked.name())).collect(),
            recorder: None,
            unavailable,
            events: news.into_iter().map(|news| event(time, news)).collect(),
        };
        if let Some(keeper) = &mut self.recorder {
            let news = keeper.keep(now, time, &tick);
            tick.events.extend(news.map(|news| event(time, news)));
            tick.recorder = Some(keeper.tick());
        }
        tick.events.iter().for_each(log);
        self.events.extend(tick.events.iter().cloned());
        events::bound(&mut self.events, EVENTS);
        tick
    }

    /// Asks every source at once, and waits for all of them.
    fn ask(&mut self, now: Duration, time: SystemTime, news: &mut Vec<News>) -> Vec<Readings> {
        let patience = if self.first { self.config.first_patience } else { self.config.patience };
        let start = Instant::now();
        self.sources.iter_mut().for_each(|source| source.asked.begin(now));
        let known = &self.known;
        let finish = |(number, Watched { asked, standing }): (usize, &mut Watched)| match asked
            .finish(now, start, patience)
        {
            Outcome::Answered(readings) => {
                let has_own = readings.health == Health::Absent && known.has_own(number, &readings.given);
                standing.note_answer(asked.name(), time, &readings, has_own, news);
                readings
            }
            Outcome::Late { earlier, answered } => {
                standing.note_late(asked.name(), time, (patience, answered), news);
                let reason = standing.reason().to_owned();
                let late = Unavailable { source: asked.name().to_owned(), reason };
                earlier.unwrap_or_else(|| Readings {
                    health: Health::Late,
                    unavailable: vec![late],
                    ..Readings::default()
                })
            }
        };
        self.sources.iter_mut().enumerate().map(finish).collect()
    }

    /// When the wall clock is set, what is kept moves with it: nothing is drawn backwards, nor over decades.
    fn follow_clock(&mut self, now: Duration, time: SystemTime) {
        let gone = now.saturating_sub(std::mem::replace(&mut self.last, now));
        let Some(step) = self.clock.follow(since_1970(time), gone.as_secs_f64(), SLACK) else { return };
        tracing::warn!(by = %step, "the clock was set");
        self.devices.values_mut().for_each(|watched| watched.past_mut().shift(&step));
        self.sources.iter_mut().for_each(|source| source.standing.shift(&step));
        self.recorder.iter_mut().for_each(|keeper| keeper.shift(&step));
        self.known.shift(&step);
    }

    fn judge(
        &mut self,
        now: Duration,
        time: SystemTime,
        (readings, assigned): (Vec<(DeviceReading, Vec<PoolUse>)>, &Assigned),
        (news, of_pools): (&mut Vec<News>, &mut Vec<News>),
    ) -> Vec<DeviceTick> {
        let count = readings.len();
        let mut devices = Vec::new();
        self.pools.begin();
        for (mut reading, mut on_it) in readings {
            let is_own = self.known.is_of_pools(&reading.device.id);
            let news = if is_own { &mut *of_pools } else { &mut *news };
            let to = assigned.join(&mut reading, &mut on_it);
            let judged = on_it.iter().flat_map(|pool| self.pools.judge(now, pool, self.first, news));
            let suspected = judged.collect();
            reading.notes.extend(doubts(&reading, &on_it));
            if matches!(self.known.presence(&reading.device.id), Presence::Lost { .. }) {
                reading.notes.extend(guessed(&on_it));
            }
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
            let mut device = self.judge_device(now, snapshot, (reading.stall, suspected), count, news);
            (device.class, device.activity, device.assigned) = (reading.class, reading.activity, to);
            (device.shared_bytes, device.notes) = (reading.shared_bytes, reading.notes);
            devices.push(device);
        }
        self.pools.end(news);
        devices
    }

    fn judge_device(
        &mut self,
        now: Duration,
        mut snapshot: Snapshot,
        (stall, suspected): (Option<StallTimes>, Vec<SuspectedLeak>),
        count: usize,
        news: &mut Vec<News>,
    ) -> DeviceTick {
        let key = self.known.key(&snapshot.device.id).to_owned();
        let watched = self.devices.entry(key).or_default();
        let judged = watched.judge(now, &self.config.ladder, &mut snapshot, news);
        let holders = holders(&snapshot);
        watched.keep(&snapshot, &holders, (self.config.history, count));
        DeviceTick {
            class: DeviceClass::Other,
            presence: self.known.presence(&snapshot.device.id),
            activity: None,
            shared_bytes: None,
            assigned: Vec::new(),
            notes: Vec::new(),
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

    /// Forgets what has not been seen for a while. A card that is lost is in every tick, and stays.
    fn forget(&mut self, now: Duration) {
        self.devices.retain(|_, watched| now.saturating_sub(watched.seen()) < FORGET);
        // Programs may speak of devices that nobody else knows, of new ones every time.
        while self.devices.len() > MOST {
            let oldest = self.devices.iter().min_by_key(|(_, watched)| watched.seen());
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            self.devices.remove(&oldest);
        }
        self.pools.forget(now, FORGET);
        self.restored.retain(|key, _| self.devices.contains_key(key));
    }

    /// Keeps every tick from now on. What cannot be written is a state in the ticks, and an event; it is tried again.
    pub fn record(&mut self, recorder: TickRecorder) {
        self.recorder = Some(Keeper::new(recorder));
    }

    /// How long to wait before the next tick: `longest`, or as little as a tenth of it (but not under 50 ms), the shorter
    /// as some device's headroom shrinks at the rate at which it has been seen to fill.
    pub fn period(&self, tick: &Tick, longest: Duration) -> Duration {
        let bounds = ((longest / 10).max(SHORTEST).min(longest), longest);
        let periods = tick.devices.iter().filter_map(|device| {
            let usage = &device.snapshot.usage;
            let own = usage.total_bytes.value?.saturating_sub(usage.used_bytes.value?);
            // What those beside a group have taken it cannot have.
            let is_group = device.class == DeviceClass::Group;
            let headroom = usage.free_bytes.value.filter(|_| is_group).map_or(own, |free| own.min(free));
            let fastest = self.devices.get(self.known.key(&device.snapshot.device.id))?.fastest();
            Some(sampling_period(headroom, fastest, bounds))
        });
        periods.min().unwrap_or(longest)
    }
}

#[cfg(test)]
mod absence;
#[cfg(test)]
mod away;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod identities;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod words;
