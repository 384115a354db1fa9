//! vramkit's monitor over HTTP.
//!
//! ```text
//! watcher ──► shared (one reading, many readers) ─┬──► /metrics       OpenMetrics, read when scraped
//!                                                 ├──► /api/snapshot  the tick, /api/history the last samples
//!                                                 ├──► /events        ticks as server-sent events
//!                                                 └──► /              a page; /healthz, /readyz
//! ```
//!
//! In: a watcher, an address. Out: documents. Never here: a judgement of what was read, or anything that a request changes.
//!
//! One thread serves; readings are made on another. Connections, headers, bodies and what a slow reader may be behind are
//! bounded, and whoever does not read is dropped. On loopback only requests that name a loopback host are served; on any
//! other address a token is required.

mod config;
mod guard;
mod metrics;
mod routes;
mod server;
mod shared;

pub use config::{ServeConfig, ServeError};
pub use metrics::openmetrics;
pub use server::serve;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
