//! Special tokens in a text: found before all else, the longest first.
//!
//! In: a text. Out: tokens and the text between them, in order, as llama.cpp cuts it: each token in turn, the longest first, takes
//! its occurrences from left to right out of what is left; some take the white space beside them with them. What is left is read
//! once for each length that special tokens have, not for each of them: there can be thousands.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::tokens::{CONTROL, STRIPS_BEFORE, STRIPS_BEHIND, Tokens, UNKNOWN, USER_DEFINED};

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part<'t> {
    Text(&'t str),
    Token(u32),
}

/// The lengths of special tokens, the longest first, with the bytes that those of a length begin with.
pub(super) struct Specials {
    lengths: Vec<(usize, [bool; 256])>,
}

impl Specials {
    pub fn new(tokens: &Tokens) -> Self {
        let mut lengths: BTreeMap<Reverse<usize>, [bool; 256]> = BTreeMap::new();
        for id in (0..tokens.len() as u32).filter(|&id| is_special(tokens, id, true)) {
            let text = tokens.text(id).as_bytes();
            if let Some(&first) = text.first() {
                lengths.entry(Reverse(text.len())).or_insert([false; 256])[usize::from(first)] = true;
            }
        }
        Self { lengths: lengths.into_iter().map(|(Reverse(length), first)| (length, first)).collect() }
    }

    /// Cuts a text; control tokens are found in it where `parse` says so, user-defined ones always.
    pub fn cut<'t>(&self, tokens: &Tokens, text: &'t str, parse: bool) -> Vec<Part<'t>> {
        let mut parts = Vec::new();
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        for (length, first) in &self.lengths {
            let cut = |part| match part {
                Part::Token(_) => vec![part],
                Part::Text(text) => cut(tokens, text, &occurrences(tokens, text, *length, first, parse)),
            };
            parts = parts.into_iter().flat_map(cut).collect();
        }
        parts
    }
}

/// Where special tokens of a length stand, by their numbers and then their places.
fn occurrences(
    tokens: &Tokens,
    text: &str,
    length: usize,
    first: &[bool; 256],
    parse: bool,
) -> Vec<(u32, usize)> {
    let mut found = Vec::new();
    for (at, window) in text.as_bytes().windows(length).enumerate() {
        if first[usize::from(window[0])] {
            let special = tokens.find(window).filter(|&id| is_special(tokens, id, parse));
            found.extend(special.map(|id| (id, at)));
        }
    }
    found.sort_unstable();
    found
}

/// Cuts tokens out of a text at these places; those that lie in what is taken already stay.
fn cut<'t>(tokens: &Tokens, text: &'t str, found: &[(u32, usize)]) -> Vec<Part<'t>> {
    // What is taken: from where, to where, by which token.
    let mut taken: BTreeMap<usize, (usize, u32)> = BTreeMap::new();
    for &(id, at) in found {
        let end = at + tokens.text(id).len();
        let before = taken.range(..end).next_back().map_or(0, |(_, &(end, _))| end);
        if before > at {
            continue;
        }
        let behind = taken.range(end..).next().map_or(text.len(), |(&start, _)| start);
        let start = match tokens.is(id, STRIPS_BEFORE) {
            true => before + text[before..at].trim_end_matches(is_space).len(),
            false => at,
        };
        let stop = match tokens.is(id, STRIPS_BEHIND) {
            true => behind - text[end..behind].trim_start_matches(is_space).len(),
            false => end,
        };
        taken.insert(start, (stop, id));
    }
    let (mut parts, mut from) = (Vec::new(), 0);
    for (start, (end, id)) in taken {
        if from < start {
            parts.push(Part::Text(&text[from..start]));
        }
        parts.push(Part::Token(id));
        from = end;
    }
    if from < text.len() {
        parts.push(Part::Text(&text[from..]));
    }
    parts
}

fn is_special(tokens: &Tokens, id: u32, parse: bool) -> bool {
    match parse {
        true => tokens.is(id, CONTROL | UNKNOWN | USER_DEFINED),
        false => tokens.is(id, USER_DEFINED) && !tokens.is(id, CONTROL | UNKNOWN),
    }
}

/// C's `isspace`.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}
