//! Writes a published model's GGUF header, and a hole where its weights would be: `sparse NAME FILE`.
//!
//! `vramkit fit` reads headers alone, so it answers for such a file as for the real one.

#![allow(clippy::print_stderr)]

use std::path::Path;
use std::process::ExitCode;

use vramkit_testing::gguf::SparseModel;

type Make = fn() -> SparseModel;

const MODELS: &[(&str, Make)] = &[
    ("phi-3-mini-f16", || SparseModel::phi_3_mini("f16")),
    ("phi-3-mini-q4_0", || SparseModel::phi_3_mini("q4_0")),
    ("llama-3.1-8b", SparseModel::llama_3_1_8b),
    ("qwen3-8b", SparseModel::qwen3_8b),
    ("qwen3-30b-a3b", SparseModel::qwen3_30b_a3b),
    ("gemma-3-12b", SparseModel::gemma_3_12b),
    ("deepseek-v2-lite", SparseModel::deepseek_v2_lite),
    ("mamba-2.8b", SparseModel::mamba_2_8b),
    ("falcon-h1-0.5b", SparseModel::falcon_h1_0_5b),
    ("qwen3.5-9b", SparseModel::qwen3_5_9b),
    ("gpt-oss-20b", SparseModel::gpt_oss_20b),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, file] = arguments.as_slice() else {
        let names: Vec<_> = MODELS.iter().map(|known| known.0).collect();
        eprintln!("usage: sparse NAME FILE.gguf, with NAME one of {}", names.join(", "));
        return ExitCode::from(2);
    };
    let Some((_, make)) = MODELS.iter().find(|known| known.0 == name) else {
        eprintln!("error: `{name}` is not known");
        return ExitCode::from(2);
    };
    match make().write(Path::new(file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write `{file}`: {error}");
            ExitCode::FAILURE
        }
    }
}
