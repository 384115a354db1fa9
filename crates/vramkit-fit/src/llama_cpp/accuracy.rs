//! How well predictions for llama.cpp have been checked: what the table of `docs/fit.md` says, which
//! `cargo run --release -p vramkit-fit --example accuracy` prints.
//!
//! Checked are dry runs of v0.5.0 (Vulkan; CUDA on an H200) and of b11549 (processor), of published and of made-up sizes, to the byte.
//! Builds differ: what logs of others say is in the table, not here.

use crate::footprint::{Accuracy, Checked};
use crate::options::Backend;

/// Architectures whose dry runs under each checked back end all say what is predicted.
const PROBED: [&str; 15] = [
    "deepseek2",
    "falcon-h1",
    "gemma2",
    "gemma3",
    "glm4",
    "gpt-oss",
    "granite",
    "llama",
    "mamba",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen35",
    "qwen35moe",
    "qwen3moe",
];

/// How well an architecture's figures have been checked under a back end, without drafts.
pub(crate) fn checked(architecture: &str, backend: Backend) -> Accuracy {
    let is_probed_backend = matches!(backend, Backend::Cpu | Backend::Vulkan | Backend::Cuda);
    if !is_probed_backend || !PROBED.contains(&architecture) {
        return Accuracy::default();
    }
    Accuracy { weights: Checked::Exact, kv: Checked::Exact, workspace: Checked::Exact, ..Accuracy::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llama_cpp::arch;

    /// Dry runs of an architecture in a table, whose columns begin with a name and the architecture.
    fn probes(table: &str, architecture: &str) -> usize {
        table.lines().filter(|line| line.split(',').nth(1) == Some(architecture)).count()
    }

    /// That they say what is predicted is shown by `tests/llama_cpp.rs`.
    #[test]
    fn no_more_is_claimed_than_was_probed() {
        let tables = [
            (Backend::Cpu, include_str!("../../tests/data/llama_cpp_cpu.csv")),
            (Backend::Vulkan, include_str!("../../tests/data/llama_cpp_vulkan.csv")),
            (Backend::Vulkan, include_str!("../../tests/data/llama_cpp_vulkan_card.csv")),
            (Backend::Cuda, include_str!("../../tests/data/llama_cpp_cuda.csv")),
            (Backend::Metal, ""),
        ];
        for known in arch::KNOWN {
            for (backend, table) in tables {
                let claims = checked(known.name, backend) != Accuracy::default();
                let count = probes(table, known.name);
                assert_eq!(claims, count >= 20, "{} under {backend}: {count} dry runs", known.name);
            }
        }
        assert_eq!(checked("no such architecture", Backend::Cpu), Accuracy::default());
    }
}
