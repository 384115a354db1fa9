//! The engine's answers as JSON, in the form of `scripts/engine_peer.py`, to be held against llama.cpp's.
//!
//! `engine --model FILE [--threads N] [--cache TYPE] tokenize FILE.json | logits FILE.json | greedy FILE.json N | speed SECONDS`

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use vramkit::orchestrator::MemoryOrchestrator;
use vramkit_llm::{
    CacheKind, Engine, EngineConfig, Request, SequenceId, Special, StepEvent, TokenProbability, host_pool,
};

/// Steps that are timed at a time.
const STEPS: usize = 16;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let begun = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match answer(&arguments, begun) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(arguments: &[String], begun: Instant) -> Outcome<Value> {
    let (mut model, mut threads, mut cache) = (None, 2, CacheKind::F16);
    let mut rest = arguments;
    while let [option, value, behind @ ..] = rest {
        match option.as_str() {
            "--model" => model = Some(PathBuf::from(value)),
            "--threads" => threads = value.parse()?,
            "--cache" => {
                cache = match value.as_str() {
                    "f32" => CacheKind::F32,
                    "q8_0" => CacheKind::Q8_0,
                    _ => CacheKind::F16,
                }
            }
            _ => break,
        }
        rest = behind;
    }
    let model = model.ok_or("--model is missing")?;
    let config =
        EngineConfig { threads: Some(threads), cache, context: Some(1024), ..EngineConfig::default() };
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match *rest.as_slice() {
        ["tokenize", file] => tokenize(&engine(&model, config)?, file),
        ["logits", file] => logits(&model, config, file),
        ["greedy", file, number] => greedy(&model, config, file, number.parse()?),
        ["speed", seconds] => speed(&model, config, seconds.parse()?, begun),
        _ => Err("tokenize FILE, logits FILE, greedy FILE N or speed SECONDS is missing".into()),
    }
}

fn engine(model: &Path, config: EngineConfig) -> Outcome<Engine> {
    let capacity = Engine::needs(model, &config)?.total();
    let orchestrator = Arc::new(MemoryOrchestrator::new(host_pool(capacity)?));
    Ok(Engine::load(&orchestrator, "model", model, config)?)
}

fn given(file: &str) -> Outcome<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?)
}

fn tokens(of: &Value) -> Vec<u32> {
    of.as_array().into_iter().flatten().filter_map(Value::as_u64).map(|token| token as u32).collect()
}

/// Tokens of `["text", …]`, or of `{"texts": […], "special": true, "begin": true}`.
fn tokenize(engine: &Engine, file: &str) -> Outcome<Value> {
    let given = given(file)?;
    let said = |key: &str| given.get(key).and_then(Value::as_bool).unwrap_or(true);
    let special = if said("special") { Special::Parse } else { Special::Plain };
    let texts = given.get("texts").unwrap_or(&given).as_array().ok_or("no list of texts")?;
    let of =
        |text: &Value| engine.tokenizer().encode(text.as_str().unwrap_or_default(), special, said("begin"));
    Ok(json!({ "tokens": texts.iter().map(of).collect::<Vec<_>>() }))
}

/// Of each list of tokens, and of each place of it, the log-probability of the next token and the most probable ones. A list is
/// `[…]`, or `{"tokens": […], "from": 8}` for the places from the ninth token on.
///
/// Every beginning of a list is a sequence of its own, and they are computed together. One with the whole list goes on beside
/// them, so that each shares its blocks and computes what is behind the last full one.
fn logits(model: &Path, config: EngineConfig, file: &str) -> Outcome<Value> {
    let given = given(file)?;
    let lists: Vec<(Vec<u32>, usize)> = given
        .as_array()
        .ok_or("no list of lists")?
        .iter()
        .map(|list| {
            let from = list.get("from").and_then(Value::as_u64).unwrap_or(0);
            (tokens(list.get("tokens").unwrap_or(list)), from as usize)
        })
        .collect();
    let longest = lists.iter().map(|(tokens, _)| tokens.len()).max().unwrap_or(0);
    // The sequence that is kept takes a token in every step.
    let config = EngineConfig { context: Some(2 * longest + 64), sequences: 64, ..config };
    let engine = engine(model, config)?;
    let vocabulary = engine.vocabulary_len();
    let mut answers = Vec::new();
    for (tokens, from) in &lists {
        let whole = engine.submit(tokens, Request { stop_at_end: false, ..Request::default() })?;
        while chosen(engine.step()?)?.is_empty() {}
        let request =
            Request { most_tokens: Some(1), top: vocabulary, stop_at_end: false, ..Request::default() };
        let mut asked = BTreeMap::new();
        for end in from + 1..=tokens.len() {
            asked.insert(engine.submit(&tokens[..end], request.clone())?, end);
        }
        let mut positions = BTreeMap::new();
        while positions.len() < asked.len() {
            for (sequence, _, top) in chosen(engine.step()?)? {
                let Some(&end) = asked.get(&sequence) else { continue };
                let next = tokens.get(end).and_then(|next| top.iter().find(|each| each.token == *next));
                let next = next.map(|each| each.logprob);
                positions.insert(end, json!({ "next": next, "top": pairs(top.get(..5).unwrap_or(&top)) }));
            }
        }
        engine.cancel(whole);
        engine.step()?;
        answers.push(json!({ "positions": positions.into_values().collect::<Vec<_>>() }));
    }
    Ok(json!({ "lists": answers }))
}

/// The tokens that a step chose, each with its sequence and the most probable ones.
fn chosen(events: Vec<StepEvent>) -> Outcome<Vec<(SequenceId, u32, Vec<TokenProbability>)>> {
    let mut found = Vec::new();
    for event in events {
        match event {
            StepEvent::Token { sequence, token, top } => found.push((sequence, token, top)),
            StepEvent::Failed { error, .. } => return Err(error.to_string().into()),
            _ => {}
        }
    }
    Ok(found)
}

fn pairs(top: &[TokenProbability]) -> Vec<Value> {
    top.iter().map(|each| json!([each.token, each.logprob])).collect()
}

/// What follows each prompt, a text or a list of tokens. All are computed together.
fn greedy(model: &Path, config: EngineConfig, file: &str, most: usize) -> Outcome<Value> {
    let given = given(file)?;
    let texts = given.as_array().ok_or("no list of prompts")?;
    let engine = engine(model, EngineConfig { sequences: texts.len().clamp(1, 64), ..config })?;
    let request = Request { most_tokens: Some(most), top: 2, stop_at_end: false, ..Request::default() };
    let mut prompts = BTreeMap::new();
    let mut found = BTreeMap::new();
    for prompt in texts {
        let prompt = match prompt.as_str() {
            Some(text) => engine.tokenizer().encode(text, Special::Parse, true),
            None => tokens(prompt),
        };
        let sequence = engine.submit(&prompt, request.clone())?;
        prompts.insert(sequence, prompt);
        found.insert(sequence, (Vec::new(), Vec::new()));
    }
    while engine.has_work() {
        for (sequence, token, top) in chosen(engine.step()?)? {
            let Some((chosen, top2)) = found.get_mut(&sequence) else { continue };
            chosen.push(token);
            top2.push(pairs(&top));
        }
    }
    let continuations = prompts.into_iter().zip(found.into_values());
    let continuations = continuations.map(|((_, prompt), (chosen, top2))| {
        let text = engine.tokenizer().decode(&chosen);
        json!({ "prompt": prompt, "tokens": chosen, "text": text, "top2": top2 })
    });
    Ok(json!({ "continuations": continuations.collect::<Vec<_>>() }))
}

/// Tokens per second, the median of repeated work, and the time to the first token.
fn speed(model: &Path, config: EngineConfig, seconds: f64, begun: Instant) -> Outcome<Value> {
    let config = EngineConfig { share_prefixes: false, ..config };
    let alone = engine(model, config.clone())?;
    let loaded = begun.elapsed().as_secs_f64();
    let size = alone.vocabulary_len();
    let room = if size > 2048 { size - 512 } else { size / 2 };
    let some = |count: usize, seed: usize| -> Vec<u32> {
        (0..count).map(|at| ((at * 7919 + seed * 104_729) % room) as u32).collect()
    };
    let mut found = BTreeMap::new();
    run(&alone, &some(16, 1), 1)?;
    found.insert("first_token_ms", 1e3 * begun.elapsed().as_secs_f64());
    found.insert("load_ms", 1e3 * loaded);
    run(&alone, &some(512, 1), 1)?;
    let mut rates = Vec::new();
    let start = Instant::now();
    while rates.len() < 2 || start.elapsed().as_secs_f64() < seconds {
        let begun = Instant::now();
        run(&alone, &some(512, 1), 1)?;
        rates.push(512.0 / begun.elapsed().as_secs_f64());
    }
    found.insert("prefill_512", median(rates));
    for (cell, depth) in [("decode_1_at_128", 128), ("decode_1_at_512", 512)] {
        found.insert(cell, decode(&alone, &[some(depth, 1)], seconds)?);
    }
    drop(alone);
    let together = engine(model, EngineConfig { sequences: 16, context: Some(256), ..config })?;
    let prompts: Vec<_> = (0..16).map(|seed| some(128, seed)).collect();
    found.insert("decode_16_at_128", decode(&together, &prompts, seconds)?);
    Ok(json!({ "tokens_per_second": found }))
}

/// Runs one sequence to its end.
fn run(engine: &Engine, prompt: &[u32], most: usize) -> Outcome<()> {
    engine.submit(prompt, Request { most_tokens: Some(most), stop_at_end: false, ..Request::default() })?;
    while engine.has_work() {
        engine.step()?;
    }
    Ok(())
}

/// Tokens per second of decoding behind these prompts, [`STEPS`] tokens of each at a time: from when all have been read.
fn decode(engine: &Engine, prompts: &[Vec<u32>], seconds: f64) -> Outcome<f64> {
    let mut rates = Vec::new();
    let start = Instant::now();
    while rates.len() < 3 || start.elapsed().as_secs_f64() < seconds {
        // As many as are there when the last prompt has been read, and those that are timed, and no end in between.
        let most = prompts.len() + STEPS + 1;
        let request = Request { most_tokens: Some(most), stop_at_end: false, ..Request::default() };
        let begun: Vec<SequenceId> =
            prompts.iter().map(|prompt| engine.submit(prompt, request.clone())).collect::<Result<_, _>>()?;
        let mut read = BTreeSet::new();
        while read.len() < prompts.len() {
            read.extend(chosen(engine.step()?)?.into_iter().map(|(sequence, ..)| sequence));
        }
        let (from, mut tokens) = (Instant::now(), 0);
        for _ in 0..STEPS {
            tokens += chosen(engine.step()?)?.len();
        }
        let took = from.elapsed().as_secs_f64();
        if tokens != STEPS * prompts.len() {
            return Err(format!("{tokens} tokens of {} sequences in {STEPS} steps", prompts.len()).into());
        }
        rates.push(tokens as f64 / took);
        begun.into_iter().for_each(|sequence| engine.cancel(sequence));
        while engine.has_work() {
            engine.step()?;
        }
    }
    Ok(median(rates))
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
