//! Why a file's tokenizer or chat template cannot be used: always with the key, and what to do.

use vramkit_models::ReadError;

/// Why there is no tokenizer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file cannot be read, or a key holds another type than it must.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A key that the vocabulary needs is not there.
    #[error("no `{key}` in the file; convert the model again together with its tokenizer")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key holds another type than it must.
    #[error("`{key}` is no {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// No code for this kind of vocabulary.
    #[error(
        "`tokenizer.ggml.model` is `{name}`, for which there is no tokenizer here; `gpt2` (byte-level BPE) and \
         `llama` (SentencePiece BPE) are there"
    )]
    UnknownModel {
        /// What the file says.
        name: String,
    },
    /// No code for this way of cutting text into words. To go on with another one would give other tokens than those that
    /// the model was trained on.
    #[error("`tokenizer.ggml.pre` is `{name}`, for which there is no rule here; known are {known}")]
    UnknownPre {
        /// What the file says.
        name: String,
        /// Those that are known.
        known: String,
    },
    /// Two arrays about the same tokens have different lengths.
    #[error("`{key}` has {found} values for {tokens} tokens of `tokenizer.ggml.tokens`")]
    Length {
        /// The key of the other array.
        key: &'static str,
        /// Its length.
        found: usize,
        /// How many tokens there are.
        tokens: usize,
    },
    /// More tokens than a number of 31 bits can name, or none.
    #[error("`tokenizer.ggml.tokens` has {tokens} tokens; 1 to 2^31 − 1 can be used")]
    Count {
        /// How many there are.
        tokens: usize,
    },
    /// A token is named that is not there.
    #[error("`{key}` is {id}, and there are {tokens} tokens")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// The number it gives.
        id: i128,
        /// How many tokens there are.
        tokens: usize,
    },
    /// A text stands for two tokens.
    #[error("`tokenizer.ggml.tokens` has `{text}` twice, as {first} and {second}")]
    Twice {
        /// The text.
        text: String,
        /// Its first place.
        first: u32,
        /// Its second place.
        second: u32,
    },
    /// A merge is no pair of tokens whose join is a token.
    #[error("`tokenizer.ggml.merges`: number {at}, `{text}`, names `{part}`, which is no token")]
    Merge {
        /// Which merge, counted from 0.
        at: usize,
        /// The merge as the file has it.
        text: String,
        /// The part of it that is no token.
        part: String,
    },
    /// A score by which nothing can be ordered.
    #[error("`tokenizer.ggml.scores`: number {at} is {score}")]
    Score {
        /// Which score, counted from 0.
        at: usize,
        /// The score.
        score: f32,
    },
    /// A token that is said to stand for a byte does not name one.
    #[error("`tokenizer.ggml.token_type` has token {id}, `{text}`, as a byte; a byte is written `<0x41>`")]
    NotByte {
        /// The token.
        id: u32,
        /// Its text.
        text: String,
    },
    /// A text with this byte could not be written in tokens.
    #[error(
        "`tokenizer.ggml.tokens` has no token for the byte {byte:#04x}, so not every text can be written in it"
    )]
    NoByte {
        /// The byte.
        byte: u8,
    },
    /// A token is to be put before or after every text, and nothing says which.
    #[error("`{flag}` is true, and there is no `{key}`")]
    NoId {
        /// The key that asks for it.
        flag: &'static str,
        /// The key that is missing.
        key: &'static str,
    },
}

/// Why there is no text from a chat template.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The file has none.
    #[error(
        "no `tokenizer.chat_template` in the file: give the model plain text, or the template that it was trained with"
    )]
    Missing,
    /// The key holds something else than a text.
    #[error("`tokenizer.chat_template` is no text")]
    NotText,
    /// More than any template has.
    #[error("`tokenizer.chat_template` has {bytes} bytes; up to {most} are read")]
    TooLong {
        /// Its length, bytes.
        bytes: usize,
        /// The most that is read.
        most: usize,
    },
    /// It cannot be understood.
    #[error("`tokenizer.chat_template` cannot be understood: {0}")]
    Syntax(String),
    /// The template refuses these messages, in its own words (`raise_exception`).
    #[error("the chat template refuses these messages: {0}")]
    Refused(String),
    /// It takes more work than any conversation needs, or writes more.
    #[error("the chat template takes more than {fuel} steps; a template that does is broken or hostile")]
    OutOfFuel {
        /// Steps that it had: instructions, and 64 bytes of what it makes count as one.
        fuel: u64,
    },
    /// The process that it was rendered in did not answer.
    #[error("the chat template could not be rendered in a process of its own: {0}")]
    Apart(String),
    /// It fails on these messages.
    #[error("the chat template fails: {0}")]
    Failed(String),
}
