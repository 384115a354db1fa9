//! Limits that must be kept: of the context, by decoding and by a prompt, and of memory.

use vramkit::ByteSize;
use vramkit::pool::Request;
use vramkit_llm::{AdapterError, Engine, LlamaInferenceAdapter, LoadError, StepEvent};

use super::finding::{Finding, Tried};
use crate::question::StressError;
use crate::report::LengthUse;
use crate::subject::{NAME, Subject, most};

/// Tokens that are decoded up to the limit.
const DECODED: usize = 16;
/// The shortest length whose use is told.
const SHORTEST_USE: usize = 64;
/// Bytes of a pool's unit.
const UNIT: ByteSize = ByteSize::new(Request::ALIGNMENT);

/// A prompt near the maximum, then decoding: the token behind the last place must be refused by the limit's own error.
pub(super) fn context(subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    // That it is caught does not depend on the length.
    let context = if tried == Tried::Faulty { subject.short() } else { subject.context };
    let given = if tried == Tried::Faulty { context + 8 } else { context };
    let config = subject.config(given);
    let needs = Engine::needs(&subject.path, &config)?.total();
    subject.has_room("context_limit", needs)?;
    let adapter =
        LlamaInferenceAdapter::from_model_ref(&subject.path.display().to_string())?.with_config(config);
    adapter.load()?;
    adapter.prefill(&subject.prompt(context - DECODED, 1))?;
    let mut tokens = context - DECODED;
    let error = loop {
        match adapter.decode_token() {
            Ok(_) => tokens += 1,
            Err(error) => break error,
        }
        if tokens > 2 * context {
            break AdapterError::NotReady("no limit at all");
        }
    };
    let is_limit = matches!(error, AdapterError::ContextLengthExceeded { length, max } if length == context + 1 && max == context);
    let passed = is_limit && tokens == context;
    let detail =
        format!("a prompt of {}, then one by one; the next was answered by: {error}", context - DECODED);
    adapter.unload();
    let usage = if tried == Tried::Sound { usage(subject)? } else { Vec::new() };
    Ok(Finding { usage, ..Finding::new(passed, tokens as f64, context as f64, detail) })
}

/// What one sequence takes when so many tokens of it have been computed, up to the context.
fn usage(subject: &Subject) -> Result<Vec<LengthUse>, StressError> {
    let config = subject.config(subject.context);
    let pool = subject.pool("context_limit", &config, 1.0)?;
    let engine = subject.engine(NAME, &pool, config)?;
    let halves = |length: &usize| Some(length / 2).filter(|half| *half >= SHORTEST_USE);
    let mut lengths: Vec<usize> = std::iter::successors(Some(subject.context), halves).collect();
    lengths.reverse();
    let mut found = Vec::new();
    for length in lengths {
        // Two places are left, so that the sequence is still there when its first token has been chosen.
        let tokens = length.min(subject.context - 2);
        let sequence = engine.submit(&subject.prompt(tokens, 2), most(2))?;
        let mut has_begun = false;
        while !has_begun {
            for event in engine.step()? {
                match event {
                    StepEvent::Token { .. } => has_begun = true,
                    StepEvent::Failed { error, .. } => {
                        return Err(StressError::Refused { check: "context_limit", why: error.to_string() });
                    }
                    _ => {}
                }
            }
        }
        found.push(LengthUse {
            tokens,
            kv_bytes: engine.memory().kv,
            used_bytes: pool.used(),
            committed_bytes: pool.committed(),
            resident_bytes: pool.resident().value,
        });
        engine.cancel(sequence);
        engine.step()?;
    }
    Ok(found)
}

/// A prompt longer than the context, as 5,000 tokens are on 4,096: refused with both numbers, and nothing taken for it.
pub(super) fn prompt(subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    // As for the context.
    let context = if tried == Tried::Faulty { subject.short() } else { subject.context };
    let length = context * 5_000 / 4_096;
    let given = if tried == Tried::Faulty { length } else { context };
    let config = subject.config(given);
    let pool = subject.pool("prompt_overflow", &config, 1.0)?;
    let engine = subject.engine(NAME, &pool, config)?;
    let before = pool.used();
    let (taken, said) = match engine.submit(&subject.prompt(length, 3), most(1)) {
        Ok(_) => (length, "it was taken".to_owned()),
        Err(AdapterError::ContextLengthExceeded { length: found, max })
            if (found, max) == (length, context) =>
        {
            (0, "refused with both numbers".to_owned())
        }
        Err(other) => (0, format!("refused otherwise: {other}")),
    };
    let passed =
        taken == 0 && said == "refused with both numbers" && pool.used() == before && !engine.has_work();
    let detail =
        format!("{length} tokens on a context of {context}: {said}; {} granted before and after", before);
    Ok(Finding::new(passed, taken as f64, 0.0, detail))
}

/// A load under a limit that is a unit too small: refused with both numbers before anything is committed.
pub(super) fn memory(subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    let config = subject.config(subject.short());
    let needs = Engine::needs(&subject.path, &config)?;
    // Weights, workspace and a block of each kind are the least that is loaded; what that is the refusal says.
    let least = |limit: ByteSize| -> Result<(Option<ByteSize>, ByteSize), StressError> {
        let pool = subject.pool_of("memory_limit", limit)?;
        match subject.engine(NAME, &pool, config.clone()) {
            Ok(_) => Ok((None, pool.stats().peak_committed_bytes)),
            Err(StressError::Load(error)) => match *error {
                LoadError::InsufficientVram { required, .. } => {
                    Ok((Some(required), pool.stats().peak_committed_bytes))
                }
                other => Err(other.into()),
            },
            Err(other) => Err(other),
        }
    };
    let (required, _) = least(needs.weights)?;
    let required = required.unwrap_or(needs.weights);
    let limit = if tried == Tried::Faulty { required } else { required - UNIT };
    let (refused, committed) = least(limit)?;
    let enough = least(required)?.0.is_none();
    // Weights and workspace, a block of each kind, and no more than a whole sequence.
    let is_right = required > needs.weights + needs.workspace && required <= needs.total();
    let passed = is_right && refused == Some(required) && committed == ByteSize::ZERO && enough;
    let said = if refused.is_some() { "refused" } else { "loaded" };
    let detail = format!(
        "with a limit of {} bytes it is {said}, with {} loaded",
        (required - UNIT).grouped(),
        required.grouped()
    );
    Ok(Finding::new(passed, committed.bytes() as f64, 0.0, detail))
}
