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
    /// Main memory.
    pub fn cpu(alignment: u64, largest_chunk: u64) -> Self {
        Self { kind: DeviceKind::Cpu, alignment, largest_chunk, largest_tensor: u64::MAX }
    }

    /// Bytes that a tensor is granted, before they are rounded.
    pub fn size_of(&self, tensor: &Tensor) -> u64 {
        let bytes = tensor.bytes();
        // CUDA pads rows of quantised numbers to whole tiles, so that kernels need not look where a row ends.
        const TILE: u64 = 512;
        let over = tensor.ne[0] % TILE;
        if self.kind == DeviceKind::Cuda && is_quantised(tensor.kind) && over != 0 {
            let missing = TILE - over;
            let padding = (missing / tensor.kind.block_elements()).saturating_mul(tensor.kind.block_bytes());
            return bytes.saturating_add(padding);
        }
        bytes
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
        let source = |at: usize| node.sources().get(at).map(|&source| graph.get(source));
        if self.kind == DeviceKind::Cpu {
            return true;
        }
        let small = |tensor: &Tensor| tensor.bytes() <= self.largest_tensor;
        if !small(node) || !node.sources().iter().all(|&source| small(graph.get(source))) {
            return false;
        }
        let f32_or_f16 = |tensor: &Tensor| [TensorType::F32, TensorType::F16].contains(&tensor.kind);
        let f32 = |tensor: &Tensor| tensor.kind == TensorType::F32;
        match node.op {
            Op::MulMat => {
                let (Some(a), Some(b)) = (source(0), source(1)) else { return false };
                a.ne[3] == b.ne[3]
                    && rows_in_line(a)
                    && rows_in_line(b)
                    && !(a.kind == TensorType::BF16 && b.kind == TensorType::F16)
            }
            Op::MulMatId => source(0).is_some_and(rows_in_line) && source(1).is_some_and(rows_in_line),
            Op::FlashAttention => source(1).zip(source(2)).is_some_and(|(k, v)| self.attends(k, v)),
            Op::Scale | Op::SoftMax => source(0).is_some_and(|a| a.contiguous() && f32(a)),
            Op::SetRows | Op::Copy | Op::Cont => writes(node.kind),
            Op::ArgSort => source(0).is_some_and(Tensor::contiguous),
            Op::SsmScan => {
                // Only the second generation of Mamba, with states of 128 or 256, has a kernel.
                let second = source(3).is_some_and(|a| a.ne[0] == 1);
                second && source(0).is_some_and(|s| [128, 256].contains(&s.ne[0]) && s.ne[1] % 16 == 0)
            }
            Op::GatedDeltaNet => source(2).is_some_and(|v| [16, 32, 64, 128].contains(&v.ne[0])),
            Op::Norm | Op::L2Norm | Op::SumRows | Op::Pad => source(0).is_some_and(f32),
            Op::Unary(_) | Op::Glu(_) | Op::Sqr | Op::Sqrt | Op::Clamp => source(0).is_some_and(f32_or_f16),
            Op::Add | Op::Sub | Op::Mul | Op::Div => {
                source(0).is_some_and(f32_or_f16) && source(1).is_some_and(f32_or_f16)
            }
            _ => true,
        }
    }

    fn attends(&self, k: &Tensor, v: &Tensor) -> bool {
        const CACHED: [&str; 9] = ["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"];
        let known = |tensor: &Tensor| CACHED.contains(&tensor.kind.name());
        k.ne[0] % 8 == 0
            && v.ne[0] % 8 == 0
            && known(k)
            && known(v)
            && (k.kind == TensorType::BF16) == (v.kind == TensorType::BF16)
    }
}

/// Numbers in blocks with a scale.
pub(crate) fn is_quantised(kind: TensorType) -> bool {
    kind.block_elements() > 1
}

/// Types that rows can be written in.
fn writes(kind: TensorType) -> bool {
    const WRITTEN: [&str; 11] =
        ["f32", "f16", "bf16", "q1_0", "q2_0", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl"];
    WRITTEN.contains(&kind.name()) || kind == TensorType::I32
}

/// A matrix that multiplication can read: plain numbers in any order, or rows behind each other.
fn rows_in_line(tensor: &Tensor) -> bool {
    [TensorType::F32, TensorType::F16, TensorType::BF16].contains(&tensor.kind)
        || (tensor.nb[0] == tensor.kind.block_bytes()
            && tensor.nb[1] == tensor.nb[0].saturating_mul(tensor.ne[0]) / tensor.kind.block_elements()
            && (tensor.ne[3] == 1 || tensor.nb[3] == tensor.nb[2].saturating_mul(tensor.ne[2])))
}
