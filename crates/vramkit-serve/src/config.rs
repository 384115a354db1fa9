//! How to serve, and why nothing is served.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use vramkit_watch::record::RecordError;

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// What requests must carry; required when `listen` is not loopback.
    pub token: Option<String>,
    /// Between two readings at most; they come sooner as headroom shrinks.
    pub interval: Duration,
    /// Where to keep ticks, and how many bytes of them.
    pub record: Option<(PathBuf, u64)>,
}

/// Why nothing is served.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others could read it.
    #[error("{0} is not a loopback address: others can reach it, and there is no token")]
    TokenRequired(SocketAddr),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The recording cannot be begun: another recorder has it, or it cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The system has no thread or timer for it.
    #[error("cannot serve: {0}")]
    System(#[from] io::Error),
}
