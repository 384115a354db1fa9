//! Text from tokens as they come: whole characters only.

use super::tokenizer::{Special, Tokenizer};

/// Writes tokens as text, one by one. A character whose bytes are spread over tokens is written when it is whole; bytes that can be no
/// part of one are `�`. All that is written together is the text of all the bytes together.
///
/// ```no_run
/// use vramkit_llm::text::{Decoder, Special, Tokenizer};
/// use vramkit_models::gguf::GgufFile;
///
/// let tokenizer = Tokenizer::from_gguf(&GgufFile::open("model.gguf".as_ref())?)?;
/// let mut decoder = Decoder::new(Special::Plain);
/// let mut text = String::new();
/// for token in tokenizer.encode("naïve", Special::Plain, false) {
///     text += &decoder.push(&tokenizer, token);
/// }
/// assert_eq!(text + &decoder.finish(), "naïve");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    special: Special,
    /// The beginning of a character.
    held: Vec<u8>,
}

impl Decoder {
    /// A decoder that writes special tokens ([`Special::Parse`]) or leaves them out ([`Special::Plain`]).
    pub fn new(special: Special) -> Self {
        Self { special, held: Vec::new() }
    }

    /// The text that is certain with this token.
    pub fn push(&mut self, tokenizer: &Tokenizer, token: u32) -> String {
        tokenizer.bytes(token, self.special, &mut self.held);
        let mut text = String::new();
        let mut rest = 0;
        for chunk in self.held.utf8_chunks() {
            text.push_str(chunk.valid());
            rest += chunk.valid().len() + chunk.invalid().len();
            if rest == self.held.len() && is_beginning(chunk.invalid()) {
                rest -= chunk.invalid().len();
            } else if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.held.drain(..rest);
        text
    }

    /// What is left at the end: `�` for a character that was not finished.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }
}

/// Whether more bytes can make this a character.
fn is_beginning(bytes: &[u8]) -> bool {
    matches!(std::str::from_utf8(bytes), Err(error) if error.error_len().is_none())
}
