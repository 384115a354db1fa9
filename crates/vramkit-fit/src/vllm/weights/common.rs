//! What counted and stored weights have in common: padding, and what is asked of a header.

use vramkit_models::header::ModelHeader;

/// Rows of embeddings and of the output are padded to a multiple of this before they are split.
pub(super) const VOCABULARY_MULTIPLE: u64 = 64;

/// What PyTorch's allocator gives for a tensor: from 10 MiB on a segment of whole 2 MiB, whose rest is the tensor's too when it
/// is not over 1 MiB (`CUDACachingAllocator.cpp`). Qwen2.5-7B is 56 MiB larger by it.
pub(super) fn allocated(bytes: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    if bytes < 10 * MIB {
        return bytes;
    }
    let segment = bytes.div_ceil(2 * MIB).saturating_mul(2 * MIB);
    if segment.saturating_sub(bytes) <= MIB { segment } else { bytes }
}

/// Whether the configuration says that experts are stored as mxfp4.
pub(super) fn has_mxfp4(model: &ModelHeader) -> bool {
    model.weights_type.as_deref().is_some_and(|kind| kind.to_lowercase().contains("mxfp4"))
}
