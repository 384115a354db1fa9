//! vramkit's monitor as a terminal screen.
//!
//! ```text
//! feed (a watcher, a recording) ──► app (what is chosen, sorted, filtered) ──► screen
//!                         keys, mouse ──┘
//! ```
//!
//! In: ticks, keys. Out: frames. Never here: a reading of a device, or a judgement of one.
//!
//! The app is plain state that events change and the screen draws; neither knows a terminal, so both are tested without one.
//!
//! ```no_run
//! use std::time::Duration;
//! use vramkit_top::{Feed, run};
//! use vramkit_watch::record;
//!
//! let ticks = record::read("memory.jsonl".as_ref())?.ticks;
//! run(Feed::Recorded(ticks, Duration::from_secs(1)))?; // until somebody presses q
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod app;
mod screen;
mod terminal;

pub use app::{App, Input, Sort, View};
pub use screen::draw;
pub use terminal::{Feed, run};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
