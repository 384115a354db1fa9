//! Names that others chose, on their way to a terminal, a page or a metric: pools, models and tags of other processes, command
//! lines, what a driver calls a card. They are made harmless once, where they are read.
//!
//! ```
//! use vramkit::monitor::text::clean;
//!
//! assert_eq!(clean("llama\u{1b}[2J\nforged", 64), "llama [2J forged");
//! assert_eq!(clean("in\u{202e}vert\u{200b}ed", 64), "inverted"); // what cannot be seen goes
//! assert_eq!(clean("abcdef", 4), "abc…");
//! ```

use std::borrow::Cow;

/// Most characters of a name.
pub const NAME: usize = 128;
/// Most characters of what is said in words, and of a command line.
pub const WORDS: usize = 512;

/// At most `most` characters on one line, and nothing that a terminal obeys or a reader cannot see: controls and ends of lines
/// become spaces; marks of direction, joiners, and other characters without a width of their own, tags and private ones go.
/// Where characters are left out at the end, an ellipsis says so.
pub fn clean(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most && text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut seen = text.chars().filter_map(visible);
    let mut out: String = seen.by_ref().take(most).collect();
    if seen.next().is_some() && out.pop().is_some() {
        out.push('…');
    }
    Cow::Owned(out)
}

/// Cleans a text where it stands.
pub(crate) fn clean_in_place(text: &mut String, most: usize) {
    if let Cow::Owned(cleaned) = clean(text, most) {
        *text = cleaned;
    }
}

/// Whether a character is shown as it is: neither a control, nor one of those that cannot be seen.
pub fn is_shown(character: char) -> bool {
    visible(character) == Some(character)
}

/// What is shown of a character.
fn visible(character: char) -> Option<char> {
    match character {
        character if character.is_control() => Some(' '),
        // Ends of lines and paragraphs.
        '\u{2028}' | '\u{2029}' => Some(' '),
        // Soft hyphen, joiners, marks and overrides of direction, invisible operators, byte order mark, annotations.
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' => None,
        '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' => None,
        // Letters that are drawn as nothing.
        '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}' => None,
        // Choices of a glyph, shorthand and musical controls, tags.
        '\u{fe00}'..='\u{fe0f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => None,
        '\u{e0000}'..='\u{e0fff}' => None,
        // Private: every font has its own idea of them.
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' => None,
        character => Some(character),
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn no_terminal_obeys_and_no_reader_is_deceived() {
        for (text, expected) in [
            ("plain name-1.5", "plain name-1.5"),
            ("a\x1b[31mRED\x1b[0m\x1b]0;pwned\x07", "a [31mRED [0m ]0;pwned "),
            ("two\r\nlines\ttabs\0\x7f", "two  lines tabs  "),
            ("\u{9b}31m\u{85}", " 31m "),
            ("gpu\u{202e}fdp.exe\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}", "gpufdp.exe"),
            ("ze\u{200b}ro\u{200d}\u{feff}\u{2060}\u{ad}", "zero"),
            ("t\u{e0041}\u{e007f}ag\u{e000}\u{10fffd}", "tag"),
            ("a\u{2028}b\u{2029}c", "a b c"),
            ("千问大模型 naïve ±", "千问大模型 naïve ±"),
        ] {
            assert_eq!(clean(text, NAME), expected, "{text:?}");
            assert_eq!(clean(&clean(text, NAME), NAME), expected, "twice is as once");
        }
    }

    #[test]
    fn what_is_long_is_cut_by_characters_and_says_so() {
        let long = "é".repeat(100_000);
        let cut = clean(&long, NAME);
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (NAME, true));
        assert_eq!(clean(&"x".repeat(NAME), NAME), "x".repeat(NAME));
        assert_eq!(clean("abc", 1), "…");
        assert_eq!(clean("abc", 0), "");
    }
}
