//! The overview: a line for every device with its level, memory, work, temperature and power, and what is to be noted; and a
//! line that says what is out of sight.

use ratatui::Frame;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use vramkit::ByteSize;
use vramkit::pressure::duration;
use vramkit_watch::{Activity, DeviceTick, Presence};

use super::style::{ALARM, CAUTION, SOFT, STRONG, level_style, standing_style};
use crate::app::App;
use crate::entries::{Entry, Standing};
use crate::layout::Places;
use crate::text::{cut, cut_middle, left, right, width, words_of};
use crate::trail::Trail;

const MARK: usize = 2;
const LEVEL: usize = 8;
const USED: usize = 9;
const TOTAL: usize = 9;
/// Work, temperature, power.
const ACTIVITY: [(&str, usize); 3] = [("busy", 5), ("temp", 5), ("power", 6)];
/// What its maker calls it, at most.
const MAKE: usize = 30;
/// Words on what is to be noted have at least so much room.
const NOTES: usize = 10;

/// Which columns there is room for, and how wide they are.
struct Columns {
    name: usize,
    /// None where they are 0.
    bar: usize,
    make: usize,
    has_total: bool,
    has_activity: [bool; 3],
    all: usize,
}

impl Columns {
    /// The most that there is room for; what says least of memory goes first.
    fn of(all: usize, longest_name: usize, longest_make: usize) -> Self {
        let name = longest_name.clamp(6, (all / 3).max(6));
        let mut left = all.saturating_sub(MARK + name + 1 + LEVEL + 1 + USED + NOTES);
        let mut takes = |wide: usize| {
            let has_room = left > wide;
            if has_room {
                left -= wide + 1;
            }
            has_room
        };
        let has_busy = takes(ACTIVITY[0].1);
        let has_total = takes(TOTAL);
        let has_bar = takes(6);
        let has_power = takes(ACTIVITY[2].1);
        let has_temperature = takes(ACTIVITY[1].1);
        // Notes come in twos on a wide screen.
        let make = longest_make.clamp(4, MAKE);
        let has_make = takes(make + NOTES + 4);
        let wider = if has_bar { (left / 3).min(24) } else { 0 };
        Self {
            name,
            bar: if has_bar { 6 + wider } else { 0 },
            make: if has_make { make } else { 0 },
            has_total,
            has_activity: [has_busy, has_temperature, has_power],
            all,
        }
    }

    fn header(&self) -> String {
        let mut text = format!("  {} {}", left("device", self.name), left("level", LEVEL));
        if self.bar > 0 {
            text += &" ".repeat(self.bar + 1);
        }
        text += &right("used", USED + 1);
        if self.has_total {
            text += &right("total", TOTAL + 1);
        }
        for ((name, wide), _) in ACTIVITY.into_iter().zip(self.has_activity).filter(|(_, has)| *has) {
            text += &right(name, wide + 1);
        }
        if self.make > 0 {
            text += &format!(" {}", left("name", self.make));
        }
        text
    }
}

/// Draws it.
pub(super) fn draw(app: &App, frame: &mut Frame<'_>, places: &Places) {
    let Some(tick) = &app.tick else { return };
    let entries = app.entries();
    let longest = entries.iter().map(|entry| width(entry.name())).max().unwrap_or(0);
    let makes = entries.iter().filter_map(Entry::device).map(|device| width(&device.snapshot.device.name));
    let columns = Columns::of(usize::from(places.overview.width), longest, makes.max().unwrap_or(0));
    let mut lines = vec![Line::styled(columns.header(), SOFT)];
    let seen = app.devices.seen(entries.len(), places.overview_rows(entries.len()));
    let cursor = app.devices.cursor(entries.len());
    for (at, entry) in entries.iter().enumerate().take(seen.end).skip(seen.start) {
        lines.push(line(app, entry, at == cursor, &columns, &tick.time));
    }
    // Of an opened device's own line, the title and the foot say that there are others.
    if seen.len() < entries.len() && places.overview_rows(entries.len()) > 1 {
        let hidden = [(&entries[..seen.start], "above"), (&entries[seen.end..], "below")];
        let hidden = hidden.into_iter().filter(|(hidden, _)| !hidden.is_empty());
        let spans = hidden.map(|(hidden, place)| {
            let standing = Standing::of(hidden);
            let short = standing.short();
            let (colon, style) =
                if short.is_empty() { ("", SOFT) } else { (": ", standing_style(&standing)) };
            Span::styled(format!("  {} more {place}{colon}{short}", hidden.len()), style)
        });
        lines.push(Line::from_iter(spans));
    }
    if entries.is_empty() {
        lines.push(Line::raw("  no device, and no source that says why"));
    }
    frame.render_widget(Paragraph::new(lines), places.overview);
}

fn line(app: &App, entry: &Entry<'_>, is_chosen: bool, columns: &Columns, now: &str) -> Line<'static> {
    let mark = if is_chosen { "▶ " } else { "  " };
    let name = left(&cut_middle(entry.name(), columns.name), columns.name);
    let mut spans =
        vec![Span::styled(format!("{mark}{name} "), if is_chosen { STRONG } else { Style::new() })];
    let room = columns.all.saturating_sub(MARK + columns.name + 1);
    if let Some(absence) = entry.absence(now) {
        let style = match entry.device().map(|device| &device.presence) {
            Some(Presence::Lost { .. }) => ALARM,
            Some(Presence::Given { .. } | Presence::Barred { .. }) => SOFT,
            _ => CAUTION,
        };
        spans.push(Span::styled(cut(&absence, room), style));
    } else if let Some(device) = entry.device() {
        spans.extend(numbers(device, columns));
        let taken: usize = spans.iter().map(Span::width).sum();
        let notes = notes(device, app.trails.get(entry.name()));
        spans.extend(fitted(notes, columns.all.saturating_sub(taken)));
    }
    Line::from(spans)
}

fn numbers(device: &DeviceTick, columns: &Columns) -> Vec<Span<'static>> {
    let usage = &device.snapshot.usage;
    let style = level_style(device.snapshot.level);
    let level = device.snapshot.level.map_or_else(|| "unknown".to_owned(), |level| level.to_string());
    let mut spans = vec![Span::styled(left(&level, LEVEL), style)];
    if columns.bar > 0 {
        let bar = match usage.used_ratio() {
            Some(ratio) => {
                let filled = (ratio.clamp(0.0, 1.0) * columns.bar as f64).round() as usize;
                "█".repeat(filled) + &"░".repeat(columns.bar - filled)
            }
            None => "·".repeat(columns.bar),
        };
        spans.push(Span::styled(format!(" {bar}"), style));
    }
    let size = |value: Option<ByteSize>| value.map_or_else(|| "–".to_owned(), |size| size.to_string());
    let mut text = right(&size(usage.used_bytes.value), USED + 1);
    if columns.has_total {
        text += &right(&size(usage.total_bytes.value), TOTAL + 1);
    }
    let cells = activity(device.activity.as_ref()).into_iter().zip(ACTIVITY).zip(columns.has_activity);
    for ((cell, (_, wide)), _) in cells.filter(|(_, has)| *has) {
        text += &right(&cell, wide + 1);
    }
    if columns.make > 0 {
        text += &format!(" {}", left(&device.snapshot.device.name, columns.make));
    }
    spans.push(Span::raw(text));
    spans
}

/// Work, temperature, power.
pub(super) fn activity(activity: Option<&Activity>) -> [String; 3] {
    let known = |of: fn(&Activity) -> Option<f64>| activity.and_then(of).filter(|value| value.is_finite());
    let cell = |value: Option<f64>, unit: &str| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.0}{unit}"))
    };
    [
        cell(known(|activity| activity.utilization_ratio).map(|ratio| 100.0 * ratio), " %"),
        cell(known(|activity| activity.temperature_celsius), "°C"),
        cell(known(|activity| activity.power_watts), " W"),
    ]
}

/// What is to be noted, the most pressing first.
fn notes(device: &DeviceTick, trail: Option<&Trail>) -> Vec<(String, Style)> {
    let mut notes = Vec::new();
    if !device.suspected.is_empty() {
        notes.push(("leak".to_owned(), ALARM));
    }
    if let Some(seconds) = device.forecast.and_then(|forecast| forecast.full_in_seconds) {
        let style = if device.full_soon { ALARM } else { CAUTION };
        notes.push((format!("full in {}", duration(seconds)), style));
    }
    if let Some(growing) = device.growing {
        notes.push((if growing.fast { "⇑" } else { "↑" }.to_owned(), CAUTION));
    }
    if let Some(idle) = trail.and_then(Trail::idle) {
        notes.push((format!("idle {}", duration(idle.as_secs_f64())), CAUTION));
    }
    if let Some(stall) = device.stall.filter(|stall| stall.some.avg10_ratio >= 0.0005) {
        notes.push((format!("stall {:.1} %", 100.0 * stall.some.avg10_ratio), CAUTION));
    }
    // The rest of it is with the device that is opened.
    notes.extend(words_of(device).into_iter().next().map(|words| (words, SOFT)));
    notes
}

/// As many notes as there is room for; that there are more is said.
fn fitted(notes: Vec<(String, Style)>, room: usize) -> Vec<Span<'static>> {
    let mut left = room;
    let mut spans = Vec::new();
    let mut rest = notes.into_iter().peekable();
    while let Some((text, style)) = rest.next() {
        let of_more = if rest.peek().is_some() { 2 } else { 0 };
        if width(&text) + 1 + of_more > left {
            spans.push(Span::styled(cut(&format!(" {text}{}", " ".repeat(of_more)), left), style));
            break;
        }
        left -= width(&text) + 1;
        spans.push(Span::styled(format!(" {text}"), style));
    }
    spans
}
