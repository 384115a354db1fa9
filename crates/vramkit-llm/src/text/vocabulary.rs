//! What a file says of its tokenizer, as it says it.
//!
//! In: a GGUF file. Out: [`Vocabulary`]. Whether its parts agree is seen when a [`Tokenizer`](super::Tokenizer) is made of it.

use vramkit_models::gguf::{GgufFile, GgufValue, Texts};

use super::error::TokenizerError;

/// A file's tokenizer, from its keys `tokenizer.ggml.…`.
///
/// ```no_run
/// use vramkit_llm::text::{Tokenizer, Vocabulary};
/// use vramkit_models::gguf::GgufFile;
///
/// let vocabulary = Vocabulary::from_gguf(&GgufFile::open("model.gguf".as_ref())?)?;
/// println!("{} with {} tokens", vocabulary.model, vocabulary.tokens.len());
/// let tokenizer = Tokenizer::new(vocabulary)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// `model`: the kind of tokenizer.
    pub model: String,
    /// `pre`: how text is cut into words.
    pub pre: Option<String>,
    /// `general.name`. llama.cpp knows by it which special tokens take white space with them.
    pub name: Option<String>,
    /// `tokens`: the texts, in order.
    pub tokens: Texts,
    /// `scores`: in what order SentencePiece merges, the highest first.
    pub scores: Option<Vec<f32>>,
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub types: Option<Vec<i32>>,
    /// `merges`: which pairs BPE merges, the first first, with a blank between the two.
    pub merges: Option<Texts>,
    /// Tokens with a meaning.
    pub ids: SpecialIds,
    /// `add_bos_token`: whether a text begins with BOS.
    pub add_bos: Option<bool>,
    /// `add_eos_token`: whether a text ends with EOS.
    pub add_eos: Option<bool>,
    /// `add_space_prefix`: whether a blank is put before a text.
    pub add_space_prefix: Option<bool>,
}

/// Tokens with a meaning, where the file names them: `bos_token_id` and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialIds {
    /// `bos_token_id`: the beginning of a text.
    pub bos: Option<u32>,
    /// `eos_token_id`: its end.
    pub eos: Option<u32>,
    /// `eot_token_id`: the end of a turn.
    pub eot: Option<u32>,
    /// `eom_token_id`: the end of a message.
    pub eom: Option<u32>,
    /// `fim_pre_token_id`: what stands before a gap to be filled follows.
    pub fim_prefix: Option<u32>,
    /// `fim_suf_token_id`: what stands behind it follows.
    pub fim_suffix: Option<u32>,
    /// `fim_mid_token_id`: what is to be filled in follows.
    pub fim_middle: Option<u32>,
    /// `fim_pad_token_id`: nothing, in a gap.
    pub fim_padding: Option<u32>,
    /// `fim_rep_token_id`: a repository's name follows.
    pub fim_repository: Option<u32>,
    /// `fim_sep_token_id`: another file follows.
    pub fim_separator: Option<u32>,
}

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const PRE: &str = "tokenizer.ggml.pre";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";
pub(super) const BOS: &str = "tokenizer.ggml.bos_token_id";
pub(super) const EOS: &str = "tokenizer.ggml.eos_token_id";
pub(super) const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
pub(super) const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

impl Vocabulary {
    /// Reads what the file says.
    ///
    /// # Errors
    /// No `tokenizer.ggml.model` or `tokens`; a key of another type than it must have; a token named that is not there.
    pub fn from_gguf(file: &GgufFile) -> Result<Self, TokenizerError> {
        let keys = Keys { file };
        let model = keys.text(MODEL)?.ok_or(TokenizerError::Missing { key: MODEL })?;
        let tokens = file.texts(TOKENS)?.ok_or(TokenizerError::Missing { key: TOKENS })?;
        let id = |keys_of: &[&'static str]| keys.id(keys_of, tokens.len());
        let ids = SpecialIds {
            bos: id(&[BOS])?,
            eos: id(&[EOS])?,
            eot: id(&["tokenizer.ggml.eot_token_id"])?,
            eom: id(&["tokenizer.ggml.eom_token_id"])?,
            // The second names are those of older files.
            fim_prefix: id(&["tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"])?,
            fim_suffix: id(&["tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"])?,
            fim_middle: id(&["tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"])?,
            fim_padding: id(&["tokenizer.ggml.fim_pad_token_id"])?,
            fim_repository: id(&["tokenizer.ggml.fim_rep_token_id"])?,
            fim_separator: id(&["tokenizer.ggml.fim_sep_token_id"])?,
        };
        Ok(Self {
            model,
            pre: keys.text(PRE)?,
            name: keys.text("general.name")?,
            scores: file.floats(SCORES)?,
            types: file.integers(TYPES)?,
            merges: file.texts(MERGES)?,
            ids,
            add_bos: keys.flag(ADD_BOS)?,
            add_eos: keys.flag(ADD_EOS)?,
            add_space_prefix: keys.flag(ADD_SPACE_PREFIX)?,
            tokens,
        })
    }
}

struct Keys<'a> {
    file: &'a GgufFile,
}

impl Keys<'_> {
    fn value(&self, key: &str) -> Option<&GgufValue> {
        self.file.header().metadata.get(key)
    }

    fn text(&self, key: &'static str) -> Result<Option<String>, TokenizerError> {
        match self.value(key) {
            None => Ok(None),
            Some(GgufValue::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(TokenizerError::WrongType { key, expected: "text" }),
        }
    }

    fn flag(&self, key: &'static str) -> Result<Option<bool>, TokenizerError> {
        match self.value(key) {
            None => Ok(None),
            Some(GgufValue::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(TokenizerError::WrongType { key, expected: "truth value" }),
        }
    }

    /// A token, by the last of these keys that is there.
    fn id(&self, keys: &[&'static str], tokens: usize) -> Result<Option<u32>, TokenizerError> {
        let found = keys.iter().rev().find_map(|key| self.value(key).map(|value| (*key, value)));
        match found {
            None => Ok(None),
            Some((key, GgufValue::Integer(id))) => match u32::try_from(*id) {
                Ok(token) if (token as usize) < tokens => Ok(Some(token)),
                _ => Err(TokenizerError::OutOfRange { key, id: *id, tokens }),
            },
            Some((key, _)) => Err(TokenizerError::WrongType { key, expected: "whole number" }),
        }
    }
}
