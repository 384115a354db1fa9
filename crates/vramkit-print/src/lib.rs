//! SVG pictures as PDF and PNG.
//!
//! In: the text of standalone SVGs. Out: one PDF, each SVG a page of it ([`pdf`]), or the pixels of one SVG ([`png`]). A text
//! becomes a tree of shapes and text whose fonts are Noto Sans, regular and bold, and nothing else; the tree becomes a page or
//! pixels. Never here: fonts of the system, other files, the time, random numbers; so the same SVG gives the same bytes
//! everywhere.
//!
//! ```
//! let svg = r#"<svg xmlns="http://www.w3.org/2000/svg" width="280" height="198"><text x="10" y="20">κ = 109 tokens</text></svg>"#;
//! let document = vramkit_print::pdf(&[svg, svg])?;
//! assert!(document.starts_with(b"%PDF"));
//! let pixels = vramkit_print::png(svg, 2.0)?;
//! assert!(pixels.starts_with(b"\x89PNG"));
//! # Ok::<(), vramkit_print::PrintError>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod pdf;
mod png;
mod tree;

pub use error::PrintError;
pub use pdf::pdf;
pub use png::png;

/// The code of the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
