//! `vramkit capacity`.

use std::io::Write as _;

use vramkit_ask::{CapacityQuestion, KvSource, Memory, ReplaySettings, TrafficSource};

use crate::args::CapacityOptions;
use crate::caller::Caller;
use crate::capacity_text::describe_capacity;
use crate::failure::Failure;
use crate::output;

/// Risks that a person is told the batch for, beside the one asked about.
const RISKS: [f64; 3] = [1e-2, 1e-4, 1e-6];
/// The part of a card that vLLM takes by itself.
const UTILIZATION: f64 = 0.9;

pub fn run(options: &CapacityOptions, caller: &mut Caller) -> Result<bool, Failure> {
    let answer = vramkit_ask::capacity(&question(options), caller.progress("computing"))?;
    if let (Some(path), Some(svg)) = (&options.svg, answer.svg()) {
        output::file(path, |out| out.write_all(svg.as_bytes()))?;
    }
    if options.json {
        caller.json(&answer.report)?;
    } else {
        caller.text(&describe_capacity(options, &answer.report))?;
    }
    // Another program reads in the document that nothing says.
    let known = answer.is_yes().or((!caller.is_program()).then_some(false));
    known.ok_or_else(|| {
        let notes = &answer.report.occupancy.notes;
        let why = notes.iter().find(|note| note.contains("refused") || note.contains("at most"));
        Failure::Input(format!(
            "whether the risk is kept is not known{}: draw more samples (--cycles), give a later --deadline or ask for a larger --risk",
            why.map_or_else(String::new, |why| format!(" ({why})"))
        ))
    })
}

fn question(options: &CapacityOptions) -> CapacityQuestion {
    let log = options.lengths.clone().map(|path| TrafficSource::Log {
        path,
        skip_bad_rows: options.skip_bad_rows,
        columns: options.columns.clone().unwrap_or_default(),
    });
    let geometric = options
        .prompt_mean
        .zip(options.termination)
        .map(|(prompt_tokens, termination)| TrafficSource::Geometric { prompt_tokens, termination });
    let shape = match (options.layers, options.kv_heads, options.head_dim) {
        (Some(layers), Some(kv_heads), Some(head_dim)) => {
            Some(KvSource::Shape { layers, kv_heads, head_dim })
        }
        _ => None,
    };
    let card = options.gpu_memory.map(|total| Memory::Card {
        total,
        utilization: options.gpu_memory_utilization.unwrap_or(UTILIZATION),
    });
    let given = options.capacity.map(Memory::Bytes).or(options.capacity_tokens.map(Memory::Tokens));
    let replay = ReplaySettings { watermark: options.watermark, token_budget: options.token_budget };
    CapacityQuestion {
        traffic: log.or(geometric),
        max_output: options.max_output,
        max_model_len: options.max_model_len,
        shared_prefix: options.shared_prefix,
        as_logged: options.order == "as-logged",
        arrival_rate: options.arrival_rate,
        replicas: options.replicas,
        cold_start: options.cold_start,
        batch: options.batch,
        threshold: options.threshold,
        memory: given.or(card),
        engine_text: options.engine_text.clone(),
        model: options.model.clone().map(KvSource::Model).or(shape),
        cache_type: options.cache_type,
        block: options.block,
        risk: options.risk,
        other_risks: if options.json { Vec::new() } else { RISKS.to_vec() },
        horizon: options.horizon,
        step_seconds: options.step_seconds,
        engine: options.print_flags,
        replay: options.replay.then_some(replay),
        cycles: options.cycles,
        seed: options.seed,
        deadline: options.deadline,
        picture: options.svg.is_some(),
    }
}
