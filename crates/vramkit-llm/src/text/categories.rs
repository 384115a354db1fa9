//! What kind of character a character is, as the rules that cut text into words ask for it.
//!
//! In: a character. Out: the letter of its Unicode general category as a bit, or that it is white space. The tables are those of
//! `regex-syntax`, read once, as of Unicode 15.1: llama.cpp's, by which a character that came later is of no category.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// `\p{L}`
pub(super) const LETTER: u8 = 1;
/// `\p{M}`
pub(super) const MARK: u8 = 2;
/// `\p{N}`
pub(super) const NUMBER: u8 = 4;
/// `\p{P}`
pub(super) const PUNCTUATION: u8 = 8;
/// `\p{S}`
pub(super) const SYMBOL: u8 = 16;
/// `\s`
pub(super) const SPACE: u8 = 32;

/// Whether the character is of one of these kinds.
pub(super) fn is(character: char, kinds: u8) -> bool {
    kind(character) & kinds != 0
}

/// The kind of a character; 0 for one of no kind that is listed here (control, format, private, unassigned).
pub(super) fn kind(character: char) -> u8 {
    match u8::try_from(character).ok().filter(u8::is_ascii) {
        Some(byte) => ASCII[usize::from(byte)],
        None => wide(character),
    }
}

const ASCII: [u8; 128] = {
    let mut kinds = [0; 128];
    let mut at = 0;
    while at < 128 {
        kinds[at] = match at as u8 {
            b'A'..=b'Z' | b'a'..=b'z' => LETTER,
            b'0'..=b'9' => NUMBER,
            b'\t'..=b'\r' | b' ' => SPACE,
            b'$' | b'+' | b'<'..=b'>' | b'^' | b'`' | b'|' | b'~' => SYMBOL,
            b'!'..=b'/' | b':'..=b'@' | b'['..=b'_' | b'{'..=b'}' => PUNCTUATION,
            _ => 0,
        };
        at += 1;
    }
    kinds
};

fn wide(character: char) -> u8 {
    // Some of what is white space is of category Z, some of category C; none of the others.
    if character.is_whitespace() {
        return SPACE;
    }
    static RANGES: LazyLock<Vec<(char, char, u8)>> = LazyLock::new(|| {
        let kinds = [("L", LETTER), ("M", MARK), ("N", NUMBER), ("P", PUNCTUATION), ("S", SYMBOL)];
        let mut all = Vec::new();
        for (letter, kind) in kinds {
            let class = format!(r"[\p{{{letter}}}&&\p{{age=15.1}}]");
            all.extend(ranges(&class).into_iter().map(|(first, last)| (first, last, kind)));
        }
        all.sort_unstable();
        all
    });
    let after = RANGES.partition_point(|range| range.0 <= character);
    match after.checked_sub(1).map(|at| RANGES[at]) {
        Some((_, last, kind)) if character <= last => kind,
        _ => 0,
    }
}

/// The characters of a class, written as in a regular expression: first and last of each range, in order.
fn ranges(class: &str) -> Vec<(char, char)> {
    let parsed = regex_syntax::parse(class);
    match parsed.as_ref().map(|parsed| parsed.kind()) {
        Ok(HirKind::Class(Class::Unicode(class))) => {
            class.ranges().iter().map(|range| (range.start(), range.end())).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_those_of_regular_expressions() {
        let of = |class: &str| fancy_regex::Regex::new(&format!(r"^[{class}&&\p{{age=15.1}}]$")).unwrap();
        let rules = [
            (of(r"\p{L}"), LETTER),
            (of(r"\p{M}"), MARK),
            (of(r"\p{N}"), NUMBER),
            (of(r"\p{P}"), PUNCTUATION),
            (of(r"\p{S}"), SYMBOL),
            (of(r"\s"), SPACE),
        ];
        for character in (0..=0x3_ffff).filter_map(char::from_u32) {
            let text = character.to_string();
            for (rule, expected) in &rules {
                let found = is(character, *expected);
                assert_eq!(found, rule.is_match(&text).unwrap(), "{character:?} {expected}");
            }
        }
    }
}
