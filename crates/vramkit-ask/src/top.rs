//! Who holds the memory of every device of this machine, and whether that is a worry: `vramkit.top/1`.
//!
//! In: from which fractions on memory counts as elevated, high and critical. Out: one reading, or one after the other as they
//! are made. A screen and a server take the [`Watcher`] itself.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use vramkit::device::Origin;
use vramkit::pressure::{Ladder, LadderError, PressureLevel};
use vramkit_kubelet::KubeletSource;
use vramkit_watch::record::TickRecorder;
use vramkit_watch::{DeviceTick, Presence, Source, Tick, WatchConfig, Watcher};

use crate::error::AskError;

/// Who holds the memory of every device, how full is it, does it leak?
///
/// ```
/// let answer = vramkit_ask::top(&vramkit_ask::TopQuestion::default())?;
/// assert!(!answer.report.devices.is_empty(), "this machine has memory");
/// # Ok::<(), vramkit_ask::AskError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TopQuestion {
    /// Fractions of a device from which on its memory is elevated, high and critical, each 0..1 and above the one before; the
    /// watcher's own when not given.
    pub levels: Option<[f64; 3]>,
}

/// How far below a level memory must fall to leave it.
const HYSTERESIS: f64 = 0.05;

impl TopQuestion {
    /// Whether it can be asked.
    ///
    /// # Errors
    /// Levels that are out of order or no fractions.
    pub fn check(&self) -> Result<(), LadderError> {
        self.ladder().check()
    }

    fn ladder(&self) -> Ladder<()> {
        let mut ladder = Ladder::watch();
        for (rung, &enter) in ladder.rungs.iter_mut().zip(self.levels.iter().flatten()) {
            rung.enter = enter;
            rung.exit = Some((enter - HYSTERESIS).max(0.0));
        }
        ladder
    }

    /// A watcher of everything that this machine may have.
    ///
    /// # Errors
    /// As of [`check`](Self::check).
    pub fn watcher(&self) -> Result<Watcher, AskError> {
        let config = WatchConfig { ladder: self.ladder(), ..WatchConfig::default() };
        watcher(config)
    }
}

/// The answer to a [`TopQuestion`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TopAnswer {
    /// `vramkit.top/1`.
    pub report: Tick,
}

impl TopAnswer {
    /// As [`is_well`].
    pub fn is_yes(&self) -> bool {
        is_well(&self.report)
    }
}

/// Who asks once has the patience that a driver needs to start.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whether in a tick no device that a driver or the system speaks of is at level critical or lost, and on none of them a leak is
/// suspected.
/// What only programs speak of is as full as they say, and theirs to worry about.
pub fn is_well(tick: &Tick) -> bool {
    let is_of_programs = |device: &&DeviceTick| device.snapshot.usage.used_bytes.source == Origin::Pool;
    let worry = |device: &DeviceTick| {
        let is_lost = matches!(device.presence, Presence::Lost { .. });
        is_lost || device.snapshot.level == Some(PressureLevel::Critical) || !device.suspected.is_empty()
    };
    !tick.devices.iter().filter(|device| !is_of_programs(device)).any(worry)
}

/// Reads everything once.
///
/// # Errors
/// As of [`TopQuestion::check`]. What cannot be read is part of the answer, and so is what does not answer.
pub fn top(question: &TopQuestion) -> Result<TopAnswer, AskError> {
    let config =
        WatchConfig { ladder: question.ladder(), first_patience: PATIENCE, ..WatchConfig::default() };
    Ok(TopAnswer { report: watcher(config)?.tick(Duration::ZERO) })
}

fn watcher(config: WatchConfig) -> Result<Watcher, AskError> {
    let mut watcher = Watcher::of_this_machine(config)?;
    watcher.extend([Box::new(KubeletSource::of_this_machine()) as Box<dyn Source>]);
    Ok(watcher)
}

/// Reads again and again, until what is done with a reading says that it is enough or fails. Between two readings there is
/// `interval` at most: they come sooner as headroom shrinks. With a recorder, each is kept.
///
/// # Errors
/// As of [`TopQuestion::check`], and what `take` says. A recording that cannot be written is a state in the readings.
pub fn watch<E: From<AskError>>(
    question: &TopQuestion,
    interval: Duration,
    recorder: Option<TickRecorder>,
    mut take: impl FnMut(&Tick) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let mut watcher = question.watcher()?;
    recorder.into_iter().for_each(|recorder| watcher.record(recorder));
    let start = Instant::now();
    loop {
        let tick = watcher.tick(start.elapsed());
        if take(&tick)?.is_break() {
            return Ok(());
        }
        std::thread::sleep(watcher.period(&tick, interval));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vramkit::ByteSize;
    use vramkit::device::{Reading, SimulatedDevice};
    use vramkit::monitor::{DeviceName, PoolUse, Usage};
    use vramkit::pool::{DeviceMemoryPool, Request};
    use vramkit_watch::{DeviceClass, DeviceReading, Readings, source_fn};

    use super::*;

    fn tick(readings: Readings) -> Tick {
        let source = source_fn("one", move || readings.clone());
        let mut watcher = Watcher::new(vec![Box::new(source)], WatchConfig::default()).unwrap();
        watcher.tick(Duration::ZERO)
    }

    #[test]
    fn a_full_device_of_a_programs_own_is_no_worry_and_a_full_card_is() {
        let capacity = ByteSize::mib(64);
        let pool =
            Arc::new(DeviceMemoryPool::new(Arc::new(SimulatedDevice::new(capacity)), capacity).unwrap());
        let _held = pool.allocate(Request::new(ByteSize::mib(63))).unwrap();
        let full = tick(Readings { pools: vec![PoolUse::of("kv", &pool)], ..Readings::default() });
        let level = |tick: &Tick| tick.devices[0].snapshot.level;
        assert_eq!((level(&full), is_well(&full)), (Some(PressureLevel::Critical), true));
        let known = |mib| Reading::known(ByteSize::mib(mib), Origin::Nvml);
        let mut usage = Usage::unavailable(Origin::Nvml, "not asked");
        (usage.total_bytes, usage.used_bytes, usage.free_bytes) = (known(100), known(99), known(1));
        let card = DeviceReading {
            device: DeviceName { id: "cuda:0".into(), name: "a card".into(), uuid: None },
            class: DeviceClass::Gpu,
            activity: None,
            usage,
            processes: Reading::known(Vec::new(), Origin::Nvml),
            stall: None,
            shared_bytes: None,
            notes: Vec::new(),
        };
        let full = tick(Readings { devices: vec![card], ..Readings::default() });
        assert_eq!((level(&full), is_well(&full)), (Some(PressureLevel::Critical), false));
    }
}
