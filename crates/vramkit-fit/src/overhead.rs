//! What a process takes of a device before it computes anything: the driver's context, kernels, libraries.
//!
//! It differs by driver and card and is no part of a model, so it is shown apart, and can be given.

use vramkit_units::ByteSize;

use crate::options::Backend;

/// What was measured of llama.cpp with this back end, and where; no figure of it is checked for other cards than those.
///
/// - *CPU*: nothing beside what is counted elsewhere.
/// - *CUDA*: 451 to 456 MiB on three RTX 4090 of a server that ran nothing else (ggml-org/llama.cpp pull request 15860, what its
///   breakdown does not account for). A workstation's RTX PRO 6000 showed 753 MiB with its screen in it.
/// - *Vulkan*: 17 MiB on an RX 9060 XT under RADV (pull request 20858). NVIDIA's driver takes more, how much is not known.
/// - *Metal*: nothing on an M5, whose memory is the host's.
pub(crate) fn measured(backend: Backend) -> ByteSize {
    match backend {
        Backend::Cpu | Backend::Metal => ByteSize::ZERO,
        Backend::Cuda => ByteSize::mib(456),
        Backend::Vulkan => ByteSize::mib(17),
    }
}
