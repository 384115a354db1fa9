//! What a process of llama.cpp takes of a device beside its buffers: the driver's context, kernels, the pool that they compute
//! in.
//!
//! It differs by driver and card and is no part of a model, so it is shown apart, and can be given.

use vramkit_units::ByteSize;

use crate::footprint::Checked;
use crate::options::{Backend, FitOptions};

/// What was given, or what was measured with this back end; kernels may take `beside` as well.
///
/// - *CPU*: nothing beside what is counted elsewhere.
/// - *CUDA*: 612 MiB, the median of 27 models on an H200 (CUDA 13.0, driver 580.159, `docs/gpu-results.md`): 527 MiB of it are
///   the driver's context. 609 to 735 MiB with flash attention; without it more, of which the larger part, the copies in 16-bit
///   numbers that cuBLAS multiplies, is `beside`. Cards for workstations take less: 451 to 456 MiB on three RTX 4090
///   (ggml-org/llama.cpp pull request 15860).
/// - *Vulkan*: 17 MiB on an RX 9060 XT under RADV (pull request 20858). NVIDIA's driver takes more, how much is not known.
/// - *Metal*: nothing on an M5, whose memory is the host's.
pub(crate) fn of(options: &FitOptions, beside: u64) -> ByteSize {
    let measured = match options.backend {
        Backend::Cpu | Backend::Metal => ByteSize::ZERO,
        Backend::Cuda => ByteSize::mib(612),
        Backend::Vulkan => ByteSize::mib(17),
    };
    options.overhead.unwrap_or(measured.saturating_add(ByteSize::new(beside)))
}

/// How well that was checked: on other cards than those it differs, so it is not, but where there is nothing.
pub(crate) fn checked(options: &FitOptions) -> Checked {
    match (options.overhead, options.backend) {
        (None, Backend::Cpu) => Checked::Exact,
        _ => Checked::No,
    }
}
