//! Plain data from a file: dictionaries, lists, texts, numbers, from Python pickles or JSON.
//!
//! ```text
//! file ──► Source (a window of bytes) ──► machine (pickle) ──► Values (tables that refer to each other by number)
//!                                    └──► json ─────────────┘
//! ```
//!
//! Nothing that is in a file is ever run, no length in it is believed, and memory is bounded by what has been read.

mod escapes;
mod json;
mod machine;
mod memo;
mod source;
mod table;

pub(crate) use json::read as read_json;
pub(crate) use machine::{is_pickle, read as read_pickle};
pub(crate) use source::{Budget, Counted, ValueError};
pub(crate) use table::{ACTIONS, DIVISIONS, Key, Kind, Value, Values};
