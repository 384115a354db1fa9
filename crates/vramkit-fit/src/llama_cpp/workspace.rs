//! Working memory: the graph of the largest step, given to the back ends of a process and allocated as ggml does it.

use crate::ggml::{Allocation, Backend, DeviceKind, Graph, Op, TensorId, allocate, cuda_copies, schedule};
use crate::llama_cpp::builder::{Builder, Parts};
use crate::options::{self, FitOptions};

type Build = fn(&mut Builder<'_>);

/// The back ends of a process, the processor last.
pub(crate) fn backends(options: &FitOptions) -> Vec<Backend> {
    const GIB: u64 = 1 << 30;
    let unlimited = u64::MAX / 2;
    let backend = |kind, alignment, largest_chunk, largest_tensor| Backend {
        kind,
        alignment,
        largest_chunk,
        largest_tensor,
    };
    let processor = |alignment, largest_chunk| backend(DeviceKind::Cpu, alignment, largest_chunk, u64::MAX);
    match options.backend {
        options::Backend::Cpu => vec![processor(32, unlimited)],
        options::Backend::Vulkan => {
            // Alignments are what drivers of NVIDIA, AMD, Intel and the software device say.
            let largest = options.largest_tensor.unwrap_or(options::VULKAN_GUARANTEED_RANGE).bytes();
            vec![backend(DeviceKind::Vulkan, 16, GIB, largest), processor(64, GIB)]
        }
        options::Backend::Cuda => {
            vec![backend(DeviceKind::Cuda, 128, unlimited, u64::MAX), processor(32, unlimited)]
        }
        options::Backend::Metal => {
            vec![backend(DeviceKind::Metal, 32, unlimited, u64::MAX), processor(32, unlimited)]
        }
    }
}

/// The graph of a step of so many tokens.
fn graph(parts: Parts<'_>, build: Build, tokens: u64, outputs: u64) -> Result<Graph, String> {
    let mut builder = Builder::new(parts, tokens, outputs);
    build(&mut builder);
    match builder.fault() {
        Some(fault) => Err(fault),
        None => Ok(builder.graph),
    }
}

/// Whether each layer's device attends in one operation, tried with one token of each sequence as llama.cpp does.
///
/// # Errors
/// What contradicts itself in the header.
pub(crate) fn device_attends(parts: Parts<'_>, build: Build) -> Result<bool, String> {
    let tokens = parts.context.sequences;
    // Layers of a kind attend alike, so that with all of them on the device one of each kind is enough.
    let shortest = parts.weights.all_on_device().then(|| parts.hyper.shortest());
    let parts = Parts { hyper: shortest.as_ref().unwrap_or(parts.hyper), ..parts };
    let graph = graph(parts, build, tokens, tokens)?;
    let device = &parts.backends[0];
    let is_on_device = |id: TensorId| {
        let keys = graph.get(id).sources().get(1).and_then(|&keys| graph.get(keys).view_of);
        keys.and_then(|keys| graph.get(keys).place).is_some_and(|place| place.backend == 0)
    };
    let attentions = graph.nodes.iter().copied().filter(|&id| graph.get(id).op == Op::FlashAttention);
    Ok(attentions.filter(|&id| is_on_device(id)).all(|id| device.supports(&graph, id)))
}

/// What a step takes.
pub(crate) struct Working {
    /// Of each back end's buffer.
    pub allocation: Allocation,
    /// Bytes that the device's kernels take beside its buffer, where they take much.
    pub beside: u64,
}

/// The largest step's memory on each back end.
///
/// # Errors
/// What contradicts itself in the header.
pub(crate) fn workspace(parts: Parts<'_>, build: Build) -> Result<Working, String> {
    let tokens = parts.context.step_tokens();
    let mut graph = graph(parts, build, tokens, parts.context.outputs.min(tokens))?;
    let scheduled = schedule(&mut graph, parts.backends);
    let beside = match parts.backends[0].kind {
        DeviceKind::Cuda => {
            let on_device = scheduled.nodes.iter().filter(|&&(_, backend)| backend == 0);
            cuda_copies(&graph, on_device.map(|&(id, _)| id))
        }
        _ => 0,
    };
    let allocation = allocate(&graph, &scheduled.leaves, &scheduled.nodes, parts.backends);
    Ok(Working { allocation, beside })
}
