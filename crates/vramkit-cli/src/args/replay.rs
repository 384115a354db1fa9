//! Options of `vramkit replay`.

use std::path::PathBuf;

use clap::Args;
use vramkit::ByteSize;

/// Replay allocation traces against pool policies
///
/// Traces are text (a ID BYTES, f ID), RMM's CSV logs, what vramkit's pools record (JSON Lines) and PyTorch's CUDA
/// memory snapshots (pickles, read without running anything in them), gzip or not. Takes no memory: each policy
/// says how much it would have taken. Policies: default, exact, stepped, pow2 (vramkit's pool), best-fit, first-fit,
/// pytorch, pytorch-expandable, offline (a plan of the whole trace, the floor), all.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit replay examples/training.trace --policy all
  vramkit replay examples/training.trace --policy default,pytorch --svg memory.svg
  vramkit replay examples/rmm_log.csv --capacity 100MiB --json")]
pub struct ReplayOptions {
    /// Allocation traces
    #[arg(required = true, value_name = "TRACE")]
    pub traces: Vec<PathBuf>,
    /// Policies to replay against; several with commas
    #[arg(long, value_name = "P", value_delimiter = ',', default_value = "default,best-fit,pytorch,offline")]
    pub policy: Vec<String>,
    /// Most bytes that there are; exit with 1 if no policy gets through a trace with them
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// Draw addresses over time, for the first trace and the first policy
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Print the result as JSON (vramkit.replay/1)
    #[arg(long)]
    pub json: bool,
}
