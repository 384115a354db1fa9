//! What vLLM makes of its options: the numbers that everything else is computed from.
//!
//! In: [`FitOptions`] and the model. Out: [`Settings`], with vLLM's own defaults filled in, or what is wrong with an option.
//! Never here: bytes.

use vramkit_models::gguf::TensorType;
use vramkit_models::header::{Format, ModelHeader};
use vramkit_models::shape::{Cache, Layer};
use vramkit_units::ByteSize;

use super::release::Release;
use crate::{Backend, FitError, FitOptions};

/// vLLM's options, every one of them known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settings {
    /// What this release does.
    pub release: Release,
    /// Tokens of one sequence (`--max-model-len`).
    pub context: u64,
    /// Sequences whose cache is asked for.
    pub sequences: u64,
    /// Most sequences of a step (`--max-num-seqs`).
    pub step_sequences: u64,
    /// Most tokens of a step (`--max-num-batched-tokens`).
    pub step_tokens: u64,
    /// Devices that share each layer.
    pub devices: u64,
    /// Tokens drafted by the model's own layers.
    pub draft_tokens: u64,
    /// Bytes of a cached number.
    pub cache_bytes: u64,
    /// Bytes of a number of a recurrence's state.
    pub state_bytes: u64,
    /// Memory of the device, where known.
    pub memory: Option<ByteSize>,
    /// Part of it that vLLM takes.
    pub utilization: f64,
}

/// Bytes of a number in computation: vLLM computes in 16 bits, also when a configuration says float32.
pub(super) const COMPUTE_BYTES: u64 = 2;

/// The first release with the engine that is modelled ("V1").
const FIRST_RELEASE: (u64, u64) = (0, 8);

/// A card of at least this size gets the defaults of a server's (`engine/arg_utils.py`).
const SERVER_CARD: ByteSize = ByteSize::gib(70);
/// A card of at least this size gets the largest.
const LARGEST_CARD: ByteSize = ByteSize::gib(160);

impl Settings {
    /// Reads the options for this model.
    pub(super) fn of(model: &ModelHeader, options: &FitOptions) -> Result<Self, FitError> {
        let wrong = |reason: String| FitError::Option { model: model.name.clone(), reason };
        if model.format == Format::Gguf {
            return Err(FitError::WrongFormat {
                model: model.name.clone(),
                runtime: "vllm".into(),
                format: "GGUF".into(),
                loads: "a folder or config.json of Hugging Face".into(),
            });
        }
        if options.backend != Backend::Cuda {
            return Err(wrong(format!(
                "vLLM's memory is known on cuda, not on {}; choose cuda",
                options.backend
            )));
        }
        let utilization = options.gpu_memory_utilization;
        if !(utilization > 0.0 && utilization <= 1.0) {
            return Err(wrong(format!(
                "vLLM takes a part of the memory above 0 and up to 1, not {utilization}"
            )));
        }
        if options.device_memory == Some(ByteSize::ZERO) {
            return Err(wrong("a device of 0 bytes holds nothing; give the memory of one".into()));
        }
        if let Some((major, minor)) = options.engine_release.filter(|&release| release < FIRST_RELEASE) {
            return Err(wrong(format!(
                "vLLM {major}.{minor} has an engine whose memory is not known here; give a release from 0.8 on"
            )));
        }
        let positive = |value: Option<u64>, what: &str| match value {
            Some(0) => Err(wrong(format!("0 {what}; give at least 1"))),
            other => Ok(other),
        };
        let release = Release::of(options.engine_release);
        let (default_sequences, default_tokens) = defaults(options.device_memory, release);
        let context = positive(options.context, "tokens of context")?.or(model.shape.longest_context());
        let context = context.unwrap_or(UNSAID_CONTEXT);
        let sequences = positive(options.sequences, "sequences at a time")?;
        let step_tokens =
            positive(options.max_num_batched_tokens, "tokens in a step")?.unwrap_or(default_tokens);
        let devices = options.tensor_parallel;
        check_devices(model, devices).map_err(wrong)?;
        if options.draft_tokens > 0 && model.shape.draft_layers.is_empty() {
            return Err(wrong(format!(
                "{} tokens are to be drafted, and it has no layers that predict further tokens",
                options.draft_tokens
            )));
        }
        let in_step = positive(options.max_num_seqs, "sequences in a step")?;
        if let (Some(most), Some(asked)) = (in_step, sequences)
            && asked > most
        {
            return Err(wrong(format!("{asked} sequences at a time, and steps of at most {most}")));
        }
        let in_step = in_step.or(sequences);
        if let Some(most) = in_step.filter(|&sequences| sequences > step_tokens) {
            return Err(wrong(format!(
                "{most} sequences at a time in a step of {step_tokens} tokens, which vLLM refuses; give a step of at least {most}"
            )));
        }
        Ok(Self {
            release,
            context,
            sequences: sequences.unwrap_or(1),
            step_sequences: in_step.unwrap_or(default_sequences).min(step_tokens),
            step_tokens,
            devices,
            draft_tokens: options.draft_tokens,
            cache_bytes: cache_bytes(options).map_err(wrong)?,
            state_bytes: state_bytes(&model.shape.architecture),
            memory: options.device_memory,
            utilization,
        })
    }

    /// What vLLM lets itself use of the device.
    pub(super) fn budget(&self) -> Option<u64> {
        // The product is at most the memory, so the cast loses nothing but the fraction of a byte.
        self.memory.map(|memory| (memory.bytes() as f64 * self.utilization) as u64)
    }

    /// Whether the device is a server's card, as far as its size tells.
    pub(super) fn server_card(&self) -> bool {
        self.memory.is_none_or(|memory| memory >= SERVER_CARD)
    }
}

/// Tokens that vLLM assumes when a configuration does not say how long a text may be (`_get_and_verify_max_len`).
pub(super) const UNSAID_CONTEXT: u64 = 2048;

/// Sequences and tokens of a step under `vllm serve`, by the size of the card; a server's card when it is not known.
fn defaults(memory: Option<ByteSize>, release: Release) -> (u64, u64) {
    match memory {
        Some(memory) if memory < SERVER_CARD => (256, 2048),
        Some(memory) if memory >= LARGEST_CARD && release.largest_card_steps => (1024, 16384),
        _ => (1024, 8192),
    }
}

/// Bytes of a cached number: keys and values have the model's type unless told otherwise, and have the same.
fn cache_bytes(options: &FitOptions) -> Result<u64, String> {
    if options.fp8_cache {
        return Ok(1);
    }
    for kind in [options.cache_type_k, options.cache_type_v].into_iter().flatten() {
        if kind != TensorType::F16 && kind.name() != "bf16" {
            return Err(format!("vLLM caches keys and values as f16, bf16 or fp8, not as {}", kind.name()));
        }
    }
    Ok(COMPUTE_BYTES)
}

/// Bytes of a number of a recurrence's state: the model's type, but in families whose configurations ask for 32 bits
/// (`mamba_ssm_dtype`, `mamba_ssm_cache_dtype`).
fn state_bytes(architecture: &str) -> u64 {
    let wide = ["qwen3_5", "nemotron_h", "kimi_linear"].iter().any(|family| architecture.starts_with(family));
    if wide { 4 } else { COMPUTE_BYTES }
}

/// vLLM splits heads evenly, or gives several devices the same KV head.
fn check_devices(model: &ModelHeader, devices: u64) -> Result<(), String> {
    if devices == 0 {
        return Err("0 devices share the layers; give at least 1".into());
    }
    let heads = model.shape.widths.heads;
    if !heads.is_multiple_of(devices) {
        return Err(format!("its {heads} attention heads cannot be shared evenly by {devices} devices"));
    }
    let layers = model.shape.layers.iter().chain(&model.shape.draft_layers);
    let uneven = layers
        .filter_map(kv_heads)
        .find(|&kv| !kv.is_multiple_of(devices) && !devices.is_multiple_of(kv.max(1)));
    match uneven {
        Some(kv) => Err(format!("its {kv} KV heads cannot be shared evenly by {devices} devices")),
        None => Ok(()),
    }
}

/// KV heads of a layer that keeps any.
pub(super) fn kv_heads(layer: &Layer) -> Option<u64> {
    match layer.cache {
        Cache::Full(heads) | Cache::Window { heads, .. } | Cache::Cross { heads, .. } => Some(heads.kv_heads),
        _ => None,
    }
}
