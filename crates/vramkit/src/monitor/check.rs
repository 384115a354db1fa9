//! Checks of the two limits.
//!
//! ```text
//! counters of the source ──► within: nothing
//! (or one reading of it)     soft passed: a warning, once a crossing; cleanup on another thread
//!                            hard passed: cleanup, look again, error (both are passed)
//! ```

use std::sync::atomic::Ordering::Relaxed;

use super::vram_monitor::VramMonitor;
use crate::pressure::{CleanupReason, LimitKind, Limits, MemoryPressureError, MemoryPressureWarning, Passed};
use crate::sync::lock_std;
use crate::trace::Event;
use crate::units::ByteSize;

impl VramMonitor {
    /// Whether the source holds more than it may. Past the hard limit, where no cleanup cures it: an error, at every check (after
    /// one that frees nothing, the next is tried a second later, then two, up to the cooldown). Past the soft one: a warning, once a crossing; a limit is crossed anew only after less has been held for
    /// [`limit_hold`](super::MonitorConfig::limit_hold). In between, [`passed_limit`](Self::passed_limit) says where it stands.
    /// Without limits, never. `context` says what the program is at.
    ///
    /// # Errors
    /// The hard limit is passed, or the source gives no number.
    #[inline]
    pub fn check_limits(&self, context: &str) -> Result<Option<MemoryPressureWarning>, MemoryPressureError> {
        let Some(limits) = self.shared.config.limits else { return Ok(None) };
        let held = self.held()?;
        if held <= limits.soft() {
            self.within(held);
            return Ok(None);
        }
        let (warning, is_new) = self.over(limits, held, ByteSize::ZERO, context)?;
        Ok(warning.filter(|_| is_new))
    }

    /// As [`check_limits`](Self::check_limits), for when `bytes` more are about to be asked for: with them, a warning each
    /// time that the soft limit would be passed. What would be passed does not count as passed, nor is it told to anybody else.
    ///
    /// # Errors
    /// The hard limit would be passed, or the source gives no number.
    #[inline]
    pub fn preflight(
        &self,
        bytes: ByteSize,
        context: &str,
    ) -> Result<Option<MemoryPressureWarning>, MemoryPressureError> {
        let Some(limits) = self.shared.config.limits else { return Ok(None) };
        let held = self.held()?;
        if held.bytes().saturating_add(bytes.bytes()) <= limits.soft().bytes() {
            self.within(held);
            return Ok(None);
        }
        Ok(self.over(limits, held, bytes, context)?.0)
    }

    /// The highest limit that counts as passed, as of the last check.
    pub fn passed_limit(&self) -> Option<LimitKind> {
        lock_std(&self.shared.crossings).passed()
    }

    pub(super) fn held(&self) -> Result<ByteSize, MemoryPressureError> {
        if let Some(held) = self.shared.source.held() {
            return Ok(held);
        }
        let used = self.shared.source.read().used_bytes;
        used.value.ok_or_else(|| {
            self.shared.failures.fetch_add(1, Relaxed);
            MemoryPressureError::Unavailable {
                device: self.shared.source.device().id,
                reason: used.unavailable.unwrap_or_default(),
            }
        })
    }

    #[inline]
    fn within(&self, held: ByteSize) {
        // Nearly always: nothing was passed, and nothing is to be taken back.
        if self.shared.any_passed.load(Relaxed) {
            self.recovered(LimitKind::Hard, held);
            self.recovered(LimitKind::Soft, held);
        }
    }

    /// Less is held than a limit: tells it, once it has been so for long enough.
    #[cold]
    fn recovered(&self, limit: LimitKind, held: ByteSize) {
        let shared = &self.shared;
        let mut crossings = lock_std(&shared.crossings);
        let passed = crossings.of(limit).below(shared.started.elapsed(), shared.config.limit_hold);
        shared.any_passed.store(crossings.passed().is_some(), Relaxed);
        if let Some(passed) = passed {
            let passed_seconds = passed.as_secs_f64();
            shared.teller.note(Event::Recovered { limit, passed_seconds, used_bytes: held });
        }
        drop(crossings);
        shared.teller.tell_noted();
    }

    /// A limit is passed: whether that is new.
    fn crossed(&self, limit: LimitKind, passed: &Passed) -> bool {
        let shared = &self.shared;
        let mut crossings = lock_std(&shared.crossings);
        let is_new = crossings.of(limit).over(shared.started.elapsed());
        shared.any_passed.store(true, Relaxed);
        if is_new {
            shared.teller.note(Event::LimitPassed { limit, passed: passed.clone() });
        }
        drop(crossings);
        shared.teller.tell_noted();
        is_new
    }

    /// The soft limit's warning, and whether it is news.
    #[cold]
    fn over(
        &self,
        limits: Limits,
        held: ByteSize,
        bytes: ByteSize,
        context: &str,
    ) -> Result<(Option<MemoryPressureWarning>, bool), MemoryPressureError> {
        let mut held = held;
        // What is more than the limit by itself needs no room to be made for it.
        if passed(limits.hard(), held, bytes, context).is_some() && bytes <= limits.hard() {
            self.shared.cleaner.run(CleanupReason::HardLimit);
            held = self.held()?;
        }
        let is_new = self.stands(limits, held, context);
        if let Some(passed) = passed(limits.hard(), held, bytes, context) {
            self.shared.hard_violations.fetch_add(1, Relaxed);
            return Err(MemoryPressureError::Passed(passed));
        }
        let Some(passed) = passed(limits.soft(), held, bytes, context) else { return Ok((None, false)) };
        if self.shared.config.cleanup_at_soft_limit {
            self.shared.cleaner.run_elsewhere(CleanupReason::SoftLimit);
        }
        Ok((Some(MemoryPressureWarning(passed)), is_new))
    }

    /// Where both limits stand with what is held, whatever is about to be asked for; whether the soft one is passed anew. Past the hard
    /// one both are passed.
    fn stands(&self, limits: Limits, held: ByteSize, context: &str) -> bool {
        let mut is_new = false;
        for (kind, limit) in [(LimitKind::Soft, limits.soft()), (LimitKind::Hard, limits.hard())] {
            match passed(limit, held, ByteSize::ZERO, context) {
                None => self.recovered(kind, held),
                Some(passed) => is_new |= self.crossed(kind, &passed) && kind == LimitKind::Soft,
            }
        }
        self.shared.soft_violations.fetch_add(is_new.into(), Relaxed);
        is_new
    }

    /// A look of its own at the limits: what is passed is told as an event. Cleanups run on a thread of their own, so that readings go
    /// on; past the hard limit the next look says whether it is cured.
    pub(super) fn sample_limits(&self) {
        let Some(limits) = self.shared.config.limits else { return };
        let Ok(held) = self.held() else { return };
        let is_over = held > limits.hard();
        let had_begun = self.shared.cleans_up.swap(false, Relaxed);
        if is_over && self.shared.cleaner.run_elsewhere(CleanupReason::HardLimit) {
            self.shared.cleans_up.store(true, Relaxed);
            if !had_begun {
                return;
            }
        }
        self.stands(limits, held, "sampling");
        self.shared.hard_violations.fetch_add(is_over.into(), Relaxed);
        if held > limits.soft() && self.shared.config.cleanup_at_soft_limit {
            self.shared.cleaner.run_elsewhere(CleanupReason::SoftLimit);
        }
    }
}

/// By how much a limit is passed by what is held and what is asked for beside; `None` within it.
fn passed(limit: ByteSize, held: ByteSize, bytes: ByteSize, context: &str) -> Option<Passed> {
    let excess = held.bytes().saturating_add(bytes.bytes()).saturating_sub(limit.bytes());
    (excess > 0).then(|| Passed {
        context: context.to_owned(),
        current_bytes: held,
        requested_bytes: bytes,
        limit_bytes: limit,
        excess_bytes: ByteSize::new(excess),
    })
}
