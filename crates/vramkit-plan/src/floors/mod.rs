//! Search over floors, for problems of hundreds to many thousands of buffers: a placement is built from the bottom up, and then
//! windows of it are built anew.
//!
//! ```text
//! problem ──► places ──► passes over all of it ──► layout ──► windows of time and address, ──► layout
//!                        (rules, learned weights)             again and again
//!                                 └────────── beam · profile · valley ──────────┘
//! ```
//!
//! A pass decides what lies on the floor of one valley after another (`beam`), each choice compared by what it makes certain to
//! be left empty (`profile`, `valley`). Sections that end above the height that is wanted gain weight, and valleys with heavy
//! sections come first in the next pass, as in the exact search. What no pass mends is mended in windows (`windows`): a large-neighbourhood
//! search (Shaw, 1998) whose neighbourhoods are runs of sections around those that are too high. Nothing is proven here.

mod aim;
mod beam;
mod filled;
mod ground;
mod layout;
mod passes;
mod profile;
mod rule;
mod search;
mod valley;
mod windows;

pub use search::{FloorSearch, WindowSearch};

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
