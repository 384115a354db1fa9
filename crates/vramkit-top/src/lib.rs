//! vramkit's monitor as a terminal screen.
//!
//! ```text
//! feed (a watcher, a recording, ──► app (what is chosen, ──► screen (overview, graph,
//!       other machines)                  sorted, filtered)           table, events)
//!                     keys, mouse ──┘        │
//!                                            └──► a signal to a process, once somebody has said yes
//! ```
//!
//! In: ticks, keys. Out: frames. Never here: a reading of a device, or a judgement of one.
//!
//! The app is plain state that events change and the screen draws; neither knows a terminal, so both are tested without one.
//! What every device has comes first: where there is no room for an overview and one device's details, they take turns. The
//! terminal is put back whatever ends the program: a key, an error, a panic, or a signal.
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
mod entries;
mod feed;
mod filter;
mod help;
mod input;
mod kill;
mod layout;
mod list;
mod over;
mod row;
mod rows;
mod screen;
mod signals;
mod terminal;
mod text;
mod trail;

pub use app::App;
pub use feed::Feed;
pub use input::Input;
pub use rows::{Sort, View};
pub use screen::draw;
pub use terminal::run;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
