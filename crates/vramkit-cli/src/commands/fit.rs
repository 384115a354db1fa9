//! `vramkit fit`.

use std::io::Write as _;

use vramkit_ask::{FitMemory, FitQuestion, QuestionError};

use crate::args::dimensions;
use crate::args::{FitOptions, WriteArg};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::fit_sets_text::describe_sets;
use crate::fit_text::describe_fit;
use crate::output;

pub fn run(options: &FitOptions, caller: &mut Caller) -> Result<bool, Failure> {
    if options.sets.is_some()
        && let Some(what) = at_its_default(options)
    {
        return Err(QuestionError::OptionBesideSets(what).into());
    }
    let answer = vramkit_ask::fit(&question(options)?)?;
    if let Some(path) = &options.svg {
        let svg = answer.svg()?;
        output::file(path, |out| out.write_all(svg.as_bytes()))?;
    }
    match (options.write, &answer.report.sets) {
        (Some(WriteArg::LlamaSwap), _) => caller.text(&answer.llama_swap()?)?,
        _ if options.json => caller.json(&answer.report)?,
        (None, Some(sets)) => caller.text(&describe_sets(&answer.report, sets))?,
        (None, None) => caller.text(&describe_fit(&answer.report))?,
    }
    Ok(answer.is_yes())
}

/// An option that is given, and that a question does not show when its value is the default.
fn at_its_default(options: &FitOptions) -> Option<&'static str> {
    let given = [
        ("flash attention", options.flash_attn.is_some()),
        ("a number of layers", options.gpu_layers.is_some()),
        ("a part of the memory", options.gpu_memory_utilization.is_some()),
        ("a number of devices", options.tensor_parallel.is_some()),
        ("drafted tokens", options.draft_tokens.is_some()),
    ];
    given.into_iter().find(|(_, is_given)| *is_given).map(|(what, _)| what)
}

fn question(options: &FitOptions) -> Result<FitQuestion, Failure> {
    let mut question = FitQuestion {
        models: options.models.clone(),
        sets: options.sets.clone(),
        model_folder: options.model_dir.clone(),
        runtime: options.runtime,
        backend: options.backend,
        cache_type_k: options.cache_type_k.clone().or(options.cache_type.clone()),
        cache_type_v: options.cache_type_v.clone().or(options.cache_type.clone()),
        memory: options.memory.map(FitMemory::Size).or(options.device.map(FitMemory::Device)),
        dims: dimensions(&options.dims)?,
        ..FitQuestion::default()
    };
    let asked = &mut question.options;
    asked.context = options.ctx;
    asked.sequences = options.seqs;
    asked.batch = options.batch;
    asked.micro_batch = options.ubatch;
    asked.flash_attention = options.flash_attn.unwrap_or_default();
    asked.kv_unified = options.kv_unified;
    asked.swa_full = options.swa_full;
    asked.gpu_layers = options.gpu_layers.unwrap_or_default();
    asked.gpu_memory_utilization = options.gpu_memory_utilization.unwrap_or(asked.gpu_memory_utilization);
    asked.max_num_batched_tokens = options.max_num_batched_tokens;
    asked.tensor_parallel = options.tensor_parallel.unwrap_or(asked.tensor_parallel);
    asked.draft_tokens = options.draft_tokens.unwrap_or(asked.draft_tokens);
    asked.max_num_seqs = options.max_num_seqs;
    asked.overhead = options.overhead;
    asked.largest_tensor = options.max_buffer_range;
    Ok(question)
}
