//! Byte-level BPE: the bytes of a word, merged pair by pair, the pair of the lowest rank first.
//!
//! In: a word. Out: its tokens. The time for a word of n bytes is that of sorting n pairs, whatever the word.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use vramkit_models::gguf::Texts;

use super::byte_alphabet;
use super::error::TokenizerError;
use super::rules::{self, Rule};
use super::tokens::Tokens;
use super::vocabulary::{MERGES, PRE, Vocabulary};
use super::words;

/// Stands for no token: for a byte that the vocabulary lacks, or for a symbol that was merged into another.
const NONE: u32 = u32::MAX;

pub(super) struct Bpe {
    rule: &'static Rule,
    /// The token of each byte.
    bytes: [u32; 256],
    merges: Merges,
}

/// Which pairs of tokens become which.
struct Merges {
    by_pair: HashTable<Merge>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy)]
struct Merge {
    left: u32,
    right: u32,
    /// The lower, the sooner.
    rank: u32,
    merged: u32,
}

/// A symbol of a word, with its neighbours' places.
#[derive(Clone, Copy)]
struct Symbol {
    token: u32,
    before: u32,
    behind: u32,
}

impl Bpe {
    pub fn new(vocabulary: &Vocabulary, tokens: &Tokens) -> Result<Self, TokenizerError> {
        let name = vocabulary.pre.as_deref().ok_or(TokenizerError::Missing { key: PRE })?;
        let rule = rules::named(name)
            .ok_or_else(|| TokenizerError::UnknownPre { name: name.to_owned(), known: rules::names() })?;
        let merges = vocabulary.merges.as_ref().ok_or(TokenizerError::Missing { key: MERGES })?;
        let bytes = byte_alphabet::CHARACTERS.map(|character| {
            let mut text = [0; 4];
            tokens.find(character.encode_utf8(&mut text).as_bytes()).unwrap_or(NONE)
        });
        Ok(Self { rule, bytes, merges: Merges::new(merges, tokens)? })
    }

    /// Whether a text begins with BOS where the file does not say.
    pub fn adds_bos(&self) -> bool {
        self.rule.adds_bos
    }

    /// The tokens of a text. A byte for which the vocabulary has no token is left out, as llama.cpp and `tokenizers` do: SmolLM2's, for
    /// one, has none for a few control characters.
    pub fn encode(&self, tokens: &Tokens, text: &str, into: &mut Vec<u32>) {
        let (mut symbols, mut written) = (Vec::new(), String::new());
        words::cut(self.rule.steps, text, &mut |word| {
            if self.rule.whole_words {
                written.clear();
                written.extend(word.bytes().map(|byte| byte_alphabet::CHARACTERS[usize::from(byte)]));
                if let Some(token) = tokens.find(written.as_bytes()) {
                    into.push(token);
                    return;
                }
            }
            self.merge(word.as_bytes(), &mut symbols);
            into.extend(symbols.iter().map(|symbol| symbol.token).filter(|&token| token != NONE));
        });
    }

    /// Leaves the merged symbols of a word in `symbols`, among those that are none any more.
    fn merge(&self, word: &[u8], symbols: &mut Vec<Symbol>) {
        symbols.clear();
        // Where there is no neighbour, the place is past the end.
        symbols.extend((0_u32..).zip(word).map(|(at, &byte)| Symbol {
            token: self.bytes[usize::from(byte)],
            before: at.wrapping_sub(1),
            behind: at + 1,
        }));
        let pair = |symbols: &[Symbol], left: u32| {
            let left = symbols.get(left as usize)?;
            let right = symbols.get(left.behind as usize)?;
            self.merges.of(left.token, right.token)
        };
        let mut queue: BinaryHeap<Reverse<(u32, u32)>> = (0..symbols.len() as u32)
            .filter_map(|left| pair(symbols, left).map(|merge| Reverse((merge.rank, left))))
            .collect();
        while let Some(Reverse((rank, left))) = queue.pop() {
            // What was queued may have been merged since.
            let Some(merge) = pair(symbols, left).filter(|merge| merge.rank == rank) else { continue };
            let Symbol { before, behind, .. } = symbols[left as usize];
            let next = symbols[behind as usize].behind;
            symbols[left as usize] = Symbol { token: merge.merged, before, behind: next };
            symbols[behind as usize].token = NONE;
            if let Some(next) = symbols.get_mut(next as usize) {
                next.before = left;
            }
            for left in [before, left] {
                queue.extend(pair(symbols, left).map(|merge| Reverse((merge.rank, left))));
            }
        }
    }
}

impl Merges {
    fn new(texts: &Texts, tokens: &Tokens) -> Result<Self, TokenizerError> {
        let hasher = DefaultHashBuilder::default();
        let hash = |left: u32, right: u32| hasher.hash_one(u64::from(left) << 32 | u64::from(right));
        let mut by_pair: HashTable<Merge> = HashTable::with_capacity(texts.len());
        // Most vocabularies list merged tokens in the order of their merges, so the next token is the likely one.
        let (mut next, mut joined) = (0, Vec::new());
        for (at, text) in texts.iter().enumerate() {
            let wrong =
                |part: &str| TokenizerError::Merge { at, text: text.to_owned(), part: part.to_owned() };
            // A blank within is no part of either: GPT-2's alphabet has none.
            let (left, right) = text.split_once(' ').ok_or_else(|| wrong(text))?;
            joined.clear();
            joined.extend_from_slice(left.as_bytes());
            joined.extend_from_slice(right.as_bytes());
            let token = |text: &str| tokens.find(text.as_bytes()).ok_or_else(|| wrong(text));
            let merged = match tokens.text(next).as_bytes() == joined {
                true => next,
                false => tokens.find(&joined).ok_or_else(|| wrong(&String::from_utf8_lossy(&joined)))?,
            };
            next = merged + 1;
            let (left, right, rank) = (token(left)?, token(right)?, at as u32);
            by_pair
                .entry(
                    hash(left, right),
                    |other| (other.left, other.right) == (left, right),
                    |other| hash(other.left, other.right),
                )
                .or_insert(Merge { left, right, rank, merged });
        }
        Ok(Self { by_pair, hasher })
    }

    fn of(&self, left: u32, right: u32) -> Option<Merge> {
        if left == NONE || right == NONE {
            return None;
        }
        let hash = self.hasher.hash_one(u64::from(left) << 32 | u64::from(right));
        self.by_pair.find(hash, |other| (other.left, other.right) == (left, right)).copied()
    }
}
