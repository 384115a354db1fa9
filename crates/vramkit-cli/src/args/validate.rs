//! Options of `vramkit validate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vramkit::ByteSize;

/// Hold the model of a KV cache's occupancy against real inference
///
/// A batch decodes until so many of its sequences have ended; those are replaced, and so on: threshold batching, on vramkit's engine.
/// What the cache holds is read at every step and held against the published formulas, their correction, and a simulation of the
/// lengths that were met. `published` is arXiv 2606.00516, section 3.3, as printed; `corrected` the same without its faults; `exact` the
/// simulation. A run that is interrupted goes on where it was when the same command is given again. Exit status 1: the simulation, or
/// the corrected bound, does not hold.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit validate --model model.gguf --dataset alpaca --alpaca-path alpaca_data.json
  vramkit validate --model model.gguf --dataset lengths --lengths-path azure.csv --scale 0.05 --num-cycles 1000
  vramkit validate --model model.gguf --run-both --alpaca-path alpaca_data.json --sharegpt-path sharegpt.json --batch-size 16
  vramkit report memory_validation_results/alpaca_memory_validation.json --format svg,png")]
pub struct ValidateOptions {
    /// A GGUF file
    #[arg(long, value_name = "MODEL.gguf")]
    pub model: PathBuf,
    /// Where requests come from: texts of Alpaca or ShareGPT, whose answers the model ends, or a log of lengths
    #[arg(long, value_enum, default_value_t = DatasetArg::Alpaca)]
    pub dataset: DatasetArg,
    /// Alpaca's data set: JSON with instruction, input and output
    #[arg(long, value_name = "FILE")]
    pub alpaca_path: Option<PathBuf>,
    /// ShareGPT's data set: JSON with conversations
    #[arg(long, value_name = "FILE")]
    pub sharegpt_path: Option<PathBuf>,
    /// A log of lengths: CSV or JSON Lines with prompt_tokens and output_tokens, or what `capacity --lengths` reads
    #[arg(long, value_name = "FILE")]
    pub lengths_path: Option<PathBuf>,
    /// Leave rows of no or impossibly many tokens out instead of refusing the log
    #[arg(long)]
    pub skip_bad_rows: bool,
    /// Multiply the lengths of a log by this
    #[arg(long, value_name = "R", default_value_t = 1.0, allow_negative_numbers = true)]
    pub scale: f64,
    /// Devices that the model is split over; the engine computes on one
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub tensor_parallel_size: u32,
    /// Most entries of the data set, from its beginning
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub max_samples: usize,
    /// Sequences that decode together
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub batch_size: usize,
    /// Sequences that must have ended before they are replaced [default: a fifth of the batch]
    #[arg(long, value_name = "K")]
    pub switching_threshold: Option<usize>,
    /// Cycles that count
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub num_cycles: usize,
    /// Cycles before those, to warm up [default: until at most 2 % of the sequences that began the run still run]
    #[arg(long, value_name = "N")]
    pub warmup_cycles: Option<usize>,
    /// Outputs are cut off at so many tokens
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_output_tokens: usize,
    /// Where results are written (JSON, PDF, HTML, the measured lengths as CSV), and what a run can go on from
    #[arg(long, value_name = "DIR", default_value = "./memory_validation_results")]
    pub output_dir: PathBuf,
    /// Run Alpaca and ShareGPT, and draw them side by side
    #[arg(long)]
    pub run_both: bool,
    /// Draws the order of requests
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Most tokens of a sequence [default: what the longest request needs, up to the model's]
    #[arg(long, value_name = "N")]
    pub ctx: Option<usize>,
    /// Threads that compute [default: all processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Most bytes that weights, workspace and cache may take together [default: what the machine has]
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// Most bytes of keys and values: where there are too few, sequences make way or wait, and how often is counted
    #[arg(long, value_name = "SIZE")]
    pub kv_limit: Option<ByteSize>,
    /// Print the result as JSON (vramkit.validate/1)
    #[arg(long)]
    pub json: bool,
}

/// Where requests come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatasetArg {
    /// Alpaca's instructions
    Alpaca,
    /// ShareGPT's conversations
    Sharegpt,
    /// A log of lengths
    Lengths,
}
