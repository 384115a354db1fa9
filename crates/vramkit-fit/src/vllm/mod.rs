//! vLLM's memory: what it takes for a model, and the lines that it prints at its start.
//!
//! In: a [`ModelHeader`] of a Hugging Face model and [`FitOptions`]. Out: [`VllmFootprint`]. Never here: a GGUF file, a device
//! other than CUDA's.
//!
//! ```text
//! options ─► settings ─┬─► weights       stored tensors divided by device, or parameters counted
//!            release ──┼─► activations   the profile run's peak: a layer, or sampling
//!                      ├─► overhead      libraries, CUDA graphs (measured)
//!                      └─► cache         layers in groups, groups in blocks ─► tokens, concurrency
//! ```
//!
//! vLLM takes `--gpu-memory-utilization` of the device whatever is asked of it: what weights, the profile run's activations and
//! the libraries leave of that is its cache. So there are two sizes of a cache here. The footprint's `kv` and `state` are what
//! `sequences` sequences of `context` tokens need (one, when not given: the condition under which vLLM starts);
//! [`cache_bytes`](VllmFootprint::cache_bytes) is what it will reserve. A model fits when the first is not larger than the
//! second ([`fits`](VllmFootprint::fits)), and when the device has [`budget`](VllmFootprint::budget) free as vLLM starts.
//!
//! Written after vLLM's source, releases 0.11.0, 0.19.1, 0.24.0 and 0.33.0: `v1/core/kv_cache_utils.py`,
//! `v1/kv_cache_interface.py`, `v1/worker/gpu_worker.py`, `v1/sample`. The releases differ most in what sampling takes in the
//! profile run; [`FitOptions::engine_release`] names one, and without it the figures are those of 0.11, which takes most. `sequences`
//! given are `--max-num-seqs` too, as the engine reads it. How well this has been checked:
//! `cargo run -p vramkit-fit --example accuracy -- vllm`.
//!
//! ```
//! use vramkit_fit::{Backend, FitOptions, Runtime, vllm};
//! use vramkit_models::header::{Format, ModelHeader};
//! use vramkit_models::shape::{Cache, Heads, Layer, ModelShape};
//! use vramkit_units::ByteSize;
//!
//! // Llama-3.1-8B, from its configuration alone.
//! let mut shape = ModelShape::new("llama", 4096);
//! shape.layers = vec![Layer::keeping(Cache::Full(Heads { kv_heads: 8, key: 128, value: 128 })); 32];
//! shape.widths.vocabulary = 128_256;
//! (shape.widths.heads, shape.widths.head, shape.widths.feed_forward) = (32, 128, 14_336);
//! (shape.trained_context, shape.tied_embeddings) = (Some(131_072), Some(false));
//! let mut model = ModelHeader::new("llama-3.1-8b", Format::HuggingFace, shape);
//! model.weights_type = Some("bfloat16".into());
//!
//! let mut options = FitOptions::new(Runtime::Vllm, Backend::Cuda);
//! options.context = Some(16_000);
//! options.device_memory = Some(ByteSize::new((79.18 * 1024.0 * 1024.0 * 1024.0) as u64));
//! let takes = vllm::footprint(&model, &options)?;
//! let gib = |size: Option<ByteSize>| size.map(|size| size.bytes() as f64 / ByteSize::gib(1).bytes() as f64);
//! assert!((gib(takes.footprint.device.weights).unwrap() - 14.99).abs() < 0.01);
//! // vLLM printed 51.38 GiB on an H100.
//! assert!((gib(takes.cache_bytes).unwrap() / 51.38 - 1.0).abs() < 0.01);
//! assert_eq!(takes.fits(), Some(true));
//! # Ok::<(), vramkit_fit::FitError>(())
//! ```

mod activations;
mod cache;
mod overhead;
mod release;
mod settings;
mod weights;

use vramkit_models::header::{Format, ModelHeader};
use vramkit_models::shape::{Cache, Layer};
use vramkit_units::ByteSize;

use self::cache::Layout;
use self::release::{Release, SizeLine};
use self::settings::Settings;
pub(crate) use self::weights::Stored;
use self::weights::{Agreement, Weights};
use crate::{Accuracy, Checked, FitError, FitOptions, Footprint, Part, ReservedCache, Runtime};

/// What vLLM takes, and what it prints at its start.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct VllmFootprint {
    /// What each part takes; `kv` and `state` for the sequences that were asked for. `overhead` is what libraries take outside
    /// PyTorch's allocator ("non-torch memory").
    pub footprint: Footprint,
    /// The release that the figures are of.
    pub release: &'static str,
    /// What vLLM lets itself use of the device: utilization × memory. `None` when the memory is not known, as all that follows.
    pub budget: Option<ByteSize>,
    /// What it reserves for the cache ("Available KV cache memory"), 0 when there is nothing left; `None` also when the weights
    /// or activations are not known.
    pub cache_bytes: Option<ByteSize>,
    /// Blocks in it.
    pub blocks: Option<u64>,
    /// Bytes of a block, over all layers that share it.
    pub block_bytes: ByteSize,
    /// Tokens in it, as vLLM counts them ("GPU KV cache size").
    pub kv_cache_tokens: Option<u64>,
    /// How many sequences at full length it holds ("Maximum concurrency"); not a whole number.
    pub maximum_concurrency: Option<f64>,
    /// What CUDA graphs take; up to 0.19 beyond the budget, from what utilization leaves free.
    pub cuda_graphs: ByteSize,
    counting: Counting,
}

impl VllmFootprint {
    /// Whether the cache that vLLM reserves holds the sequences that were asked for; `None` when something needed is not known.
    pub fn fits(&self) -> Option<bool> {
        let needed = self.footprint.device.kv.saturating_add(self.footprint.device.state);
        self.cache_bytes.map(|reserved| reserved.bytes() > 0 && needed <= reserved)
    }

    /// What vLLM prints of a cache of this size, whatever the device (`--kv-cache-memory-bytes`): tokens, and sequences at full
    /// length. `None` for a model that keeps nothing.
    pub fn lines(&self, cache: ByteSize) -> Option<(u64, f64)> {
        self.counting.count(cache).map(|(_, tokens, concurrency)| (tokens, concurrency))
    }
}

/// What vLLM takes for a model. The page of this module shows it.
///
/// # Errors
/// An option that is out of its range or that vLLM refuses for this model, files that it does not load, and a model whose
/// layers it cannot lay out.
pub fn footprint(model: &ModelHeader, options: &FitOptions) -> Result<VllmFootprint, FitError> {
    with_stored(model, Stored::of(model).as_ref(), options)
}

/// The same for a model whose stored tensors have been looked at.
pub(crate) fn with_stored(
    model: &ModelHeader,
    stored: Option<&Stored>,
    options: &FitOptions,
) -> Result<VllmFootprint, FitError> {
    let header = |reason: String| FitError::Header { model: model.name.clone(), reason };
    // First of all: no option makes up for it.
    if model.shape.layers.is_empty() && model.format != Format::Gguf {
        return Err(header("nothing says which layers it has: its config.json is needed".into()));
    }
    let settings = Settings::of(model, options)?;
    if let Some(Agreement::No(reason)) = stored.map(|stored| &stored.agreement) {
        return Err(header(reason.clone()));
    }
    let layout = Layout::of(&model.shape, &settings).map_err(header)?;
    let weights = weights::weights(model, stored, &settings);
    let activations = activations::peak(&model.shape, &settings);
    let layers = model.shape.layers.len() as u64;
    let graphs = overhead::graphs(layers);
    let in_budget = if settings.release.graphs_in_budget { graphs.bytes() } else { 0 };
    let workspace = activations.map(|bytes| ByteSize::new(bytes.saturating_add(in_budget)));
    let outside = options.overhead.unwrap_or_else(|| overhead::outside_torch(&settings));

    // A configuration alone does not say.
    let is_multimodal = stored.is_some_and(|stored| stored.multimodal);
    let sequences = settings.sequences;
    let each = layout.blocks(settings.context, &settings).saturating_mul(layout.block_bytes);
    let state = layout.state_blocks(&settings).saturating_mul(layout.block_bytes);
    let device = Part {
        weights: weights.bytes.map(ByteSize::new),
        kv: ByteSize::new(each.saturating_sub(state).saturating_mul(sequences)),
        state: ByteSize::new(state.saturating_mul(sequences)),
        workspace,
        ..Part::default()
    };
    let counting = Counting::of(&layout, &settings);
    let budget = settings.budget();
    let left = || {
        let taken = device.weights?.saturating_add(device.workspace?).saturating_add(outside);
        Some(ByteSize::new(budget?.saturating_sub(taken.bytes())))
    };
    let cache_bytes = left();
    let counted = cache_bytes.and_then(|cache| counting.count(cache));
    let footprint = Footprint {
        runtime: Runtime::Vllm,
        backend: options.backend,
        context: settings.context,
        sequences,
        layers,
        layers_on_device: layers + 1,
        device,
        host: Part { weights: Some(ByteSize::ZERO), workspace: Some(ByteSize::ZERO), ..Part::default() },
        overhead: Some(outside),
        kv_per_token: ByteSize::new(layout.bytes_per_token),
        reserved_cache: cache_bytes.zip(counted).map(|(size, (_, tokens, concurrency))| ReservedCache {
            size,
            tokens,
            concurrency,
        }),
        accuracy: accuracy(model, &weights, &settings, is_multimodal),
        notes: notes(model, options, &settings, &weights, is_multimodal),
    };
    Ok(VllmFootprint {
        footprint,
        release: settings.release.name,
        budget: budget.map(ByteSize::new),
        cache_bytes,
        blocks: counted.map(|counted| counted.0),
        block_bytes: ByteSize::new(layout.block_bytes),
        kv_cache_tokens: counted.map(|counted| counted.1),
        maximum_concurrency: counted.map(|counted| counted.2),
        cuda_graphs: graphs,
        counting,
    })
}

/// How a cache's bytes become what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counting {
    block_bytes: u64,
    blocks_of_sequence: u64,
    groups: u64,
    block_tokens: u64,
    context: u64,
    line: SizeLine,
}

impl Counting {
    fn of(layout: &Layout, settings: &Settings) -> Self {
        Self {
            block_bytes: layout.block_bytes,
            blocks_of_sequence: layout.blocks(settings.context, settings),
            groups: layout.group_count(),
            block_tokens: layout.block_tokens(settings),
            context: settings.context,
            line: settings.release.size_line,
        }
    }

    /// Blocks, tokens, sequences at full length.
    fn count(&self, cache: ByteSize) -> Option<(u64, u64, f64)> {
        let blocks = cache.bytes().checked_div(self.block_bytes).filter(|_| self.blocks_of_sequence > 0)?;
        let concurrency = blocks as f64 / self.blocks_of_sequence as f64;
        let tokens = match self.line {
            SizeLine::Blocks => (blocks / self.groups.max(1)).saturating_mul(self.block_tokens),
            // A saturating cast of a product that vLLM rounds down as well.
            SizeLine::Concurrency => (concurrency * self.context as f64) as u64,
        };
        Some((blocks, tokens, concurrency))
    }
}

/// How well the figures are checked: the worst of the logs in `examples/accuracy` that are of the same kind.
fn accuracy(model: &ModelHeader, weights: &Weights, settings: &Settings, is_multimodal: bool) -> Accuracy {
    let attention = |layer: &Layer| matches!(layer.cache, Cache::Full(_) | Cache::None);
    let known = [Release::of(None), Release::of(Some((0, 11)))].contains(&settings.release);
    let latent = model.shape.layers.iter().any(|layer| matches!(layer.cache, Cache::Latent { .. }));
    Accuracy {
        weights: weights.off.map_or(Checked::No, Checked::Within),
        kv: if model.shape.layers.iter().all(attention) { Checked::Exact } else { Checked::No },
        // Pictures and sounds have a profile run of their own, which is not modelled.
        workspace: if known && !latent && !is_multimodal { Checked::Within(0.01) } else { Checked::No },
        overhead: Checked::No,
    }
}

fn notes(
    model: &ModelHeader,
    options: &FitOptions,
    settings: &Settings,
    weights: &Weights,
    is_multimodal: bool,
) -> Vec<String> {
    let mut notes = model.notes.clone();
    notes.extend(weights.notes.iter().cloned());
    if options.engine_release.is_none() {
        notes.push(format!(
            "figures are those of vLLM {}, whose profile run takes most; {} leaves more for the cache",
            settings.release.name,
            Release::last().name
        ));
    }
    if let Some((major, minor)) = options.engine_release.filter(|&release| release > release::LAST) {
        notes.push(format!(
            "vLLM {major}.{minor} was not read; figures are those of {}",
            settings.release.name
        ));
    }
    let in_step = options.max_num_seqs.or(options.sequences);
    if options.max_num_batched_tokens.is_none() || in_step.is_none() {
        let card = if settings.memory.is_none() { " on a server's card" } else { "" };
        let (sequences, tokens) = (settings.step_sequences, settings.step_tokens);
        let defaults = match (in_step, options.max_num_batched_tokens) {
            (None, None) => {
                format!("{sequences} sequences and {tokens} tokens in a step (256 and 2048 on any A100)")
            }
            (None, _) => format!("{sequences} sequences in a step (256 on any A100)"),
            _ => format!("{tokens} tokens in a step (2048 on any A100)"),
        };
        notes.push(format!("vLLM's default{card} for what is not given: {defaults}"));
    }
    if model.shape.longest_context().is_none() && options.context.is_none() {
        notes.push(format!(
            "its configuration does not say how long a text may be; vLLM assumes {} tokens",
            settings.context
        ));
    }
    if model.shape.longest_context().is_some_and(|trained| settings.context > trained) {
        notes.push("vLLM refuses a context beyond the trained one unless told to allow it".into());
    }
    if is_multimodal {
        notes.push("what the profile run takes for pictures or sounds is not in the workspace".into());
    }
    if settings.devices > 1 {
        notes.push(
            "figures are those of one of the devices; what NCCL takes depends on how they are connected"
                .into(),
        );
    }
    notes
}
