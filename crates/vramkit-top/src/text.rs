//! Texts as wide as a column of the screen.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use vramkit_watch::DeviceTick;

/// What else is to be known of a device's numbers: what is in use beside them, and what its source notes.
pub(crate) fn words_of(device: &DeviceTick) -> Vec<String> {
    let shared = device.shared_bytes.as_ref();
    let shared = shared.map(|shared| format!("of the machine's memory, beside its own (GTT): {shared}"));
    // Numbers that do not fit one another are noted last, and matter most.
    device.notes.iter().rev().cloned().chain(device.assigned_words()).chain(shared).collect()
}

/// How wide it is on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

fn char_width(character: char) -> usize {
    character.width().unwrap_or(0)
}

/// The start of a text that is too wide for a column.
pub(crate) fn cut(text: &str, wide: usize) -> String {
    if width(text) <= wide {
        return text.to_owned();
    }
    let mut taken = 0;
    let start = text.chars().take_while(|&c| {
        taken += char_width(c);
        taken < wide
    });
    let start: String = start.collect();
    if wide == 0 { start } else { start + "…" }
}

/// The start and the end of a text that is too wide: what tells names apart is at their end.
pub(crate) fn cut_middle(text: &str, wide: usize) -> String {
    if width(text) <= wide || wide < 4 {
        return cut(text, wide);
    }
    let of_end = (wide - 1) * 2 / 3;
    let (mut taken, mut at) = (0, text.len());
    for (start, c) in text.char_indices().rev() {
        taken += char_width(c);
        if taken > of_end {
            break;
        }
        at = start;
    }
    cut(text, wide - width(&text[at..])) + &text[at..]
}

/// A text in a column, to the left.
pub(crate) fn left(text: &str, wide: usize) -> String {
    let text = cut(text, wide);
    let blanks = " ".repeat(wide.saturating_sub(width(&text)));
    text + &blanks
}

/// A text in a column, to the right.
pub(crate) fn right(text: &str, wide: usize) -> String {
    let text = cut(text, wide);
    " ".repeat(wide.saturating_sub(width(&text))) + &text
}

/// The time of an instant in UTC, with the day where it is not the same as another's.
pub(crate) fn clock(instant: &str, beside: &str) -> String {
    let (Some(day), Some(time)) = (instant.get(..10), instant.get(11..19)) else { return instant.to_owned() };
    if beside.get(..10) == Some(day) { time.to_owned() } else { format!("{day} {time}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_wide_as_their_column() {
        assert_eq!(cut("cuda:7/mig:3", 12), "cuda:7/mig:3");
        assert_eq!(cut("cuda:7/mig:3", 9), "cuda:7/m…");
        assert_eq!(cut("語語語", 4), "語…");
        assert_eq!(cut_middle("gpu-node-17:9835 cuda:7/mig:3", 20), "gpu-nod…cuda:7/mig:3");
        for wide in 0..40 {
            for text in
                ["", "abc", "語語語語語語語語", "gpu-node-17:9835 cuda:7/mig:3", "e\u{301}e\u{301}e\u{301}"]
            {
                assert_eq!(width(&left(text, wide)), wide, "{text} {wide}");
                assert_eq!(width(&right(text, wide)), wide, "{text} {wide}");
                assert!(width(&cut_middle(text, wide)) <= wide, "{text} {wide}");
            }
        }
    }

    #[test]
    fn another_day_is_said() {
        assert_eq!(clock("2026-01-01T10:00:03.000Z", "2026-01-01T11:00:00Z"), "10:00:03");
        assert_eq!(clock("2025-12-31T10:00:03.000Z", "2026-01-01T11:00:00Z"), "2025-12-31 10:00:03");
        assert_eq!(clock("yesterday", ""), "yesterday");
    }
}
