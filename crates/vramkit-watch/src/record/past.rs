//! What is kept of a recording at a lower resolution: of each minute, later of ten minutes or an hour, each device's reading
//! with the most bytes.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use vramkit::ByteSize;
use vramkit::device::Origin;
use vramkit::monitor::DeviceName;
use vramkit::pressure::{PressureLevel, known_level};

use super::files::beside;
use super::lines;
use crate::events::bound;
use crate::source::DeviceClass;
use crate::tick::{HolderUse, Tick, WatchEvent};
use crate::utc::unix_seconds;

/// What a line is.
pub(super) const SCHEMA: &str = "vramkit.past/1";
/// Seconds of a line as it is written.
const MINUTE: u32 = 60;
/// What is older than so many seconds is kept by so many, as soon as there is no room; each step only if the one before was
/// not enough.
const STEPS: [(f64, u32); 6] =
    [(DAY, 600), (7.0 * DAY, 3600), (DAY, 3600), (HOUR, 600), (HOUR, 3600), (0.0, 3600)];
const DAY: f64 = 24.0 * HOUR;
const HOUR: f64 = 3600.0;
/// Largest holders of a device, and events, that a line has: twice as many as what programs speak of can bring at once.
const HOLDERS: usize = 6;
const EVENTS: usize = 64;

/// A line of `FILE.history`.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PastLine {
    /// `vramkit.past/1`.
    pub schema: String,
    /// The last reading in it, in UTC.
    pub time: String,
    /// How long a time it stands for.
    pub seconds: u32,
    /// Each device, when it held most.
    pub devices: Vec<PastDevice>,
    /// What changed, the last ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<WatchEvent>,
}

/// A device in a line of `FILE.history`.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PastDevice {
    /// Which one.
    pub device: DeviceName,
    /// Whose memory it is.
    #[serde(default)]
    pub class: DeviceClass,
    /// Who was asked.
    pub source: Origin,
    /// All that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<ByteSize>,
    /// Held by every process; none when it was not known in all the time.
    pub used_bytes: Option<ByteSize>,
    /// The level then.
    #[serde(default, deserialize_with = "known_level")]
    pub level: Option<PressureLevel>,
    /// The largest holders then.
    #[serde(default)]
    pub holders: Vec<HolderUse>,
}

impl PastDevice {
    /// By what it is known.
    pub(crate) fn key(&self) -> &str {
        let uuid = self.device.uuid.as_deref().filter(|uuid| !uuid.is_empty());
        uuid.unwrap_or(&self.device.id)
    }
}

/// Readings of one time, the largest of each device.
#[derive(Clone, Debug, Default)]
struct Period {
    number: u64,
    time: String,
    /// In the order in which they came.
    devices: Vec<PastDevice>,
    events: VecDeque<WatchEvent>,
}

impl Period {
    fn take(&mut self, time: &str, devices: impl Iterator<Item = PastDevice>, events: &[WatchEvent]) {
        time.clone_into(&mut self.time);
        let mut places: BTreeMap<(String, String), usize> = BTreeMap::new();
        let name = |device: &PastDevice| (device.key().to_owned(), device.device.id.clone());
        for (place, device) in self.devices.iter().enumerate() {
            places.insert(name(device), place);
        }
        for device in devices {
            match places.get(&name(&device)) {
                Some(&place) if device.used_bytes > self.devices[place].used_bytes => {
                    self.devices[place] = device;
                }
                Some(_) => {}
                None => self.devices.push(device),
            }
        }
        self.events.extend(events.iter().cloned());
        bound(&mut self.events, EVENTS);
    }

    fn line(self, seconds: u32) -> PastLine {
        PastLine {
            schema: SCHEMA.into(),
            time: self.time,
            seconds,
            devices: self.devices,
            events: self.events.into(),
        }
    }
}

/// Ticks in, a line for each minute that is over out.
#[derive(Debug, Default)]
pub(super) struct Thinner(Option<Period>);

impl Thinner {
    pub(super) fn take(&mut self, tick: &Tick) -> Option<PastLine> {
        let number = period(&tick.time, MINUTE)?;
        let is_over = self.0.as_ref().is_some_and(|period| period.number != number);
        let done = if is_over { self.0.take().map(|period| period.line(MINUTE)) } else { None };
        let period = self.0.get_or_insert_with(|| Period { number, ..Period::default() });
        period.take(&tick.time, tick.devices.iter().map(of_tick), &tick.events);
        done
    }
}

fn of_tick(device: &crate::tick::DeviceTick) -> PastDevice {
    let usage = &device.snapshot.usage;
    let holders = device.holders.iter().take(HOLDERS);
    PastDevice {
        device: device.snapshot.device.clone(),
        class: device.class,
        source: usage.used_bytes.source,
        total_bytes: usage.total_bytes.value,
        used_bytes: usage.used_bytes.value,
        level: device.snapshot.level,
        holders: holders.map(|holder| HolderUse { name: holder.name.clone(), bytes: holder.bytes }).collect(),
    }
}

fn period(time: &str, seconds: u32) -> Option<u64> {
    Some(unix_seconds(time)? as u64 / u64::from(seconds))
}

/// Writes a line, and keeps the file within `most` bytes.
pub(super) fn append(path: &Path, line: &PastLine, most: u64) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let room = most.saturating_sub(text.len() as u64);
    if fs::metadata(path).is_ok_and(|found| found.len() > room) {
        make_room(path, unix_seconds(&line.time).unwrap_or(0.0), room * 3 / 4)?;
    }
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
    lines::go_to_end(&mut file)?;
    file.write_all(&text)
}

/// Makes the file smaller, by and by.
fn make_room(path: &Path, now: f64, most: u64) -> io::Result<()> {
    for (age, seconds) in STEPS {
        rewrite(path, |file| coarsen(path, now - age, seconds, file))?;
        if fs::metadata(path)?.len() <= most {
            return Ok(());
        }
    }
    // The oldest goes.
    rewrite(path, |to| {
        let mut from = File::open(path)?;
        let over = from.metadata()?.len().saturating_sub(most);
        from.seek(SeekFrom::Start(over))?;
        let mut rest = io::BufReader::new(from);
        io::BufRead::skip_until(&mut rest, b'\n')?;
        io::copy(&mut rest.take(most), to).map(|_| ())
    })
}

/// Puts a file in the place of another, whole or not at all.
fn rewrite(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let new = beside(path, ".new");
    let outcome = File::create(&new).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush()?;
        fs::rename(&new, path)
    });
    if outcome.is_err() {
        let _ = fs::remove_file(&new);
    }
    outcome
}

/// Lines that end before `until` become lines of so many seconds; the others stay. Lines that are none are left out.
fn coarsen(path: &Path, until: f64, seconds: u32, to: &mut impl Write) -> io::Result<()> {
    let mut open: Option<Period> = None;
    let mut outcome = Ok(());
    let mut put = |line: &PastLine| -> io::Result<()> {
        serde_json::to_writer(&mut *to, line)?;
        to.write_all(b"\n")
    };
    lines::each(path, SCHEMA, |_, line: Result<PastLine, String>| {
        let Ok(line) = line else { return };
        let number = period(&line.time, seconds);
        let is_fine = line.seconds >= seconds || unix_seconds(&line.time).is_none_or(|time| time >= until);
        if open.as_ref().is_some_and(|open| is_fine || number != Some(open.number))
            && let Some(done) = open.take()
            && outcome.is_ok()
        {
            outcome = put(&done.line(seconds));
        }
        match number.filter(|_| !is_fine) {
            Some(number) => {
                let period = open.get_or_insert_with(|| Period { number, ..Period::default() });
                period.take(&line.time, line.devices.into_iter(), &line.events);
            }
            None if outcome.is_ok() => outcome = put(&line),
            None => {}
        }
    })?;
    if let Some(done) = open.filter(|_| outcome.is_ok()) {
        put(&done.line(seconds))?;
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use vramkit::monitor::utc;

    use super::*;
    use crate::tick::EventKind;

    fn line(minute: u64, used: u64) -> PastLine {
        let device = PastDevice {
            device: DeviceName { id: "cuda:0".into(), name: "a card".into(), uuid: Some("GPU-1".into()) },
            class: DeviceClass::Gpu,
            source: Origin::Nvml,
            total_bytes: Some(ByteSize::gib(80)),
            used_bytes: Some(ByteSize::new(used)),
            level: Some(PressureLevel::Normal),
            holders: vec![HolderUse { name: "python3 7".into(), bytes: ByteSize::new(used) }],
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + 60 * minute);
        let period = Period { number: 0, time: utc(time), devices: vec![device], events: VecDeque::new() };
        period.line(MINUTE)
    }

    fn all(path: &Path) -> Vec<PastLine> {
        let mut all = Vec::new();
        lines::each(path, SCHEMA, |_, line| all.push(line.unwrap())).unwrap();
        all
    }

    #[test]
    fn a_week_fits_a_small_file_in_order_and_the_largest_readings_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.history");
        let most = 800 << 10;
        for minute in 0..7 * 1440 {
            let used = if minute % 1440 == 300 { 9_000_000 } else { minute };
            append(&path, &line(minute, used), most).unwrap();
            assert!(fs::metadata(&path).unwrap().len() <= most);
        }
        let kept = all(&path);
        assert!(kept.windows(2).all(|pair| pair[0].time < pair[1].time));
        let peaks = kept.iter().filter(|line| line.devices[0].used_bytes == Some(ByteSize::new(9_000_000)));
        assert_eq!(peaks.count(), 7, "a day's largest reading is never lost");
        let of = |seconds| kept.iter().filter(|line| line.seconds == seconds).count();
        assert!(of(60) >= 1440 && of(600) + of(3600) > 100, "{} {} {}", of(60), of(600), of(3600));
    }

    #[test]
    fn a_lost_card_is_in_a_minute_of_many_decisions() {
        let event = |kind| WatchEvent::new(String::new(), "cuda:0".into(), kind, String::new());
        let mut period = Period::default();
        period.take("", [].into_iter(), &[event(EventKind::Lost)]);
        period.take("", [].into_iter(), &vec![event(EventKind::Decided); 1000]);
        period.take("", [].into_iter(), &vec![event(EventKind::LevelChanged); 1000]);
        let events = period.line(MINUTE).events;
        assert_eq!((events.len(), events[0].kind), (EVENTS, EventKind::Lost));
    }

    #[test]
    fn what_cannot_be_made_coarser_goes_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.history");
        for hour in 0..2000 {
            append(&path, &line(hour * 60, hour), 16 << 10).unwrap();
            assert!(fs::metadata(&path).unwrap().len() <= 16 << 10);
        }
        let kept = all(&path);
        assert!(kept.len() > 20 && kept.last() == Some(&line(1999 * 60, 1999)), "{}", kept.len());
    }
}
