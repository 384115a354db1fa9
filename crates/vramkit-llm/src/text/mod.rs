//! Between text and tokens: tokenizers and chat templates from a file.
//!
//! In: a GGUF file's metadata, all of it taken for hostile; messages, text, tokens. Out: tokens, text, or an error that names the key.
//! Never here: a guess. What a file needs and this does not cover is refused by its name.
//!
//! ```text
//! vocabulary (what the file says) ──► tokens (texts and kinds) ──► meanings ──► tokenizer ──► decoder
//!                   text ──► specials ──► rules, words ──► bpe ──┐                 ▲
//!                              └────────► sentence ──────────────┴─────────────────┘
//!
//! messages ──► template (template_functions, json, clock), in a process apart where it is not trusted ──► text
//! ```
//!
//! Why not the crate `tokenizers`: the measure is that a file gives the tokens that llama.cpp gives it, and llama.cpp's rules (which
//! special tokens are found when, how text is cut) are not those of a `tokenizer.json`, which a GGUF file does not have; its maps of a
//! vocabulary take longer to build than a first token may; and its expressions go back and try again, on whatever text comes.
//!
//! ```no_run
//! use vramkit_llm::text::{ChatTemplate, Message, Special, Tokenizer};
//! use vramkit_models::gguf::GgufFile;
//!
//! let file = GgufFile::open("SmolLM2-135M-Instruct.Q4_1.gguf".as_ref())?;
//! let tokenizer = Tokenizer::from_gguf(&file)?;
//! let said = ChatTemplate::from_gguf(&file, &tokenizer)?.render(&[Message::new("user", "Hello")], true)?;
//! let tokens = tokenizer.encode(&said, Special::Parse, false);
//! println!("{} tokens", tokens.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apart;
mod apart_answer;
mod bpe;
mod byte_alphabet;
mod categories;
mod clock;
mod decoder;
mod error;
mod json;
mod meanings;
mod message;
mod rules;
mod sentence;
mod specials;
mod template;
mod template_functions;
mod tokenizer;
mod tokens;
mod vocabulary;
mod words;

pub use apart_answer::answer_apart;
pub use decoder::Decoder;
pub use error::{TemplateError, TokenizerError};
pub use message::Message;
pub use template::{ChatTemplate, Setting};
pub use tokenizer::{Special, Tokenizer};
pub use vocabulary::{SpecialIds, Vocabulary};
