//! All that is known of the chosen row.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

use super::style::SOFT;
use crate::app::App;
use crate::text::width;

/// Columns of a fact's name, and of the border and the edges.
const NAME: usize = 11;
const EDGES: usize = 4;

/// Draws it.
pub(super) fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let Some(row) = app.row() else { return };
    let identity = &row.identity;
    let pid = row.pid.map(|pid| pid.to_string());
    let bytes = row.bytes.map(|bytes| match row.detail.as_str() {
        "" => bytes.to_string(),
        detail => format!("{bytes}, {detail}"),
    });
    let facts: [(&str, Option<&str>); 10] = [
        ("who", Some(&row.name)),
        ("device", Some(&row.device)),
        ("holds", bytes.as_deref()),
        ("pid", pid.as_deref()),
        ("user", identity.user.as_deref()),
        ("models", row.model.as_deref()),
        ("container", identity.container.as_deref()),
        ("pod", identity.pod.as_deref()),
        ("job", identity.job.as_deref()),
        ("command", identity.command.as_deref()),
    ];
    let wide = area.width.min(100);
    let room = usize::from(wide).saturating_sub(NAME + EDGES).max(1);
    let mut lines = Vec::new();
    for (name, value) in facts {
        let Some(value) = value else {
            lines.push(Line::styled(format!(" {name:<NAME$}not known"), SOFT));
            continue;
        };
        for (i, part) in wrapped(value, room).into_iter().enumerate() {
            let name = if i == 0 { name } else { "" };
            lines.push(Line::raw(format!(" {name:<NAME$}{part}")));
        }
    }
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let place = Rect::new((area.width - wide) / 2, (area.height - height) / 2, wide, height);
    let hint = Line::styled(" ↑↓ other rows  K end it  any other key closes ", SOFT);
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(" holder ").title_bottom(hint);
    frame.render_widget(Paragraph::new(lines).block(block), place);
}

/// In lines, anywhere: a command is copied, not read aloud.
pub(super) fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut taken = 0;
    for c in text.chars() {
        let wide = width(c.encode_utf8(&mut [0; 4]));
        if taken + wide > room {
            lines.push(String::new());
            taken = 0;
        }
        taken += wide;
        if let Some(line) = lines.last_mut() {
            line.push(c);
        }
    }
    lines
}
