//! Where on the screen what is: by its size, how many lines the overview has, and whether a device is opened.
//!
//! The overview comes first: every device has a line. Where there is room, the chosen device is below; where there is not, it is
//! opened in place of the overview. Drawing and the mouse both ask here, so that a click is on what is seen.

use ratatui::layout::{Constraint, Layout, Position, Rect};

/// Lines that a device needs below the overview.
const DETAILS: u16 = 10;

/// See the module's first lines. A part that is not shown has no height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) title: Rect,
    /// With a line of headers.
    pub(crate) overview: Rect,
    pub(crate) graph: Rect,
    /// With a line of its name, and one of headers.
    pub(crate) table: Rect,
    pub(crate) events: Rect,
    pub(crate) foot: Rect,
    /// Whether overview and table are both shown.
    pub(crate) is_split: bool,
}

impl Places {
    pub(crate) fn of(area: Rect, lines: usize, is_opened: bool) -> Self {
        let body = area.height.saturating_sub(2);
        let wanted = u16::try_from(lines.max(1)).unwrap_or(u16::MAX).saturating_add(1);
        let is_split = body.saturating_sub(wanted) >= DETAILS;
        let overview = match (is_split, is_opened) {
            (false, false) => wanted.min(body),
            (true, _) => wanted,
            // The opened one's own line.
            (false, true) => 2.min(body),
        };
        let left = body.saturating_sub(overview);
        let shows_table = is_split || is_opened;
        let graph = match left {
            _ if !shows_table => 0,
            0..10 => 0,
            10..13 => 4,
            13..24 => 6,
            _ => (left / 4).clamp(6, 12),
        };
        let events = match left.saturating_sub(graph) {
            rest if !shows_table => {
                if rest >= 2 {
                    rest
                } else {
                    0
                }
            }
            0..10 => 0,
            rest => (rest * 2 / 5).clamp(4, 12),
        };
        let table = if shows_table { left.saturating_sub(graph + events) } else { 0 };
        let [title, overview, graph, table, events, _, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(overview),
            Constraint::Length(graph),
            Constraint::Length(table),
            Constraint::Length(events),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(area);
        Self { title, overview, graph, table, events, foot, is_split }
    }

    /// Devices' lines that are seen of so many: where not all are, one line says so.
    pub(crate) fn overview_rows(&self, lines: usize) -> usize {
        let room = usize::from(self.overview.height.saturating_sub(1));
        // One line is the opened device's.
        if lines > room && room > 1 { room - 1 } else { room }
    }

    /// The line of a device, counted from the first that is seen, at a place of the screen.
    pub(crate) fn overview_row(&self, at: Position) -> Option<usize> {
        let row = usize::from(at.y.checked_sub(self.overview.y.saturating_add(1))?);
        self.overview.contains(at).then_some(row)
    }

    /// The row of the table, counted from the first that is seen, at a place of the screen.
    pub(crate) fn table_row(&self, at: Position) -> Option<usize> {
        let row = usize::from(at.y.checked_sub(self.table.y.saturating_add(2))?);
        (self.table.contains(at) && row < self.table_rows()).then_some(row)
    }

    /// Rows of the table that are seen.
    pub(crate) fn table_rows(&self) -> usize {
        usize::from(self.table.height.saturating_sub(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heights(height: u16, lines: usize, is_opened: bool) -> [u16; 4] {
        let places = Places::of(Rect::new(0, 0, 80, height), lines, is_opened);
        [places.overview.height, places.graph.height, places.table.height, places.events.height]
    }

    #[test]
    fn every_device_has_a_line_before_anything_else_has() {
        assert_eq!(heights(24, 2, false), [3, 6, 8, 5]);
        assert_eq!(heights(24, 9, false), [10, 4, 8, 0]);
        assert_eq!(heights(24, 13, false), [14, 0, 0, 8]);
        assert_eq!(heights(24, 40, false), [22, 0, 0, 0]);
        assert_eq!(heights(50, 13, false), [14, 8, 16, 10]);
    }

    #[test]
    fn an_opened_device_takes_the_place_where_there_is_not_enough_for_both() {
        assert_eq!(heights(24, 13, true), [2, 6, 9, 5]);
        assert_eq!(heights(50, 13, true), heights(50, 13, false));
    }

    #[test]
    fn what_is_out_of_sight_takes_one_line_to_say_so() {
        let places = Places::of(Rect::new(0, 0, 80, 10), 13, false);
        assert_eq!((places.overview_rows(13), places.overview_rows(7)), (6, 7));
    }
}
