//! vramkit's monitor over HTTP.
//!
//! ```text
//! watcher ──► shared (one reading, many readers) ─┬──► /metrics       OpenMetrics, or Prometheus's text
//!                                                 ├──► /api/snapshot  the tick, /api/history the last samples
//!                                                 ├──► /events        ticks as server-sent events
//!                                                 └──► /              a page; /healthz, /readyz
//! ```
//!
//! In: a watcher, an address. Out: documents. Never here: a judgement of what was read, or anything that a request changes.
//!
//! One thread serves; another makes readings at its own pace, and whoever asks gets the last one and its age. Connections
//! are counted and timed: when there are too many, whoever holds one and asks nothing goes first.
//! Answers are handed over in small pieces, so that a slow reader holds none of them whole. On loopback only requests that
//! name a loopback host are served; on any other address a token is required.
//!
//! ```
//! use std::time::Duration;
//! use vramkit_serve::{ServeConfig, serve};
//! use vramkit_watch::{WatchConfig, Watcher};
//!
//! let watcher = Watcher::of_this_machine(WatchConfig::default())?;
//! let config = ServeConfig {
//!     listen: "127.0.0.1:0".parse()?,
//!     token: None,
//!     interval: Duration::from_secs(2),
//!     record: None,
//! };
//! serve(&config, watcher, |address| assert!(address.ip().is_loopback()), std::future::ready(()))?; // and ends at once
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod config;
mod connections;
mod exposition;
mod guard;
mod metrics;
mod page;
mod routes;
mod server;
mod shared;

pub use config::{ServeConfig, ServeError};
pub use metrics::openmetrics;
pub use server::serve;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
