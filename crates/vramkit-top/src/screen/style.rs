//! How loud things are.

use ratatui::style::{Color, Modifier, Style};
use vramkit::pressure::PressureLevel;

use crate::entries::Standing;

pub(super) const SOFT: Style = Style::new().fg(Color::DarkGray);
pub(super) const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const CAUTION: Style = Style::new().fg(Color::Yellow);
pub(super) const ALARM: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const WELL: Style = Style::new().fg(Color::Green);

pub(super) fn level_style(level: Option<PressureLevel>) -> Style {
    match level {
        None => SOFT,
        Some(PressureLevel::Normal) => WELL,
        Some(PressureLevel::Elevated) => CAUTION,
        Some(PressureLevel::High) => Style::new().fg(Color::LightRed),
        Some(PressureLevel::Critical) => ALARM,
    }
}

/// Of many, the worst's.
pub(super) fn standing_style(standing: &Standing) -> Style {
    match standing.worst() {
        Some("critical" | "lost") => ALARM,
        Some(_) => CAUTION,
        None => WELL,
    }
}
