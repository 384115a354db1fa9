//! Keys and values grow by the same bytes with every token.

use vramkit::pool::{DeviceMemoryPool, Purpose, Request};

use super::finding::{Finding, Tried};
use crate::question::StressError;
use crate::subject::{NAME, Subject, most};

/// Tokens of the prompt: a block.
const PROMPT: usize = 16;
/// Tokens that are decoded at most.
const DECODED: usize = 1_000;
/// Tokens behind those that are looked at: the last is not computed, and the step before it gives everything back.
const ENDS: usize = 2;

/// The slope of granted bytes over decoded tokens, by regression, is what the header says of a token.
pub(super) fn linear(subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    let config = subject.config((PROMPT + DECODED + ENDS).min(subject.context));
    // Room for what the fault leaves behind.
    let pool = subject.pool("linear_growth", &config, if tried == Tried::Faulty { 2.0 } else { 1.0 })?;
    let context = config.context.unwrap_or(subject.context);
    let engine = subject.engine(NAME, &pool, config)?;
    let block = engine.memory().block_tokens;
    // Up to where every layer keeps all: beyond, layers with a window keep no more.
    let each = subject.bytes_per_token.bytes();
    let whole = |tokens: &usize| engine.kv_bytes(*tokens).bytes() == *tokens as u64 * each;
    let last = (PROMPT..=context - ENDS).step_by(block).take_while(whole).last().unwrap_or(PROMPT);
    engine.submit(&subject.prompt(PROMPT, 4), most(last - PROMPT + ENDS))?;
    // Without a token nothing is held: where windows are short that is one of two points.
    let (mut points, mut left, mut length) = (vec![(0.0, granted(&pool))], Vec::new(), PROMPT);
    engine.step()?;
    loop {
        if tried == Tried::Faulty && length.is_multiple_of(block) {
            left.push(subject.leave_block(&pool, &engine)?);
        }
        // At the end of a block, where what is granted is what is used.
        if length.is_multiple_of(block) {
            points.push((length as f64, granted(&pool)));
        }
        engine.step()?;
        length += 1;
        // The last token's step gives everything back.
        if !engine.has_work() {
            break;
        }
    }
    let slope = slope(&points);
    let limit = each as f64;
    // Blocks are granted in units, so a token's share of one may be larger by a part of it.
    let unit = Request::ALIGNMENT as f64 / block as f64;
    let passed = slope >= limit && slope - limit < unit && points.len() > 1;
    let detail =
        format!("{} lengths up to {} tokens; {limit} bytes a token by the header", points.len(), last);
    Ok(Finding::new(passed, slope, limit, detail))
}

/// Bytes of the model's keys and values in the pool's ledger.
fn granted(pool: &DeviceMemoryPool) -> f64 {
    let entries = pool.ledger();
    let of = entries.iter().filter(|entry| entry.purpose == Purpose::Kv && entry.model.as_str() == NAME);
    of.map(|entry| entry.granted_bytes.bytes()).sum::<u64>() as f64
}

/// The slope of the least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (x, y) =
        (points.iter().map(|p| p.0).sum::<f64>() / count, points.iter().map(|p| p.1).sum::<f64>() / count);
    let both: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    both / points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}
