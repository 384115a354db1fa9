//! Options of `vramkit capacity`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use vramkit::ByteSize;
use vramkit_ask::{CacheType, Columns, HorizonChoice, Serving};

use super::parse::seconds;

/// How likely a KV cache is to run out, and the largest batch for a risk
///
/// Traffic is a log of lengths (a table, JSON Lines, JSON or Parquet, of benchmarks, gateways and tracers, packed by gzip or not; Alpaca
/// or ShareGPT text at 4 characters a token), or prompts of one length with geometric outputs. Batching is continuous (a seat is
/// refilled as soon as its sequence ends) unless a threshold is given. A peak counts what a step writes before anything it ends
/// is freed. Each figure says by which method it was found; the largest batch and the memory needed are confirmed by other random
/// numbers before they are told; what nothing can stand behind is null, with the reason. Exit status 0 when the risk is within
/// --risk, 1 when it is above, 2 when nothing says.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit capacity --batch 200 --prompt-mean 1000 --termination 0.005 --capacity-tokens 250000
  vramkit capacity --batch 128 --threshold 26 --prompt-mean 100 --termination 0.01 --capacity-tokens 28000
  vramkit capacity --batch 40 --lengths examples/requests.csv --capacity-tokens 60000 --horizon 1h --step-seconds 0.025
  vramkit capacity --batch 40 --lengths examples/requests.csv --capacity 8GiB --layers 32 --kv-heads 8 --head-dim 128
  vramkit capacity --lengths results.json --engine-text vllm.log --risk 0.001 --print-flags vllm
  vramkit capacity --arrival-rate 6 --lengths examples/requests.csv --batch 64 --capacity-tokens 60000
  zcat requests.jsonl.gz | vramkit capacity --lengths - --columns prompt=asked,output=answered --capacity-tokens 60000")]
#[command(group(clap::ArgGroup::new("shape").args(["model", "layers"])))]
pub struct CapacityOptions {
    /// Sequences in the batch [default: the largest for --risk]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Replace ended sequences when so many have ended
    #[arg(long, value_name = "K", requires = "batch", conflicts_with = "continuous")]
    pub threshold: Option<u32>,
    /// Replace each ended sequence at once (the default)
    #[arg(long)]
    pub continuous: bool,
    /// Exact length of every prompt, tokens
    #[arg(long, value_name = "L", requires = "termination")]
    pub prompt_mean: Option<f64>,
    /// Probability that an output ends after a token: one over its mean length
    #[arg(long, value_name = "P", requires = "prompt_mean")]
    pub termination: Option<f64>,
    /// A log of lengths; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "prompt_mean")]
    pub lengths: Option<PathBuf>,
    /// Its columns of lengths, or paths in JSON, where they have no name that is known
    #[arg(long, value_name = "prompt=P,output=O", requires = "lengths")]
    pub columns: Option<Columns>,
    /// Requests come in the log's own order, from any place of it [default: any at any time]
    #[arg(long, value_name = "any|as-logged", default_value = "any", value_parser = ["any", "as-logged"])]
    pub order: String,
    /// Leave rows of no or impossibly many tokens out instead of refusing the file
    #[arg(long, requires = "lengths", conflicts_with = "prompt_mean")]
    pub skip_bad_rows: bool,
    /// Outputs are cut off at so many tokens
    #[arg(long, value_name = "N")]
    pub max_output: Option<u32>,
    /// The model's context, tokens: prompts that fill it are refused, outputs end where it is full
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_model_len: Option<u32>,
    /// Tokens with which all prompts begin alike, held once for all of them
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub shared_prefix: u32,
    /// Requests that come in a second, each by itself; --batch is then the most that are served at once [default: always one
    /// for a free seat]
    #[arg(long, value_name = "R", conflicts_with_all = ["threshold", "cold_start", "replay", "svg"])]
    pub arrival_rate: Option<f64>,
    /// Machines among which requests are shared out; risks are those of any of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub replicas: u32,
    /// All sequences begin at once when the horizon begins, as after a restart or with a fixed number of clients
    #[arg(long)]
    pub cold_start: bool,
    /// Memory, tokens
    #[arg(long, value_name = "N", conflicts_with = "capacity")]
    pub capacity_tokens: Option<f64>,
    /// Memory, block and context as an engine says in its log or its /metrics: vLLM, SGLang, llama.cpp, TensorRT-LLM, TGI; `-`
    /// is standard input
    #[arg(long, value_name = "FILE")]
    pub engine_text: Option<PathBuf>,
    /// A card's memory, of which vLLM leaves for the KV cache what the model does not take; needs --model
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["capacity", "capacity_tokens", "engine_text"], requires = "model")]
    pub gpu_memory: Option<ByteSize>,
    /// The part of --gpu-memory that vLLM takes [default: 0.9]
    #[arg(long, value_name = "U", requires = "gpu_memory")]
    pub gpu_memory_utilization: Option<f64>,
    /// Memory of the KV cache; needs a model's shape
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// The model whose tokens it holds: config.json, the folder that has it, or GGUF
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["layers", "kv_heads", "head_dim"])]
    pub model: Option<PathBuf>,
    /// Layers, for a model without a file
    #[arg(long, value_name = "N", requires_all = ["kv_heads", "head_dim"])]
    pub layers: Option<u64>,
    /// KV heads of a layer
    #[arg(long, value_name = "N", requires = "layers")]
    pub kv_heads: Option<u64>,
    /// Numbers in a head's key, and in its value
    #[arg(long, value_name = "N", requires = "layers")]
    pub head_dim: Option<u64>,
    /// How the cache's numbers are stored: f32, f16, bf16, fp8, q8_0, q5_1, q5_0, q4_1, q4_0
    #[arg(long, value_name = "TYPE", default_value = "f16", requires = "shape")]
    pub cache_type: CacheType,
    /// Tokens of a block that memory is granted in (continuous batching)
    /// [default: the engine's, or 1]
    #[arg(long, value_name = "TOKENS", conflicts_with = "threshold", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub block: Option<u32>,
    /// The risk of running out that would do
    #[arg(long, value_name = "R")]
    pub risk: Option<f64>,
    /// For how long: cycle (a step drawn at random when continuous), decode steps, or a time such as 1h [default: an hour where
    /// time matters (--step-seconds, --arrival-rate, --cold-start, --print-flags), else cycle]
    #[arg(long, value_name = "cycle|STEPS|TIME")]
    pub horizon: Option<HorizonChoice>,
    /// Seconds that a decode step takes [default: 0.025 is assumed where it matters]
    #[arg(long, value_name = "S")]
    pub step_seconds: Option<f64>,
    /// Also replay the log through a scheduler (first come first served, preempt and recompute)
    #[arg(long, requires = "lengths")]
    pub replay: bool,
    /// Part of the memory that the scheduler's admission leaves free
    #[arg(long, value_name = "F", default_value_t = 0.0, requires = "replay")]
    pub watermark: f64,
    /// Most tokens that the scheduler computes in a step
    #[arg(long, value_name = "N", default_value_t = 8192, requires = "replay")]
    pub token_budget: u32,
    /// Cycles to simulate; samples are drawn in proportion
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub cycles: u64,
    /// Where the random numbers start
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Seconds in which to answer; what is not found by then is null, with the reason
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub deadline: Duration,
    /// Also print the options with which an engine serves this: vllm, sglang, llama.cpp
    #[arg(long, value_name = "ENGINE")]
    pub print_flags: Option<Serving>,
    /// Draw risk against batch: published, exact, simulated
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Print the result as JSON (vramkit.capacity/1)
    #[arg(long)]
    pub json: bool,
}
