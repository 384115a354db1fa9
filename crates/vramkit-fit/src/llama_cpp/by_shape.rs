//! What llama.cpp takes for an architecture whose graph is not followed: weights and what is kept, from the shape of its layers.
//!
//! Working memory is not known then, and said not to be; so is how well the rest was checked.

use vramkit_models::gguf::TensorType;
use vramkit_models::header::ModelHeader;
use vramkit_models::shape::{Cache, Heads};
use vramkit_units::ByteSize;

use crate::error::FitError;
use crate::footprint::{Accuracy, Footprint, Part};
use crate::llama_cpp::context::Context;
use crate::llama_cpp::weights::Weights;
use crate::llama_cpp::workspace::backends;
use crate::options::FitOptions;
use crate::overhead;

/// Tokens that are assumed where a configuration does not say how long a text may be.
const UNSAID_CONTEXT: u64 = 2048;

/// A footprint without working memory.
pub(crate) fn footprint(model: &ModelHeader, options: &FitOptions) -> Result<Footprint, FitError> {
    let shape = &model.shape;
    let wrong = |reason: String| FitError::Header { model: model.name.clone(), reason };
    if shape.layers.is_empty() {
        return Err(wrong("nothing says what its layers keep".to_owned()));
    }
    let mut notes = Vec::new();
    let unsaid = shape.trained_context.is_none() && options.context.is_none();
    if unsaid && model.gguf.is_some() {
        return Err(wrong("it does not say how long its context is, so one must be given".to_owned()));
    }
    if unsaid {
        notes.push(format!("it does not say how long its context is: {UNSAID_CONTEXT} tokens are assumed"));
    }
    let trained = shape.trained_context.unwrap_or(UNSAID_CONTEXT);
    notes.push(match model.gguf {
        Some(_) => format!("working memory is not known: the graph of `{}` is not followed", shape.architecture),
        None => "llama.cpp loads GGUF: of weights in another form nothing is said, nor of working memory, which depends on them"
            .to_owned(),
    });
    let context = Context::new(&model.name, options, trained)?;
    let backends = backends(options);
    let count = shape.layers.len();
    let mut parts = [Part::default(), Part::default()];
    let (mut on_device, mut layers_on_device) = (vec![true; count], count as u64 + 1);
    if let Some(header) = &model.gguf {
        let stored = count + shape.draft_layers.len();
        let used = shape.widths.experts_used.max(1);
        let weights = Weights::new(header, (stored, count), used, options.gpu_layers, &backends);
        let sizes = weights.sizes(&model.name)?;
        parts[0].weights = Some(ByteSize::new(sizes.device));
        parts[1].weights = Some(ByteSize::new(sizes.main));
        parts[1].rearranged_weights = ByteSize::new(sizes.rearranged);
        on_device = (0..count).map(|layer| weights.layer_backend(layer) == 0).collect();
        layers_on_device = weights.layers_on_device() as u64;
    }
    let mut per_token = 0u64;
    for (layer, kept) in shape.layers.iter().enumerate() {
        let streams = context.streams();
        let (cells, row) = match kept.cache {
            Cache::Full(heads) => (context.tokens_each, rows(model, &context, heads)?),
            Cache::Window { heads, tokens } => (context.window_cells(tokens), rows(model, &context, heads)?),
            Cache::Latent { latent, rope, indexer } => {
                (context.tokens_each, row(model, context.type_k, latent + rope + indexer)?)
            }
            Cache::Cross { heads, tokens } => (tokens, rows(model, &context, heads)?),
            Cache::None | Cache::Shared { .. } => (0, 0),
            _ => return Err(wrong(format!("what layer {layer} keeps is not counted for llama.cpp"))),
        };
        if matches!(kept.cache, Cache::Full(_) | Cache::Window { .. } | Cache::Latent { .. }) {
            per_token = per_token.saturating_add(row);
        }
        let state = kept.state.convolution.saturating_add(kept.state.recurrent).saturating_mul(4);
        let states = context.sequences.saturating_mul(1 + context.drafts);
        let part = &mut parts[usize::from(!on_device[layer])];
        let kv = row.saturating_mul(cells).saturating_mul(streams);
        part.kv = ByteSize::new(part.kv.bytes().saturating_add(kv));
        part.state = ByteSize::new(part.state.bytes().saturating_add(state.saturating_mul(states)));
    }
    Ok(Footprint {
        runtime: options.runtime,
        backend: options.backend,
        context: context.tokens,
        sequences: context.sequences,
        layers: count as u64,
        layers_on_device,
        device: parts[0],
        host: parts[1],
        overhead: Some(overhead::of(options, 0)),
        kv_per_token: ByteSize::new(per_token),
        reserved_cache: None,
        accuracy: Accuracy { overhead: overhead::checked(options), ..Accuracy::default() },
        notes,
    })
}

fn rows(model: &ModelHeader, context: &Context, heads: Heads) -> Result<u64, FitError> {
    let keys = row(model, context.type_k, heads.kv_heads.saturating_mul(heads.key))?;
    Ok(keys.saturating_add(row(model, context.type_v, heads.kv_heads.saturating_mul(heads.value))?))
}

fn row(model: &ModelHeader, kind: TensorType, numbers: u64) -> Result<u64, FitError> {
    kind.row_bytes(numbers).ok_or_else(|| FitError::Option {
        model: model.name.clone(),
        reason: format!("rows of {numbers} numbers cannot be kept in {}", kind.name()),
    })
}
