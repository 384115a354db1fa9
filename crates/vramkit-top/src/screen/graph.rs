//! How full the chosen device was, and what it does now.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Borders, Sparkline};
use vramkit_watch::Presence;

use super::overview::activity;
use super::style::level_style;
use crate::app::App;
use crate::text::cut;

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
    let samples =
        app.trails.get(&name.id).into_iter().flat_map(|trail| trail.samples(usize::from(area.width)));
    let data: Vec<Option<u64>> =
        samples.map(|ratio| ratio.map(|ratio| (ratio.clamp(0.0, 1.0) * 1000.0) as u64)).collect();
    let graph =
        Sparkline::default().block(block).data(data).max(1000).style(level_style(device.snapshot.level));
    frame.render_widget(graph, area);
}
