//! Options of `vramkit replay`.

use std::path::PathBuf;

use clap::Args;
use vramkit::ByteSize;

/// Replay allocation traces against pool policies
///
/// Traces are text (a ID BYTES, f ID), RMM's CSV logs, what vramkit's pools record (JSON Lines) and PyTorch's CUDA
/// memory snapshots (pickles of any protocol, JSON, torch.save's archives, read without running anything in them),
/// gzip or not, whatever they are called. Takes no memory: each policy says how much it would have taken, where it
/// would have run out, and with how much it gets through. Policies: default, exact, stepped, pow2 (vramkit's pool),
/// best-fit, first-fit, pytorch, pytorch-expandable, offline (a plan of the whole trace, the floor), all.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit replay examples/training.trace --policy all
  vramkit replay examples/training.trace --policy default,pytorch --svg memory.svg
  vramkit replay examples/rmm_log.csv --capacity 100MiB --json
  vramkit replay snapshot.pickle --policy pytorch --alloc-conf expandable_segments:True --capacity 24GiB
  vramkit replay snapshot.pickle --by stack --at end --flame held.svg
  vramkit replay --diff before.pickle after.pickle")]
pub struct ReplayOptions {
    /// Allocation traces; - is standard input
    #[arg(required = true, value_name = "TRACE")]
    pub traces: Vec<PathBuf>,
    /// Policies to replay against; several with commas [default: default,best-fit,pytorch, and offline for up to 20,000 operations]
    #[arg(long, value_name = "P", value_delimiter = ',')]
    pub policy: Vec<String>,
    /// Most bytes that there are; exit with 1 if no policy gets through a trace with them. Without it nothing is refused
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// PyTorch's settings, as PYTORCH_CUDA_ALLOC_CONF has them, on top of those in the snapshot
    #[arg(long, value_name = "CONF", default_value = "", hide_default_value = true)]
    pub alloc_conf: String,
    /// Look for the least capacity of each policy in traces of over 200,000 operations too
    #[arg(long)]
    pub least_capacity: bool,
    /// What an owner is: line (one's own line of code, or the name that was recorded), stack or annotation
    #[arg(long, value_name = "WHAT", default_value = "line")]
    pub by: String,
    /// When what is held is told: peak, end, failure (of the first policy that fails) or the number of an operation [default: peak; end with --diff]
    #[arg(long, value_name = "MOMENT")]
    pub at: Option<String>,
    /// Say what the second of two traces holds more than the first, and replay nothing
    #[arg(long, conflicts_with_all = ["policy", "capacity", "alloc_conf", "least_capacity", "svg", "flame", "folded"])]
    pub diff: bool,
    /// Draw addresses over time, for the first trace and the first policy
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Draw what stacks of code hold as a flame graph, for the first trace
    #[arg(long, value_name = "FILE.svg")]
    pub flame: Option<PathBuf>,
    /// Write what stacks of code hold as folded stacks, for the first trace
    #[arg(long, value_name = "FILE")]
    pub folded: Option<PathBuf>,
    /// Print the result as JSON (vramkit.replay/1)
    #[arg(long)]
    pub json: bool,
}
