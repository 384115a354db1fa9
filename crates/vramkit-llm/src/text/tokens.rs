//! The tokens of a vocabulary: their texts, their kinds, and which token a text is.
//!
//! In: a [`Vocabulary`]'s arrays. Out: [`Tokens`], checked: as many kinds as tokens, no text twice.

use std::borrow::Cow;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use vramkit_models::gguf::Texts;

use super::error::TokenizerError;
use super::vocabulary::{TOKENS, TYPES, Vocabulary};

/// Ordinary text.
pub(super) const NORMAL: u8 = 1;
/// Stands for what cannot be written.
pub(super) const UNKNOWN: u8 = 2;
/// Steers the model; not text.
pub(super) const CONTROL: u8 = 4;
/// Text that is taken out before all else.
pub(super) const USER_DEFINED: u8 = 8;
/// A byte.
pub(super) const BYTE: u8 = 16;
/// Takes the white space before it with it.
pub(super) const STRIPS_BEFORE: u8 = 32;
/// Takes the white space behind it with it.
pub(super) const STRIPS_BEHIND: u8 = 64;

pub(super) struct Tokens {
    texts: Texts,
    kinds: Vec<u8>,
    by_text: HashTable<u32>,
    hasher: DefaultHashBuilder,
    longest: usize,
}

impl Tokens {
    /// Takes the texts and types out of the vocabulary.
    pub fn new(vocabulary: &mut Vocabulary) -> Result<Self, TokenizerError> {
        let count = vocabulary.tokens.len();
        if count == 0 {
            return Err(TokenizerError::Missing { key: TOKENS });
        }
        if count > i32::MAX as usize {
            return Err(TokenizerError::Count { tokens: count });
        }
        let kinds = match &vocabulary.types {
            None => vec![NORMAL; count],
            Some(types) if types.len() == count => types.iter().map(|&number| kind(number)).collect(),
            Some(types) => {
                return Err(TokenizerError::Length { key: TYPES, found: types.len(), tokens: count });
            }
        };
        let mut tokens = Self {
            texts: named(std::mem::take(&mut vocabulary.tokens)),
            kinds,
            by_text: HashTable::with_capacity(count),
            hasher: DefaultHashBuilder::default(),
            longest: 0,
        };
        for id in 0..count as u32 {
            tokens.insert(id)?;
        }
        Ok(tokens)
    }

    fn insert(&mut self, id: u32) -> Result<(), TokenizerError> {
        let Self { texts, by_text, hasher, longest, .. } = self;
        let text_of = |id: u32| texts.get(id as usize).unwrap_or_default();
        let text = text_of(id);
        *longest = text.len().max(*longest);
        let entry = by_text.entry(
            hasher.hash_one(text.as_bytes()),
            |&other| text_of(other) == text,
            |&other| hasher.hash_one(text_of(other).as_bytes()),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(first) => {
                Err(TokenizerError::Twice { text: text.to_owned(), first: *first.get(), second: id })
            }
            hashbrown::hash_table::Entry::Vacant(place) => {
                place.insert(id);
                Ok(())
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// The token that is this text.
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        if text.len() > self.longest {
            return None;
        }
        self.by_text.find(self.hasher.hash_one(text), |&id| self.text(id).as_bytes() == text).copied()
    }

    /// The text of a token; nothing for one that is not there.
    pub fn text(&self, id: u32) -> &str {
        self.texts.get(id as usize).unwrap_or_default()
    }

    /// The kinds of a token; none for one that is not there.
    pub fn kinds(&self, id: u32) -> u8 {
        self.kinds.get(id as usize).copied().unwrap_or(0)
    }

    pub fn is(&self, id: u32, kinds: u8) -> bool {
        self.kinds(id) & kinds != 0
    }

    pub fn change_kinds(&mut self, id: u32, change: impl FnOnce(u8) -> u8) {
        if let Some(kinds) = self.kinds.get_mut(id as usize) {
            *kinds = change(*kinds);
        }
    }
}

/// The kind of a token, by its number in a GGUF file. Unused and undefined tokens are of no kind.
fn kind(number: i32) -> u8 {
    match number {
        1 => NORMAL,
        2 => UNKNOWN,
        3 => CONTROL,
        4 => USER_DEFINED,
        6 => BYTE,
        _ => 0,
    }
}

/// The texts, in which an empty one has the name that llama.cpp gives it, so that none is found everywhere.
fn named(texts: Texts) -> Texts {
    if texts.iter().all(|text| !text.is_empty()) {
        return texts;
    }
    let name = |(at, text)| match text {
        "" => Cow::Owned(format!("[EMPTY_{at}]")),
        text => Cow::Borrowed(text),
    };
    texts.iter().enumerate().map(name).collect()
}
