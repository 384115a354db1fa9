//! What was measured of a KV cache's occupancy beside what was predicted: `vramkit.validate/1`, drawn.
//!
//! ```text
//! JSON ──► document ──► words (figures and verdicts in plain language) ──► picture: four panels (cycles, histogram, tail)
//!                                                                    ├──► comparison: several documents, tail beside tail
//!                                                                    └──► page: HTML, the pictures in it
//! ```
//!
//! Below them: `series` says how each prediction looks everywhere, `axis` turns numbers into places, `paper` writes SVG,
//! `letters` knows how wide text is, `spread` keeps labels apart, `panel` draws a frame and what stands under it.

mod axis;
mod comparison;
mod cycles;
mod document;
mod histogram;
mod letters;
mod page;
mod panel;
mod paper;
mod picture;
mod series;
mod spread;
mod tail;
mod words;

pub use comparison::validations_svg;
pub use document::ValidateDocument;
pub use page::validation_page;
pub use picture::validation_svg;
