//! The help over the screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

use super::style::SOFT;
use crate::help::{TEXT, last, room};

/// Draws it from a line on.
pub(super) fn draw(from: u16, frame: &mut Frame<'_>, area: Rect) {
    let lines = TEXT.lines().count() as u16;
    let (width, height) = (area.width.min(70), area.height.min(lines + 2));
    let place = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    let from = from.min(last(height));
    let hidden = lines.saturating_sub(from + room(height));
    let hint = if hidden > 0 { format!(" ↓ {hidden} more lines ") } else { String::new() };
    let block = Block::bordered().title(" help, any key closes it ").title_bottom(Line::styled(hint, SOFT));
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(TEXT).scroll((from, 0)).block(block), place);
}
