//! What a watcher keeps of the past, told whole, and begun with what a recording has.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use super::{EVENTS, MOST, Watcher};
use crate::clock::Clock;
use crate::events;
use crate::past::Past;
use crate::record::{self, ReadRecordError};
use crate::tick::{History, WatchEvent};
use crate::utc::{since_1970, unix_seconds};

/// Seconds between two lines of a recording that are no gap.
const BETWEEN: f64 = 60.0;
/// What a history is.
const HISTORY: &str = "vramkit.history/1";

impl Watcher {
    /// Takes what a recording has into the history, before the first tick. What follows it is a gap.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vramkit_watch::host::HostSource;
    /// use vramkit_watch::record::TickRecorder;
    /// use vramkit_watch::{WatchConfig, Watcher};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("memory.jsonl");
    /// let watcher = || Watcher::new(vec![Box::new(HostSource::default())], WatchConfig::default());
    /// let mut before = watcher()?;
    /// before.record(TickRecorder::open(&path, 1 << 20)?);
    /// before.tick(Duration::ZERO);
    /// let mut after = watcher()?;
    /// after.restore(&path)?;
    /// assert!(!after.history().devices["host"].is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A file that cannot be read. One that is not there is none to be taken from.
    pub fn restore(&mut self, path: &Path) -> Result<(), ReadRecordError> {
        let now = SystemTime::now();
        let (mut clock, mut of_the_future) = (Clock::default(), 0usize);
        let skipped = record::restore(path, |line| {
            let Some(at) = unix_seconds(&line.time) else { return };
            if at > since_1970(now) {
                of_the_future += 1;
                return;
            }
            // How long it was between two lines is not known, but about how long a line stands for.
            if let Some(step) = clock.follow(at, 0.0, BETWEEN + 2.0 * f64::from(line.seconds)) {
                self.devices.values_mut().for_each(|watched| watched.past_mut().shift(&step));
            }
            for device in &line.devices {
                let key = device.key().to_owned();
                if !self.devices.contains_key(&key) && self.devices.len() >= MOST {
                    continue;
                }
                if !self.restored.contains_key(&key) {
                    self.restored.insert(key.clone(), device.device.id.clone());
                }
                let count = self.devices.len();
                let holders = device.holders.iter().map(|held| (held.name.as_str(), held.bytes));
                let past = self.devices.entry(key).or_default().past_mut();
                past.keep(at, device.used_bytes, device.level, holders, (self.config.history, count));
            }
            // An id may be another card's now: what was told is told of what had it then.
            let of_its_time = |mut event: WatchEvent| {
                let told_of = line.devices.iter().find(|device| device.device.id == event.device);
                event.device = told_of.map_or(event.device, |device| device.key().to_owned());
                event
            };
            self.events.extend(line.events.into_iter().map(of_its_time));
            events::bound(&mut self.events, EVENTS);
        });
        let skipped = match skipped {
            Err(ReadRecordError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(());
            }
            skipped => skipped?,
        };
        if skipped + of_the_future > 0 {
            let path = path.display();
            tracing::warn!(%path, skipped, of_the_future, "not all of the recording is in the history");
        }
        self.devices.values_mut().for_each(|watched| watched.past_mut().gap());
        Ok(())
    }

    /// The id under which a history is given.
    fn id<'a>(&'a self, key: &'a str) -> &'a str {
        let restored = self.restored.get(key).filter(|id| self.known.key(id) == id.as_str());
        self.known.id(key).or(restored.map(String::as_str)).unwrap_or(key)
    }

    /// By id. Where two had one id, the one that is known by it now.
    fn pasts(&self) -> BTreeMap<&str, &Past> {
        let of = |is_known: bool| {
            let kept = self.devices.iter().filter(move |(key, _)| self.known.id(key).is_some() == is_known);
            kept.map(|(key, watched)| (self.id(key), watched.past()))
        };
        of(false).chain(of(true)).collect()
    }

    /// The last events, under the ids that their devices have now.
    fn told(&self) -> impl Iterator<Item = WatchEvent> {
        self.events
            .iter()
            .map(|event| WatchEvent { device: self.id(&event.device).to_owned(), ..event.clone() })
    }

    /// The last samples of every device and the last events.
    pub fn history(&self) -> History {
        History {
            schema: HISTORY.into(),
            devices: self.pasts().into_iter().map(|(id, past)| (id.to_owned(), past.history())).collect(),
            events: self.told().collect(),
        }
    }

    /// As [`history`](Self::history), as JSON, of which not all is in memory at once: the piece after the device `after`, or from
    /// the beginning, and after which device to go on; nowhere at the end. All pieces together are the document.
    pub fn history_json_piece(&self, after: Option<&str>) -> (String, Option<String>) {
        let begin =
            after.map_or_else(|| format!("{{\"schema\":\"{HISTORY}\",\"devices\":{{"), |_| String::new());
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let Some((&id, &past)) = self.pasts().range::<str, _>((from, Bound::Unbounded)).next() else {
            let events: Vec<WatchEvent> = self.told().collect();
            return (format!("{begin}}},\"events\":{}}}", json(&events)), None);
        };
        let comma = if after.is_some() { "," } else { "" };
        (format!("{begin}{comma}{}:{}", json(id), json(past)), Some(id.to_owned()))
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
