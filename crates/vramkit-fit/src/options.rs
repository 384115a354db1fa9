//! What is asked: an engine, its back end, and the options that change what it takes. Names are the engines' own.

use std::fmt;
use std::str::FromStr;

use vramkit_models::gguf::TensorType;
use vramkit_units::ByteSize;

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Runtime {
    /// vramkit itself: planned arenas, and its own engine.
    Vramkit,
    /// llama.cpp.
    LlamaCpp,
    /// vLLM.
    Vllm,
}

/// What an engine computes with.
///
/// ```
/// use vramkit_fit::Backend;
///
/// assert_eq!("vulkan".parse(), Ok(Backend::Vulkan));
/// assert_eq!("rocm".parse::<Backend>(), Err("`rocm` is none of cpu, vulkan, cuda, metal".to_owned()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// Main memory: everything is in one place, which is reported as the device.
    Cpu,
    /// Vulkan.
    Vulkan,
    /// CUDA (and ROCm through it).
    Cuda,
    /// Metal.
    Metal,
}

/// Whether attention is computed in one fused operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlashAttention {
    /// Where the engine can.
    #[default]
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// Layers whose weights and cache are on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuLayers {
    /// All of them, and the output.
    #[default]
    All,
    /// The last so many; the output counts as one after the last layer, as llama.cpp counts.
    Last(u64),
}

/// The largest tensor that every Vulkan device computes with (Vulkan 1.3, required limits, `maxStorageBufferRange`). Software
/// devices have no more.
pub const VULKAN_GUARANTEED_RANGE: ByteSize = ByteSize::new(1 << 27);

/// The largest tensor that Vulkan devices of NVIDIA, AMD and Intel compute with.
pub const VULKAN_CARD_RANGE: ByteSize = ByteSize::new((1 << 32) - 1);

/// What is asked of an engine about one model.
///
/// ```
/// use vramkit_fit::{Backend, FitOptions, GpuLayers, Runtime};
///
/// let mut options = FitOptions::new(Runtime::LlamaCpp, Backend::Vulkan);
/// options.context = Some(8192);
/// options.gpu_layers = GpuLayers::Last(20);
/// # assert!(options.sequences.is_none());
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FitOptions {
    /// The engine.
    pub runtime: Runtime,
    /// What it computes with.
    pub backend: Backend,
    /// Tokens of context: of all sequences together for llama.cpp (`-c`), of one for vLLM (`--max-model-len`). The engine's
    /// default when not given.
    pub context: Option<u64>,
    /// Sequences at a time (`--parallel`, `--max-num-seqs`). The engine's default when not given.
    pub sequences: Option<u64>,
    /// The type of cached keys; the engine's default when not given.
    pub cache_type_k: Option<TensorType>,
    /// The type of cached values.
    pub cache_type_v: Option<TensorType>,
    /// Keys and values are cached as 8-bit floating-point numbers (vLLM's `--kv-cache-dtype fp8`).
    pub fp8_cache: bool,
    /// Logical batch, tokens (`--batch-size`).
    pub batch: Option<u64>,
    /// Micro-batch, tokens (`--ubatch-size`).
    pub micro_batch: Option<u64>,
    /// Flash attention.
    pub flash_attention: FlashAttention,
    /// vLLM: most sequences in a step (`--max-num-seqs`), whatever their lengths; its default, and at least [`Self::sequences`], when
    /// not given.
    pub max_num_seqs: Option<u64>,
    /// One cache for all sequences (`--kv-unified`).
    pub kv_unified: bool,
    /// Layers with a window keep everything (`--swa-full`).
    pub swa_full: bool,
    /// Layers on the device.
    pub gpu_layers: GpuLayers,
    /// Part of the device's memory that vLLM takes, 0..1 (`--gpu-memory-utilization`).
    pub gpu_memory_utilization: f64,
    /// Most tokens of a step (`--max-num-batched-tokens`).
    pub max_num_batched_tokens: Option<u64>,
    /// Devices that share each layer (`--tensor-parallel-size`).
    pub tensor_parallel: u64,
    /// Tokens that are drafted by the model's own prediction layers; 0 for none.
    pub draft_tokens: u64,
    /// Rows of logits that are reserved: one for each sequence, as a server does, when not given.
    pub outputs: Option<u64>,
    /// Bytes of the largest tensor that a Vulkan device computes with (`maxStorageBufferRange`): what the standard guarantees,
    /// [`VULKAN_GUARANTEED_RANGE`], when not given; [`VULKAN_CARD_RANGE`] is what cards have.
    pub largest_tensor: Option<ByteSize>,
    /// What a process takes of the device beside its buffers (the driver's context, libraries); the default measured for the
    /// back end when not given.
    pub overhead: Option<ByteSize>,
    /// The device's memory as a whole, where it is known: vLLM sizes its cache by it.
    pub device_memory: Option<ByteSize>,
    /// The engine's release, as (major, minor), where its memory changed between releases (vLLM). When not given, the one
    /// that takes most.
    pub engine_release: Option<(u64, u64)>,
}

impl FitOptions {
    /// What an engine does with its own defaults.
    pub fn new(runtime: Runtime, backend: Backend) -> Self {
        Self {
            runtime,
            backend,
            context: None,
            sequences: None,
            cache_type_k: None,
            cache_type_v: None,
            fp8_cache: false,
            batch: None,
            micro_batch: None,
            flash_attention: FlashAttention::Auto,
            max_num_seqs: None,
            kv_unified: false,
            swa_full: false,
            gpu_layers: GpuLayers::All,
            gpu_memory_utilization: 0.9,
            max_num_batched_tokens: None,
            tensor_parallel: 1,
            draft_tokens: 0,
            outputs: None,
            largest_tensor: None,
            overhead: None,
            device_memory: None,
            engine_release: None,
        }
    }
}

macro_rules! names {
    ($type:ty, $($variant:ident = $name:literal),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }
        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(format!("`{text}` is none of {}", [$($name),+].join(", "))),
                }
            }
        }
    };
}

names!(Runtime, Vramkit = "vramkit", LlamaCpp = "llama.cpp", Vllm = "vllm");
names!(Backend, Cpu = "cpu", Vulkan = "vulkan", Cuda = "cuda", Metal = "metal");
names!(FlashAttention, Auto = "auto", On = "on", Off = "off");
