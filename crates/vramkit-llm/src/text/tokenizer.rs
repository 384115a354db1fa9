//! The tokenizer of a model: text to tokens, tokens to bytes.

use std::collections::BTreeSet;

use vramkit_models::gguf::GgufFile;

use super::bpe::Bpe;
use super::byte_alphabet;
use super::error::TokenizerError;
use super::meanings;
use super::sentence::{BLANK, Sentence};
use super::specials::{Part, Specials};
use super::tokens::{BYTE, CONTROL, NORMAL, Tokens, UNKNOWN, USER_DEFINED};
use super::vocabulary::{ADD_BOS, ADD_EOS, BOS, EOS, SpecialIds, Vocabulary};

/// Most bytes that are taken as one text: of more, each part is tokenized by itself.
const PART: usize = 1 << 30;

/// What the texts of special tokens mean, in a text that is read or in one that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// They are the tokens: read as such, written as such. For what a chat template wrote.
    Parse,
    /// They are text like any other, and such tokens are not written: for what a user wrote, and for what he reads. (User-defined
    /// tokens are text that happens to be one token, and stay what they are.)
    Plain,
}

/// A model's tokenizer.
///
/// ```no_run
/// use vramkit_llm::text::{Special, Tokenizer};
/// use vramkit_models::gguf::GgufFile;
///
/// let file = GgufFile::open("SmolLM2-135M-Instruct.Q4_1.gguf".as_ref())?;
/// let tokenizer = Tokenizer::from_gguf(&file)?;
/// let tokens = tokenizer.encode("The capital of France", Special::Plain, true);
/// assert_eq!(tokenizer.decode(&tokens), "The capital of France");
/// # Ok::<(), vramkit_llm::text::TokenizerError>(())
/// ```
pub struct Tokenizer {
    tokens: Tokens,
    specials: Specials,
    scheme: Scheme,
    ends: BTreeSet<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    adds_bos: bool,
    adds_eos: bool,
    adds_blank: bool,
}

enum Scheme {
    Bpe(Box<Bpe>),
    Sentence(Box<Sentence>),
}

impl Tokenizer {
    /// The tokenizer of a file.
    ///
    /// # Errors
    /// As [`Vocabulary::from_gguf`] and [`Tokenizer::new`].
    pub fn from_gguf(file: &GgufFile) -> Result<Self, TokenizerError> {
        Self::new(Vocabulary::from_gguf(file)?)
    }

    /// The tokenizer of a vocabulary.
    ///
    /// # Errors
    /// A kind of tokenizer, or a way to cut words, that is not covered here; arrays whose lengths disagree; a text that stands for two
    /// tokens; merges of what is no token; scores that are no numbers; bytes that cannot be written; BOS or EOS asked for and not named.
    pub fn new(mut vocabulary: Vocabulary) -> Result<Self, TokenizerError> {
        let mut tokens = Tokens::new(&mut vocabulary)?;
        let mut ids = vocabulary.ids;
        let check = |key, id: Option<u32>| match id.filter(|&id| id as usize >= tokens.len()) {
            Some(id) => Err(TokenizerError::OutOfRange { key, id: id.into(), tokens: tokens.len() }),
            None => Ok(()),
        };
        check(BOS, ids.bos)?;
        check(EOS, ids.eos)?;
        let (scheme, adds_bos, adds_blank) = match vocabulary.model.as_str() {
            "gpt2" => {
                let bpe = Bpe::new(&vocabulary, &tokens)?;
                let adds_bos = bpe.adds_bos();
                (Scheme::Bpe(Box::new(bpe)), adds_bos, false)
            }
            "llama" => {
                // SentencePiece's own numbers, where the file does not name them.
                let default = |id: u32| ((id as usize) < tokens.len()).then_some(id);
                ids.bos = ids.bos.or(default(1));
                ids.eos = ids.eos.or(default(2));
                let sentence = Sentence::new(&vocabulary, &tokens)?;
                (Scheme::Sentence(Box::new(sentence)), true, vocabulary.add_space_prefix.unwrap_or(true))
            }
            name => return Err(TokenizerError::UnknownModel { name: name.to_owned() }),
        };
        let adds_bos = vocabulary.add_bos.unwrap_or(adds_bos);
        let adds_eos = vocabulary.add_eos.unwrap_or(false);
        for (adds, id, flag, key) in [(adds_bos, ids.bos, ADD_BOS, BOS), (adds_eos, ids.eos, ADD_EOS, EOS)] {
            if adds && id.is_none() {
                return Err(TokenizerError::NoId { flag, key });
            }
        }
        for id in 0..tokens.len() as u32 {
            if tokens.is(id, BYTE) && byte_named(tokens.text(id)).is_none() {
                return Err(TokenizerError::NotByte { id, text: tokens.text(id).to_owned() });
            }
        }
        let ends = meanings::ends(&mut tokens, &ids);
        meanings::strip(&mut tokens, &vocabulary);
        let specials = Specials::new(&tokens);
        let SpecialIds { bos, eos, .. } = ids;
        Ok(Self { tokens, specials, scheme, ends, bos, eos, adds_bos, adds_eos, adds_blank })
    }

    /// The tokens of a text. With `add_bos`, what the vocabulary puts around a text is put there: BOS where it asks for it, and EOS.
    pub fn encode(&self, text: &str, special: Special, add_bos: bool) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(text.len() / 3);
        tokens.extend(self.bos.filter(|_| add_bos && self.adds_bos));
        // A blank is put before a text and before what follows a special token.
        let mut blank = self.adds_blank;
        for part in self.specials.cut(&self.tokens, text, special == Special::Parse) {
            match part {
                Part::Token(token) => {
                    tokens.push(token);
                    blank = self.adds_blank;
                }
                Part::Text(text) => {
                    self.encode_text(text, std::mem::take(&mut blank), &mut tokens);
                }
            }
        }
        tokens.extend(self.eos.filter(|_| add_bos && self.adds_eos));
        tokens
    }

    /// The tokens of a text without special tokens.
    fn encode_text(&self, mut text: &str, mut blank: bool, into: &mut Vec<u32>) {
        while !text.is_empty() {
            let (part, rest) = text.split_at(boundary(text, PART));
            match &self.scheme {
                Scheme::Bpe(bpe) => bpe.encode(&self.tokens, part, into),
                Scheme::Sentence(sentence) => {
                    let written = [if blank { BLANK } else { "" }, &part.replace(' ', BLANK)].concat();
                    sentence.encode(&self.tokens, &written, into);
                }
            }
            (text, blank) = (rest, false);
        }
    }

    /// The tokens of a conversation that a chat template rendered. Most templates write themselves what begins a text; it is added
    /// where they do not and the model wants it.
    pub fn encode_chat(&self, rendered: &str) -> Vec<u32> {
        let plain = self.encode(rendered, Special::Parse, false);
        match self.bos() {
            Some(bos) if plain.first() == Some(&bos) => plain,
            _ => self.encode(rendered, Special::Parse, true),
        }
    }

    /// The text of tokens, without special ones. What is no UTF-8 is `�`, and so is a token that is not in the vocabulary. The blank that
    /// was put before the text is taken away again.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut bytes = Vec::new();
        tokens.iter().for_each(|&token| self.bytes(token, Special::Plain, &mut bytes));
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if self.adds_blank && text.starts_with(' ') {
            text.remove(0);
        }
        text
    }

    /// Puts the bytes of a token behind those in `into`: of a special one nothing, or with [`Special::Parse`] its text; of one that is
    /// not in the vocabulary `�`.
    pub fn bytes(&self, token: u32, special: Special, into: &mut Vec<u8>) {
        let (kinds, text) = (self.tokens.kinds(token), self.tokens.text(token));
        if token as usize >= self.tokens.len() {
            into.extend_from_slice("\u{fffd}".as_bytes());
        } else if kinds & (CONTROL | UNKNOWN) != 0 {
            if special == Special::Parse {
                into.extend_from_slice(text.as_bytes());
            }
        } else if kinds & USER_DEFINED != 0 {
            into.extend_from_slice(text.as_bytes());
        } else if kinds & NORMAL != 0 {
            match self.scheme {
                Scheme::Sentence(_) => into.extend_from_slice(text.replace(BLANK, " ").as_bytes()),
                Scheme::Bpe(_) => {
                    let length = into.len();
                    for character in text.chars() {
                        match byte_alphabet::byte(character) {
                            Some(byte) => into.push(byte),
                            None => {
                                // Not of the alphabet, so it was added to the vocabulary as it is.
                                into.truncate(length);
                                into.extend_from_slice(text.as_bytes());
                                break;
                            }
                        }
                    }
                }
            }
        } else if kinds & BYTE != 0 {
            into.extend(byte_named(text));
        }
    }

    /// The text of a token as the vocabulary has it; nothing for one that is not there.
    pub fn token_text(&self, token: u32) -> Option<&str> {
        ((token as usize) < self.tokens.len()).then(|| self.tokens.text(token))
    }

    /// The token of this text, as the vocabulary has it.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.tokens.find(text.as_bytes())
    }

    /// Whether an answer ends with this token.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The tokens that end an answer, in order.
    pub fn ends(&self) -> impl Iterator<Item = u32> + '_ {
        self.ends.iter().copied()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether a text begins with BOS.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// How many tokens there are.
    pub fn vocabulary_len(&self) -> usize {
        self.tokens.len()
    }
}

/// The last boundary of characters up to a byte.
fn boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// The byte of a token's text: `<0x41>`.
fn byte_named(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}
