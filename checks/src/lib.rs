//! Checks of the repository itself.
//!
//! [`Imports`] are read from the source files of a crate: which file takes a name from which. The tests hold them against the
//! drawn order (`docs/architecture.md`). The code in the documents compiles and runs with the tests.

mod imports;

pub use imports::{Imports, SourceError};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/monitoring.md")]
mod monitoring {}
