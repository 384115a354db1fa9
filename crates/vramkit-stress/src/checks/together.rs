//! Several sequences at once say what each says alone, and hold what all hold together.

use vramkit::pool::Request;

use super::finding::{Finding, Tried};
use crate::question::StressError;
use crate::subject::{NAME, Said, Subject, run};

const LENGTHS: [usize; 4] = [5, 23, 41, 60];
const DECODED: usize = 24;

/// Every sequence has the tokens that it has alone, and all together hold no more than their blocks.
pub(super) fn together(subject: &Subject, tried: Tried) -> Result<Finding, StressError> {
    let mut config = subject.config(LENGTHS[3] + DECODED);
    config.sequences = LENGTHS.len();
    let pool = subject.pool("sequences_together", &config, 1.0)?;
    let engine = subject.engine(NAME, &pool, config)?;
    let prompts: Vec<_> =
        LENGTHS.iter().zip(10..).map(|(&length, number)| subject.prompt(length, number)).collect();
    let mut alone = Vec::new();
    for prompt in &prompts {
        alone.extend(run(&engine, std::slice::from_ref(prompt), DECODED, &mut |_| Ok(()))?);
    }
    // One after another they hold no more than the largest does alone.
    let largest = engine.memory().peak_kv.bytes();
    let mut peak = 0;
    let mut at_once = run(&engine, &prompts, DECODED, &mut |engine| {
        peak = peak.max(engine.memory().kv.bytes());
        Ok(())
    })?;
    if tried == Tried::Faulty {
        // Whatever the others say, this is not what it says alone.
        at_once[1].tokens.iter_mut().take(1).for_each(|token| *token ^= 1);
    }
    let differ = |(a, b): (&Said, &Said)| {
        let tokens = a.tokens.iter().zip(&b.tokens).filter(|(a, b)| a != b).count();
        tokens
            + a.tokens.len().abs_diff(b.tokens.len())
            + usize::from(a.failed.is_some() || b.failed.is_some())
    };
    let differing: usize = alone.iter().zip(&at_once).map(differ).sum();
    // Whole blocks of all tokens but the last, which is not computed; each block may be filled up to the pool's unit.
    let block = engine.memory().block_tokens;
    let blocks: usize = LENGTHS.iter().map(|length| (length + DECODED - 1).div_ceil(block)).sum();
    let most =
        blocks as u64 * (block as u64 * subject.bytes_per_token.bytes()).next_multiple_of(Request::ALIGNMENT);
    let is_within = peak > largest && peak <= most;
    let detail = format!(
        "{} sequences, {} tokens each: {peak} bytes of keys and values at most, {most} by the header",
        LENGTHS.len(),
        DECODED
    );
    Ok(Finding::new(differing == 0 && is_within, differing as f64, 0.0, detail))
}
