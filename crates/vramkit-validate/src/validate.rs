//! From a question to its report.

use std::ops::ControlFlow;
use std::sync::Arc;

use vramkit::ByteSize;
use vramkit::device::{Device, HostDevice};
use vramkit::orchestrator::MemoryOrchestrator;
use vramkit_llm::{Admission, Engine, EngineConfig, LoadError, MemoryUse, Prefill, host_pool};
use vramkit_models::gguf::GgufFile;
use vramkit_occupancy::{Batch, Cycles};

use crate::error::ValidateError;
use crate::experiment::{Experiment, Found};
use crate::journal::Journal;
use crate::prediction::Models;
use crate::prompts::Prompts;
use crate::question::{Progress, Source, ValidateQuestion};
use crate::report::{Cycle, Limit, Measured, Measurement, Memory, Parameters, SCHEMA, ValidateReport};
use crate::series;
use crate::tail::tail;
use crate::traffic::Traffic;
use crate::verdict::{errors, verdicts};

/// Tokens of a step that reads prompts, at least.
const STEP_TOKENS: usize = 512;

/// Runs the experiment, and holds what it measured against the models. `watch` is told before every step how many cycles are done, and
/// says whether to go on.
///
/// # Errors
/// A question that cannot be; files that cannot be read; a model that cannot be loaded, for lack of memory too; an end that `watch`
/// asked for. What was done by then is in the journal, if there is one.
pub fn validate(
    question: &ValidateQuestion,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<ValidateReport, ValidateError> {
    let batch = check(question)?;
    let file = GgufFile::open(&question.model)?;
    let prompts = Prompts::read(question, &file, watch)?;
    drop(file);
    let config = EngineConfig {
        context: Some(prompts.context),
        sequences: question.batch_size,
        step_tokens: STEP_TOKENS.max(question.batch_size),
        threads: question.threads,
        prefill: Prefill::Exclusive,
        share_prefixes: false,
        admission: if question.kv_limit.is_some() { Admission::Optimistic } else { Admission::Reserve },
        kv_budget: question.kv_limit,
        ..EngineConfig::default()
    };
    let capacity = capacity(question, &config)?;
    let (mut journal, past) = match &question.journal {
        Some(path) => {
            let (journal, past) = Journal::open(path, question, prompts.context)?;
            (Some(journal), past)
        }
        None => (None, Vec::new()),
    };
    let pool = host_pool(capacity)?;
    let orchestrator = Arc::new(MemoryOrchestrator::new(pool.clone()));
    let engine = Engine::load(&orchestrator, "validated", &question.model, config)?;
    let found = Experiment::new(question, &prompts, &engine, &pool, watch).run(past, journal.as_mut())?;
    let used = engine.memory();
    engine.unload();
    let memory = Memory {
        weights_bytes: used.weights,
        peak_kv_bytes: found.peaks.kv,
        peak_committed_bytes: found.peaks.committed,
        device_peak_bytes: found.peaks.device,
        used_after_unload_bytes: pool.used(),
    };
    report(question, batch, prompts, &found, memory, &used)
}

/// Whether the numbers can be.
fn check(question: &ValidateQuestion) -> Result<Batch, ValidateError> {
    for (what, number) in [
        ("batch", question.batch_size),
        ("number of cycles", question.cycles),
        ("number of samples", question.most_samples),
        ("largest output", question.most_output_tokens),
        ("context", question.context.unwrap_or(1)),
        ("number of threads", question.threads.unwrap_or(1)),
    ] {
        if number == 0 {
            return Err(ValidateError::Question(format!("a {what} of 0: it must be at least 1")));
        }
    }
    if question.threads.is_some_and(|threads| threads > MOST_THREADS) {
        return Err(ValidateError::Question(format!(
            "more than {MOST_THREADS} threads: no machine has as many processors"
        )));
    }
    if question.kv_limit.is_some() && question.journal.is_some() {
        let why = "a limited run cannot be gone on with, since who made way for whom is not noted: it has no journal";
        return Err(ValidateError::Question(why.to_owned()));
    }
    let data = question.source.path();
    if data.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(ValidateError::Question(format!("`{}` is no file", data.display())));
    }
    if question.cycles > MOST_CYCLES || question.warmup_cycles.is_some_and(|cycles| cycles > MOST_CYCLES) {
        return Err(ValidateError::Question(format!(
            "more than {MOST_CYCLES} cycles: nobody waits for so many"
        )));
    }
    if !(question.scale > 0.0 && question.scale.is_finite()) {
        return Err(ValidateError::Question(format!("a scale of {}: it must be above 0", question.scale)));
    }
    if question.scale != 1.0 && !matches!(question.source, Source::Lengths(_)) {
        return Err(ValidateError::Question(
            "a scale is for a log of lengths; text has the length that it has".to_owned(),
        ));
    }
    let whole = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Batch::new(whole(question.batch_size), whole(question.threshold()))?)
}

const MOST_CYCLES: usize = 1_000_000;
const MOST_THREADS: usize = 1024;

/// Room for all sequences at once, as far as it may be taken.
fn capacity(question: &ValidateQuestion, config: &EngineConfig) -> Result<ByteSize, ValidateError> {
    let needs = Engine::needs(&question.model, config)?;
    if let Some(limit) = question.kv_limit {
        // The last token of a sequence is never written.
        let most = needs.context.saturating_sub(1).max(1);
        let one = EngineConfig { sequences: 1, context: Some(most), ..config.clone() };
        let needed = Engine::needs(&question.model, &one)?.kv;
        if needed > limit {
            return Err(ValidateError::KvLimit { limit, needed, tokens: most });
        }
    }
    let kv = question.kv_limit.map_or(needs.kv, |limit| limit.min(needs.kv));
    // Memory is taken from the device in granules.
    let required = (needs.weights + needs.workspace + kv).checked_align_up(HostDevice::GRANULARITY.bytes());
    let required = required.unwrap_or(ByteSize::MAX);
    let device = HostDevice::with_available_memory();
    let machine = device.memory().free_bytes.value.unwrap_or(ByteSize::MAX);
    let available = question.capacity.map_or(machine, |capacity| capacity.min(machine));
    if required > available {
        let model = question.model.display().to_string();
        return Err(
            LoadError::InsufficientVram { required, available, device: device.info().id, model }.into()
        );
    }
    Ok(required)
}

fn report(
    question: &ValidateQuestion,
    batch: Batch,
    prompts: Prompts,
    found: &Found,
    memory: Memory,
    used: &MemoryUse,
) -> Result<ValidateReport, ValidateError> {
    let traffic = Traffic::of(&found.outcomes)?;
    let models = Models::of(batch, &traffic, [question.warmup(), found.cycles.len()], question.seed)?;
    let rises: Vec<f64> = found.cycles.iter().map(|cycle| cycle.rise_tokens() as f64).collect();
    let spread = models.simulated.as_ref().and_then(Cycles::spread_of_runs);
    let measured = measured(&found.cycles, spread);
    let predicted = models.figures();
    let tail = tail(&rises, &models);
    let mut notes = prompts.notes;
    let count = prompts.requests.len();
    if found.begun > count as u64 {
        notes.push(format!(
            "{} requests were begun and the data set has {count}: they came again from the first",
            found.begun
        ));
    }
    if traffic.cut_off > 0 {
        notes.push(format!(
            "{} of {} outputs were cut off, at {} tokens or where the context ends: the published formulas do not know of that, the \
             corrected ones and the simulation do",
            traffic.cut_off, traffic.requests, question.most_output_tokens
        ));
    }
    if found.ended_at_once > 0 {
        notes.push(format!(
            "{} requests ended with their first token and were replaced before decoding",
            found.ended_at_once
        ));
    }
    notes.extend(models.notes.iter().cloned());
    let lacking = found.cycles.iter().filter(|cycle| cycle.lacked_room).count();
    if lacking > 0 {
        notes.push(format!(
            "in {lacking} cycles there was too little room, so what was measured is of the limited cache: predictions are not to be judged \
             by it"
        ));
    }
    if found.begun > 2 * count as u64 {
        notes.push(
            "a run that goes round so few requests holds them again and again, where a simulation draws anew: take more requests"
                .to_owned(),
        );
    }
    let verdicts = verdicts(&measured, &predicted, models.simulated(), &tail, &mut notes);
    Ok(ValidateReport {
        schema: SCHEMA,
        model: question.model.display().to_string(),
        dataset: question.source.name(),
        parameters: Parameters {
            batch_size: question.batch_size,
            switching_threshold: question.threshold(),
            theta: batch.theta(),
            termination: traffic.termination,
            mean_prompt_tokens: traffic.lengths.mean_prompt(),
            mean_output_tokens: traffic.lengths.mean_output(),
            num_cycles: found.cycles.len(),
            warmup_cycles: question.warmup(),
            max_output_tokens: question.most_output_tokens,
            bytes_per_token: used.kv_per_token,
            seed: question.seed,
            data_file: question.source.path().display().to_string(),
            max_samples: question.most_samples,
            scale: question.scale,
            context_tokens: prompts.context,
            prompts: count,
            left_out: prompts.left_out,
            requests: traffic.requests,
            cut_off: traffic.cut_off,
            ended_at_once: found.ended_at_once,
        },
        errors: errors(&measured, &predicted),
        measured,
        predicted,
        tail,
        verdicts,
        memory,
        limit: limit(question, used, &found.cycles),
        cycles: found.cycles.clone(),
        notes,
        lengths: found.outcomes.iter().map(|outcome| [outcome.prompt, outcome.output]).collect(),
        beside: Vec::new(),
    })
}

/// Means over cycles. How far they are to be believed is what their own series says, and not less than how far means over as many
/// simulated cycles scatter: a short series cannot know how alike its cycles are.
fn measured(cycles: &[Cycle], spread: Option<[f64; 3]>) -> Measured {
    let measurement = |at: usize, tokens: fn(&Cycle) -> usize, bytes: fn(&Cycle) -> u64| {
        let tokens: Vec<f64> = cycles.iter().map(|cycle| tokens(cycle) as f64).collect();
        let found = series::mean(&tokens);
        Measurement {
            mean_tokens: found.mean,
            standard_error_tokens: match (found.standard_error, spread) {
                (Some(error), Some(spread)) => Some(error.max(spread[at])),
                (error, spread) => error.or(spread.map(|spread| spread[at])),
            },
            mean_bytes: cycles.iter().map(|cycle| bytes(cycle) as f64).sum::<f64>() / cycles.len() as f64,
        }
    };
    Measured {
        x0: measurement(0, |cycle| cycle.x0_tokens, |cycle| cycle.x0_bytes.bytes()),
        xmax: measurement(1, |cycle| cycle.xmax_tokens, |cycle| cycle.xmax_bytes.bytes()),
        sup_y: measurement(2, Cycle::rise_tokens, |cycle| {
            cycle.xmax_bytes.bytes().saturating_sub(cycle.x0_bytes.bytes())
        }),
    }
}

/// How often a limited cache had too little room.
fn limit(question: &ValidateQuestion, used: &MemoryUse, cycles: &[Cycle]) -> Option<Limit> {
    let kv_limit_bytes = question.kv_limit?;
    let preempting: Vec<f64> = cycles.iter().map(|cycle| f64::from(u8::from(cycle.lacked_room))).collect();
    let found = series::mean(&preempting);
    let half_a_block = (used.block_tokens - 1) as f64 / 2.0;
    let tokens = kv_limit_bytes.bytes() as f64 / used.kv_per_token.bytes() as f64;
    Some(Limit {
        kv_limit_bytes,
        limit_tokens: tokens - half_a_block * question.batch_size as f64,
        preempting_ratio: found.mean,
        standard_error_ratio: found.standard_error.unwrap_or(0.0).max(1.0 / cycles.len() as f64),
    })
}
