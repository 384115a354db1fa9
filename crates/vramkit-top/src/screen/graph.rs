//! How full the chosen device was, what it does now, and what else is to be known of its numbers.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline};
use vramkit_watch::Presence;

use super::overview::activity;
use super::row::wrapped;
use super::style::{CAUTION, level_style};
use crate::app::App;
use crate::text::{cut, words_of};

/// Draws it.
pub(super) fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let Some(device) = app.chosen().filter(|_| area.height > 0) else { return };
    let name = &device.snapshot.device;
    let mut title = format!(" {} {}", name.id, cut(&name.name, 40));
    let ratio = device.snapshot.usage.used_ratio().filter(|_| device.presence == Presence::Present);
    if let Some(ratio) = ratio {
        title += &format!(", {:.1} % used", 100.0 * ratio);
    }
    if let Some(known) = &device.activity {
        let [busy, temperature, power] = activity(Some(known));
        let limit = known.power_limit_watts.map_or_else(String::new, |limit| format!(" of {limit:.0} W"));
        title += &format!(", busy {busy}, {temperature}, {power}{limit}");
    }
    let block = Block::new().borders(Borders::TOP).title(title + " ");
    let inner = block.inner(area);
    let words =
        words_of(device).into_iter().flat_map(|words| wrapped(&words, usize::from(inner.width.max(1))));
    // The graph keeps half of the room.
    let most = usize::from(inner.height / 2);
    let words: Vec<Line<'_>> = words.take(most).map(|line| Line::styled(line, CAUTION)).collect();
    let height = u16::try_from(words.len()).unwrap_or(0);
    let [below, graph_area] = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(inner);
    frame.render_widget(block, area);
    frame.render_widget(Paragraph::new(words), below);
    let samples =
        app.trails.get(&name.id).into_iter().flat_map(|trail| trail.samples(usize::from(area.width)));
    let data: Vec<Option<u64>> =
        samples.map(|ratio| ratio.map(|ratio| (ratio.clamp(0.0, 1.0) * 1000.0) as u64)).collect();
    let graph = Sparkline::default().data(data).max(1000).style(level_style(device.snapshot.level));
    frame.render_widget(graph, graph_area);
}
