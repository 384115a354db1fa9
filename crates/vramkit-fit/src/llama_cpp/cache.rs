//! Keys, values and states as llama.cpp lays them out (`llama-kv-cache.cpp`, `llama-memory-recurrent.cpp`).

use vramkit_models::gguf::TensorType;

use crate::error::FitError;
use crate::ggml::Backend;
use crate::llama_cpp::context::Context;
use crate::llama_cpp::hyper::Hyper;

/// What one layer keeps, as tensors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LayerCache {
    /// Numbers of a token's keys; 0 for a layer without.
    pub keys: u64,
    /// Numbers of a token's values; 0 where the keys are all.
    pub values: u64,
    /// Cells of each stream.
    pub cells: u64,
    /// Numbers of a sequence's convolution inputs.
    pub convolution: u64,
    /// Numbers of a sequence's recurrent state.
    pub recurrent: u64,
}

/// Everything that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Caches {
    pub layers: Vec<LayerCache>,
    /// Values lie transposed, which they do without flash attention.
    pub transposed: bool,
    /// Numbers of the square by which keys are rotated before they are quantised; 0 if they are not.
    pub rotate_keys: u64,
    pub rotate_values: u64,
    pub rotate_windowed_keys: u64,
    pub rotate_windowed_values: u64,
    /// Sequences that states are kept for, drafts counted.
    pub states: u64,
}

/// What is kept by a layer of this architecture.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keeping {
    /// Keys alone are kept, as one vector of so many numbers (latent attention).
    pub latent: Option<u64>,
    /// A recurrent layer keeps keys and values, too.
    pub both: bool,
}

impl Caches {
    pub fn new(hyper: &Hyper, context: &Context, keeping: Keeping) -> Self {
        let transposed = !context.flash;
        let widest = hyper.layers.iter().map(|layer| layer.values()).max().unwrap_or(0);
        let space = hyper.state_space;
        let layers: Vec<_> = hyper
            .layers
            .iter()
            .map(|layer| {
                let mut cache = LayerCache::default();
                if layer.recurrent {
                    let inputs = space.inner + 2 * space.groups * space.state;
                    cache.convolution = space.convolution.saturating_sub(1).saturating_mul(inputs);
                    cache.recurrent = space.state.saturating_mul(space.inner);
                }
                if (!layer.recurrent || keeping.both) && layer.heads > 0 {
                    cache.cells =
                        if layer.windowed { context.window_cells(hyper.window) } else { context.tokens_each };
                    match keeping.latent {
                        Some(latent) => cache.keys = latent,
                        None => {
                            cache.keys = layer.keys();
                            // Layers of different widths are padded to the widest when values lie transposed.
                            cache.values =
                                if transposed && layer.values() > 0 { widest } else { layer.values() };
                        }
                    }
                }
                cache
            })
            .collect();
        let rotation = |windowed: bool,
                        kind: TensorType,
                        of: fn(&crate::llama_cpp::hyper::LayerHeads) -> u64,
                        grows: bool| {
            let mut widths = hyper
                .layers
                .iter()
                .filter(|layer| layer.windowed == windowed && (!layer.recurrent || keeping.both))
                .map(of);
            let Some(width) = widths.next().filter(|&width| width > 0 && widths.all(|other| other == width))
            else {
                return 0;
            };
            if kind.block_elements() == 1 || width % 64 != 0 {
                return 0;
            }
            let mut square = 64;
            while grows && width % (square * 2) == 0 {
                square *= 2;
            }
            square
        };
        let latent = keeping.latent.is_some();
        Self {
            layers,
            transposed,
            rotate_keys: rotation(false, context.type_k, |layer| layer.key, true),
            rotate_values: if latent {
                0
            } else {
                rotation(false, context.type_v, |layer| layer.value, false)
            },
            rotate_windowed_keys: rotation(true, context.type_k, |layer| layer.key, true),
            rotate_windowed_values: if latent {
                0
            } else {
                rotation(true, context.type_v, |layer| layer.value, false)
            },
            states: context.sequences.saturating_mul(1 + context.drafts),
        }
    }

    /// Bytes of keys and values of a layer, and of its states, as its back end grants them.
    pub fn bytes(
        &self,
        model: &str,
        layer: usize,
        context: &Context,
        backend: &Backend,
    ) -> Result<(u64, u64), FitError> {
        let cache = self.layers[layer];
        let row = |kind: TensorType, numbers: u64| {
            kind.row_bytes(numbers).ok_or_else(|| FitError::Option {
                model: model.to_owned(),
                reason: format!(
                    "layer {layer} keeps rows of {numbers} numbers, which {} cannot store: its blocks have {}",
                    kind.name(),
                    kind.block_elements()
                ),
            })
        };
        let cells = cache.cells.saturating_mul(context.streams());
        let tensor = |kind: TensorType, numbers: u64| {
            let bytes = row(kind, numbers)?.saturating_mul(cells);
            let tail = if bytes > 0 { backend.tail(kind, numbers) } else { 0 };
            Ok::<_, FitError>(backend.granted(bytes.saturating_add(tail)))
        };
        let kept = tensor(context.type_k, cache.keys)?.saturating_add(tensor(context.type_v, cache.values)?);
        let states = cache.convolution.saturating_add(cache.recurrent).saturating_mul(4);
        Ok((kept, states.saturating_mul(self.states)))
    }

    /// Bytes that one more token takes in a layer.
    pub fn bytes_per_token(&self, layer: usize, context: &Context) -> u64 {
        let cache = self.layers[layer];
        let row = |kind: TensorType, numbers| kind.row_bytes(numbers).unwrap_or(0);
        row(context.type_k, cache.keys).saturating_add(row(context.type_v, cache.values))
    }
}
