//! Two models in a pool too small for both: each is evicted for the other, and says the same when it is loaded again.

use std::sync::Arc;

use vramkit::orchestrator::MemoryOrchestrator;
use vramkit::trace::Event;
use vramkit_llm::Engine;

use super::finding::{Finding, Tried};
use crate::question::StressError;
use crate::subject::{Said, Subject, run};

const TURNS: usize = 6;
const PROMPT: usize = 20;
const DECODED: usize = 16;

/// Each turn evicts the other model; what is said does not change.
pub(super) fn tenants(subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    let config = subject.config(PROMPT + DECODED);
    // Just enough for one with its sequence: the other is in the way, by its weights or when keys and values grow.
    let needs = Engine::needs(&subject.path, &config)?;
    let mut room = needs.total();
    if tried == Tried::Faulty {
        room += needs.total();
    }
    let pool = subject.pool_of("evict_and_reload", room)?;
    let orchestrator = Arc::new(MemoryOrchestrator::new(pool));
    let load = |name: &str| {
        Engine::load(&orchestrator, name, &subject.path, config.clone()).map_err(StressError::from)
    };
    let engines = [load("first")?, load("second")?];
    let mut first: [Option<Said>; 2] = [None, None];
    let mut other = 0;
    for turn in 0..TURNS {
        let at = turn % 2;
        let said =
            run(&engines[at], &[subject.prompt(PROMPT, 40 + at as u64)], DECODED, &mut |_| Ok(()))?.remove(0);
        other += usize::from(said.failed.is_some() || first[at].as_ref().is_some_and(|first| *first != said));
        first[at].get_or_insert(said);
    }
    let events = orchestrator.trace().events();
    let evictions = events.iter().filter(|record| matches!(record.event, Event::Evicted { .. })).count();
    let passed = other == 0 && evictions >= TURNS - 1;
    let detail = format!("{TURNS} turns of two models in {room}: {evictions} evictions");
    Ok(Finding::new(passed, other as f64, 0.0, detail))
}
