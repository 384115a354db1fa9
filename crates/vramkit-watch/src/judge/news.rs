//! What a judge has found, before it has a time; and so much and no more of it, where programs can make as much as they like.

use std::time::Duration;

use crate::tick::EventKind;

#[derive(Debug)]
pub(crate) struct News {
    pub(crate) device: String,
    pub(crate) kind: EventKind,
    pub(crate) text: String,
}

impl News {
    pub(crate) fn new(device: &str, kind: EventKind, text: impl Into<String>) -> Self {
        Self { device: device.to_owned(), kind, text: text.into() }
    }
}

/// Most news at once of devices that only programs speak of, and how soon there is room for another.
const MOST: usize = 32;
const ANOTHER: Duration = Duration::from_secs(10);

/// Lets so much news through, and says once that there is more.
#[derive(Debug)]
pub(crate) struct FewNews {
    room: usize,
    /// Since when the room is so.
    since: Duration,
    is_over: bool,
}

impl Default for FewNews {
    fn default() -> Self {
        Self { room: MOST, since: Duration::ZERO, is_over: false }
    }
}

impl FewNews {
    pub(crate) fn take(&mut self, now: Duration, mut news: Vec<News>) -> Vec<News> {
        let more = (now.saturating_sub(self.since).as_secs() / ANOTHER.as_secs()) as usize;
        if more > 0 {
            (self.room, self.since) = ((self.room + more).min(MOST), now);
        }
        let was_over = std::mem::replace(&mut self.is_over, news.len() > self.room);
        news.truncate(self.room);
        self.room -= news.len();
        if self.is_over && !was_over {
            let words = "more happens to devices that only programs speak of than is told";
            news.push(News::new("pools", EventKind::Decided, words));
        }
        news
    }
}
