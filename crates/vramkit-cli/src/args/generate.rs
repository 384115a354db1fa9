//! Options of `vramkit generate`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use vramkit::ByteSize;
use vramkit_ask::CacheType;

/// Text from a model, with its memory accounted
///
/// A GGUF model of the architectures llama, mistral, phi3, qwen2, qwen3 or gemma3 runs on the processor. Weights, keys and values,
/// and activations all come from one pool: what they take is in the result, and is zero again at the end.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true), after_help = "Examples:
  vramkit generate SmolLM2-135M-Instruct.Q4_1.gguf --chat 'What is the capital of France?'
  vramkit generate model.gguf --prompt 'Once upon a time' --max-output-tokens 64 --temperature 0.8 --seed 7
  vramkit generate model.gguf --tokens 1,450,7483 --top 5 --json
  vramkit generate model.gguf --prompt Hello --ctx 2048 --cache-type q8_0 --capacity 200MiB")]
pub struct GenerateOptions {
    /// A GGUF file, the first of split ones
    #[arg(value_name = "MODEL.gguf")]
    pub model: PathBuf,
    /// Text to continue as it is written; special tokens are recognised
    #[arg(long, value_name = "TEXT", group = "what")]
    pub prompt: Option<String>,
    /// What a user says, put into the file's chat template; special tokens in it are recognised too
    #[arg(long, value_name = "TEXT", group = "what")]
    pub chat: Option<String>,
    /// Tokens to continue
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', group = "what")]
    pub tokens: Vec<u32>,
    /// Most tokens to generate
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_output_tokens: usize,
    /// Divides logits before a token is drawn; 0 takes the most probable one
    #[arg(long, value_name = "T", default_value_t = 0.0, allow_negative_numbers = true)]
    pub temperature: f32,
    /// Draw from this many of the most probable tokens; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub top_k: usize,
    /// Draw from the fewest most probable tokens that have this probability together
    #[arg(long, value_name = "R", default_value_t = 1.0, allow_negative_numbers = true)]
    pub top_p: f32,
    /// The same seed draws the same tokens
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Most tokens of prompt and output [default: the model's]
    #[arg(long, value_name = "N")]
    pub ctx: Option<usize>,
    /// Threads that compute [default: all processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Most tokens of a prompt that are read at once [default: 512]; fewer take less working memory
    #[arg(long, value_name = "N")]
    pub ubatch: Option<usize>,
    /// How keys and values are stored: f16, f32 or q8_0
    #[arg(long, value_name = "T", default_value = "f16")]
    pub cache_type: CacheType,
    /// Most bytes that weights, workspace and cache take together [default: what the context needs]; it is enough when the prompt
    /// and --max-output-tokens fit, be the context longer
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// Report this many of the most probable tokens at each place, with --json
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub top: usize,
    /// Print the result as JSON (vramkit.generate/1)
    #[arg(long)]
    pub json: bool,
}
