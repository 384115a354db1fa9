//! What llama.cpp takes for a model: weights and caches to the byte, working memory by replaying its own allocation.
//!
//! In: a GGUF header and options. Out: a footprint, device and host apart.
//!
//! ```text
//! header ─► hyper (numbers) ─► weights (placed) ─┐
//! options ─► context (rounded) ─► cache (laid out) ┼─► arch: the graph of the largest step ─► ggml: split, ordered, allocated
//! ```
//!
//! Followed: llama.cpp v0.5.0. llama.cpp reserves memory once, for a step of as many tokens as the micro-batch has, with the
//! whole cache in view; so one graph decides.

mod arch;
mod attention;
mod builder;
mod cache;
mod context;
mod experts;
mod hyper;
mod recurrent;
mod weights;

use vramkit_models::header::ModelHeader;
use vramkit_units::ByteSize;

use crate::error::FitError;
use crate::footprint::{Accuracy, Checked, Footprint, Part};
use crate::ggml::{Allocation, Backend, DeviceKind, Graph, Op, TensorId, allocate, schedule};
use crate::llama_cpp::builder::{Build, Builder, Parts};
use crate::llama_cpp::cache::Caches;
use crate::llama_cpp::context::Context;
use crate::llama_cpp::hyper::{Hyper, Keys};
use crate::llama_cpp::weights::Weights;
use crate::options::{self, FitOptions};

pub(crate) fn footprint(model: &ModelHeader, options: &FitOptions) -> Result<Footprint, FitError> {
    let Some(header) = &model.gguf else {
        return Err(FitError::WrongFormat {
            model: model.name.clone(),
            runtime: "llama.cpp".to_owned(),
            format: format!("{:?}", model.format),
            loads: "GGUF".to_owned(),
        });
    };
    let keys = Keys { model: &model.name, header };
    let Some(architecture) = arch::named(&header.architecture) else {
        let known: Vec<_> = arch::KNOWN.iter().map(|known| known.name).collect();
        return Err(keys.wrong(format!(
            "the architecture `{}` has no graph here; those that have: {}",
            header.architecture,
            known.join(", ")
        )));
    };
    let mut hyper = Hyper::read(keys)?;
    (architecture.hyper)(keys, &mut hyper)?;
    let context = Context::new(&model.name, options, hyper.trained_context)?;
    let backends = backends(options);
    let processor = (backends.len() - 1) as u8;
    let stored = (hyper.all_layers(), hyper.layers.len());
    let weights = Weights::new(header, stored, hyper.experts_used, options.gpu_layers, &backends)
        .without(if processor > 0 { (architecture.lacks)(&hyper) } else { &[] });
    let caches = Caches::new(&hyper, &context, (architecture.keeping)(keys, &hyper)?);

    let mut parts = [Part::default(), Part::default()];
    let sizes = weights.sizes(&model.name)?;
    parts[0].weights = Some(ByteSize::new(sizes.device));
    parts[1].weights = Some(ByteSize::new(sizes.main));
    parts[1].rearranged_weights = ByteSize::new(sizes.rearranged);
    let mut per_token = 0u64;
    for layer in 0..hyper.layers.len() {
        let (kv, state) = caches.bytes(&model.name, layer, &context)?;
        let part = &mut parts[usize::from(weights.layer_backend(layer) > 0)];
        part.kv = ByteSize::new(part.kv.bytes().saturating_add(kv));
        part.state = ByteSize::new(part.state.bytes().saturating_add(state));
        per_token = per_token.saturating_add(caches.bytes_per_token(layer, &context));
    }
    let build = if processor == 0 { Build::B11549 } else { Build::V0_5_0 };
    let built = |context| Parts {
        build,
        keys,
        hyper: &hyper,
        context,
        weights: &weights,
        caches: &caches,
        backends: &backends,
    };
    let without_flash = Context { flash: false, ..context.clone() };
    let mut notes = Vec::new();
    let mut used = &context;
    if context.flash_if_possible
        && !device_attends(built(&context), architecture.build).map_err(|fault| keys.wrong(fault))?
    {
        if context.type_v.block_elements() > 1 {
            return Err(keys.wrong(format!(
                "the device has no flash attention for this model's heads and cache, and values kept in {} need it",
                context.type_v.name()
            )));
        }
        notes.push("flash attention is off: the device lacks it for these heads and cache types".to_owned());
        used = &without_flash;
    }
    let allocation = workspace(built(used), architecture.build).map_err(|fault| keys.wrong(fault))?;
    parts[0].workspace = Some(ByteSize::new(allocation.buffers[0]));
    parts[1].workspace = Some(ByteSize::new(if processor > 0 { allocation.buffers[1] } else { 0 }));

    Ok(Footprint {
        runtime: options.runtime,
        backend: options.backend,
        context: context.tokens,
        sequences: context.sequences,
        layers: hyper.layers.len() as u64,
        layers_on_device: weights.layers_on_device() as u64,
        device: parts[0],
        host: parts[1],
        overhead: None,
        kv_per_token: ByteSize::new(per_token),
        reserved_cache: None,
        accuracy: Accuracy { weights: Checked::Exact, kv: Checked::Exact, ..Accuracy::default() },
        notes,
    })
}

/// The graph of a step of so many tokens.
fn graph(parts: Parts<'_>, build: fn(&mut Builder<'_>), tokens: u64, outputs: u64) -> Result<Graph, String> {
    let mut builder = Builder::new(parts, tokens, outputs);
    build(&mut builder);
    match builder.graph.fault() {
        Some(fault) => Err(fault.to_owned()),
        None => Ok(builder.graph),
    }
}

/// Whether each layer's device attends in one operation, tried with one token of each sequence as llama.cpp does.
fn device_attends(parts: Parts<'_>, build: fn(&mut Builder<'_>)) -> Result<bool, String> {
    let tokens = parts.context.sequences;
    let graph = graph(parts, build, tokens, tokens)?;
    let device = &parts.backends[0];
    let is_on_device = |id: TensorId| {
        let keys = graph.get(id).sources().get(1).and_then(|&keys| graph.get(keys).view_of);
        keys.and_then(|keys| graph.get(keys).place).is_some_and(|place| place.backend == 0)
    };
    let attentions = graph.nodes.iter().copied().filter(|&id| graph.get(id).op == Op::FlashAttention);
    Ok(attentions.filter(|&id| is_on_device(id)).all(|id| device.supports(&graph, id)))
}

/// The largest step's memory on each back end.
fn workspace(parts: Parts<'_>, build: fn(&mut Builder<'_>)) -> Result<Allocation, String> {
    let tokens = parts.context.step_tokens();
    let mut graph = graph(parts, build, tokens, parts.context.outputs.min(tokens))?;
    let scheduled = schedule(&mut graph, parts.backends);
    Ok(allocate(&graph, &scheduled.leaves, &scheduled.nodes, parts.backends))
}

/// The back ends of a process, the processor last.
fn backends(options: &FitOptions) -> Vec<Backend> {
    const GIB: u64 = 1 << 30;
    let unlimited = u64::MAX / 2;
    let device = |kind, alignment, largest_chunk, largest_tensor| Backend {
        kind,
        alignment,
        largest_chunk,
        largest_tensor,
    };
    match options.backend {
        options::Backend::Cpu => vec![Backend::cpu(32, unlimited)],
        options::Backend::Vulkan => {
            let largest = options.largest_tensor.unwrap_or(options::VULKAN_GUARANTEED_RANGE).bytes();
            vec![device(DeviceKind::Vulkan, 16, GIB, largest), Backend::cpu(64, GIB)]
        }
        options::Backend::Cuda => {
            vec![device(DeviceKind::Cuda, 128, unlimited, u64::MAX), Backend::cpu(32, unlimited)]
        }
        options::Backend::Metal => {
            vec![device(DeviceKind::Metal, 32, unlimited, u64::MAX), Backend::cpu(32, unlimited)]
        }
    }
}
