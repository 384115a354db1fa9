//! Several models on one card: what a manager's configuration runs, and which of its models fit together.
//!
//! In: a configuration as it is (llama-swap's YAML, llama.cpp's presets, an Ollama Modelfile, lines of `llama-server` or
//! `vllm serve`, our own TOML), and what each model takes. Out: every *maximal* set of models that fits, whether the sets that
//! the file promises do, and llama-swap's file with those sets in it. Never here: what a model takes; that is `vramkit-fit`'s
//! answer to each [`Entry`]'s options.
//!
//! ```text
//! file ──read_sets──► SetsFile ─ entries ──(what each takes)──► maximal_sets ──► MaximalSets ──write_llama_swap──► file
//!                        └────── promised ────────────────────► check_promises ─► Promise
//! ```
//!
//! Nothing is dropped in silence: an option that changes memory and is not covered is a note of its entry, an entry of which
//! nothing can be said has a reason, and a file that its manager would refuse is an error with its line.
//!
//! ```
//! use std::path::Path;
//! use vramkit_sets::{Reading, check_promises, maximal_sets, read_text};
//! use vramkit_units::ByteSize;
//!
//! let script = "llama-server -m chat.gguf -c 8192 -ngl 99\nvllm serve code --gpu-memory-utilization 0.5\n";
//! let file = read_text(Path::new("serve.sh"), script.to_owned(), &Reading::default())?;
//! assert_eq!(file.entries[0].options.context, Some(8_192));
//! let card = ByteSize::gib(24);
//! let sizes = [("chat", ByteSize::gib(9)), ("code", file.entries[1].reserves(card).expect("vLLM reserves"))];
//! let sets = maximal_sets(&sizes.map(|(name, size)| (name.to_owned(), size)), card);
//! assert_eq!(sets.sets[0].models, ["chat", "code"]);
//! # Ok::<(), vramkit_sets::SetsError>(())
//! ```

#![forbid(unsafe_code)]

mod command;
mod error;
mod file;
mod promise;
mod read;
mod reading;
mod solve;
mod together;
mod write;
mod yaml;

pub use error::SetsError;
pub use file::{Entry, Kind, PromisedSet, SetsFile};
pub use promise::{Promise, check_promises};
pub use read::{read_sets, read_sets_with, read_text};
pub use reading::Reading;
pub use solve::{FittingSet, MaximalSets, maximal_sets};
pub use together::Together;
pub use write::write_llama_swap;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
