//! Two copies of a model under one pool that is too small for both, serving in turn: each step of one evicts the other, which is
//! loaded again when its turn comes. The pool is published, so `vramkit top` shows it meanwhile.
//!
//! `cargo run --release -p vramkit-llm --example tenants -- MODEL.gguf [SECONDS]`

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vramkit::ByteSize;
use vramkit::monitor::publish::Publisher;
use vramkit::orchestrator::MemoryOrchestrator;
use vramkit::trace::Event;
use vramkit_llm::{Engine, EngineConfig, Request, Special, StepEvent, host_pool};

const PROMPTS: [&str; 2] = ["The capital of France is", "Once upon a time"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("a GGUF file is missing")?;
    let seconds: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let config = EngineConfig { context: Some(256), step_tokens: 64, ..EngineConfig::default() };
    let needs = Engine::needs(path.as_ref(), &config)?;
    // Room for one with its sequence, and half another.
    let capacity = ByteSize::new(needs.total().bytes() + needs.weights.bytes() / 2);
    let pool = host_pool(capacity)?;
    let _publisher = Publisher::new(&[("two tenants", &pool)])?;
    let orchestrator = Arc::new(MemoryOrchestrator::new(pool.clone()));
    println!("a pool of {capacity}; each copy needs {}", needs.total());
    let first = Engine::load(&orchestrator, "first", path.as_ref(), config.clone())?;
    let engines = [first, Engine::load(&orchestrator, "second", path.as_ref(), config)?];
    let started = Instant::now();
    let mut said = [const { Vec::new() }; 2];
    let mut turns = 0;
    while started.elapsed() < Duration::from_secs(seconds) {
        let at = turns % 2;
        let text = answer(&engines[at], PROMPTS[at])?;
        // The same as in the turns before, however often it was evicted.
        if said[at].is_empty() {
            println!("{}: {}{text}", engines[at].name(), PROMPTS[at]);
        } else if said[at] != text.as_bytes() {
            return Err(format!("turn {turns} says something else: {text}").into());
        }
        said[at] = text.into_bytes();
        turns += 1;
    }
    let events = orchestrator.trace().events();
    let count = |is: fn(&Event) -> bool| events.iter().filter(|record| is(&record.event)).count();
    println!(
        "{turns} turns: {} evictions, {} loads, the same text every time; {} of {} in use",
        count(|event| matches!(event, Event::Evicted { .. })),
        count(|event| matches!(event, Event::Loaded { .. })),
        pool.used(),
        pool.capacity(),
    );
    drop(engines);
    println!("{} in use after unloading", pool.used());
    Ok(())
}

/// Twelve tokens behind a prompt.
fn answer(engine: &Engine, prompt: &str) -> Result<String, Box<dyn Error>> {
    let tokens = engine.tokenizer().encode(prompt, Special::Parse, true);
    engine.submit(&tokens, Request { most_tokens: Some(12), ..Request::default() })?;
    let mut chosen = Vec::new();
    while engine.has_work() {
        for event in engine.step()? {
            match event {
                StepEvent::Token { token, .. } => chosen.push(token),
                StepEvent::Failed { error, .. } => return Err(error.to_string().into()),
                _ => {}
            }
        }
    }
    Ok(engine.tokenizer().decode(&chosen))
}
