//! SentencePiece BPE: the characters of a text, merged pair by pair, the pair whose join scores highest first.
//!
//! In: a text, blanks written as `▁`. Out: its tokens; a character that is no token is its bytes. The time for a text of n characters
//! is that of sorting n pairs, whatever the text.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::error::TokenizerError;
use super::tokens::Tokens;
use super::vocabulary::{SCORES, Vocabulary};

/// How a blank is written.
pub(super) const BLANK: &str = "▁";

pub(super) struct Sentence {
    scores: Vec<f32>,
    /// The token of each byte; of those that no text has in UTF-8, anything.
    bytes: [u32; 256],
}

/// A symbol of a text, with its neighbours' places. Without bytes it is merged into another.
#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    length: u32,
    before: u32,
    behind: u32,
}

/// Two symbols whose join is a token.
struct Pair {
    score: f32,
    left: u32,
    /// Bytes of both.
    length: u32,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        // No score is NaN, and 0 and −0 are one: `total_cmp` would tell them apart.
        let by_score = self.score.partial_cmp(&other.score).unwrap_or(Ordering::Equal);
        by_score.then(other.left.cmp(&self.left)).then(self.length.cmp(&other.length))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

impl Sentence {
    pub fn new(vocabulary: &Vocabulary, tokens: &Tokens) -> Result<Self, TokenizerError> {
        let scores = vocabulary.scores.clone().ok_or(TokenizerError::Missing { key: SCORES })?;
        if scores.len() != tokens.len() {
            return Err(TokenizerError::Length { key: SCORES, found: scores.len(), tokens: tokens.len() });
        }
        if let Some(at) = scores.iter().position(|score| score.is_nan()) {
            return Err(TokenizerError::Score { at, score: scores[at] });
        }
        let mut bytes = [0; 256];
        for (byte, token) in (0..=u8::MAX).zip(&mut bytes) {
            let written = tokens.find(format!("<0x{byte:02X}>").as_bytes());
            let found = written.or_else(|| tokens.find(&[byte]));
            let in_no_text = matches!(byte, 0xc0 | 0xc1 | 0xf5..);
            *token = match found {
                Some(found) => found,
                None if in_no_text => 0,
                None => return Err(TokenizerError::NoByte { byte }),
            };
        }
        Ok(Self { scores, bytes })
    }

    /// The tokens of a text, of less than 4 GiB.
    pub fn encode(&self, tokens: &Tokens, text: &str, into: &mut Vec<u32>) {
        let mut symbols: Vec<Symbol> = (0_u32..)
            .zip(text.char_indices())
            .map(|(place, (start, character))| Symbol {
                start: start as u32,
                length: character.len_utf8() as u32,
                // Where there is no neighbour, the place is past the end.
                before: place.wrapping_sub(1),
                behind: place + 1,
            })
            .collect();
        let part = |start: u32, length: u32| &text.as_bytes()[start as usize..(start + length) as usize];
        let pair = |symbols: &[Symbol], left: u32| {
            let first = symbols.get(left as usize)?;
            let length = first.length + symbols.get(first.behind as usize)?.length;
            let token = tokens.find(part(first.start, length))?;
            Some(Pair { score: self.scores[token as usize], left, length })
        };
        let mut queue: BinaryHeap<Pair> =
            (0..symbols.len() as u32).filter_map(|left| pair(&symbols, left)).collect();
        while let Some(Pair { left, length, .. }) = queue.pop() {
            let Symbol { start, length: own, before, behind } = symbols[left as usize];
            // What was queued may have been merged since: then its symbols are gone, or longer.
            let second = symbols.get(behind as usize).map_or(0, |second| second.length);
            if own == 0 || second == 0 || own + second != length {
                continue;
            }
            let next = symbols[behind as usize].behind;
            symbols[left as usize] = Symbol { start, length, before, behind: next };
            symbols[behind as usize].length = 0;
            if let Some(next) = symbols.get_mut(next as usize) {
                next.before = left;
            }
            queue.extend([before, left].into_iter().filter_map(|left| pair(&symbols, left)));
        }
        for symbol in symbols.iter().filter(|symbol| symbol.length > 0) {
            let written = part(symbol.start, symbol.length);
            match tokens.find(written) {
                Some(token) => into.push(token),
                None => into.extend(written.iter().map(|&byte| self.bytes[usize::from(byte)])),
            }
        }
    }
}
