//! Draws the app: a title with what is worst, the overview, the chosen device's graph, a table of who holds it, events, a foot;
//! and what lies over them.

mod graph;
mod help;
mod overview;
mod row;
mod style;
mod table;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

use crate::app::App;
use crate::entries::Standing;
use crate::kill::End;
use crate::layout::Places;
use crate::over::Over;
use crate::text::{cut, width};

use style::{ALARM, CAUTION, SOFT, STRONG, standing_style};

/// Draws everything.
pub fn draw(app: &App, frame: &mut Frame<'_>) {
    let area = frame.area();
    if app.tick.is_none() {
        frame.render_widget(Paragraph::new("reading…"), area);
    } else {
        let places = Places::of(area, app.entries().len(), app.is_opened);
        draw_title(app, frame, places.title);
        overview::draw(app, frame, &places);
        graph::draw(app, frame, places.graph);
        table::draw(app, frame, &places);
        draw_events(app, frame, places.events);
        draw_foot(app, frame, &places);
    }
    match &app.over {
        Over::Help(line) => help::draw(*line, frame, area),
        Over::Row => row::draw(app, frame, area),
        Over::Nothing | Over::Question(_) => {}
    }
}

/// What is worst comes first: it is seen at any width.
fn draw_title(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let standing = Standing::of(&app.entries());
    let mut parts = vec![Span::styled("vramkit top", STRONG)];
    if app.is_paused {
        let missed = app.missed();
        let since = if missed > 0 { format!("paused, {missed} readings since") } else { "paused".to_owned() };
        parts.push(Span::styled(since, CAUTION));
    }
    if let Some((at, of)) = app.position {
        parts.push(Span::raw(format!("recording, {at} of {of}")));
    }
    let taken: usize = parts.iter().map(|part| part.width() + 2).sum();
    let room = usize::from(area.width).saturating_sub(taken);
    let words = standing.within(room);
    let mut room = room.saturating_sub(width(&words));
    parts.push(Span::styled(words, standing_style(&standing)));
    let utc = |time: &str| Some(format!("{} {} UTC", time.get(..10)?, time.get(11..19)?));
    let time = app.tick.as_ref().and_then(|tick| utc(&tick.time));
    for part in [Some(format!("{} devices", standing.devices())), time].into_iter().flatten() {
        if width(&part) + 2 <= room {
            room -= width(&part) + 2;
            parts.push(Span::styled(part, SOFT));
        }
    }
    let spaced = parts.into_iter().flat_map(|part| [part, Span::raw("  ")]);
    frame.render_widget(Line::from_iter(spaced), area);
}

fn draw_events(app: &App, frame: &mut Frame<'_>, area: Rect) {
    if area.height == 0 {
        return;
    }
    let block = Block::new().borders(Borders::TOP).title(" events, the last first ");
    let room = usize::from(area.height.saturating_sub(1));
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

fn draw_foot(app: &App, frame: &mut Frame<'_>, places: &Places) {
    let line = if let Over::Question(question) = &app.over {
        // The answer must be in sight whatever the process is called.
        let hint = if question.end == End::Kill { "" } else { "  9: SIGKILL" };
        let room = usize::from(places.foot.width).saturating_sub(hint.len() + 5);
        let text = cut(&format!("send {} to {}?", question.end.name(), question.process), room);
        Line::from(vec![Span::styled(text + " y/N", ALARM), Span::styled(hint, SOFT)])
    } else if app.is_typing {
        let hint =
            if app.filter.is_empty() { "   words; user: model: pod: job: pid: command: device:" } else { "" };
        let typed = Span::raw(format!("{}▏", app.filter));
        Line::from(vec![Span::styled("filter: ", STRONG), typed, Span::styled(hint, SOFT)])
    } else if let Some(message) = &app.message {
        Line::styled(message.clone(), CAUTION)
    } else if places.is_split {
        Line::styled("q quit  tab table  d device  a all  s sort  / filter  enter more  K end  ? help", SOFT)
    } else if app.is_opened {
        Line::styled("esc all devices  tab table  s sort  / filter  enter more  K end  ? help  q quit", SOFT)
    } else {
        Line::styled("enter open  ↑↓ choose  a all holders  / filter  space pause  ? help  q quit", SOFT)
    };
    frame.render_widget(line, places.foot);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use vramkit_watch::Tick;

    use super::*;

    #[test]
    fn a_question_says_whose_process_it_is_before_its_command_is_cut() {
        let mut app = App::default();
        app.take(Tick::new("2026-01-01T10:00:00.000Z".into()));
        app.ask(format!("4194304 of {}: {}", "a".repeat(24), "python3 train.py ".repeat(9)));
        for wide in [80, 120] {
            let mut terminal = Terminal::new(TestBackend::new(wide, 24)).unwrap();
            terminal.draw(|frame| draw(&app, frame)).unwrap();
            let seen = terminal.backend().to_string();
            assert!(seen.contains(&format!("send SIGTERM to 4194304 of {}: p", "a".repeat(24))), "{seen}");
            assert!(seen.contains("y/N"), "{seen}");
        }
    }
}
