//! Options of `vramkit stress`.

use std::path::PathBuf;

use clap::Args;
use vramkit::ByteSize;

/// Put a model's memory under pressure: ten checks, each able to fail
///
/// Limits that must be kept, growth by exactly the bytes of a token, cycles that leave nothing, sequences side by side, a full pool, every
/// allocation failed in turn, eviction and reload, a neighbour process. Without a model one of Phi-3's shape is made: 393,216 bytes a
/// token.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit stress
  vramkit stress model.gguf --ctx 1024 --prove
  vramkit stress model.gguf --capacity 2GiB --report vram_pressure_report.md
  vramkit stress --prove --json")]
pub struct StressOptions {
    /// A GGUF file [default: one that is made]
    #[arg(value_name = "MODEL.gguf")]
    pub model: Option<PathBuf>,
    /// Most bytes that a check may take [default: what the machine has]
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// Tokens of the context [default: 4096, or the model's where that is less]
    #[arg(long, value_name = "N")]
    pub ctx: Option<usize>,
    /// Threads that compute [default: all processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Prompts are drawn by this, and the weights of a model that is made
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Run each check once more with its fault put in; one that is not caught fails
    #[arg(long)]
    pub prove: bool,
    /// Write a report in Markdown
    #[arg(long, value_name = "FILE.md")]
    pub report: Option<PathBuf>,
    /// Print the result as JSON (vramkit.stress/1)
    #[arg(long)]
    pub json: bool,
}
