//! Options of `vramkit serve`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use vramkit::ByteSize;

use super::parse::{Levels, interval, levels, record_size};

/// Serve what top shows: OpenMetrics, JSON, events, a page
///
/// On loopback, only requests that name a loopback host are served. Any other address needs --token-file. Scrapes get the
/// last reading (Age: says how old it is) as OpenMetrics, or as Prometheus's text format to Accept: text/plain. SIGTERM
/// ends it with exit status 0. What was recorded in the file of --record before is shown again. Cards that are lost,
/// sources that do not answer and recordings that cannot be written are told in /readyz, in /metrics and on standard error
/// (VRAMKIT_LOG=off, error, warn, info or debug).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit serve
  vramkit serve --listen 0.0.0.0:9835 --token-file /etc/vramkit/token
  curl http://127.0.0.1:9835/metrics
  curl -H 'Accept: text/plain' http://127.0.0.1:9835/metrics | promtool check metrics")]
pub struct ServeOptions {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9835", value_parser = address)]
    pub listen: SocketAddr,
    /// A file with the token that requests must carry (Authorization: Bearer TOKEN; in a browser, http://…/?token=TOKEN)
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Between two readings at most; they come sooner as headroom shrinks
    #[arg(long, value_name = "S", default_value = "1", value_parser = interval)]
    pub interval: Duration,
    /// Fractions from which on memory is elevated, high, critical
    #[arg(long, value_name = "F,F,F", value_parser = levels)]
    pub levels: Option<Levels>,
    /// Keep readings in a file
    #[arg(long, value_name = "FILE.jsonl")]
    pub record: Option<PathBuf>,
    /// Most bytes of it and its older parts (FILE.old, and FILE.history at a lower resolution)
    #[arg(long, value_name = "SIZE", default_value = "64MiB", requires = "record", value_parser = record_size)]
    pub record_size: ByteSize,
}

/// Numbers, or a name of this machine.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text
        .to_socket_addrs()
        .map_err(|error| format!("{error}; write ADDRESS:PORT, such as 127.0.0.1:9835"))?;
    found.into_iter().next().ok_or_else(|| "no such address".to_owned())
}
