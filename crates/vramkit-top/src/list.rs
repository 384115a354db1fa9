//! A list of which a part is seen: a cursor that stays in it, and where the part that is seen begins.
//!
//! Lengths and heights are given with every call, since both change under it.

use std::ops::Range;

/// See the module's first lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    cursor: usize,
    first: usize,
}

impl List {
    /// Where the cursor is.
    pub(crate) fn cursor(self, len: usize) -> usize {
        self.cursor.min(len.saturating_sub(1))
    }

    /// The rows that are seen, the cursor's always among them.
    pub(crate) fn seen(self, len: usize, height: usize) -> Range<usize> {
        let (height, cursor) = (height.max(1), self.cursor(len));
        let first =
            self.first.min(len.saturating_sub(height)).min(cursor).max((cursor + 1).saturating_sub(height));
        first..len.min(first + height)
    }

    /// Puts the cursor on a row.
    pub(crate) fn go(&mut self, to: usize, len: usize, height: usize) {
        self.cursor = to.min(len.saturating_sub(1));
        self.first = self.seen(len, height).start;
    }

    /// Moves the cursor.
    pub(crate) fn step(&mut self, by: isize, len: usize, height: usize) {
        self.go(self.cursor(len).saturating_add_signed(by), len, height);
    }

    /// Moves what is seen, and the cursor only to stay in it.
    pub(crate) fn scroll(&mut self, by: isize, len: usize, height: usize) {
        let first =
            self.seen(len, height).start.saturating_add_signed(by).min(len.saturating_sub(height.max(1)));
        self.first = first;
        let last = (first + height.max(1)).min(len).saturating_sub(1);
        self.cursor = self.cursor(len).clamp(first.min(last), last);
    }

    /// Puts the cursor where what it was on has gone, without moving what is seen more than needed.
    pub(crate) fn follow(&mut self, to: usize) {
        self.cursor = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_ends_at_the_end_and_the_first_step_back_moves_it() {
        let mut list = List::default();
        (0..60).for_each(|_| list.step(1, 31, 8));
        assert_eq!((list.cursor(31), list.seen(31, 8)), (30, 23..31));
        list.step(-1, 31, 8);
        assert_eq!(list.cursor(31), 29);
        list.step(-7, 31, 8);
        assert_eq!((list.cursor(31), list.seen(31, 8)), (22, 22..30));
    }

    #[test]
    fn what_is_seen_is_moved_to_the_ends_and_takes_the_cursor_along() {
        let mut list = List::default();
        list.scroll(3, 31, 8);
        assert_eq!((list.cursor(31), list.seen(31, 8)), (3, 3..11));
        list.scroll(100, 31, 8);
        assert_eq!((list.cursor(31), list.seen(31, 8)), (23, 23..31));
        list.scroll(-1, 31, 8);
        assert_eq!((list.cursor(31), list.seen(31, 8)), (23, 22..30));
    }

    #[test]
    fn a_list_that_gets_shorter_or_has_no_room_is_borne() {
        let mut list = List::default();
        list.go(30, 31, 8);
        assert_eq!(list.seen(5, 8), 0..5);
        assert_eq!(list.seen(0, 8), 0..0);
        assert_eq!(list.seen(31, 0), 30..31);
        list.scroll(1, 0, 0);
        list.step(-1, 0, 0);
        assert_eq!(list.cursor(0), 0);
    }
}
