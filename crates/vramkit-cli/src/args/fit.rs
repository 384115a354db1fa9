//! Options of `vramkit fit`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use vramkit::ByteSize;
use vramkit_ask::{Backend, DeviceChoice, FlashAttention, GpuLayers, Runtime};

use super::parse::dimension;

/// Whether models fit on a device under an engine, and the most that does
///
/// Models are GGUF files (of a split one the first), folders or config.json of Hugging Face, and ONNX graphs; only their headers
/// are read. The engine is llama.cpp for GGUF, vLLM for Hugging Face, vramkit for ONNX, unless another is named; options have
/// the engine's own defaults, and go by its own names, too (--ctx-size, --n-gpu-layers, --max-model-len …). Each figure says
/// how well it has been checked. Several models are several processes on one device. Exit status 1 when they do not fit, or
/// when that is asked and cannot be said. With --sets: when a set does not fit, or is not known to, that the file promises;
/// where it promises none, when a model of it does not fit alone or nothing can be said of one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vramkit fit phi-3-mini-4k.gguf --memory 8GiB
  vramkit fit phi-3-mini-4k.gguf --device cuda:0 --ctx 4096 --cache-type q8_0
  vramkit fit phi-3-mini-4k.gguf --memory 4GiB --gpu-layers 20 --svg fit.svg
  vramkit fit examples/llama-3.1-8b --memory 80GiB --ctx 16384 --seqs 16
  vramkit fit examples/llama-3.1-8b --memory 24GiB --json
  vramkit fit model.onnx --dim batch=8 --memory 512MiB
  vramkit fit --sets llama-swap.yaml --memory 24GiB")]
pub struct FitOptions {
    /// GGUF, a folder or config.json of Hugging Face, safetensors, ONNX
    #[arg(value_name = "MODEL", required_unless_present = "sets")]
    pub models: Vec<PathBuf>,
    /// Tokens of context: of all sequences together under llama.cpp, of one under vLLM [default: the engine's]
    #[arg(long, aliases = ["ctx-size", "max-model-len"], value_name = "N")]
    pub ctx: Option<u64>,
    /// Sequences at a time, each of the whole length [default: 1; a llama-server without --parallel has 4, and one cache for all]
    #[arg(long, alias = "parallel", value_name = "N")]
    pub seqs: Option<u64>,
    /// The memory that they are to fit in
    #[arg(long, value_name = "SIZE", conflicts_with = "device")]
    pub memory: Option<ByteSize>,
    /// The device that they are to fit on: host, sim or cuda:N. What it has free now counts
    #[arg(long, value_name = "D")]
    pub device: Option<DeviceChoice>,
    /// How the cache's numbers are stored, by the engine's name: f16, q8_0, q4_0 …; auto, fp8 …
    #[arg(long, alias = "kv-cache-dtype", value_name = "T", conflicts_with_all = ["cache_type_k", "cache_type_v"])]
    pub cache_type: Option<String>,
    /// How cached keys are stored
    #[arg(long, value_name = "T")]
    pub cache_type_k: Option<String>,
    /// How cached values are stored
    #[arg(long, value_name = "T")]
    pub cache_type_v: Option<String>,
    /// Logical batch, tokens (llama.cpp) [default: 2048]
    #[arg(long, alias = "batch-size", value_name = "N")]
    pub batch: Option<u64>,
    /// Micro-batch, tokens (llama.cpp) [default: 512]
    #[arg(long, alias = "ubatch-size", value_name = "N")]
    pub ubatch: Option<u64>,
    /// Flash attention [default: auto]
    #[arg(long, value_name = "on|off|auto", value_parser = named::<FlashAttention>(["on", "off", "auto"]))]
    pub flash_attn: Option<FlashAttention>,
    /// One cache for all sequences
    #[arg(long)]
    pub kv_unified: bool,
    /// Layers with a sliding window keep everything
    #[arg(long)]
    pub swa_full: bool,
    /// The last so many layers on the device, the output counted as one [default: all]
    #[arg(long, alias = "n-gpu-layers", value_name = "N|all", allow_negative_numbers = true, value_parser = gpu_layers)]
    pub gpu_layers: Option<GpuLayers>,
    /// The engine
    #[arg(long, value_name = "NAME", value_parser = named::<Runtime>(["vramkit", "llama.cpp", "vllm"]))]
    pub runtime: Option<Runtime>,
    /// What it computes with [default: cuda with --device cuda:N and for vLLM, else vulkan; cpu for ONNX]
    #[arg(long, value_name = "NAME", value_parser = named::<Backend>(["cpu", "vulkan", "cuda", "metal"]))]
    pub backend: Option<Backend>,
    /// The part of the device that vLLM takes [default: 0.9]
    #[arg(long, value_name = "R")]
    pub gpu_memory_utilization: Option<f64>,
    /// Most tokens of a step (vLLM)
    #[arg(long, value_name = "N")]
    pub max_num_batched_tokens: Option<u64>,
    /// Most sequences in a step, whatever their lengths (vLLM) [default: the engine's]
    #[arg(long, value_name = "N")]
    pub max_num_seqs: Option<u64>,
    /// Devices that share each layer (vLLM); figures are for each of them [default: 1]
    #[arg(long, alias = "tensor-parallel-size", value_name = "N")]
    pub tensor_parallel: Option<u64>,
    /// Tokens drafted by the model's own prediction layers [default: 0]
    #[arg(long, value_name = "N")]
    pub draft_tokens: Option<u64>,
    /// What a process's context of the driver takes on the device [default: as measured for the back end]
    #[arg(long, value_name = "SIZE")]
    pub overhead: Option<ByteSize>,
    /// Most bytes that Vulkan binds at a time (maxStorageBufferRange) [default: 4 GiB, as cards have, with --memory or
    /// --device; else the 128 MiB that every device has]
    #[arg(long, value_name = "SIZE")]
    pub max_buffer_range: Option<ByteSize>,
    /// Size of a graph's symbolic dimension; repeat for several
    #[arg(long = "dim", value_name = "NAME=N", value_parser = dimension)]
    pub dims: Vec<(String, u64)>,
    /// Models of a configuration (llama-swap, llama.cpp's presets, a Modelfile, commands, TOML), with the options that it has:
    /// which fit together
    #[arg(long, value_name = "FILE", conflicts_with = "models")]
    pub sets: Option<PathBuf>,
    /// A folder in which models of --sets are looked for first, by their path or their name
    #[arg(long, value_name = "DIR", requires = "sets")]
    pub model_dir: Option<PathBuf>,
    /// Print the configuration with the sets that fit in it
    #[arg(long, value_enum, requires = "sets", conflicts_with = "json")]
    pub write: Option<WriteArg>,
    /// Draw where the bytes go
    #[arg(long, value_name = "FILE.svg", conflicts_with = "sets")]
    pub svg: Option<PathBuf>,
    /// Print the result as JSON (vramkit.fit/1)
    #[arg(long)]
    pub json: bool,
}

/// Whose configuration is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WriteArg {
    /// llama-swap's
    LlamaSwap,
}

fn named<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>())
}

fn gpu_layers(text: &str) -> Result<GpuLayers, String> {
    match text {
        "all" => Ok(GpuLayers::All),
        _ => text.parse().map(GpuLayers::Last).map_err(|_| "neither `all` nor a number of layers".to_owned()),
    }
}
