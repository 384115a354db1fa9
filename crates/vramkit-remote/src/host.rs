//! One machine: asked again and again by a thread of its own; what it said last, or since when and why it says nothing of now.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use vramkit::monitor::utc;
use vramkit_watch::{EventKind, Health, Tick, WatchEvent};

use crate::address::Address;
use crate::age::{Old, Seen, clocks_differ};
use crate::http::{Answer, FetchError, fetch};
use crate::sane::sane;

/// After a failure the next try waits this long, then twice as long each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What was said so long ago, or three intervals ago, is not what is so now.
const STALE: Duration = Duration::from_secs(5);
/// Events that wait to be taken.
const EVENTS: usize = 500;

/// See the module's first lines.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) address: Address,
    interval: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    tick: Option<Tick>,
    /// When it last answered, by both clocks.
    answered: Option<(SystemTime, Instant)>,
    /// Why it does not, since when.
    failure: Option<(String, SystemTime)>,
    seen: Option<Seen>,
    /// What it answers with is not of now.
    old: Option<Old>,
    /// What is to be said of the last answer, and of its clock.
    words: Vec<String>,
    doubt: Option<String>,
    events: VecDeque<WatchEvent>,
    since: SystemTime,
}

/// How it stands with a machine.
pub(crate) struct Standing {
    pub(crate) health: Health,
    pub(crate) since: SystemTime,
    pub(crate) reason: Option<String>,
    pub(crate) answered: Option<SystemTime>,
    /// Since when what it said last is not known to be so any more.
    pub(crate) silent_since: SystemTime,
    /// What it said last, however long ago.
    pub(crate) tick: Option<Tick>,
    /// What is to be said of that: what was left out, and whether it can be of now by its clock.
    pub(crate) words: Vec<String>,
    pub(crate) doubt: Option<String>,
    /// Events that nobody has taken.
    pub(crate) events: Vec<WatchEvent>,
}

impl Host {
    pub(crate) fn start(address: Address, token: Option<String>, interval: Duration) -> io::Result<Self> {
        let state = State {
            tick: None,
            answered: None,
            failure: None,
            seen: None,
            old: None,
            words: Vec::new(),
            doubt: None,
            events: VecDeque::new(),
            since: SystemTime::now(),
        };
        let state = Arc::new(Mutex::new(state));
        let (asked, kept) = (address.clone(), Arc::downgrade(&state));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        let name = format!("vramkit-{}", address.host.chars().take(7).collect::<String>());
        std::thread::Builder::new().name(name).stack_size(512 << 10).spawn(move || {
            runtime.block_on(ask(&asked, token.as_deref(), interval, &kept));
            // A name that is being looked up does not hold it up.
            runtime.shutdown_background();
        })?;
        Ok(Self { address, interval, state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has answered, or failed to, at least once.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.lock();
        state.tick.is_some() || state.failure.is_some()
    }

    /// How it stands now; events are given once.
    pub(crate) fn standing(&self) -> Standing {
        let mut state = self.lock();
        let events = state.events.drain(..).collect();
        let answered = state.answered.map(|(time, _)| time);
        let late = match state.answered {
            Some((time, at)) => (at.elapsed() > STALE.max(self.interval * 3))
                .then(|| (format!("has not answered for {} s", at.elapsed().as_secs()), time)),
            None => Some(("has not answered yet".to_owned(), state.since)),
        };
        let old = state.old.clone().map(|old| (old.reason, old.since));
        let (health, reason, since) = match (&state.failure, late.or(old.clone())) {
            (Some((reason, since)), _) => (Health::Failing, Some(reason.clone()), *since),
            (None, Some((reason, since))) => (Health::Late, Some(reason), since),
            (None, None) => (Health::Up, None, state.since),
        };
        let silent_since = old.map(|(_, since)| since).or(answered).unwrap_or(state.since);
        let (tick, words, doubt) = (state.tick.clone(), state.words.clone(), state.doubt.clone());
        Standing { health, since, reason, answered, silent_since, tick, words, doubt, events }
    }
}

/// Asks for as long as somebody wants to know.
async fn ask(address: &Address, token: Option<&str>, interval: Duration, kept: &Weak<Mutex<State>>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let fetched = fetch(address, token).await;
        let Some(state) = kept.upgrade() else { return };
        let wait = if state.lock().unwrap_or_else(PoisonError::into_inner).note(fetched, SystemTime::now()) {
            pause = FIRST_PAUSE;
            interval
        } else {
            let wait = pause.max(interval);
            pause = (pause * 2).min(LONGEST_PAUSE);
            wait
        };
        drop(state);
        tokio::time::sleep(wait).await;
    }
}

impl State {
    /// Keeps what came of asking; whether it was an answer.
    fn note(&mut self, fetched: Result<Answer, FetchError>, now: SystemTime) -> bool {
        match fetched {
            Ok(answer) => {
                self.take(answer, now);
                true
            }
            Err(error) => {
                // Since when there is no answer, whatever the reason is by now.
                let since = self.failure.take().map(|(_, since)| since);
                let since = since.or(self.answered.map(|(time, _)| time)).unwrap_or(self.since);
                self.failure = Some((error.to_string(), since));
                false
            }
        }
    }

    fn take(&mut self, Answer { mut tick, said, left_out }: Answer, now: SystemTime) {
        let at = Instant::now();
        let old = Seen::follow(&mut self.seen, &tick, &said, (at, now));
        if self.failure.take().is_some() || self.answered.is_none() || self.old.is_some() && old.is_none() {
            self.since = now;
        }
        // Of an old reading it is said how old it is.
        self.doubt = clocks_differ(&tick, now).filter(|_| old.is_none());
        self.words = left_out;
        self.words.extend(sane(&mut tick));
        self.old = old;
        // Asked sooner than it reads, a machine says the same again.
        if self.tick.as_ref().is_none_or(|before| before.time != tick.time) {
            let missed = self.tick.as_ref().map_or_else(Vec::new, |before| missed(before, &tick));
            self.events.extend(missed.into_iter().chain(tick.events.iter().cloned()));
            while self.events.len() > EVENTS {
                self.events.pop_front();
            }
        }
        self.answered = Some((now, at));
        self.tick = Some(tick);
    }
}

/// Changes of level that were told in readings which nobody fetched: a machine reads more often than it is asked.
fn missed(before: &Tick, now: &Tick) -> Vec<WatchEvent> {
    let missed = now.devices.iter().filter_map(|device| {
        let id = &device.snapshot.device.id;
        let old = before.devices.iter().find(|old| old.snapshot.device.id == *id)?;
        let changes = device.level_changes.checked_sub(old.level_changes)?;
        let is_told = |event: &&WatchEvent| event.kind == EventKind::LevelChanged && event.device == *id;
        let missed = changes
            .checked_sub(now.events.iter().filter(is_told).count() as u64)
            .filter(|missed| *missed > 0)?;
        let level = device.snapshot.level.map_or_else(|| "unknown".to_owned(), |level| level.to_string());
        let text = format!("{missed} changes of level in readings that were not fetched; {level} now");
        Some(WatchEvent::new(utc(device.snapshot.time), id.clone(), EventKind::LevelChanged, text))
    });
    missed.collect()
}
