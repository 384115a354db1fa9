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
    Ok(answer.is_yes())
}

fn question(options: &CapacityOptions) -> CapacityQuestion {
    let log =
        options.lengths.clone().map(|path| TrafficSource::Log { path, skip_bad_rows: options.skip_bad_rows });
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
    let replay = ReplaySettings { watermark: options.watermark, token_budget: options.token_budget };
    CapacityQuestion {
        traffic: log.or(geometric),
        max_output: options.max_output,
        batch: options.batch,
        threshold: options.threshold,
        memory: options.capacity.map(Memory::Bytes).or(options.capacity_tokens.map(Memory::Tokens)),
        model: options.model.clone().map(KvSource::Model).or(shape),
        cache_type: options.cache_type,
        block: options.block,
        risk: options.risk,
        other_risks: if options.json { Vec::new() } else { RISKS.to_vec() },
        horizon: options.horizon,
        step_seconds: options.step_seconds,
        replay: options.replay.then_some(replay),
        cycles: options.cycles,
        seed: options.seed,
        picture: options.svg.is_some(),
    }
}
