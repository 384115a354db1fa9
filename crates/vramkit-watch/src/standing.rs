//! How it stands with each source, and since when. Changes are news, each told once.

use std::time::{Duration, SystemTime};

use vramkit::monitor::utc;

use crate::clock::ClockStep;
use crate::judge::News;
use crate::source::{Health, Readings};
use crate::tick::{EventKind, SourceTick};

/// See the module's first lines.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    health: Health,
    since: Option<SystemTime>,
    reason: Option<String>,
    answered: Option<SystemTime>,
    was_up: bool,
}

impl Standing {
    /// It has answered: what that means for its health. One that was up and says that there is nothing of its kind is
    /// failing: somebody misses it, unless all that it had was given away.
    pub(crate) fn note_answer(
        &mut self,
        source: &str,
        time: SystemTime,
        readings: &Readings,
        has_own: bool,
        news: &mut Vec<News>,
    ) {
        self.answered = Some(time);
        let health = match readings.health {
            Health::Absent if self.was_up && (has_own || readings.given.is_empty()) => Health::Failing,
            health => health,
        };
        let first = readings.unavailable.first().map(|absent| absent.reason.clone());
        let reason = first.filter(|_| health != Health::Up);
        self.become_so(source, time, health, reason, news);
    }

    /// It has not answered within `patience` what it was asked at `time`, or before; it did so long ago, if ever.
    pub(crate) fn note_late(
        &mut self,
        source: &str,
        time: SystemTime,
        (patience, answered): (Duration, Option<Duration>),
        news: &mut Vec<News>,
    ) {
        self.answered = answered.and_then(|ago| time.checked_sub(ago)).or(self.answered);
        let reason = format!("has not answered within {patience:?}");
        self.become_so(source, time, Health::Late, Some(reason), news);
    }

    fn become_so(
        &mut self,
        source: &str,
        time: SystemTime,
        health: Health,
        reason: Option<String>,
        news: &mut Vec<News>,
    ) {
        self.was_up |= health == Health::Up;
        let before = std::mem::replace(&mut self.health, health);
        let is_first = self.since.is_none();
        if is_first || before != health {
            self.since = Some(time);
            let words = reason.as_deref().unwrap_or("without a reason");
            let was_ill = !is_first && matches!(before, Health::Late | Health::Failing);
            match health {
                Health::Late => news.push(News::new(source, EventKind::SourceLate, words)),
                Health::Failing => {
                    news.push(News::new(source, EventKind::SourceFailing, format!("fails: {words}")));
                }
                Health::Up if was_ill => {
                    news.push(News::new(source, EventKind::SourceBack, "answers again"));
                }
                Health::Absent if was_ill => {
                    news.push(News::new(source, EventKind::SourceBack, format!("answers: {words}")));
                }
                Health::Up | Health::Absent | Health::Unknown => {}
            }
        }
        self.reason = reason;
    }

    /// What it cannot read though it answers.
    pub(crate) fn note_unreadable(&mut self, words: Option<String>) {
        if self.health == Health::Up {
            self.reason = words;
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// Since when it has been as it is.
    pub(crate) fn since(&self) -> SystemTime {
        self.since.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Why it is not up.
    pub(crate) fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or("its source does not say why")
    }

    /// The clock was set.
    pub(crate) fn shift(&mut self, by: &ClockStep) {
        for time in [&mut self.since, &mut self.answered].into_iter().flatten() {
            *time = by.of(*time);
        }
    }

    pub(crate) fn tick(&self, source: &str) -> SourceTick {
        SourceTick {
            source: source.to_owned(),
            health: self.health,
            since: utc(self.since()),
            reason: self.reason.clone(),
            answered: self.answered.map(utc),
        }
    }
}
