//! What an arena would take that is planned, of the same lifetimes that ggml places one after the other.

use std::path::Path;

use vramkit_fit::{
    Backend, FitOptions, FlashAttention, Runtime, VULKAN_CARD_RANGE, footprint, workspace_lifetimes,
};
use vramkit_plan::{MemoryPlanner, Model, Schedule};
use vramkit_testing::gguf::SparseModel;
use vramkit_units::{ByteSize, Step};

use super::probes::written;

/// Workspaces of one model.
#[derive(Clone, Copy, Debug)]
pub struct Arenas {
    /// As ggml places it.
    pub ggml: ByteSize,
    /// As it is planned.
    pub planned: ByteSize,
    /// Most bytes live at one time: nothing takes less.
    pub bound: ByteSize,
}

/// Plans the workspace of a model.
///
/// # Errors
/// Why nothing is predicted or planned.
pub fn arenas(model: &SparseModel, options: &FitOptions, scratch: &Path) -> Result<Arenas, String> {
    let header = written(model, scratch)?;
    let predicted = footprint(&header, options).map_err(|error| error.to_string())?;
    let tensors = workspace_lifetimes(&header, options).map_err(|error| error.to_string())?;
    let graph = Model { name: "graph".into(), weights: ByteSize::ZERO, start: Step(0), tensors };
    let plan = MemoryPlanner::new().plan(&[graph], Schedule::Fixed).map_err(|error| error.to_string())?;
    plan.check(&plan.tensors).map_err(|fault| fault.to_string())?;
    Ok(Arenas {
        ggml: predicted.device.workspace.unwrap_or_default(),
        planned: plan.arena_size,
        bound: plan.lower_bound,
    })
}

/// Published models that are planned.
pub fn models() -> Vec<(&'static str, SparseModel)> {
    vec![
        ("Phi-3-mini", SparseModel::phi_3_mini("q4_0")),
        ("Llama-3.1-8B", SparseModel::llama_3_1_8b()),
        ("Qwen3-8B", SparseModel::qwen3_8b()),
        ("Qwen3-30B-A3B", SparseModel::qwen3_30b_a3b()),
        ("Gemma-3-12B", SparseModel::gemma_3_12b()),
        ("DeepSeek-V2-Lite", SparseModel::deepseek_v2_lite()),
        ("Mamba-2.8B", SparseModel::mamba_2_8b()),
        ("Falcon-H1-0.5B", SparseModel::falcon_h1_0_5b()),
        ("Qwen3.5-9B", SparseModel::qwen3_5_9b()),
        ("gpt-oss-20b", SparseModel::gpt_oss_20b()),
    ]
}

/// Prints the table.
///
/// # Errors
/// As [`arenas`].
pub fn print() -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    println!("### Workspace: placed by ggml, and planned (Vulkan card, 8,192 tokens, micro-batch 512)\n");
    println!("| model | flash attention | ggml | planned | lower bound | planned / ggml |");
    println!("|---|---|---:|---:|---:|---:|");
    for (name, model) in models() {
        for flash in [FlashAttention::On, FlashAttention::Off] {
            let mut options = FitOptions::new(Runtime::LlamaCpp, Backend::Vulkan);
            options.context = Some(8192);
            options.flash_attention = flash;
            options.largest_tensor = Some(VULKAN_CARD_RANGE);
            let arenas = arenas(&model, &options, &scratch.path().join("model.gguf"))?;
            let ratio = arenas.planned.ratio_of(arenas.ggml);
            let (ggml, planned, bound) = (arenas.ggml, arenas.planned, arenas.bound);
            println!("| {name} | {flash} | {ggml} | {planned} | {bound} | {ratio:.3} |");
        }
    }
    println!();
    Ok(())
}
