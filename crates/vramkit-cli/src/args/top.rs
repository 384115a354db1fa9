//! Options of `vramkit top`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use vramkit::ByteSize;
use vramkit_remote::Address;

use super::parse::{Levels, interval, levels, record_size};

/// Watch who holds the memory of every device, how full it is and whether it leaks
///
/// Reads NVIDIA's and AMD's cards, this machine's memory (within its control group) and every pool that a process
/// publishes, by model and purpose; with addresses, what `vramkit serve` says there instead. A screen on a terminal (keys: ?),
/// one reading as text or JSON otherwise, also where TERM is dumb or not set. Exit status with --once: 1 when a device that a driver or
/// the system speaks of is lost or at level critical, or a leak is suspected on one (devices of programs alone, simulated ones too, do
/// not count), else 3 when a source, such as a driver, or one of the addresses does not answer. A signal that ends the screen puts the terminal back first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit top
  vramkit top --once --json
  vramkit top --interval 0.5 --record memory.jsonl
  vramkit top --replay memory.jsonl
  vramkit top gpu1 gpu2:9835 --token-file token")]
pub struct TopOptions {
    /// Servers on other machines to watch in one screen, instead of this one: HOST or HOST:PORT (9835)
    #[arg(value_name = "ADDRESS", conflicts_with_all = ["levels", "replay"])]
    pub addresses: Vec<Address>,
    /// A file with the token that those servers want (as of vramkit serve --token-file); it is sent as it is, over plain HTTP
    #[arg(long, value_name = "FILE", requires = "addresses")]
    pub token_file: Option<PathBuf>,
    /// Read once, print, end
    #[arg(long)]
    pub once: bool,
    /// Between two readings at most; they come sooner as headroom shrinks
    #[arg(long, value_name = "S", default_value = "1", value_parser = interval)]
    pub interval: Duration,
    /// Fractions from which on memory is elevated, high, critical
    #[arg(long, value_name = "F,F,F", value_parser = levels)]
    pub levels: Option<Levels>,
    /// Keep readings in a file, without a screen; one file has one recorder
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["replay", "once"])]
    pub record: Option<PathBuf>,
    /// Most bytes of it and its older parts (FILE.old, and FILE.history at a lower resolution)
    #[arg(long, value_name = "SIZE", default_value = "64MiB", requires = "record", value_parser = record_size)]
    pub record_size: ByteSize,
    /// Show what was recorded; with --once the last reading
    #[arg(long, value_name = "FILE.jsonl")]
    pub replay: Option<PathBuf>,
    /// Print readings as JSON (vramkit.top/1), one object a line without --once
    #[arg(long)]
    pub json: bool,
}
