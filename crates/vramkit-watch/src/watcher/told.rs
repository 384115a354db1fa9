//! News with their time, as events; and what of them goes to the log.

use std::time::SystemTime;

use vramkit::monitor::utc;

use crate::judge::News;
use crate::known::IN_THE_PLACE;
use crate::tick::{EventKind, WatchEvent};

pub(super) fn event(time: SystemTime, News { device, kind, text }: News) -> WatchEvent {
    WatchEvent { time: utc(time), device, kind, text }
}

/// What somebody has to look at, and that it is over.
pub(super) fn log(event: &WatchEvent) {
    let (device, text) = (&event.device, &event.text);
    match event.kind {
        EventKind::RecorderFailing => tracing::error!("{device}: {text}"),
        EventKind::SourceLate
        | EventKind::SourceFailing
        | EventKind::SourceBack
        | EventKind::Back
        | EventKind::RecorderBack => tracing::warn!("{device}: {text}"),
        EventKind::Lost if text.contains(" is lost: ") => tracing::warn!("{device}: {text}"),
        EventKind::Lost => tracing::info!("{device}: {text}"),
        EventKind::Appeared if text.contains(IN_THE_PLACE) => tracing::warn!("{device}: {text}"),
        _ => {}
    }
}
