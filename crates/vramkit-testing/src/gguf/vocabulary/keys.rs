//! From a family to the keys of its tokenizer.

use std::collections::BTreeSet;

use super::super::file::Value;
use super::family::Family;
use super::text::TEXT;
use super::train::{merges, words};

/// Kinds of tokens, by GGUF's numbers.
mod kind {
    pub(super) const NORMAL: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const CONTROL: i32 = 3;
    pub(super) const UNUSED: i32 = 5;
    pub(super) const BYTE: i32 = 6;
}

/// The least vocabulary: specials, bytes and, of pieces with scores, the characters of the text.
pub(in super::super) fn least(family: &Family) -> usize {
    256 + family.specials.len() + if family.pre.is_some() { 0 } else { 1 + characters().len() }
}

/// The keys of a tokenizer with so many tokens; those that training does not fill are unused.
pub(in super::super) fn keys(family: &Family, tokens: usize) -> Vec<(String, Value)> {
    let room = tokens.saturating_sub(least(family));
    let mut vocabulary = match family.pre {
        Some(_) => byte_pairs(family, room),
        None => scored_pieces(family, room),
    };
    for unused in vocabulary.pieces.len()..tokens {
        vocabulary.put(format!("[PAD{unused}]"), -1e6, kind::UNUSED);
    }

    let place = |piece: &str| {
        Value::U32(vocabulary.pieces.iter().position(|known| known == piece).unwrap_or(0) as u32)
    };
    let begin = place(family.specials[0]);
    let end = place(family.specials[1]);
    let turn_end = place(family.turn_ends);
    let mut keys =
        vec![("model", Value::Text(if family.pre.is_some() { "gpt2" } else { "llama" }.to_owned()))];
    keys.extend(family.pre.map(|pre| ("pre", Value::Text(pre.to_owned()))));
    keys.push(("tokens", Value::Texts(vocabulary.pieces)));
    keys.push(("token_type", Value::I32s(vocabulary.kinds)));
    if family.pre.is_some() {
        keys.push(("merges", Value::Texts(vocabulary.merges)));
    } else {
        keys.push(("scores", Value::F32s(vocabulary.scores)));
        keys.push(("unknown_token_id", Value::U32(family.specials.len() as u32)));
        keys.push(("add_space_prefix", Value::Bool(family.space)));
    }
    keys.push(("bos_token_id", begin));
    keys.push(("eos_token_id", end));
    keys.push(("eot_token_id", turn_end));
    keys.push(("add_bos_token", Value::Bool(family.begins)));
    keys.push(("add_eos_token", Value::Bool(false)));
    let mut keys: Vec<_> =
        keys.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect();
    keys.push(("tokenizer.chat_template".to_owned(), Value::Text(family.template.to_owned())));
    keys
}

#[derive(Default)]
struct Vocabulary {
    pieces: Vec<String>,
    scores: Vec<f32>,
    kinds: Vec<i32>,
    merges: Vec<String>,
}

impl Vocabulary {
    fn put(&mut self, piece: String, score: f32, kind: i32) {
        self.pieces.push(piece);
        self.scores.push(score);
        self.kinds.push(kind);
    }

    fn specials(&mut self, family: &Family) {
        family.specials.iter().for_each(|special| self.put((*special).to_owned(), 0.0, kind::CONTROL));
    }
}

/// Bytes, then pairs of them in the order of their merges, then specials.
fn byte_pairs(family: &Family, room: usize) -> Vocabulary {
    let mut vocabulary = Vocabulary::default();
    (0..=255).for_each(|byte| vocabulary.put(shown(byte).to_string(), 0.0, kind::NORMAL));
    let symbols = |word: &str| word.bytes().map(|byte| shown(byte).to_string()).collect();
    for (first, second) in merges(words(TEXT).into_iter().map(symbols), room) {
        vocabulary.put(format!("{first}{second}"), 0.0, kind::NORMAL);
        vocabulary.merges.push(format!("{first} {second}"));
    }
    vocabulary.specials(family);
    vocabulary
}

/// The character that stands for a byte in such vocabularies: itself where it can be seen, or one from 256 on.
fn shown(byte: u8) -> char {
    let seen = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    if seen(byte) {
        return char::from(byte);
    }
    let hidden = (0..byte).filter(|&before| !seen(before)).count() as u32;
    char::from_u32(256 + hidden).unwrap_or('\u{fffd}')
}

/// Specials, the unknown token, bytes, pieces by score, then the characters that they consist of.
fn scored_pieces(family: &Family, room: usize) -> Vocabulary {
    let mut vocabulary = Vocabulary::default();
    vocabulary.specials(family);
    vocabulary.put("<unk>".to_owned(), 0.0, kind::UNKNOWN);
    (0..=255u8).for_each(|byte| vocabulary.put(format!("<0x{byte:02X}>"), 0.0, kind::BYTE));
    let symbols = |word: &str| word.chars().map(|letter| letter_of(letter).to_string()).collect();
    let merges = merges(words(TEXT).into_iter().map(symbols), room);
    let pieces = merges.into_iter().map(|(first, second)| first + &second);
    let all = pieces.chain(characters());
    let mut known = BTreeSet::new();
    for (rank, piece) in all.filter(|piece| known.insert(piece.clone())).enumerate() {
        vocabulary.put(piece, -(rank as f32), kind::NORMAL);
    }
    vocabulary
}

/// The text's characters as pieces, each once.
fn characters() -> Vec<String> {
    let all: BTreeSet<char> = TEXT.chars().filter(|&letter| letter != '\n').map(letter_of).collect();
    all.into_iter().map(String::from).collect()
}

/// A space is shown as a low line.
fn letter_of(letter: char) -> char {
    if letter == ' ' { '\u{2581}' } else { letter }
}
