//! Does a model's memory behave under pressure?
//!
//! In: a GGUF model, or one that is made for it. Out: a [`StressReport`]: checks, each with what was measured and what it is held to,
//! and what the model takes at several lengths. With `prove`, each check runs again with its fault put in, and says whether it was
//! caught: a check that cannot fail is none. Never here: a figure that was not measured in a pool.
//!
//! ```text
//! question ──► subject (model, engine, prompts) ──► checks, each sound and with its fault ──► report ──► JSON, Markdown
//! ```
//!
//! ```no_run
//! use vramkit_stress::{StressQuestion, stress};
//!
//! let report = stress(&StressQuestion { prove: true, ..StressQuestion::default() }, &mut |check| println!("{check}"))?;
//! assert!(report.passed);
//! println!("{}", report.markdown());
//! # Ok::<(), vramkit_stress::StressError>(())
//! ```

#![forbid(unsafe_code)]

mod battery;
mod checks;
mod question;
mod report;
mod subject;

pub use battery::stress;
pub use question::{StressError, StressQuestion};
pub use report::{Check, LengthUse, StressReport};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
