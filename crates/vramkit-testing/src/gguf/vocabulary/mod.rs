//! Small real tokenizers: pieces trained on a short text, special tokens and a chat template, as each family has them.
//!
//! In: a family and how many tokens there must be. Out: keys of a file. Never here: a tokenizer that cuts a text; readers of the
//! files do that. The same text gives the same tokens, so a file depends on its seed alone.

mod family;
mod keys;
mod text;
mod train;

pub(super) use family::Family;
pub(super) use keys::{keys, least};
