//! Draws the app: devices, the graph of the chosen one, a table of who holds it, events.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Sparkline, Wrap};
use vramkit::device::Reading;
use vramkit::pressure::PressureLevel;
use vramkit::pressure::duration;
use vramkit_watch::DeviceTick;

use crate::app::{App, Sort, View};

/// Devices that are listed at once.
pub(crate) const DEVICES: usize = 6;
/// The screen's first line of devices.
pub(crate) const FIRST_DEVICE: u16 = 2;

const SOFT: Style = Style::new().fg(Color::DarkGray);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

fn level_style(level: Option<PressureLevel>) -> Style {
    match level {
        None => SOFT,
        Some(PressureLevel::Normal) => Style::new().fg(Color::Green),
        Some(PressureLevel::Elevated) => Style::new().fg(Color::Yellow),
        Some(PressureLevel::High) => Style::new().fg(Color::LightRed),
        Some(PressureLevel::Critical) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

fn level_name(level: Option<PressureLevel>) -> String {
    level.map_or_else(|| "unknown".to_owned(), |level| level.to_string())
}

/// Draws everything.
pub fn draw(app: &App, frame: &mut Frame<'_>) {
    let area = frame.area();
    let Some(tick) = &app.tick else {
        frame.render_widget(Paragraph::new("reading…"), area);
        return;
    };
    let devices = tick.devices.len().clamp(1, DEVICES) as u16;
    let events = if area.height >= 20 { 5 } else { 0 };
    let graph = if area.height >= 16 { 6 } else { 0 };
    let [title, list, chart, table, log, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(devices + 1),
        Constraint::Length(graph),
        Constraint::Min(3),
        Constraint::Length(events),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_title(app, frame, title);
    draw_devices(app, frame, list);
    draw_graph(app, frame, chart);
    draw_table(app, frame, table);
    draw_events(app, frame, log);
    draw_foot(app, frame, foot);
    if app.help {
        draw_help(frame, area);
    }
}

fn draw_title(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let time = app.tick.as_ref().map_or("", |tick| tick.time.get(..19).unwrap_or(""));
    let mut spans = vec![Span::styled("vramkit top", STRONG), Span::styled(format!("  {time} UTC"), SOFT)];
    if let Some((at, of)) = app.position {
        spans.push(Span::raw(format!("  recording, {at} of {of}")));
    }
    if app.paused {
        spans.push(Span::styled("  paused", Style::new().fg(Color::Yellow)));
    }
    frame.render_widget(Line::from(spans), area);
}

fn draw_devices(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let Some(tick) = &app.tick else { return };
    let mut lines = vec![Line::styled(
        format!(
            "  {:<10} {:<9} {:<10} {:>10} {:>10} {:>6} {:>9}",
            "device", "level", "", "used", "total", "stall", "full in"
        ),
        SOFT,
    )];
    let first = app.device.saturating_sub(DEVICES - 1);
    for (i, device) in tick.devices.iter().enumerate().skip(first).take(DEVICES) {
        lines.push(device_line(device, i == app.device));
    }
    if tick.devices.is_empty() {
        let reasons: Vec<String> =
            tick.unavailable.iter().map(|absent| format!("{}: {}", absent.source, absent.reason)).collect();
        lines.push(Line::raw(format!("  no device: {}", reasons.join("; "))));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn device_line(device: &DeviceTick, chosen: bool) -> Line<'static> {
    const WIDTH: usize = 10;
    let snapshot = &device.snapshot;
    let filled =
        snapshot.usage.used_ratio().map(|ratio| (ratio.clamp(0.0, 1.0) * WIDTH as f64).round() as usize);
    let bar = match filled {
        Some(filled) => format!("{}{}", "█".repeat(filled), "░".repeat(WIDTH - filled)),
        None => "·".repeat(WIDTH),
    };
    let size = |reading: &Reading<vramkit::ByteSize>| {
        reading.value.map_or_else(|| "–".to_owned(), |size| size.to_string())
    };
    let stall = device
        .stall
        .map_or_else(|| "–".to_owned(), |stall| format!("{:.1} %", 100.0 * stall.some.avg10_ratio));
    let full = device
        .forecast
        .and_then(|forecast| forecast.full_in_seconds)
        .map_or_else(|| "–".to_owned(), duration);
    let style = level_style(snapshot.level);
    let mark = if chosen { "▶ " } else { "  " };
    let mut spans = vec![
        Span::styled(
            format!("{mark}{:<10} ", cut(&snapshot.device.id, 10)),
            if chosen { STRONG } else { Style::new() },
        ),
        Span::styled(format!("{:<9} ", level_name(snapshot.level)), style),
        Span::styled(bar, style),
        Span::raw(format!(
            " {:>10} {:>10} {stall:>6} {full:>9}",
            size(&snapshot.usage.used_bytes),
            size(&snapshot.usage.total_bytes)
        )),
    ];
    if let Some(growing) = device.growing {
        let words = if growing.fast { " ⇑" } else { " ↑" };
        spans.push(Span::styled(words, Style::new().fg(Color::LightRed)));
    }
    if !device.suspected.is_empty() {
        spans.push(Span::styled(" leak", Style::new().fg(Color::Red)));
    }
    Line::from(spans)
}

/// The start of a text, as wide as a column.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(std::iter::once('…')).collect()
}

fn draw_graph(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let Some(device) = app.chosen() else { return };
    let name = &device.snapshot.device;
    let percent = device
        .snapshot
        .usage
        .used_ratio()
        .map_or_else(String::new, |ratio| format!(" {:.1} % used", 100.0 * ratio));
    let block = Block::new().borders(Borders::TOP).title(format!(" {}{percent} ", cut(&name.name, 40)));
    let width = area.width as usize;
    let samples = app.samples.get(&name.id);
    let shown =
        samples.into_iter().flat_map(|samples| samples.iter().skip(samples.len().saturating_sub(width)));
    let data: Vec<Option<u64>> =
        shown.map(|ratio| ratio.map(|ratio| (ratio.clamp(0.0, 1.0) * 1000.0) as u64)).collect();
    let graph =
        Sparkline::default().block(block).data(data).max(1000).style(level_style(device.snapshot.level));
    frame.render_widget(graph, area);
}

fn draw_table(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let rows = app.rows();
    let (name, other) = match app.view {
        View::Holders => ("holders", "of all"),
        View::Processes => ("processes", ""),
        View::Pools => ("pools", ""),
        View::Models => ("models", "by purpose"),
    };
    let sorted = if app.sort == Sort::Bytes { "by bytes" } else { "by name" };
    let filter = if app.filter.is_empty() { String::new() } else { format!(", filter `{}`", app.filter) };
    let block = Block::new().borders(Borders::TOP).title(format!(" {name}, {sorted}{filter} "));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let name_width = (inner.width as usize / 2).clamp(16, 44);
    let rest = (inner.width as usize).saturating_sub(name_width + 14);
    let mut lines = vec![Line::styled(format!("{:<name_width$} {:>11}  {other}", "who", "holds"), SOFT)];
    let height = inner.height.saturating_sub(1) as usize;
    let scroll = app.scroll.min(rows.len().saturating_sub(height.max(1)));
    for row in rows.iter().skip(scroll).take(height) {
        let bytes = row.bytes.map_or_else(|| "–".to_owned(), |bytes| bytes.to_string());
        lines.push(Line::raw(format!(
            "{:<name_width$} {bytes:>11}  {}",
            cut(&row.name, name_width),
            cut(&row.detail, rest)
        )));
    }
    if rows.is_empty() {
        lines.push(Line::styled(nothing(app), SOFT));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Why a table is empty.
fn nothing(app: &App) -> String {
    if !app.filter.is_empty() {
        return format!("nothing matches `{}`; esc shows all", app.filter);
    }
    match (app.view, app.chosen()) {
        (View::Processes, Some(device)) => match &device.snapshot.processes.unavailable {
            Some(reason) => format!("not available: {reason}"),
            None => "no process holds any of it".into(),
        },
        (View::Pools | View::Models, _) => {
            "no process publishes a pool on it (vramkit::monitor::publish)".into()
        }
        _ => "nothing is known to be held".into(),
    }
}

fn draw_events(app: &App, frame: &mut Frame<'_>, area: Rect) {
    if area.height == 0 {
        return;
    }
    let block = Block::new().borders(Borders::TOP).title(" events ");
    let room = area.height.saturating_sub(1) as usize;
    let mut lines: Vec<Line<'_>> = app
        .events
        .iter()
        .rev()
        .take(room)
        .map(|event| {
            Line::from(vec![
                Span::styled(format!("{} ", event.time.get(11..19).unwrap_or("")), SOFT),
                Span::styled(format!("{} ", event.device), STRONG),
                Span::raw(event.text.clone()),
            ])
        })
        .collect();
    if lines.is_empty() {
        lines.push(Line::styled("none so far", SOFT));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_foot(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let line = if app.typing {
        Line::from(vec![Span::styled("filter: ", STRONG), Span::raw(format!("{}▏", app.filter))])
    } else {
        Line::styled("q quit  tab table  d device  m models  s sort  / filter  space pause  ? help", SOFT)
    };
    frame.render_widget(line, area);
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    const TEXT: &str = "\
q        quit
tab      next table: holders, processes, pools, models
m        what each model holds
d        next device (or click it)
up down  scroll the table
s        sort by bytes or by name
/        filter; enter keeps it, esc takes it back
space    pause; in a recording, left and right step
?        this

level    normal, elevated, high, critical: thresholds with hysteresis
stall    time lost waiting for memory in the last 10 s
full in  at the rate of the last minutes
↑ ⇑      growing, growing fast; leak: suspected, see events
–        not available: nobody gives that number";
    let (width, height) = (area.width.min(68), area.height.min(18));
    let place = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    frame.render_widget(Clear, place);
    frame.render_widget(
        Paragraph::new(TEXT).wrap(Wrap { trim: false }).block(Block::bordered().title(" help ")),
        place,
    );
}
