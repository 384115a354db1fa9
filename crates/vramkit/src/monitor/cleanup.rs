//! Freeing memory on purpose: callbacks of the program, then what the source itself can give back, with both amounts before
//! and after. No lock is held while any of it runs.
//!
//! A callback that panics is logged, and what comes after it goes on: it may be another library's.
//!
//! There is one way in, and nobody is in it twice: a callback that checks a limit, or a thread that finds memory full while another
//! cleans up, goes on at once. A cleanup that nobody asked for waits for the cooldown; after one that freed nothing the next waits
//! twice as long each time, since it would free nothing either, and that is told once. Past the hard limit nobody can wait for long:
//! there the first comes at once, whatever others did, and the longest wait is the cooldown.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::snapshot::Usage;
use super::source::MemorySource;
use super::stats::CleanupReport;
use super::teller::Teller;
use crate::device::Reading;
use crate::pressure::CleanupReason;
use crate::sync::lock_std;
use crate::trace::Event;
use crate::units::ByteSize;

type Callback = Arc<dyn Fn(CleanupReason) + Send + Sync>;

/// The longest that cleanups wait which free nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// The shortest, where there is no cooldown.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// This part of what was held, and less, is as good as nothing freed.
const NOTHING: u64 = 1000;

/// Cleans one source up.
pub(super) struct Cleaner {
    source: Arc<dyn MemorySource>,
    teller: Arc<Teller>,
    cooldown: Duration,
    callbacks: Mutex<Vec<Callback>>,
    past: Mutex<Past>,
    /// The process, a thread of which is at it, or 0: a forked child has none of its parent's threads.
    busy: AtomicU32,
}

/// What cleanups there were.
#[derive(Clone, Copy, Default)]
pub(super) struct Past {
    pub cleanups: u64,
    /// Those that freed nothing.
    pub unhelpful: u64,
    pub last: Option<(Instant, CleanupReport)>,
    /// Those that nobody had asked for: past the hard limit, and others.
    hard: Unasked,
    other: Unasked,
}

/// Cleanups that nobody had asked for.
#[derive(Clone, Copy, Default)]
struct Unasked {
    last: Option<Instant>,
    /// Those at the end that freed nothing.
    unhelpful: u32,
}

impl Unasked {
    /// Whether the cooldown is over, and what comes on top after those that freed nothing.
    fn allows(&self, cooldown: Duration, first: Duration, longest: Duration) -> bool {
        let doubled = |times: u32| first.saturating_mul(1 << times.min(20)).min(longest);
        let more = self.unhelpful.checked_sub(1).map_or(Duration::ZERO, doubled);
        self.last.is_none_or(|last| last.elapsed() >= cooldown.max(more))
    }
}

impl Past {
    fn unasked(&mut self, reason: CleanupReason) -> Option<&mut Unasked> {
        match reason {
            CleanupReason::Asked => None,
            CleanupReason::HardLimit => Some(&mut self.hard),
            _ => Some(&mut self.other),
        }
    }
}

/// Lets others in again, also when a callback panics.
struct Inside<'a>(&'a AtomicU32);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.store(0, Release);
    }
}

impl Cleaner {
    pub(super) fn new(source: Arc<dyn MemorySource>, teller: Arc<Teller>, cooldown: Duration) -> Self {
        Self {
            source,
            teller,
            cooldown,
            callbacks: Mutex::new(Vec::new()),
            past: Mutex::new(Past::default()),
            busy: AtomicU32::new(0),
        }
    }

    /// One callback more, which may free what nothing before it could.
    pub(super) fn register(&self, callback: Callback) {
        lock_std(&self.callbacks).push(callback);
        let mut past = lock_std(&self.past);
        (past.hard.unhelpful, past.other.unhelpful) = (0, 0);
    }

    /// What there was.
    pub(super) fn past(&self) -> Past {
        *lock_std(&self.past)
    }

    /// Forgets what there was.
    pub(super) fn reset(&self) {
        *lock_std(&self.past) = Past::default();
    }

    /// Whether one for this reason is to be now.
    fn is_due(&self, reason: CleanupReason) -> bool {
        let (past, longest) = (self.past(), self.cooldown.max(SHORTEST_WAIT));
        match reason {
            CleanupReason::Asked => true,
            // Who is past it cannot wait.
            CleanupReason::HardLimit => past.hard.allows(Duration::ZERO, SHORTEST_WAIT, longest),
            _ => past.other.allows(self.cooldown, longest, LONGEST_WAIT),
        }
    }

    /// Nobody else until what is returned is dropped; `None` when somebody is at it.
    fn enter(&self) -> Option<Inside<'_>> {
        (self.busy.swap(std::process::id(), Acquire) != std::process::id()).then(|| Inside(&self.busy))
    }

    /// Cleans up here and now, if it is due and nobody is at it.
    pub(super) fn run(&self, reason: CleanupReason) -> Option<CleanupReport> {
        if !self.is_due(reason) {
            return None;
        }
        let inside = self.enter()?;
        let report = self.clean(reason);
        drop(inside);
        Some(report)
    }

    fn clean(&self, reason: CleanupReason) -> CleanupReport {
        let before = self.source.read();
        let callbacks = lock_std(&self.callbacks).clone();
        callbacks.iter().for_each(|callback| guarded("a cleanup callback", || callback(reason)));
        guarded("giving back what idles", || self.source.reclaim());
        let after = self.source.read();
        let pair = |of: fn(&Usage) -> &Reading<ByteSize>| [of(&before).value, of(&after).value];
        let freed = |pair: [Option<ByteSize>; 2]| match pair {
            [Some(before), Some(after)] => before.saturating_sub(after),
            _ => ByteSize::ZERO,
        };
        let (allocated, reserved) =
            (pair(|usage| &usage.allocated_bytes), pair(|usage| &usage.reserved_bytes));
        let report = CleanupReport {
            reason,
            allocated_bytes: allocated,
            reserved_bytes: reserved,
            freed_allocated_bytes: freed(allocated),
            freed_reserved_bytes: freed(reserved),
        };
        // On a device, others free a little all the time.
        let counts = |pair: [Option<ByteSize>; 2]| {
            let least = pair[0].unwrap_or_default().bytes() / NOTHING;
            freed(pair) > ByteSize::new(least)
        };
        let helped = [allocated, reserved, pair(|usage| &usage.used_bytes)].into_iter().any(counts);
        self.note(report, helped);
        report
    }

    fn note(&self, report: CleanupReport, helped: bool) {
        let mut past = lock_std(&self.past);
        past.cleanups += 1;
        past.unhelpful += u64::from(!helped);
        past.last = Some((Instant::now(), report));
        let mut is_first = false;
        if helped {
            (past.hard.unhelpful, past.other.unhelpful) = (0, 0);
        }
        if let Some(unasked) = past.unasked(report.reason) {
            unasked.last = Some(Instant::now());
            unasked.unhelpful = if helped { 0 } else { unasked.unhelpful.saturating_add(1) };
            is_first = unasked.unhelpful == 1;
        }
        drop(past);
        let CleanupReport { reason, freed_allocated_bytes, freed_reserved_bytes, .. } = report;
        if helped {
            self.teller.tell(Event::CleanedUp { reason, freed_allocated_bytes, freed_reserved_bytes });
        } else if is_first {
            self.teller.tell(Event::CleanupDoesNotHelp { reason });
        }
    }

    /// Cleans up on a thread of its own, if it is due and nobody is at it: whether it does.
    pub(super) fn run_elsewhere(self: &Arc<Self>, reason: CleanupReason) -> bool {
        if !self.is_due(reason) || self.busy.load(Relaxed) == std::process::id() {
            return false;
        }
        let cleaner = self.clone();
        let spawned =
            std::thread::Builder::new().name("vramkit-cleanup".into()).spawn(move || cleaner.run(reason));
        spawned.inspect_err(|error| tracing::warn!(%error, "no thread for a cleanup")).is_ok()
    }
}

/// Somebody's code: whether it panics is said, and changes nothing else.
fn guarded(what: &str, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!(target: "vramkit::monitor", "{what} panicked");
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn those_that_free_nothing_wait_twice_as_long_each_time() {
        const SECOND: Duration = Duration::from_secs(1);
        let ago = |seconds: u64, unhelpful: u32| {
            let last =
                Instant::now().checked_sub(Duration::from_secs(seconds)).expect("the clock began before");
            Unasked { last: Some(last), unhelpful }
        };
        let allows = |unasked: Unasked| unasked.allows(Duration::ZERO, SECOND, 10 * SECOND);
        assert!(allows(Unasked::default()));
        // After the third: four seconds; after the fifth, ten are the most.
        assert!(!allows(ago(3, 3)) && allows(ago(5, 3)));
        assert!(!allows(ago(9, 5)) && allows(ago(11, 5)));
        assert!(allows(ago(0, 0)));
        // The cooldown holds whatever was freed.
        assert!(!ago(3, 0).allows(5 * SECOND, SECOND, 10 * SECOND));
        assert!(ago(6, 1).allows(5 * SECOND, SECOND, 10 * SECOND));
    }
}
