//! What a back end can compute, and how it grants memory.

use vramkit_models::gguf::TensorType;

use crate::ggml::graph::Graph;
use crate::ggml::tensor::{Op, Tensor, TensorId};

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Cpu,
    Vulkan,
    Cuda,
    Metal,
}

/// A back end of a scheduler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    pub kind: DeviceKind,
    /// Bytes that grants are rounded to.
    pub alignment: u64,
    /// Bytes that one allocation of the device has at most, unless one tensor needs more.
    pub largest_chunk: u64,
    /// Bytes of the largest tensor that it computes with.
    pub largest_tensor: u64,
}

/// Tokens from which work on weights in main memory is given to a device, with a copy of the weights.
const OFFLOAD_BATCH: u64 = 32;

impl Backend {
    /// Bytes that a tensor is granted, before they are rounded.
    pub fn size_of(&self, graph: &Graph, tensor: &Tensor) -> u64 {
        match self.kind {
            DeviceKind::Cuda => cuda_size(graph, tensor),
            _ => tensor.bytes(),
        }
    }

    /// A size as it is granted.
    pub fn granted(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.alignment).saturating_mul(self.alignment)
    }

    /// Bytes that are granted behind the last row of a weight or a cache.
    pub fn tail(&self, kind: TensorType, columns: u64) -> u64 {
        if self.kind == DeviceKind::Cuda { cuda_tail(kind, columns) } else { 0 }
    }

    /// Whether it would rather copy weights from main memory than leave the work to the processor.
    pub fn takes_over(&self, node: &Tensor) -> bool {
        let rows = match node.op {
            Op::GetRows => 0,
            Op::MulMat => node.ne[1],
            Op::MulMatId | Op::Rope => node.ne[2],
            _ => node.ne[1..].iter().fold(1, |rows: u64, &n| rows.saturating_mul(n)),
        };
        self.kind != DeviceKind::Cpu && rows >= OFFLOAD_BATCH
    }

    /// Whether it computes this.
    pub fn supports(&self, graph: &Graph, id: TensorId) -> bool {
        let node = graph.get(id);
        let small = |tensor: &Tensor| tensor.bytes() <= self.largest_tensor;
        match self.kind {
            DeviceKind::Cpu => true,
            DeviceKind::Cuda => cuda_supports(graph, node),
            DeviceKind::Vulkan | DeviceKind::Metal => {
                small(node)
                    && node.sources().iter().all(|&source| small(graph.get(source)))
                    && vulkan_supports(graph, node)
            }
        }
    }
}

/// What `ggml-vulkan.cpp` has kernels for, of what the graphs here are made of.
fn vulkan_supports(graph: &Graph, node: &Tensor) -> bool {
    let source = |at: usize| node.sources().get(at).map(|&source| graph.get(source));
    match node.op {
        Op::MulMat => {
            let (Some(a), Some(b)) = (source(0), source(1)) else { return false };
            a.ne[3] == b.ne[3]
                && rows_in_line(a)
                && rows_in_line(b)
                && !(a.kind == TensorType::BF16 && b.kind == TensorType::F16)
        }
        Op::MulMatId => source(0).is_some_and(rows_in_line) && source(1).is_some_and(rows_in_line),
        Op::FlashAttention => source(1).zip(source(2)).is_some_and(|(k, v)| vulkan_attends(k, v)),
        Op::Scale | Op::SoftMax => source(0).is_some_and(|a| a.contiguous() && is_f32(a)),
        Op::SetRows | Op::Copy | Op::Cont => vulkan_writes(node.kind),
        Op::ArgSort => source(0).is_some_and(Tensor::contiguous),
        // Only the second generation of Mamba, with states of 128 or 256, has a kernel.
        Op::SsmScan => {
            source(3).is_some_and(|a| a.ne[0] == 1) && source(0).is_some_and(scans_second_generation)
        }
        Op::GatedDeltaNet => source(2).is_some_and(|v| [16, 32, 64, 128].contains(&v.ne[0])),
        Op::SumRows | Op::Pad => source(0).is_some_and(is_f32),
        Op::Unary(_) | Op::Glu(_) | Op::Clamp => source(0).is_some_and(is_plain),
        Op::Add | Op::Mul | Op::Div => source(0).is_some_and(is_plain) && source(1).is_some_and(is_plain),
        _ => true,
    }
}

fn vulkan_attends(k: &Tensor, v: &Tensor) -> bool {
    const CACHED: [&str; 9] = ["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"];
    let known = |tensor: &Tensor| CACHED.contains(&tensor.kind.name());
    k.ne[0].is_multiple_of(8)
        && v.ne[0].is_multiple_of(8)
        && known(k)
        && known(v)
        && (k.kind == TensorType::BF16) == (v.kind == TensorType::BF16)
}

/// Types that rows can be written in.
fn vulkan_writes(kind: TensorType) -> bool {
    const WRITTEN: [&str; 12] =
        ["f32", "f16", "bf16", "i32", "q1_0", "q2_0", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl"];
    WRITTEN.contains(&kind.name())
}

/// Bytes of the largest copy in 16-bit numbers that CUDA's kernels make of what a matrix of 16-bit numbers is multiplied with
/// (`ggml_cuda_op_mul_mat_cublas`): it is in a pool of their own, beside the buffer of a step.
pub(crate) fn cuda_copies(graph: &Graph, nodes: impl Iterator<Item = TensorId>) -> u64 {
    let copied = |id: TensorId| {
        let node = graph.get(id);
        let (a, b) = match (node.op, node.sources()) {
            (Op::MulMat, &[a, b, ..]) => (graph.get(a), graph.get(b)),
            _ => return 0,
        };
        // Of a few tokens no copy is made.
        let is_copied = a.kind == TensorType::F16 && b.kind == TensorType::F32 && b.ne[1] > 8;
        if is_copied { b.elements().saturating_mul(2) } else { 0 }
    };
    nodes.map(copied).max().unwrap_or(0)
}

/// What `ggml-cuda.cu` has kernels for, of what the graphs here are made of, on a card with tensor cores.
fn cuda_supports(graph: &Graph, node: &Tensor) -> bool {
    let source = |at: usize| node.sources().get(at).map(|&source| graph.get(source));
    let in_line = |tensor: &Tensor| tensor.nb[0] == tensor.kind.block_bytes();
    match node.op {
        Op::MulMat | Op::MulMatId => {
            let (Some(a), Some(b)) = (source(0), source(1)) else { return false };
            in_line(a) && in_line(b) && !(b.kind == TensorType::F16 && a.kind != TensorType::F16)
        }
        Op::FlashAttention => cuda_attends(graph, node),
        Op::SetRows => {
            const WRITTEN: [&str; 9] =
                ["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl"];
            WRITTEN.contains(&node.kind.name())
        }
        Op::SsmConv => source(0).is_some_and(|a| a.ne[1] % 128 == 0),
        Op::SsmScan => {
            let (Some(states), Some(decay)) = (source(0), source(3)) else { return false };
            if decay.ne[0] == 1 {
                return scans_second_generation(states);
            }
            let is_first = states.ne[0] == 16 && states.ne[1] == 1 && states.ne[2] % 128 == 0;
            is_first && source(4).is_some_and(|groups| groups.ne[1] == 1)
        }
        Op::Unary(_) => source(0).is_some_and(Tensor::contiguous),
        Op::Glu(_) => source(0).is_some_and(|a| a.contiguous_from(1)),
        Op::Rope => source(0).is_some_and(|a| in_line(a) && a.contiguous_from(2)),
        Op::Add | Op::Mul | Op::Div => source(0).is_some_and(is_plain) && source(1).is_some_and(is_plain),
        _ => true,
    }
}

/// Head sizes and types that `fattn.cu` has kernels for.
fn cuda_attends(graph: &Graph, node: &Tensor) -> bool {
    let [q, k, v, mask, ..] = *node.sources() else { return false };
    let (q, k, v, mask) = (graph.get(q), graph.get(k), graph.get(v), graph.get(mask));
    let sharing = q.ne[2] / k.ne[2].max(1);
    let is_aligned =
        |tensor: &&Tensor| is_quantised(tensor.kind) || tensor.nb[1..].iter().all(|&stride| stride % 16 == 0);
    let shares = sharing >= 2 && k.ne[1] % 256 == 0 && [q, k, v, mask].iter().all(is_aligned);
    let has_size = match k.ne[0] {
        40 | 64 | 72 | 80 | 96 | 112 | 128 | 256 => v.ne[0] == k.ne[0],
        192 => v.ne[0] == 128 && shares && sharing % 8 == 0,
        320 => v.ne[0] == 256 && shares && sharing % 32 == 0,
        512 => v.ne[0] == 512 && shares,
        576 => v.ne[0] == 512 && shares,
        _ => false,
    };
    const CACHED: [&str; 8] = ["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"];
    has_size && CACHED.contains(&k.kind.name()) && CACHED.contains(&v.kind.name())
}

/// CUDA keeps copies of the cache in 16-bit numbers behind the result of an attention whose kernel reads nothing else.
fn cuda_size(graph: &Graph, tensor: &Tensor) -> u64 {
    let bytes = tensor.bytes();
    if let (Op::FlashAttention, [_, k, v, ..]) = (tensor.op, tensor.sources()) {
        let (k, v) = (graph.get(*k), graph.get(*v));
        let is_same = k.view_of.is_some() && k.view_of == v.view_of;
        let copy = |size: u64, cached: &Tensor| {
            if cached.kind == TensorType::F16 {
                return size;
            }
            size.div_ceil(128).saturating_mul(128).saturating_add(cached.elements().saturating_mul(2))
        };
        let with_keys = copy(bytes, k);
        return if is_same { with_keys } else { copy(with_keys, v) };
    }
    bytes.saturating_add(cuda_tail(tensor.kind, tensor.ne[0]))
}

/// CUDA fills up the last row of quantised numbers to whole tiles, so that kernels need not look where it ends.
fn cuda_tail(kind: TensorType, columns: u64) -> u64 {
    const TILE: u64 = 512;
    let over = columns % TILE;
    if !is_quantised(kind) || over == 0 {
        return 0;
    }
    ((TILE - over) / kind.block_elements()).saturating_mul(kind.block_bytes())
}

fn scans_second_generation(states: &Tensor) -> bool {
    [128, 256].contains(&states.ne[0]) && states.ne[1].is_multiple_of(16)
}

fn is_f32(tensor: &Tensor) -> bool {
    tensor.kind == TensorType::F32
}

fn is_plain(tensor: &Tensor) -> bool {
    [TensorType::F32, TensorType::F16].contains(&tensor.kind)
}

/// Numbers in blocks with a scale.
pub(crate) fn is_quantised(kind: TensorType) -> bool {
    kind.block_elements() > 1
}

/// A matrix that multiplication can read: plain numbers in any order, or rows behind each other.
fn rows_in_line(tensor: &Tensor) -> bool {
    [TensorType::F32, TensorType::F16, TensorType::BF16].contains(&tensor.kind)
        || (tensor.nb[0] == tensor.kind.block_bytes()
            && tensor.nb[1] == tensor.nb[0].saturating_mul(tensor.ne[0]) / tensor.kind.block_elements()
            && (tensor.ne[3] == 1 || tensor.nb[3] == tensor.nb[2].saturating_mul(tensor.ne[2])))
}
