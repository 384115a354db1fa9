//! Does the model of a KV cache's occupancy hold for real inference?
//!
//! In: a GGUF model, a data set, a batch of N sequences and a threshold k. Out: a [`ValidateReport`]: what the cache held in every cycle
//! of threshold batching, as the pool granted it, beside what the published formulas, their correction and a simulation of the
//! measured lengths predict, with verdicts. Never here: pictures, or a figure that was not measured or computed from what was.
//!
//! ```text
//! data set ──► prompts ──► experiment (engine: decode until k have ended, replace them) ──► cycles, lengths of requests
//!                              │  ▲                                                          │                │
//!                              ▼  │ journal: a line a cycle                                ▼                ▼
//!                            file, to go on from                                     series, tail ◄──► predictions ──► verdicts
//! ```
//!
//! A step writes one token of each sequence; the token that ends a sequence is chosen and never written. So an output of O tokens is O
//! steps and a request of L and O tokens holds L + O at its end, which is what the models are about. Prompts are read while nobody
//! decodes (exclusive batching), prefixes are not shared, and tokens are chosen greedily: the same question has the same answer.
//!
//! ```no_run
//! use vramkit_validate::{Source, ValidateQuestion, go_on, validate};
//!
//! let question = ValidateQuestion::new("model.gguf", Source::Lengths("lengths.csv".into()));
//! let report = validate(&question, &mut go_on)?;
//! assert_eq!(report.memory.used_after_unload_bytes, vramkit::ByteSize::ZERO);
//! # Ok::<(), vramkit_validate::ValidateError>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod experiment;
mod journal;
mod prediction;
mod prompts;
mod question;
mod report;
mod series;
mod tail;
mod traffic;
mod validate;
mod verdict;

pub use error::ValidateError;
pub use question::{Progress, Source, ValidateQuestion, go_on};
pub use report::{
    Cycle, Errors, Limit, Measured, Measurement, Memory, Outcome, Parameters, Predicted, Prediction,
    RelativeErrors, Tail, Threshold, ValidateReport, Verdict,
};
pub use validate::validate;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
