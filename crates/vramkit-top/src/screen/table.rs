//! The table of who holds memory: the columns that something is known for and that there is room for.

use ratatui::Frame;
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Paragraph};

use super::style::{SOFT, STRONG};
use crate::app::App;
use crate::layout::Places;
use crate::row::Row;
use crate::rows::{Sort, View};
use crate::text::{cut, cut_middle, left, right, width};

type Cell = fn(&Row) -> String;

struct Column {
    title: &'static str,
    wide: usize,
    is_right: bool,
    /// Names are told apart by their ends, sentences by their start.
    is_name: bool,
    cell: Cell,
}

impl Column {
    fn text(&self, text: &str) -> String {
        match (self.is_right, self.is_name) {
            (true, _) => right(text, self.wide),
            (_, true) => left(&cut_middle(text, self.wide), self.wide),
            _ => left(&cut(text, self.wide), self.wide),
        }
    }
}

const MARK: usize = 2;
const BYTES: usize = 10;
const DETAIL: Cell = |row| row.detail.clone();
const COMMAND: Cell = |row| row.identity.command.clone().unwrap_or_default();

/// The columns for these rows, in so much room.
fn columns(app: &App, room: usize) -> Vec<Column> {
    let rows = app.rows();
    let longest = |cell: Cell| rows.iter().map(|row| width(&cell(row))).max().unwrap_or(0);
    // A column for what nobody is known to have says nothing.
    let wanted = |title: &'static str, most: usize, is_name: bool, cell: Cell| {
        let longest = longest(cell);
        let wide = longest.max(title.len()).min(most.max(title.len()));
        (longest > 0).then_some(Column { title, wide, is_right: false, is_name, cell })
    };
    let mut columns = Vec::new();
    if app.is_of_all {
        columns.extend(wanted("device", room / 4, true, |row| row.device.clone()));
    }
    let name: Cell = |row| format!("{}{}", if row.is_part { "  " } else { "" }, row.name);
    let wide = longest(name).clamp(12, (room * 2 / 5).clamp(12, 44));
    columns.push(Column { title: "who", wide, is_right: false, is_name: true, cell: name });
    let bytes: Cell = |row| row.bytes.map_or_else(|| "–".to_owned(), |bytes| bytes.to_string());
    columns.push(Column { title: "holds", wide: BYTES, is_right: true, is_name: false, cell: bytes });
    let part = Column { title: "of all", wide: 7, is_right: true, is_name: false, cell: DETAIL };
    let mut optional = vec![
        ((app.view == View::Holders).then_some(part), None),
        (wanted("user", 12, true, |row| row.identity.user.clone().unwrap_or_default()), Some(Sort::User)),
        (
            wanted("pod/container", 32, true, |row| row.place().unwrap_or_default().to_owned()),
            Some(Sort::Pod),
        ),
        (wanted("job", 14, true, |row| row.identity.job.clone().unwrap_or_default()), None),
    ];
    if app.view != View::Models {
        let model = wanted("model", 20, true, |row| row.model.clone().unwrap_or_default());
        optional.insert(2, (model, Some(Sort::Model)));
    }
    // What the table is sorted by is shown before others.
    optional.sort_by_key(|(_, sort)| *sort != Some(app.sort));
    let taken = |columns: &[Column]| MARK + columns.iter().map(|column| column.wide + 1).sum::<usize>();
    for column in optional.into_iter().filter_map(|(column, _)| column) {
        if taken(&columns) + column.wide <= room {
            columns.push(column);
        }
    }
    // What is left is for what can be long.
    let long: &[(&'static str, Cell)] = match app.view {
        View::Holders => &[("command", COMMAND)],
        View::Processes => &[("most ever", DETAIL), ("command", COMMAND)],
        View::Pools => &[("of which", DETAIL)],
        View::Models => &[("by purpose", DETAIL)],
    };
    let mut long = long.iter().filter(|(_, cell)| longest(*cell) > 0).peekable();
    while let Some(&(title, cell)) = long.next() {
        let left = room.saturating_sub(taken(&columns));
        let wide = if long.peek().is_some() { longest(cell).max(title.len()).min(left) } else { left };
        if wide >= 8 {
            columns.push(Column { title, wide, is_right: false, is_name: false, cell });
        }
    }
    columns
}

/// Draws it.
pub(super) fn draw(app: &App, frame: &mut Frame<'_>, places: &Places) {
    let area = places.table;
    if area.height == 0 {
        return;
    }
    let rows = app.rows();
    let seen = app.table.seen(rows.len(), places.table_rows());
    let block = Block::new().borders(Borders::TOP).title(title(app, &seen));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let columns = columns(app, usize::from(inner.width));
    let joined = |cells: &dyn Fn(&Column) -> String| {
        let cells = columns.iter().map(|column| column.text(&cells(column)));
        cells.collect::<Vec<_>>().join(" ")
    };
    let mut lines = vec![Line::styled(format!("  {}", joined(&|column| column.title.to_owned())), SOFT)];
    let cursor = app.table.cursor(rows.len());
    for (at, row) in rows.iter().enumerate().take(seen.end).skip(seen.start) {
        let text = joined(&|column| (column.cell)(row));
        lines.push(match at == cursor {
            true => Line::styled(format!("▶ {text}"), STRONG),
            false => Line::raw(format!("  {text}")),
        });
    }
    if rows.is_empty() {
        lines.push(Line::styled(format!("  {}", nothing(app)), SOFT));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Which table it is, in which order, and which part of it is seen.
fn title(app: &App, seen: &std::ops::Range<usize>) -> String {
    let what = match app.view {
        View::Holders => "holders",
        View::Processes => "processes",
        View::Pools => "pools",
        View::Models => "models",
    };
    let of_all = if app.is_of_all { " of all devices" } else { "" };
    let filter = if app.filter.is_empty() { String::new() } else { format!(", filter `{}`", app.filter) };
    let rows = app.rows().len();
    let part = if seen.len() < rows {
        format!(", {}–{} of {rows}", seen.start + 1, seen.end)
    } else {
        String::new()
    };
    format!(" {what}{of_all}, by {}{filter}{part} ", app.sort.name())
}

/// Why a table is empty.
fn nothing(app: &App) -> String {
    if !app.filter.is_empty() {
        return format!("nothing matches `{}`; esc shows all", app.filter);
    }
    let absence = || app.chosen_entry()?.absence(app.tick.as_ref().map_or("", |tick| &tick.time));
    if let Some(absence) = absence().filter(|_| !app.is_of_all) {
        return absence;
    }
    match (app.view, app.chosen()) {
        (View::Processes, Some(device)) if !app.is_of_all => match &device.snapshot.processes.unavailable {
            Some(reason) => format!("not available: {reason}"),
            None => "no process holds any of it".into(),
        },
        (View::Pools | View::Models, _) => {
            "no process publishes a pool on it (vramkit::monitor::publish)".into()
        }
        _ => "nothing is known to be held".into(),
    }
}
