//! Options of `vramkit run`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vramkit::ByteSize;
use vramkit::orchestrator::Verify;

use super::schedule::ScheduleArg;

/// Plan a workload, bind it to real memory, execute and verify it
///
/// Every step of every model writes its tensors' patterns and checks those that it reads, on the memory that the
/// plan gives them, models on threads under the plan's schedule.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit run examples/three-models.toml
  vramkit run examples/three-models.toml --schedule concurrent --report run.html
  vramkit run examples/vision.toml --device sim --capacity 8GiB --perfetto trace.json
  vramkit run examples/three-models.toml --record allocations.jsonl && vramkit replay allocations.jsonl --policy all")]
pub struct RunOptions {
    /// A workload (TOML, JSON)
    #[arg(value_name = "WORKLOAD")]
    pub workload: PathBuf,
    /// How the models run beside one another [default: the workload's]
    #[arg(long, value_enum)]
    pub schedule: Option<ScheduleArg>,
    /// Where the memory comes from: host, sim or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "host")]
    pub device: String,
    /// Most bytes of the pool [default: the workload's, else what the device has free]
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// Check every byte of every tensor, or some of each page
    #[arg(long, value_enum, default_value_t = VerifyArg::Stride)]
    pub verify: VerifyArg,
    /// Write every decision as it is made, a JSON object a line
    #[arg(long, value_name = "FILE.jsonl")]
    pub trace: Option<PathBuf>,
    /// Write a trace for ui.perfetto.dev
    #[arg(long, value_name = "FILE.json")]
    pub perfetto: Option<PathBuf>,
    /// Write a page with the plan, memory over time and decisions
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write every allocation and release of the pool, for `vramkit replay`
    #[arg(long, value_name = "FILE.jsonl")]
    pub record: Option<PathBuf>,
    /// Say which tensors share addresses, how many bytes, and why they may
    #[arg(long)]
    pub explain: bool,
    /// Decide everything, take no memory
    #[arg(long)]
    pub dry_run: bool,
    /// Print the result as JSON (vramkit.run/1)
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum VerifyArg {
    /// The ends of each tensor and 64 bytes of each page
    Stride,
    /// Every byte
    Full,
}

impl From<VerifyArg> for Verify {
    fn from(verify: VerifyArg) -> Self {
        match verify {
            VerifyArg::Stride => Self::Stride,
            VerifyArg::Full => Self::Full,
        }
    }
}
